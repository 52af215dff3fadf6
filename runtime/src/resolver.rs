//! Looks up the addresses of names, on the daemon's own executor.
//!
//! What it is: a stub resolver (RFC 1034 section 5.3.1) that reads `/etc/hosts` and
//! `/etc/resolv.conf`, asks the name servers that stand there, and keeps what they say. What it is
//! not: the C library's, which needs shared libraries and holds a thread for as long as a dead
//! server takes. It asks no multicast DNS, reads no `nsswitch.conf`, and checks no signatures.
//!
//! # How a look-up runs
//!
//! [`Resolver::resolve`] answers what needs no server: addresses, `localhost`, names in the hosts
//! file, what is in the cache. For all else there is one flight a name, a task that asks for both
//! families side by side; whoever asks for the same name meanwhile waits for the same flight.
//! Whoever gives up leaves it; it goes on to its own end, and what it finds is kept.
//!
//! # Bounds
//!
//! There are at most [`LOOK_UPS`] flights with [`WAITING`] who wait for each, and 128 names in the
//! cache. A flight takes some 13 KiB and two sockets, and ends within [`LOOK_UP_TIME`]. When one
//! more is needed, one that nobody needs ends, or else the oldest, of the same plugin if it has one:
//! a name that nobody answers for holds up no other. No plugin has more than [`LOOK_UPS_EACH`], so
//! that one that makes up names does not end the look-ups of all others. Whoever waits holds a
//! request or one of a plugin's resources, which are bounded where they are made.

mod cache;
mod error;
mod flight;
#[cfg(test)]
pub mod fuzz;
mod hosts;
mod look_up;
mod message;
mod resolv_conf;
mod servers;
mod special;
#[cfg(test)]
pub(crate) mod tests;
mod transport;
mod watched;

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use smol::{Executor, Task};

pub use error::{ResolveError, ResolveFailure};

use crate::memory::Budget;
use crate::sync;
use crate::timeout::within;
use cache::Cache;
use flight::{Flight, Waiting};
use hosts::Hosts;
use look_up::{INCOMPLETE, look_up};
use resolv_conf::ResolvConf;
use servers::Servers;
use special::special;
use watched::Watched;

/// How many names are looked up at the same time.
pub const LOOK_UPS: usize = 32;
/// How many of them one plugin may have begun: a quarter, so that several of that kind leave some.
pub const LOOK_UPS_EACH: usize = 8;
/// How many may wait for one name: as many as there are connections to one upstream.
pub const WAITING: usize = 192;
/// How long a look-up may take, whatever the configuration says.
pub const LOOK_UP_TIME: Duration = Duration::from_secs(30);
/// The longest name in bytes, with a dot at its end (RFC 1035 section 2.3.4).
const NAME_BYTES: usize = 254;
/// How long nothing is asked again after servers did not answer.
const FAILED: Duration = Duration::from_secs(2);
/// Bytes of the hosts file that are used; it is kept in memory.
const HOSTS_BYTES: usize = 256 << 10;
/// Bytes of the configuration that are used.
const CONF_BYTES: usize = 16 << 10;

/// The addresses of a name, those of one family before those of the other.
pub type Addresses = Arc<[IpAddr]>;

/// The plugin that a name is looked up for, told by its share of connections: all that it asks for,
/// by whichever interface, counts together. None if it is for no plugin.
pub type Asker<'a> = Option<&'a Arc<Budget>>;

/// What came of a look-up.
type Found = Result<Addresses, ResolveError>;

/// Where the resolver learns what to do.
struct Settings {
    hosts: PathBuf,
    resolv_conf: PathBuf,
    /// Where name servers listen (RFC 1035 section 4.2).
    port: u16,
}

/// Looks names up. Clones share one cache.
#[derive(Clone)]
pub struct Resolver {
    shared: Arc<Shared>,
}

struct Shared {
    executor: &'static Executor<'static>,
    hosts: Watched<Hosts>,
    conf: Watched<ResolvConf>,
    port: u16,
    state: Mutex<State>,
}

/// What a name comes to before anything is waited for.
enum Known {
    Now(Found),
    Soon(Waiting),
}

#[derive(Default)]
struct State {
    /// Those of the configuration that was read last. None before the first look-up.
    servers: Option<Arc<Servers>>,
    cache: Cache,
    /// The look-ups under way, the oldest first.
    flights: Vec<UnderWay>,
}

struct UnderWay {
    flight: Arc<Flight>,
    /// The share of the plugin that it was begun for.
    asker: Option<Arc<Budget>>,
    /// Dropping it ends the look-up.
    task: Task<()>,
}

