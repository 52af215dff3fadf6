//! What the key-value store costs: time of a call beside fjall called directly, bytes written for a hot
//! counter, memory, and time to open.
//!
//! Calls are timed inside the plugin, so they hold the component boundary and no HTTP. Data lies on
//! the disk of the current folder.

mod calls;
mod counter;
mod daemon;
mod direct;
mod memory;
mod opening;
mod writes;

use anyhow::Result;

use crate::bench::{Bench, Run};
use crate::keyvalue::daemon::Store;
use crate::workshop::Workshop;

/// The benchmark.
pub(crate) const BENCH: Bench = Bench {
    name: "keyvalue",
    rounds: 3,
    seconds: 10,
    parts: &["calls", "counter", "memory", "opening"],
    measure,
};

fn measure(run: &mut Run) -> Result<()> {
    let store = Store::new(Workshop::on_disk(run)?)?;
    if run.wants("calls") {
        calls::measure(run, &store)?;
    }
    if run.wants("counter") {
        counter::measure(run, &store)?;
    }
    if run.wants("memory") {
        memory::measure(run, &store)?;
    }
    if run.wants("opening") {
        opening::measure(run, &store)?;
    }
    Ok(())
}
