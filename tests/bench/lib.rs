//! The benchmarks, and the page that is made from what they recorded.
//!
//! Five of them: [`serve`] measures the daemon beside `wasmtime serve` and nginx, [`pipeline`] what
//! each stage costs, [`keyvalue`] what the store costs, [`attacks`] what others notice of
//! a client that means harm, [`calls`] what they notice of a plugin that calls the host with all it has. [`figures`] runs all of them, and records what
//! `cargo boards bench --machine` measures in whole emulated machines ([`machines`]). Each hands its
//! figures over as tables, and the scaffold ([`bench`]) does the rest in the same way for all:
//! flags, printing, and with `--record` a data file in `docs/figures`, from which the page
//! `docs/figures.md` is made anew. No number in that page stands anywhere else.
//!
//! Rounds alternate between the contenders, so that what else the machine does hits all alike, and
//! figures are medians. Clients and servers share the machine. Every process that is started here is
//! ended here.
//!
//! The programs themselves (`targets/`) are a line each; all is in this library, so that every
//! benchmark uses the same modules and the checks of the page are ordinary tests.

#[cfg(test)]
mod age;
pub mod attack;
mod bench;
mod checkout;
mod client;
/// How the tests write a deployment, and so the benchmarks.
#[path = "../e2e/support/deployment.rs"]
mod deployment;
mod load;
mod machine;
mod machines;
mod nginx;
mod page;
mod process;
mod record;
mod response;
mod stats;
mod table;
mod workshop;

mod attacks;
mod calls;
mod keyvalue;
mod pipeline;
mod serve;

use std::process::ExitCode;

/// Runs the benchmark `serve`, as its flags say.
pub fn serve() -> ExitCode {
    bench::main(&serve::BENCH)
}

/// Runs the benchmark `pipeline`, as its flags say.
pub fn pipeline() -> ExitCode {
    bench::main(&pipeline::BENCH)
}

/// Runs the benchmark `keyvalue`, as its flags say.
pub fn keyvalue() -> ExitCode {
    bench::main(&keyvalue::BENCH)
}

/// Runs the benchmark `attacks`, as its flags say.
pub fn attacks() -> ExitCode {
    bench::main(&attacks::BENCH)
}

/// Runs the benchmark `calls`, as its flags say.
pub fn calls() -> ExitCode {
    bench::main(&calls::BENCH)
}

/// Runs all of them and records their figures, or only makes the page from what is recorded.
pub fn figures() -> ExitCode {
    bench::main_of_all()
}
