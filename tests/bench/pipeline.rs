//! What the stages of the pipeline cost, alone and in chains; what it costs to show a body to a
//! transformer; and the proxy beside nginx. The plugins are those of the plugin guide.

mod bodies;
mod chain;
mod daemon;
mod exchange;
mod proxy;
mod stages;

use anyhow::Result;

use crate::bench::{Bench, Run};
use crate::pipeline::daemon::Plugins;
use crate::workshop::Workshop;

/// The benchmark.
pub(crate) const BENCH: Bench = Bench {
    name: "pipeline",
    rounds: 3,
    seconds: 1,
    parts: &["stages", "bodies", "proxy"],
    measure,
};

fn measure(run: &mut Run) -> Result<()> {
    let plugins = Plugins::new(Workshop::new(run)?)?;
    if run.wants("stages") {
        stages::measure(run, &plugins)?;
    }
    if run.wants("bodies") {
        bodies::measure(run, &plugins)?;
    }
    if run.wants("proxy") {
        proxy::measure(run, &plugins)?;
    }
    Ok(())
}
