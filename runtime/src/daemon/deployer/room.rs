//! Memory for one more deployment beside the one that is served.
//!
//! It is not kept free all the time: for as long as nothing is installed, requests may have it. When it is wanted,
//! others give way to it as far as it needs, in this order:
//!
//! 1. what is free;
//! 2. idle instances that hold more than what is set aside for their plugins, those too that are kept;
//! 3. idle connections to upstreams, the one that has been idle longest first;
//! 4. what requests at work give back when they end. Those that have begun are not touched, and get what they still
//!    need before this does; no new instance is made beside the one that each plugin is sure of, so that those who
//!    come wait their turn.
//!
//! The last step is bounded: whoever waited for all of it has still as long to get its turn. Clients' connections
//! and the response cache give nothing, since their shares are set aside whether they are used or not, and serve
//! the next deployment as well.

use std::time::{Duration, Instant};

use super::Deployer;
use crate::error::Error;
use crate::memory::Reservation;
use crate::sync;
use crate::timeout;

/// How often it is looked whether something has become idle.
const LOOK: Duration = Duration::from_millis(100);

/// What was found for a deployment.
pub(super) struct Room {
    pub(super) gathered: Option<Reservation>,
    pub(super) search: Search,
}

/// How it was found, for whoever has to be told that it does not do.
pub(super) struct Search {
    needed: usize,
    /// Bytes that could be had if nobody worked.
    attainable: usize,
    /// How long requests at work were waited for.
    waited: Option<Duration>,
    /// Who holds the memory, where that was too little.
    holders: Option<String>,
}

impl Deployer {
    /// Gathers so many bytes for a deployment that is about to be loaded, or as many as there are. Blocks while it
    /// waits for requests at work.
    pub(super) fn find_room(&self, needed: usize) -> Room {
        let budget = &self.loader.budget;
        let mut search = Search {
            needed,
            attainable: budget.attainable(),
            waited: None,
            holders: None,
        };
        let Some(gathering) = budget.gather(needed) else {
            return Room {
                gathered: None,
                search,
            };
        };
        let begun = Instant::now();
        let patience = self.patience();
        let mut is_there = gathering.collect();
        // Where the end of all requests would not do, none is held up for it, and nobody gives anything up.
        while !is_there && needed <= search.attainable {
            let gathered = gathering.gathered();
            self.loader.instance_memory.give_up_idle();
            while !gathering.collect() && self.loader.upstreams.evict() {}
            is_there = gathering.collect();
            let left = patience.saturating_sub(begun.elapsed());
            if is_there || left.is_zero() || self.stop.is_closed() {
                break;
            }
            if search.waited.is_none() {
                log::info!(
                    "a deployment waits for {} of memory, for {patience:?} at most: {}",
                    kib(needed),
                    self.holders()
                );
            }
            smol::block_on(timeout::within(left.min(LOOK), gathered));
            search.waited = Some(begun.elapsed());
        }
        if !is_there {
            search.holders = Some(self.holders());
        }
        Room {
            gathered: gathering.take(),
            search,
        }
    }

    /// How long requests at work are waited for: as long as for those of a deployment that ends, and at most half
    /// as long as a request waits for an instance.
    fn patience(&self) -> Duration {
        let timeouts = &self.loader.timeouts;
        timeouts.drain.min(timeouts.request / 4)
    }

    /// Who holds the memory, with figures.
    fn holders(&self) -> String {
        let loader = &self.loader;
        let present = self.present.get();
        let ending: usize = sync::lock(&self.retiring)
            .iter()
            .flat_map(|one| &one.plugins)
            .map(|plugin| plugin.set_aside())
            .sum();
        let served = present.plugins().iter().map(|plugin| plugin.set_aside());
        let cache = present.cache().map_or(0, |cache| cache.figures().limit);
        let own = loader.own.saturating_sub(loader.connections);
        let parts = [
            ("store, log and admin interface", own),
            ("connections", loader.connections),
            ("bodies", present.bodies_share()),
            ("cache", cache),
            ("plugins that are served", served.sum()),
            ("plugins of deployments that end", ending),
        ];
        let known: usize = parts.iter().map(|(_, bytes)| bytes).sum();
        let used = loader.budget.used() - loader.budget.gathered();
        let rest = used.saturating_sub(known);
        let parts = parts.iter().filter(|(_, bytes)| *bytes > 0);
        let mut told: Vec<_> = parts
            .map(|(part, bytes)| format!("{part} {}", kib(*bytes)))
            .collect();
        told.push(format!(
            "requests at work, in {} instances, with WebSockets, upstreams and metrics {}",
            loader.instance_memory.at_work(),
            kib(rest)
        ));
        told.join(", ")
    }
}

impl Search {
    /// The error with which a deployment could not be loaded; where it is for want of memory, with who holds that,
    /// and what would mend it.
    pub(super) fn told(&self, error: Error) -> Error {
        let more = |reason: String| match reason.contains("--memory-max") {
            true => format!("{reason}{}", self.told_more()),
            false => reason,
        };
        match error {
            Error::Plugin { name, reason } => Error::Plugin {
                name,
                reason: more(reason),
            },
            Error::Usage(reason) => Error::Usage(more(reason)),
            other => other,
        }
    }

    fn told_more(&self) -> String {
        let mut told = ", beside what is served".to_owned();
        if let Some(holders) = &self.holders {
            told += &format!(
                ": it needs {} and memory is held by {holders}",
                kib(self.needed)
            );
        }
        if let Some(waited) = self.waited {
            told += &format!(
                "; requests at work were waited for {} ms",
                waited.as_millis()
            );
        }
        told += match self.needed <= self.attainable {
            true => {
                "; install it when fewer are at work, stop the daemon to install it, or raise --memory-max"
            }
            false => "; stop the daemon to install it, or raise --memory-max",
        };
        told
    }
}

fn kib(bytes: usize) -> String {
    format!("{} KiB", bytes >> 10)
}
