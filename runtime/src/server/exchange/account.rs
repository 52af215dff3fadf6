//! What is told and counted of a request, and what goes on behind it.

use std::sync::Arc;

use futures_lite::future::or;

use super::Exchange;
use crate::clients;
use crate::failure::Failure;
use crate::pipeline::Tail;
use crate::reactor;
use crate::redact;
use crate::stats::Outcome;
use crate::timeout;
use crate::wire::stopped;

/// How many bytes of a method, and of a path, the log shows. A client chooses both, so they are
/// cut.
const LOGGED_BYTES: usize = 128;

impl Exchange<'_> {
    /// Lets a plugin go on after its response is written, for as long as a request may take, and no longer
    /// than its deployment has.
    pub(super) fn finish_detached(&self, tail: Tail) {
        let (id, shared) = (Arc::clone(&self.id), Arc::clone(self.shared));
        let (open, passage) = (self.open.clone(), Arc::clone(&self.passage));
        let executor = shared.executor;
        let claim = Arc::clone(self.claim);
        let finish = async move {
            let tail = clients::on_behalf(&claim, tail);
            let ended = timeout::within(shared.timeouts.request, reactor::enter(tail));
            let plugin = passage.plugin();
            let plugin = plugin.as_ref().map_or("-", |plugin| plugin.name());
            match ended.await {
                Some(Ok(())) => {}
                Some(Err(failure)) => {
                    log::error!("[{id}] plugin {plugin}: after its response: {failure}");
                }
                None => log::error!(
                    "[{id}] plugin {plugin}: was stopped, it went on too long after its response"
                ),
            }
            drop(open);
        };
        let shared = Arc::clone(self.shared);
        let cutting = self.pipeline.cutting();
        let cut = async move { or(stopped(&shared.cut), stopped(&cutting)).await };
        executor.spawn(or(finish, cut)).detach();
    }

    /// Counts the request, which ended with this status, or with 0 if no complete response got out.
    /// Stages were counted when they ended.
    pub(super) fn count(&self, status: u16, outcome: Outcome) {
        self.shared
            .stats
            .count_request(status, self.received.elapsed());
        if let Some(plugin) = self.passage.plugin() {
            plugin.host().stats.count_request(outcome);
        }
    }

    /// The same of a request that failed. The handler has answered where a stage behind it failed.
    pub(super) fn count_failed(&self, status: u16, failure: &Failure) {
        self.count(
            status,
            match failure.is_counted() {
                true => Outcome::Answered,
                false => failure.outcome(),
            },
        );
    }

    /// Puts the blame for a failed response on the upstream that it came from, if it came from one.
    pub(super) fn blame_upstream(&self, failure: Failure) -> Failure {
        match self.origin.get() {
            Some(name) => failure.of_upstream(name),
            None => failure,
        }
    }

    pub(super) fn log_failure(&self, how: &str, failure: &Failure) {
        // A stage that failed says itself whose it is.
        let plugin = { self.passage.plugin() }.filter(|_| !failure.is_counted());
        // Only a timeout is recorded here: a trap was recorded where it was seen.
        if failure.outcome() == Outcome::Deadline
            && let Some(plugin) = &plugin
        {
            let id = Arc::clone(&self.id);
            let stats = &plugin.host().stats;
            stats.add_late(Some(id), failure.is_own_delay(), &failure.to_string());
        }
        // Every 5xx is told, also those that nobody here is to blame for.
        let level = match (failure.is_clients(), failure.status()) {
            // The device's owner has asked for what ends it.
            (false, _) if matches!(failure, Failure::Ended) => log::Level::Info,
            (false, _) => log::Level::Error,
            (true, 500..) => log::Level::Info,
            (true, _) => log::Level::Debug,
        };
        let plugin = plugin.map_or(String::new(), |plugin| {
            format!("plugin {}: ", plugin.name())
        });
        let more = match (self.passage.route(), failure) {
            (Some((_, router)), _) if failure.outcome() == Outcome::Upstream => {
                format!(" (forwarded by plugin {router})")
            }
            (_, Failure::Displaced) => {
                " (places are few: --max-connections, --memory-max)".to_owned()
            }
            _ => String::new(),
        };
        log::log!(
            level,
            "[{}] {} {}: {plugin}{how}: {failure}{more}",
            self.id,
            redact::cut(self.method.as_str(), LOGGED_BYTES),
            redact::cut(self.uri.path(), LOGGED_BYTES),
        );
    }
}
