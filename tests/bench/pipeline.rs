//! What the stages of the pipeline cost, alone and in chains; what it costs to show a body to a
//! transformer; and the proxy beside nginx.
//!
//! The plugins are those of the plugin guide. Rounds alternate between the contenders, so that what else
//! the machine does hits all alike; every figure is a median. Clients and servers share the machine.
//! Every process that is started here is ended here.

mod answer;
#[expect(dead_code, reason = "the other benchmarks use the rest")]
mod load;
mod machine;
#[expect(dead_code, reason = "the other benchmarks use the rest")]
mod ours;
#[expect(dead_code, reason = "the other benchmarks use the rest")]
mod process;
#[expect(dead_code, reason = "the other benchmarks use the rest")]
mod stats;

#[path = "pipeline/bodies.rs"]
mod bodies;
#[path = "pipeline/chain.rs"]
mod chain;
#[path = "pipeline/exchange.rs"]
mod exchange;
#[path = "pipeline/nginx.rs"]
mod nginx;
#[path = "pipeline/place.rs"]
mod place;
#[path = "pipeline/proxy.rs"]
mod proxy;
#[path = "pipeline/report.rs"]
mod report;
#[path = "pipeline/stages.rs"]
mod stages;

use std::process::ExitCode;

use anyhow::{Result, bail, ensure};
use argh::FromArgs;

use crate::place::Place;
use crate::report::Report;

/// Measures the pipeline.
#[derive(FromArgs, Debug)]
struct Args {
    /// rounds of everything, 1 to 100 (default 5)
    #[argh(option, default = "5")]
    rounds: u32,
    /// seconds of load in each round, 1 to 60 (default 2)
    #[argh(option, default = "2")]
    seconds: u64,
    /// measure this part alone: stages, bodies or proxy
    #[argh(option)]
    part: Option<String>,
    /// print JSON instead of tables
    #[argh(switch)]
    json: bool,
    /// given by cargo
    #[argh(switch, hidden_help)]
    bench: bool,
}

fn main() -> ExitCode {
    let args: Args = argh::from_env();
    if !args.bench {
        // `cargo test --all-targets` runs this too, and must not take minutes.
        println!("this is a benchmark: cargo bench -p zlayer-tests --bench pipeline");
        return ExitCode::SUCCESS;
    }
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("pipeline: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<()> {
    ensure!((1..=100).contains(&args.rounds), "--rounds: 1 to 100");
    ensure!((1..=60).contains(&args.seconds), "--seconds: 1 to 60");
    if let Some(part) = &args.part
        && !["stages", "bodies", "proxy"].contains(&part.as_str())
    {
        bail!("--part: there is no part {part:?}; there are stages, bodies, proxy");
    }
    let place = Place::new()?;
    let mut report = Report::new(&place, args.rounds, args.seconds);
    let measured = measure(args, &place, &mut report);
    // What took minutes is shown even if a later part fails.
    if args.json {
        println!("{:#}", report.json());
    } else {
        print!("{}", report.table());
    }
    measured
}

/// Measures the parts that are wanted, one after the other.
fn measure(args: &Args, place: &Place, report: &mut Report) -> Result<()> {
    let wanted = |name| args.part.as_deref().is_none_or(|part| part == name);
    if wanted("stages") {
        report.chains = stages::measure(place, args.rounds, args.seconds)?;
    }
    if wanted("bodies") {
        report.bodies = bodies::measure(place, args.rounds, args.seconds)?;
    }
    if wanted("proxy") {
        match proxy::measure(place, args.rounds, args.seconds)? {
            Ok(proxy) => report.proxy = proxy,
            Err(why) => report.remark(&why),
        }
    }
    Ok(())
}
