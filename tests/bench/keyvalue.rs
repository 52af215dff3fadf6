//! What the key-value store costs: time of a call beside fjall called directly, bytes written for a hot
//! counter, memory, and time to open.
//!
//! The daemon is the device build; its calls are timed inside the plugin, so they hold the component
//! boundary and no HTTP. Data lies on the disk of the current folder. Rounds alternate between the
//! contenders and figures are medians. Every process that is started here is ended here.

mod answer;
mod machine;
#[expect(dead_code, reason = "the other benchmark uses the rest")]
mod ours;
#[expect(dead_code, reason = "the other benchmark uses the rest")]
mod process;
#[expect(dead_code, reason = "the other benchmark uses the rest")]
mod stats;

#[path = "keyvalue/calls.rs"]
mod calls;
#[path = "keyvalue/client.rs"]
mod client;
#[path = "keyvalue/counter.rs"]
mod counter;
#[path = "keyvalue/daemon.rs"]
mod daemon;
#[path = "keyvalue/direct.rs"]
mod direct;
#[path = "keyvalue/memory.rs"]
mod memory;
#[path = "keyvalue/opening.rs"]
mod opening;
#[path = "keyvalue/report.rs"]
mod report;
#[path = "keyvalue/writes.rs"]
mod writes;

use std::process::ExitCode;

use anyhow::{Result, bail, ensure};
use argh::FromArgs;

use crate::daemon::Place;
use crate::report::Report;

/// Measures the key-value store.
#[derive(FromArgs, Debug)]
struct Args {
    /// rounds of all but the counter, 1 to 100 (default 5)
    #[argh(option, default = "5")]
    rounds: u32,
    /// seconds that the counter is hit in each mode, 1 to 600 (default 60)
    #[argh(option, default = "60")]
    seconds: u64,
    /// measure this part alone: calls, counter, memory or opening
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
        println!("this is a benchmark: cargo bench -p zlayer-tests --bench keyvalue");
        return ExitCode::SUCCESS;
    }
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("keyvalue: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<()> {
    ensure!((1..=100).contains(&args.rounds), "--rounds: 1 to 100");
    ensure!((1..=600).contains(&args.seconds), "--seconds: 1 to 600");
    if let Some(part) = &args.part
        && !["calls", "counter", "memory", "opening"].contains(&part.as_str())
    {
        bail!("--part: there is no part {part:?}; there are calls, counter, memory, opening");
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
    if wanted("calls") {
        report.calls = Some(calls::measure(place, args.rounds)?);
    }
    if wanted("counter") {
        report.counter = Some(counter::measure(place, args.seconds)?);
    }
    if wanted("memory") {
        report.memory = Some(memory::measure(place, args.rounds)?);
    }
    if wanted("opening") {
        report.opening = Some(opening::measure(place, args.rounds)?);
    }
    Ok(())
}
