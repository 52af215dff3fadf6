//! Whether plugins that were loaded work: their `init`, and their answers to checks of health.

use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::pipeline::Pipeline;
use crate::plugin::{Health, HealthState, PluginState};
use crate::stats::Outcome;
use crate::timeout;

/// Of the requests that a plugin has answered since it is served, one in so many at the least traps where the
/// traps are held against it: one client that sends what a plugin cannot take does not undo an update.
const REQUESTS_EACH_TRAP: u64 = 10;

/// Makes an instance of each plugin, within `time` each, and asks those for their health that tell it.
///
/// # Errors
///
/// One of them fails.
pub(super) async fn prove(pipeline: &Pipeline, time: Duration) -> Result<()> {
    for plugin in pipeline.plugins() {
        let failed = |reason: String| Error::Plugin {
            name: plugin.name().to_owned(),
            reason,
        };
        // Without the ticker nobody would interrupt an `init` that computes for ever.
        let working = plugin.working();
        let made = timeout::within(time, plugin.try_instance()).await;
        drop(working);
        match made {
            Some(Ok(())) => {}
            Some(Err(failure)) => return Err(failed(failure.to_string())),
            None => return Err(failed(format!("init did not end within {time:?}"))),
        }
        if let Err(reason) = pipeline.prove_health(plugin).await {
            return Err(failed(format!("unhealthy: {reason}")));
        }
    }
    Ok(())
}

/// What speaks against a pipeline that is served on trial: a plugin that cannot be started any more, is not well,
/// or has trapped more often than `traps` times.
pub(super) fn trouble(pipeline: &Arc<Pipeline>, traps: u64) -> Option<String> {
    pipeline.plugins().iter().find_map(|plugin| {
        let told = |what: String| Some(format!("plugin {}: {what}", plugin.name()));
        if let PluginState::Failed(reason) = plugin.state() {
            return told(format!("init failed: {reason}"));
        }
        if let Some(HealthState::Unhealthy(_, reason)) = plugin.health().map(Health::state) {
            return told(format!("unhealthy: {reason}"));
        }
        let stats = &plugin.host().stats;
        let requests: u64 = { Outcome::ALL.into_iter() }
            .map(|outcome| stats.requests(outcome))
            .sum();
        let trapped = stats.traps();
        match trapped > traps && trapped.saturating_mul(REQUESTS_EACH_TRAP) >= requests {
            true => told(format!("it trapped {trapped} times in its trial")),
            false => None,
        }
    })
}
