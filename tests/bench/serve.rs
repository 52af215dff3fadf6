//! How fast and how small the daemon is, beside `wasmtime serve` and nginx in the same run.
//!
//! Everyone answers the same bytes to the same requests. Rounds alternate, so that what else the
//! machine does hits all alike; every figure is a median. Each server runs as it comes: the
//! daemon and wasmtime with as many threads as the machine has processors, nginx with one process.
//! Clients and servers share the machine. Every process that is started here is ended here.

mod answer;
mod column;
mod load;
mod machine;
mod measure;
#[expect(dead_code, reason = "the other benchmarks use the rest")]
mod ours;
#[expect(dead_code, reason = "the other benchmark uses the rest")]
mod process;
mod report;
mod setup;
mod stats;
mod wrk;

use std::fs;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use argh::FromArgs;

use crate::report::Report;
use crate::setup::{Contender, Setup};

/// Measures the daemon beside its peers.
#[derive(FromArgs, Debug)]
struct Args {
    /// rounds of load for each server, 1 to 100 (default 5)
    #[argh(option, default = "5")]
    rounds: u32,
    /// seconds of load in each round, 1 to 60 (default 3)
    #[argh(option, default = "3")]
    seconds: u64,
    /// starts of each server, 1 to 1000 (default 15)
    #[argh(option, default = "15")]
    starts: u32,
    /// use this program's own load generator even if wrk is here
    #[argh(switch)]
    no_wrk: bool,
    /// print JSON instead of a table
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
        println!("this is a benchmark: cargo bench -p zlayer-tests --bench serve");
        return ExitCode::SUCCESS;
    }
    match run(&args) {
        Ok(report) if args.json => println!("{:#}", report.json()),
        Ok(report) => print!("{}", report.table()),
        Err(error) => {
            eprintln!("serve: {error:#}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn run(args: &Args) -> Result<Report> {
    ensure!((1..=100).contains(&args.rounds), "--rounds: 1 to 100");
    ensure!((1..=60).contains(&args.seconds), "--seconds: 1 to 60");
    ensure!((1..=1000).contains(&args.starts), "--starts: 1 to 1000");
    let setup = Setup::new(!args.no_wrk)?;
    let contenders = setup.contenders();
    let mut report = Report::new(&setup, &contenders, args.rounds, args.seconds, args.starts);
    let kept = setup.path("data");

    // One start that does not count: it fills the kept folder and the page cache.
    measure::start(&setup, Contender::Zlayer, &kept).context("starting zlayer")?;
    for number in 0..args.starts {
        eprintln!("start {} of {}", number + 1, args.starts);
        for &contender in &contenders {
            let start = measure::start(&setup, contender, &kept)
                .with_context(|| format!("starting {}", contender.name()))?;
            report.add_start(contender, start);
        }
        let fresh = setup.path("data-new");
        report.add_first_start(measure::start(&setup, Contender::Zlayer, &fresh)?);
        fs::remove_dir_all(&fresh).with_context(|| fresh.display().to_string())?;
    }
    for number in 0..args.rounds {
        for &contender in &contenders {
            eprintln!(
                "round {} of {}: {}",
                number + 1,
                args.rounds,
                contender.name()
            );
            let round = measure::round(&setup, contender, &kept, args.seconds)
                .with_context(|| format!("loading {}", contender.name()))?;
            report.add_round(contender, round);
        }
    }
    Ok(report)
}
