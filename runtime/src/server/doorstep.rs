//! What the connections of one door share, and how they are told to end.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use smol::channel::{Receiver, Sender, bounded};

use super::place::Place;
use crate::sync;
use crate::wire::stopped;

/// What the connections of a door share: what it leads to, which changes with what is served, and whether they may
/// stay.
pub(super) struct Doorstep {
    place: Mutex<Place>,
    is_shut: AtomicBool,
    /// What is served by now knows nothing of this door.
    is_gone: AtomicBool,
    end: Sender<()>,
    /// Closed when connections are to end that have no request.
    over: Receiver<()>,
}

impl Doorstep {
    pub(super) fn new(place: Place) -> Doorstep {
        let (end, over) = bounded(1);
        Doorstep {
            place: Mutex::new(place),
            is_shut: AtomicBool::new(false),
            is_gone: AtomicBool::new(false),
            end,
            over,
        }
    }

    pub(super) fn place(&self) -> Place {
        *sync::lock(&self.place)
    }

    /// Has requests to come know this place.
    pub(super) fn lead_to(&self, place: Place) {
        *sync::lock(&self.place) = place;
    }

    /// Has connections end with the request that they are at.
    pub(super) fn shut(&self) {
        self.is_shut.store(true, Ordering::Release);
        self.end();
    }

    /// The same where another deployment takes the place of the one that this door led to.
    pub(super) fn go(&self) {
        self.is_gone.store(true, Ordering::Release);
        self.shut();
    }

    /// Whether the deployment that this door led to is served no longer.
    pub(super) fn is_gone(&self) -> bool {
        self.is_gone.load(Ordering::Acquire)
    }

    /// Has connections end that have no request, as where the daemon drains.
    pub(super) fn end(&self) {
        self.end.close();
    }

    /// Whether connections end with the request that they are at.
    pub(super) fn is_shut(&self) -> bool {
        self.is_shut.load(Ordering::Acquire)
    }

    /// Waits until a connection need not wait for one more request.
    pub(super) async fn over(&self) {
        stopped(&self.over).await;
    }
}

impl Default for Doorstep {
    fn default() -> Doorstep {
        Doorstep::new(Place::default())
    }
}
