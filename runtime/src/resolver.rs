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
//! more is needed, one that nobody waits for ends, or else the oldest: a name that nobody answers
//! for holds up no other. Whoever waits holds a request or one of a plugin's resources, which are
//! bounded where they are made.

mod cache;
mod error;
mod flight;
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

use crate::sync;
use crate::timeout::within;
use cache::Cache;
use flight::{Flight, Waiting};
use hosts::Hosts;
use look_up::look_up;
use resolv_conf::ResolvConf;
use servers::Servers;
use special::special;
use watched::Watched;

/// How many names are looked up at the same time.
pub const LOOK_UPS: usize = 32;
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

    /// The addresses of `name`, at least one. An address, with or without brackets, is its own.
    ///
    /// # Errors
    ///
    /// There is no address, or nobody says so; the error tells who was asked.
    pub async fn resolve(&self, name: &str) -> Result<Addresses, ResolveError> {
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
        match self.known_or_asked(&name) {
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
    fn known_or_asked(&self, name: &str) -> Known {
        if let Some(addresses) = special(name) {
            return Known::Now(match addresses.is_empty() {
                true => Err(ResolveError::new(
                    ResolveFailure::NotFound,
                    format!("'{name}' never exists (RFC 6761)"),
                )),
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
            None => self.take_off(&mut state, name, servers),
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

    /// Starts a look-up. If there are too many, one that nobody waits for ends, or else the oldest.
    fn take_off(&self, state: &mut State, name: &str, servers: Arc<Servers>) -> Arc<Flight> {
        if state.flights.len() >= LOOK_UPS {
            let mut under_way = state.flights.iter();
            let forsaken = under_way.position(|one| one.flight.is_forsaken());
            let oldest = state.flights.remove(forsaken.unwrap_or(0));
            let detail = format!(
                "the look-up of '{}' made room for others: {LOOK_UPS} are under way; try again later",
                oldest.flight.name()
            );
            let busy = ResolveError::new(ResolveFailure::Busy, detail);
            oldest.flight.land(Err(busy));
        }
        let flight = Arc::new(Flight::new(name, servers));
        let resolver = self.clone();
        let flown = Arc::clone(&flight);
        let task = self.shared.executor.spawn(async move {
            let (found, time) = fly(&flown).await;
            resolver.keep(&flown, &found, time);
            flown.land(found);
        });
        state.flights.push(UnderWay {
            flight: Arc::clone(&flight),
            task,
        });
        flight
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
        // What other servers said does not count any more.
        let servers = state.servers.as_ref();
        if servers.is_some_and(|servers| flight.is_for(flight.name(), servers)) {
            let now = Instant::now();
            state.cache.put(flight.name(), found.clone(), time, now);
        }
    }
}

impl State {
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

/// Looks a flight's name up, and says how long what it found may be kept.
async fn fly(flight: &Flight) -> (Found, Duration) {
    let name = flight.name();
    let early = |addresses| flight.land(Ok(addresses));
    let looked = look_up(flight.servers(), name, early);
    within(LOOK_UP_TIME, looked).await.unwrap_or_else(|| {
        let detail = format!(
            "nobody answered for '{name}' within {LOOK_UP_TIME:?}; see 'nameserver' and 'options' \
             in /etc/resolv.conf"
        );
        let late = ResolveError::new(ResolveFailure::Timeout, detail);
        (Err(late), FAILED)
    })
}

fn not_a_name(name: &str) -> ResolveError {
    let shown: String = name.chars().take(NAME_BYTES).collect();
    let detail = format!(
        "'{}' is not a name: it has at most 253 letters, in parts of at most 63 with a dot between",
        shown.escape_debug()
    );
    ResolveError::new(ResolveFailure::NotAName, detail)
}
