//! The scaffold of all benchmarks: flags, progress, printing, recording.

use std::fmt::Display;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use argh::FromArgs;

use crate::record::Record;
use crate::table::Table;
use crate::{attacks, calls, checkout, keyvalue, machines, page, pipeline, serve};

/// All of them, in the order of the page.
pub(crate) const ALL: [&Bench; 5] = [
    &serve::BENCH,
    &pipeline::BENCH,
    &keyvalue::BENCH,
    &attacks::BENCH,
    &calls::BENCH,
];

/// The names of all that is recorded, in the order of the page.
#[cfg(test)]
pub(crate) fn recorded() -> impl Iterator<Item = &'static str> {
    ALL.iter().map(|bench| bench.name).chain([machines::NAME])
}

/// One benchmark: what is its own.
pub(crate) struct Bench {
    /// Of the bench target, and of the data file.
    pub(crate) name: &'static str,
    /// Rounds unless a flag says otherwise.
    pub(crate) rounds: u32,
    /// Seconds unless a flag says otherwise.
    pub(crate) seconds: u64,
    /// What `--part` may name.
    pub(crate) parts: &'static [&'static str],
    /// Measures every part that is wanted.
    pub(crate) measure: fn(&mut Run) -> Result<()>,
}

/// Measures one part of the daemon and prints a table of what it found.
#[derive(FromArgs, Debug)]
struct Args {
    /// rounds, 1 to 100: a figure is the median of its rounds
    #[argh(option)]
    rounds: Option<u32>,
    /// seconds of load in each round, 1 to 600
    #[argh(option)]
    seconds: Option<u64>,
    /// measure this part alone
    #[argh(option)]
    part: Option<String>,
    /// print JSON instead of tables
    #[argh(switch)]
    json: bool,
    /// write the figures into docs/figures and make docs/figures.md anew
    #[argh(switch)]
    record: bool,
    /// given by cargo
    #[argh(switch, hidden_help)]
    bench: bool,
}

/// Runs all benchmarks and records their figures in docs/figures.
#[derive(FromArgs, Debug)]
struct ArgsOfAll {
    /// measure nothing: make docs/figures.md from the figures that are recorded
    #[argh(switch)]
    page: bool,
    /// measure nothing: record what `cargo boards bench --machine` has measured and put into this file
    #[argh(option)]
    machines: Option<PathBuf>,
    /// rounds of each benchmark, 1 to 100 (default: as many as each has by itself)
    #[argh(option)]
    rounds: Option<u32>,
    /// seconds of load in each round, 1 to 600 (default: as long as each has by itself)
    #[argh(option)]
    seconds: Option<u64>,
    /// given by cargo
    #[argh(switch, hidden_help)]
    bench: bool,
}

/// One run of a benchmark.
pub(crate) struct Run {
    /// Rounds of everything.
    pub(crate) rounds: u32,
    /// Seconds of load in each.
    pub(crate) seconds: u64,
    part: Option<String>,
    name: &'static str,
    started: Instant,
    record: Record,
}

/// The `main` of one benchmark.
pub(crate) fn main(bench: &Bench) -> ExitCode {
    let args: Args = argh::from_env();
    if !args.bench {
        return only_a_benchmark(bench.name);
    }
    ended(bench.name, run_one(bench, &args))
}

/// The `main` of the target that runs all benchmarks.
pub(crate) fn main_of_all() -> ExitCode {
    let args: ArgsOfAll = argh::from_env();
    if !args.bench {
        return only_a_benchmark("figures");
    }
    ended("figures", run_all(&args))
}

/// `cargo test --all-targets` runs this too, and must not take minutes.
fn only_a_benchmark(name: &str) -> ExitCode {
    println!("this is a benchmark: cargo bench -p zlayer-tests --bench {name}");
    ExitCode::SUCCESS
}

fn ended(name: &str, result: Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{name}: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run_one(bench: &Bench, args: &Args) -> Result<()> {
    if let Some(part) = &args.part {
        ensure!(
            bench.parts.contains(&part.as_str()),
            "--part: there is no part {part:?}; there are {}",
            bench.parts.join(", ")
        );
        ensure!(
            !args.record,
            "--record writes all parts: leave --part {part} away"
        );
    }
    let mut run = Run::new(bench, args.rounds, args.seconds, args.part.clone())?;
    let measured = (bench.measure)(&mut run);
    // What took minutes is shown even if a later part fails.
    if run.record.tables.is_empty() {
        return measured;
    }
    if args.json {
        println!("{}", run.record.json()?);
    } else {
        print!("{}", run.record.text());
    }
    measured?;
    if args.record {
        run.record.save(&checkout::root())?;
        page::write(&checkout::root())?;
    }
    Ok(())
}

fn run_all(args: &ArgsOfAll) -> Result<()> {
    if let Some(file) = &args.machines {
        machines::record(file)?;
    } else if !args.page {
        for bench in ALL {
            let mut run = Run::new(bench, args.rounds, args.seconds, None)?;
            (bench.measure)(&mut run).context(bench.name)?;
            print!("{}", run.record.text());
            run.record.save(&checkout::root())?;
        }
    }
    page::write(&checkout::root())
}

impl Run {
    fn new(
        bench: &Bench,
        rounds: Option<u32>,
        seconds: Option<u64>,
        part: Option<String>,
    ) -> Result<Run> {
        let rounds = rounds.unwrap_or(bench.rounds);
        let seconds = seconds.unwrap_or(bench.seconds);
        if !(1..=100).contains(&rounds) {
            bail!("--rounds: {rounds} is not between 1 and 100");
        }
        if !(1..=600).contains(&seconds) {
            bail!("--seconds: {seconds} is not between 1 and 600");
        }
        Ok(Run {
            rounds,
            seconds,
            part,
            name: bench.name,
            started: Instant::now(),
            record: Record::new(bench.name, rounds, seconds)?,
        })
    }

    /// Whether this part is to be measured.
    pub(crate) fn wants(&self, part: &str) -> bool {
        self.part.as_deref().is_none_or(|wanted| wanted == part)
    }

    /// Says what is measured now.
    pub(crate) fn progress(&self, what: impl Display) {
        let seconds = self.started.elapsed().as_secs();
        eprintln!("{} {}:{:02} {what}", self.name, seconds / 60, seconds % 60);
    }

    /// Says which round begins; what is measured comes behind it.
    pub(crate) fn round(&self, number: u32, what: impl Display) {
        self.progress(format_args!("round {number} of {}: {what}", self.rounds));
    }

    /// Notes a program that takes part: its name, version and size.
    pub(crate) fn program(&mut self, version: String) {
        self.record.programs.push(version);
    }

    /// Notes what the reader should know.
    pub(crate) fn remark(&mut self, text: impl Into<String>) {
        self.record.remarks.push(text.into());
    }

    /// Notes figures.
    pub(crate) fn table(&mut self, table: Table) {
        self.record.tables.push(table);
    }
}