impl Resolver {
    /// A resolver that uses the device's configuration. It reads nothing before the first look-up.
    pub fn new(executor: &'static Executor<'static>) -> Resolver {
        let settings = Settings {
            hosts: PathBuf::from("/etc/hosts"),
            resolv_conf: PathBuf::from("/etc/resolv.conf"),
            port: 53,
        };
        Resolver::with_settings(settings, executor)
    }

    fn with_settings(settings: Settings, executor: &'static Executor<'static>) -> Resolver {
        let parse_conf = |text: String| ResolvConf::parse(&text);
        Resolver {
            shared: Arc::new(Shared {
                executor,
                hosts: Watched::new(settings.hosts, HOSTS_BYTES, Hosts::parse),
                conf: Watched::new(settings.resolv_conf, CONF_BYTES, parse_conf),
                port: settings.port,
                state: Mutex::default(),
            }),
        }
    }

    /// The addresses of `name`, at least one, for `asker`. An address, with or without brackets, is
    /// its own.
    ///
    /// # Errors
    ///
    /// There is no address, or nobody says so; the error tells who was asked.
    pub async fn resolve(&self, name: &str, asker: Asker<'_>) -> Result<Addresses, ResolveError> {
        let literal = name
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            .unwrap_or(name);
        if let Ok(address) = literal.parse::<IpAddr>() {
            return Ok([address].into());
        }
        if name.is_empty() || name.len() > NAME_BYTES || !name.bytes().all(|b| b.is_ascii_graphic())
        {
            return Err(not_a_name(name));
        }
        let name = name.to_ascii_lowercase();
        match self.known_or_asked(&name, asker) {
            Known::Now(found) => found,
            Known::Soon(waiting) => waiting.found().await,
        }
    }

    /// The name servers that are asked, for a message.
    pub fn servers_shown(&self) -> String {
        let conf = self.shared.conf.get(Instant::now());
        let addresses = conf.servers.iter().map(|one| one.address.to_string());
        addresses.collect::<Vec<_>>().join(", ")
    }

    /// What is known of `name` at once, or a place among those who wait for it.
    fn known_or_asked(&self, name: &str, asker: Asker<'_>) -> Known {
        if let Some(addresses) = special(name) {
            return Known::Now(match addresses.is_empty() {
                true => Err(ResolveError::no_such_name(format!(
                    "'{name}' never exists (RFC 6761)"
                ))),
                false => Ok(addresses.into()),
            });
        }
        let now = Instant::now();
        let hosts = self.shared.hosts.get(now);
        let listed = hosts.find(name.strip_suffix('.').unwrap_or(name));
        if !listed.is_empty() {
            return Known::Now(Ok(listed.into()));
        }
        let conf = self.shared.conf.get(now);
        let mut state = sync::lock(&self.shared.state);
        let servers = state.servers(conf, self.shared.port);
        if let Some(found) = state.cache.get(name, now) {
            return Known::Now(found);
        }
        let mut under_way = state.flights.iter().map(|one| &one.flight);
        let flight = under_way.find(|flight| flight.is_for(name, &servers));
        let flight = match flight {
            Some(flight) => Arc::clone(flight),
            None => match self.take_off(&mut state, name, servers, asker) {
                Ok(flight) => flight,
                Err(busy) => return Known::Now(Err(busy)),
            },
        };
        // Before anybody else can see it without somebody who waits.
        let waiting = flight.wait();
        drop(state);
        match waiting {
            Some(waiting) => Known::Soon(waiting),
            None => {
                let detail =
                    format!("{WAITING} requests wait for '{name}' already; try again later");
                Known::Now(Err(ResolveError::new(ResolveFailure::Busy, detail)))
            }
        }
    }

    /// Starts a look-up, for which another one may have to end.
    ///
    /// # Errors
    ///
    /// The asker has as many as it may have.
    fn take_off(
        &self,
        state: &mut State,
        name: &str,
        servers: Arc<Servers>,
        asker: Asker<'_>,
    ) -> Result<Arc<Flight>, ResolveError> {
        state.make_room(name, asker)?;
        let flight = Arc::new(Flight::new(name, servers));
        let resolver = self.clone();
        let flown = Arc::clone(&flight);
        let task = self.shared.executor.spawn(async move {
            let (found, time) = fly(&flown, LOOK_UP_TIME).await;
            resolver.keep(&flown, &found, time);
            flown.land(found);
        });
        state.flights.push(UnderWay {
            flight: Arc::clone(&flight),
            asker: asker.cloned(),
            task,
        });
        Ok(flight)
    }

