//! A host for unit tests: what a plugin asks is answered by what the test has set up.
//!
//! A [`Host`] stands in for the device on the thread that made it, until it is dropped; Rust's tests
//! have a thread each, so they do not see each other. It keeps the contract: keys that are none are
//! refused, a time to live runs by the test's clock, the store has its quota, `increment` its forms.
//! It has no limit on the rate of records, on metric series and on the length of lists.
//!
//! ```
//! use std::time::Duration;
//! use zlayer_plugin::double::Host;
//! use zlayer_plugin::keyvalue;
//!
//! let host = Host::new().secret("api_key", "s3cret");
//! keyvalue::set_with_ttl("seen", "yes", 1_000_000_000)?;
//! host.advance(Duration::from_millis(999));
//! assert!(keyvalue::exists("seen"));
//! host.advance(Duration::from_millis(1));
//! assert!(!keyvalue::exists("seen"));
//! # Ok::<(), keyvalue::KvError>(())
//! ```

mod clock;
mod config;
mod log;
mod metrics;
mod random;
mod secrets;
mod store;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

pub use log::Record;

use crate::types::common::Error;

/// The host of this thread's plugin, for as long as it lives.
#[derive(Debug)]
pub struct Host {
    state: Rc<State>,
}

/// What a deployment grants to a plugin, or [denies](Host::deny).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capability {
    /// `config`
    Config,
    /// `keyvalue`
    Keyvalue,
    /// `logging`
    Logging,
    /// `secrets`
    Secrets,
    /// `metrics`
    Metrics,
}

/// All that a host knows. Each part has the functions of one interface.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) clock: RefCell<clock::Clock>,
    pub(crate) config: config::Config,
    pub(crate) keyvalue: store::Store,
    pub(crate) logging: log::Log,
    pub(crate) metrics: metrics::Metrics,
    pub(crate) random: RefCell<random::Random>,
    pub(crate) secrets: secrets::Secrets,
}

thread_local! {
    static CURRENT: RefCell<Option<Rc<State>>> = const { RefCell::new(None) };
}

/// Asks the host of this thread.
///
/// # Panics
///
/// There is none: a plugin's function was called in a test that made none.
#[track_caller]
pub(crate) fn state<T>(ask: impl FnOnce(&State) -> T) -> T {
    let current = CURRENT.with(|current| current.borrow().clone());
    match current {
        Some(state) => ask(&state),
        None => panic!(
            "the plugin has called its host, and this thread has none: keep a \
             `zlayer_plugin::double::Host::new()` in the test for as long as it calls the plugin"
        ),
    }
}

