//! Whether plugins that were loaded work: their `init`, and their answers to checks of health.

use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::pipeline::Pipeline;
use crate::plugin::{Health, HealthState, PluginState};
use crate::stats::Outcome;
use crate::timeout;

/// Of the requests that a plugin has answered since it is served, one in so many at the least fails where the
/// failures are held against it: one client that sends what a plugin cannot take does not undo an update.
const REQUESTS_EACH_FAILURE: u64 = 10;

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

/// Asks all plugins that tell it for their health, once more before they are trusted: the last check may have failed,
/// or be on its way for ever. `time` bounds all of it.
pub(super) async fn still_well(pipeline: &Pipeline, time: Duration) -> Option<String> {
    let all = async {
        for plugin in pipeline.plugins() {
            if let Err(reason) = pipeline.prove_health(plugin).await {
                return Some(format!("plugin {}: unhealthy: {reason}", plugin.name()));
            }
        }
        None
    };
    let undecided = || Some(format!("no check of its health ended well within {time:?}"));
    timeout::within(time, all).await.unwrap_or_else(undecided)
}

/// What speaks against a pipeline that is served on trial: a plugin that cannot be started any more, is not well,
/// or has trapped, or answered too late, more often than `most` times. Clients that went away, and upstreams that were
/// waited for, count for nothing.
pub(super) fn trouble(pipeline: &Arc<Pipeline>, most: u64) -> Option<String> {
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
        let (trapped, late) = (stats.traps(), stats.late());
        let failed = trapped.saturating_add(late);
        if failed <= most || failed.saturating_mul(REQUESTS_EACH_FAILURE) < requests {
            return None;
        }
        told(match (trapped, late) {
            (_, 0) => format!("it trapped {trapped} times in its trial"),
            (0, _) => format!("it did not answer in time {late} times in its trial"),
            _ => format!(
                "in its trial it trapped {trapped} times, and did not answer in time {late} times"
            ),
        })
    })
}