    /// Ends a look-up, and keeps what it found.
    fn keep(&self, flight: &Arc<Flight>, found: &Found, time: Duration) {
        let mut state = sync::lock(&self.shared.state);
        let mut under_way = state.flights.iter();
        let Some(at) = under_way.position(|one| Arc::ptr_eq(&one.flight, flight)) else {
            return;
        };
        // It is this task itself, which has nothing more to wait for.
        state.flights.remove(at).task.detach();
        state.remember(flight, found, time);
    }
}

impl State {
    /// Sees to it that one more look-up may begin for `asker`. What ends for it is one that nobody
    /// needs, or else the oldest of the asker's own, or else the oldest of all.
    ///
    /// # Errors
    ///
    /// The asker has as many as it may have, and each of them is waited for.
    fn make_room(&mut self, name: &str, asker: Asker<'_>) -> Result<(), ResolveError> {
        let is_own = |one: &UnderWay| {
            let share = one.asker.as_ref().zip(asker);
            share.is_some_and(|(of, asker)| Arc::ptr_eq(of, asker))
        };
        let flights = &self.flights;
        let own = flights.iter().filter(|one| is_own(one)).count();
        let end = if own >= LOOK_UPS_EACH {
            let unneeded = |one: &UnderWay| is_own(one) && one.flight.is_unneeded();
            let Some(end) = flights.iter().position(unneeded) else {
                let detail = format!(
                    "'{name}' is not looked up: {LOOK_UPS_EACH} look-ups of this plugin are under \
                     way; try again later"
                );
                return Err(ResolveError::new(ResolveFailure::Busy, detail));
            };
            end
        } else if flights.len() >= LOOK_UPS {
            let unneeded = flights.iter().position(|one| one.flight.is_unneeded());
            let end = unneeded.or_else(|| flights.iter().position(is_own));
            end.unwrap_or(0)
        } else {
            return Ok(());
        };
        // Its task ends with it.
        let UnderWay { flight, .. } = self.flights.remove(end);
        let detail = format!(
            "the look-up of '{}' made room for others: {LOOK_UPS} are under way; try again later",
            flight.name()
        );
        let found = flight.give_up(ResolveError::new(ResolveFailure::Busy, detail));
        // That there was no room says nothing of the name.
        if found.is_ok() {
            self.remember(&flight, &found, INCOMPLETE);
        }
        Ok(())
    }

    /// Keeps what a look-up found. What other servers said does not count any more.
    fn remember(&mut self, flight: &Arc<Flight>, found: &Found, time: Duration) {
        let servers = self.servers.as_ref();
        if servers.is_some_and(|servers| flight.is_for(flight.name(), servers)) {
            let now = Instant::now();
            self.cache.put(flight.name(), found.clone(), time, now);
        }
    }

    /// The servers of `conf`. Where that is new, nothing that the old ones said is known any more.
    fn servers(&mut self, conf: Arc<ResolvConf>, port: u16) -> Arc<Servers> {
        match &self.servers {
            Some(servers) if Arc::ptr_eq(&servers.conf, &conf) => Arc::clone(servers),
            _ => {
                self.cache.clear();
                let servers = Arc::new(Servers::new(conf, port));
                self.servers = Some(Arc::clone(&servers));
                servers
            }
        }
    }
}

/// Looks a flight's name up within `time`, and says how long what it found may be kept.
async fn fly(flight: &Flight, time: Duration) -> (Found, Duration) {
    let name = flight.name();
    let early = |addresses| flight.land(Ok(addresses));
    let looked = look_up(flight.servers(), name, early);
    if let Some(found) = within(time, looked).await {
        return found;
    }
    let detail = format!(
        "nobody answered for '{name}' within {time:?}; see 'nameserver' and 'options' in \
         /etc/resolv.conf"
    );
    match flight.give_up(ResolveError::new(ResolveFailure::Timeout, detail)) {
        Ok(early) => (Ok(early), INCOMPLETE),
        Err(late) => (Err(late), FAILED),
    }
}

fn not_a_name(name: &str) -> ResolveError {
    let shown: String = name.chars().take(NAME_BYTES).collect();
    let detail = format!(
        "'{}' is not a name: it has at most 253 letters, in parts of at most 63 with a dot between",
        shown.escape_debug()
    );
    ResolveError::new(ResolveFailure::NotAName, detail)
}