impl Host {
    /// A host without configuration, secrets and stored keys, that grants everything, at the start of
    /// the year 2026.
    ///
    /// # Panics
    ///
    /// This thread has a host already.
    #[expect(
        clippy::new_without_default,
        reason = "a default would not be expected to change what the thread's plugin sees"
    )]
    #[must_use = "the host goes when it is dropped"]
    pub fn new() -> Host {
        let state = Rc::new(State::default());
        CURRENT.with(|current| {
            let mut current = current.borrow_mut();
            assert!(
                current.is_none(),
                "this thread has a host already: drop it before making another"
            );
            *current = Some(Rc::clone(&state));
        });
        Host { state }
    }

    /// Gives the configuration this value under this key.
    #[must_use = "the host goes when it is dropped"]
    pub fn config(self, key: &str, value: &str) -> Host {
        self.set_config(key, value);
        self
    }

    /// Gives the service this secret.
    #[must_use = "the host goes when it is dropped"]
    pub fn secret(self, name: &str, value: &str) -> Host {
        self.state.secrets.insert(name, value);
        self
    }

    /// Sets the date: nanoseconds since the Unix epoch.
    #[must_use = "the host goes when it is dropped"]
    pub fn time(self, now: u64) -> Host {
        self.set_time(now);
        self
    }

    /// Makes random numbers begin elsewhere.
    #[must_use = "the host goes when it is dropped"]
    pub fn seed(self, seed: u64) -> Host {
        *self.state.random.borrow_mut() = random::Random::from_seed(seed);
        self
    }

    /// Bounds the store: the bytes of all keys and values, the number of keys, the bytes of a value.
    /// Without it these are a device's defaults of 64 MiB, 100,000 and 1 MiB.
    #[must_use = "the host goes when it is dropped"]
    pub fn quota(self, bytes: usize, keys: usize, value_bytes: usize) -> Host {
        self.state.keyvalue.set_quota(bytes, keys, value_bytes);
        self
    }

    /// Takes a capability away, as a deployment may: reads find nothing, and where a function can fail
    /// it does.
    #[must_use = "the host goes when it is dropped"]
    pub fn deny(self, capability: Capability) -> Host {
        let denied = match capability {
            Capability::Config => &self.state.config.denied,
            Capability::Keyvalue => &self.state.keyvalue.denied,
            Capability::Logging => &self.state.logging.denied,
            Capability::Secrets => &self.state.secrets.denied,
            Capability::Metrics => &self.state.metrics.denied,
        };
        denied.set(true);
        self
    }

    /// Changes the configuration, as a restart with another one would.
    pub fn set_config(&self, key: &str, value: &str) {
        let is_level = self.state.config.insert(key, value);
        if is_level {
            self.state.logging.set_level(self.state.config.level());
        }
    }

    /// Sets the date, without any time going by: nothing in the store runs out.
    pub fn set_time(&self, now: u64) {
        self.state.clock.borrow_mut().now = now;
    }

    /// Lets time go by, for the date and for what has a time to live.
    pub fn advance(&self, by: Duration) {
        let by = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        self.state.clock.borrow_mut().advance(by);
        self.state.keyvalue.let_pass(by);
    }

    /// Lets every call of the store fail with [`KvError::Storage`](crate::keyvalue::KvError) for this
    /// reason from now on, or with none work again.
    pub fn break_store(&self, reason: Option<&str>) {
        self.state.keyvalue.break_down(reason);
    }

    /// Puts a value into the store behind the plugin's back, whatever the quota says.
    pub fn store(&self, key: &str, value: impl AsRef<[u8]>) {
        self.state.keyvalue.put(key, value.as_ref());
    }

    /// What the store holds under a key.
    #[must_use]
    pub fn stored(&self, key: &str) -> Option<Vec<u8>> {
        self.state.keyvalue.live(key)
    }

    /// The keys in the store, sorted.
    #[must_use]
    pub fn stored_keys(&self) -> Vec<String> {
        self.state.keyvalue.keys("")
    }

    /// What is left of a key's time to live. Nothing for a key without, or that is absent.
    #[must_use]
    pub fn time_to_live(&self, key: &str) -> Option<Duration> {
        self.state.keyvalue.left(key).map(Duration::from_nanos)
    }

    /// What the plugin has logged, as far as its level lets it: `LOG_LEVEL` in the configuration, else
    /// `RUST_LOG`, else `info`.
    #[must_use]
    pub fn logged(&self) -> Vec<Record> {
        self.state.logging.records()
    }

    /// The value of a counter with just these labels, in any order. 0 where nothing was counted.
    #[must_use]
    pub fn counter(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        self.state.metrics.counter(name, labels)
    }

    /// The value of a gauge with just these labels.
    #[must_use]
    pub fn gauge(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        self.state.metrics.gauge(name, labels)
    }

    /// What was put into a histogram with just these labels, in the order of the calls. Lengths of time
    /// are in `NAME_seconds`.
    #[must_use]
    pub fn histogram(&self, name: &str, labels: &[(&str, &str)]) -> Vec<f64> {
        self.state.metrics.histogram(name, labels)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // At a thread's end the place may be gone already, and then nobody asks any more.
        let _ = CURRENT.try_with(|current| current.take());
    }
}

/// What a device says in an error about a capability that it does not grant.
const DENIED: &str = "denied: the deployment does not grant this capability";

fn denied() -> Error {
    Error {
        code: "CAPABILITY_DENIED".to_owned(),
        message: DENIED.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_there_until_it_is_dropped() {
        let host = Host::new().config("key", "value");
        assert_eq!(crate::config::get("key").as_deref(), Some("value"));
        drop(host);
        assert!(std::panic::catch_unwind(|| crate::config::get("key")).is_err());
        let _host = Host::new();
        assert_eq!(crate::config::get("key"), None);
        assert!(std::panic::catch_unwind(Host::new).is_err());
    }

    #[test]
    fn threads_do_not_see_each_others_hosts() {
        let _host = Host::new().config("key", "mine");
        let other = std::thread::spawn(|| {
            let _host = Host::new();
            crate::config::get("key")
        });
        assert_eq!(other.join().ok(), Some(None));
        assert!(crate::config::exists("key"));
    }

    #[test]
    fn random_numbers_come_again_in_each_test_and_depend_on_the_seed() {
        let draw = |host: Host| {
            let drawn = (
                crate::random::get_random_u64(),
                crate::random::get_random_bytes(9),
            );
            drop(host);
            drawn
        };
        let first = draw(Host::new());
        assert_eq!(first.1.len(), 9);
        assert_eq!(draw(Host::new()), first);
        assert_ne!(draw(Host::new().seed(7)), first);
    }

    #[test]
    fn time_goes_by_when_the_test_says_so() {
        let host = Host::new().time(5);
        let start = crate::clock::monotonic();
        host.advance(Duration::from_nanos(3));
        assert_eq!(crate::clock::now(), 8);
        host.set_time(1);
        assert_eq!(crate::clock::now(), 1);
        assert_eq!(crate::clock::monotonic() - start, 3);
        host.advance(Duration::MAX);
        assert_eq!(crate::clock::now(), u64::MAX);
    }
}
