//! Where clients come in at present.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use event_listener::{Event, EventListener};

use super::door::Door;
use super::place::Place;
use crate::config;
use crate::error::Result;
use crate::message::Scheme;
use crate::sync;

/// A door that is open, or is to be.
#[derive(Clone)]
pub struct Opened {
    /// What was asked for.
    pub wanted: config::Door,
    /// Where that is.
    pub door: Arc<Door>,
    /// Where the same is over TLS, if requests without TLS are sent there.
    pub redirect: Option<Arc<Door>>,
}

/// The doors of a daemon, which change while it serves.
pub struct Doors {
    state: Mutex<State>,
    changed: Event,
}

struct State {
    open: Vec<Opened>,
    /// The daemon drains.
    is_over: bool,
}

impl Doors {
    /// These, from when [`super::Server::run`] is polled.
    ///
    /// # Errors
    ///
    /// One of them cannot be waited for.
    pub fn new(open: Vec<Opened>) -> Result<Arc<Doors>> {
        for one in &open {
            one.door.make_ready()?;
            one.lead_on();
        }
        Ok(Arc::new(Doors {
            state: Mutex::new(State {
                open,
                is_over: false,
            }),
            changed: Event::new(),
        }))
    }

    /// Those that are open.
    pub fn open(&self) -> Vec<Opened> {
        sync::lock(&self.state).open.clone()
    }

    /// The addresses that clients connect to, each with what is spoken there. Those without TLS stand first.
    pub fn addresses(&self) -> Vec<(Scheme, SocketAddr)> {
        let open = self.open();
        let addresses = open.iter().filter_map(|one| {
            let scheme = match one.wanted.is_https {
                true => Scheme::Https,
                false => Scheme::Http,
            };
            Some((scheme, one.door.address()?))
        });
        addresses.collect()
    }

    /// Has clients come in by these from now on, which are ready, and closes the others. Returns those.
    pub fn exchange(&self, next: Vec<Opened>) -> Vec<Opened> {
        let mut state = sync::lock(&self.state);
        for one in &next {
            one.lead_on();
        }
        let mut before = std::mem::take(&mut state.open);
        before.retain(|old| !next.iter().any(|one| Arc::ptr_eq(&one.door, &old.door)));
        for old in &before {
            old.door.step().go();
            old.door.close();
        }
        if state.is_over {
            next.iter().for_each(|one| one.door.end());
        }
        state.open = next;
        drop(state);
        self.changed.notify(usize::MAX);
        before
    }

    /// Closes all of them: the daemon drains.
    pub(super) fn end(&self) {
        let mut state = sync::lock(&self.state);
        state.is_over = true;
        state.open.iter().for_each(|one| one.door.end());
    }

    /// Those to wait at, and what tells that they are others by now.
    pub(super) fn present(&self) -> (Vec<Arc<Door>>, EventListener) {
        let changed = self.changed.listen();
        let open = self.open();
        (open.into_iter().map(|one| one.door).collect(), changed)
    }
}

impl Opened {
    fn lead_on(&self) {
        let to = self.redirect.as_ref().and_then(|door| door.address());
        self.door.lead_to(Place {
            is_https: self.wanted.is_https,
            named: self.wanted.named,
            is_internal: self.wanted.is_internal(),
            redirect: to.map(|address| address.port()),
        });
    }
}
