//! One look-up that is under way, and those who wait for it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use event_listener::Event;

use super::error::ResolveError;
use super::servers::Servers;
use super::{Found, WAITING};
use crate::sync;

/// The look-up of one name. All who ask for the name meanwhile get what it finds.
pub(super) struct Flight {
    name: Box<str>,
    servers: Arc<Servers>,
    found: Mutex<Option<Found>>,
    landed: Event,
    waiting: AtomicUsize,
}

impl Flight {
    pub(super) fn new(name: &str, servers: Arc<Servers>) -> Flight {
        Flight {
            name: name.into(),
            servers,
            found: Mutex::new(None),
            landed: Event::new(),
            waiting: AtomicUsize::new(0),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn servers(&self) -> &Servers {
        &self.servers
    }

    /// Whether it asks these servers for this name.
    pub(super) fn is_for(&self, name: &str, servers: &Arc<Servers>) -> bool {
        *self.name == *name && Arc::ptr_eq(&self.servers, servers)
    }

    /// Whether all who asked have given up, or can have addresses already.
    pub(super) fn is_unneeded(&self) -> bool {
        let waiting = self.waiting.load(Ordering::Relaxed);
        waiting == 0 || sync::lock(&self.found).is_some()
    }

    /// A place among those who wait. None if there are [`WAITING`] already.
    pub(super) fn wait(self: Arc<Flight>) -> Option<Waiting> {
        let one_more = |waiting| (waiting < WAITING).then_some(waiting + 1);
        let order = Ordering::Relaxed;
        let taken = self.waiting.fetch_update(order, order, one_more);
        taken.is_ok().then(|| Waiting(self))
    }

    /// Gives all who wait, and all who come, what was found. This may happen twice: with what came
    /// first, and with all of it.
    pub(super) fn land(&self, found: Found) {
        *sync::lock(&self.found) = Some(found);
        self.landed.notify(usize::MAX);
    }

    /// Ends with `error`, unless addresses came early: those stand, and are what was found.
    pub(super) fn give_up(&self, error: ResolveError) -> Found {
        let mut found = sync::lock(&self.found);
        let kept = match found.take() {
            Some(Ok(addresses)) => Ok(addresses),
            _ => Err(error),
        };
        *found = Some(kept.clone());
        drop(found);
        self.landed.notify(usize::MAX);
        kept
    }

    fn found(&self) -> Option<Found> {
        sync::lock(&self.found).clone()
    }
}

/// Somebody who waits for a flight. Dropping it gives the place to others; the flight goes on.
pub(super) struct Waiting(Arc<Flight>);

impl Waiting {
    pub(super) async fn found(&self) -> Found {
        loop {
            if let Some(found) = self.0.found() {
                return found;
            }
            let landed = self.0.landed.listen();
            // It may have landed between the look and the listening.
            if let Some(found) = self.0.found() {
                return found;
            }
            landed.await;
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}
