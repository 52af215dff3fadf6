//! Whether a plugin is well, by what it answers when it is asked from inside.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use smol::lock::{Mutex as AsyncMutex, MutexGuard};
use zlayer_bundle::HealthCheck;

use super::Plugin;
use crate::redact::cut;
use crate::sync;

/// Time between two checks, where nothing is said of it.
const INTERVAL: Duration = Duration::from_secs(30);
/// Time that an answer may take, where nothing is said of it.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How many checks have to fail in a row, where nothing is said of it.
const RETRIES: u32 = 3;
/// Bytes that are kept of why a check failed.
const REASON_BYTES: usize = 256;

/// How a plugin is asked, and what came of it.
pub struct Health {
    check: Arc<HealthCheck>,
    /// When the plugin was made.
    since: Instant,
    tally: Mutex<Tally>,
    /// Held by whoever asks: what two found at one moment would count as two failures in a row.
    asking: AsyncMutex<()>,
}

/// How a plugin is, as far as its checks tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HealthState {
    /// No check has ended well yet, and too few have failed.
    Unknown,
    /// It answers as it should, since this moment.
    Healthy(SystemTime),
    /// It does not, since this moment. The reason is that of the last check.
    Unhealthy(SystemTime, String),
}

impl HealthState {
    /// The state's name in the status.
    pub fn name(&self) -> &'static str {
        match self {
            HealthState::Unknown => "unknown",
            HealthState::Healthy(_) => "healthy",
            HealthState::Unhealthy(..) => "unhealthy",
        }
    }
}

impl Health {
    fn new(check: Arc<HealthCheck>) -> Health {
        Health {
            check,
            since: Instant::now(),
            tally: Mutex::new(Tally {
                failed: 0,
                state: HealthState::Unknown,
            }),
            asking: AsyncMutex::new(()),
        }
    }

    /// Waits until nobody else asks, for one that asks in a way of its own for as long as this is held.
    pub async fn ask_alone(&self) -> MutexGuard<'_, ()> {
        self.asking.lock().await
    }

    /// The same, if nobody else asks.
    pub fn try_ask_alone(&self) -> Option<MutexGuard<'_, ()>> {
        self.asking.try_lock()
    }

    /// The path that is asked for.
    pub fn path(&self) -> &str {
        &self.check.url
    }

    /// Time between two checks.
    pub fn interval(&self) -> Duration {
        self.check.interval.unwrap_or(INTERVAL)
    }

    /// Time that an answer may take.
    pub fn timeout(&self) -> Duration {
        self.check.timeout.unwrap_or(TIMEOUT)
    }

    /// How many checks have to fail in a row until it is not well.
    pub fn retries(&self) -> u32 {
        self.check.retries.unwrap_or(RETRIES).max(1)
    }

    /// Whether it may still be starting, so that a failure says nothing.
    fn is_starting(&self) -> bool {
        let grace = self.check.start_grace.unwrap_or_default();
        self.since.elapsed() < grace && self.state() == HealthState::Unknown
    }

    /// The tries that one has that is to be served: so many that count, and before them as many as it takes until
    /// it has started.
    pub fn tries(&self) -> impl Iterator<Item = u32> {
        let mut counted = 0;
        (0..).take_while(move |_| {
            counted += u32::from(!self.is_starting());
            counted <= self.retries()
        })
    }

    /// What the checks have shown until now.
    pub fn state(&self) -> HealthState {
        sync::lock(&self.tally).state.clone()
    }

    /// What an answer of this status says, as the result of a check.
    pub fn judge(&self, status: u16) -> Result<(), String> {
        let wanted = self.check.expect_status;
        match status == wanted {
            true => Ok(()),
            false => Err(format!(
                "{} was answered with {status} and not with {wanted}",
                self.path()
            )),
        }
    }

    /// Records the result of a check, for the plugin of this name.
    pub fn record(&self, name: &str, checked: Result<(), String>) {
        let retries = self.retries();
        if checked.is_err() && self.is_starting() {
            return;
        }
        let mut tally = sync::lock(&self.tally);
        if !tally.note(checked, retries, SystemTime::now()) {
            return;
        }
        let state = tally.state.clone();
        drop(tally);
        match state {
            HealthState::Unhealthy(_, reason) => log::error!(
                "plugin {name}: unhealthy: {retries} checks in a row failed, the last because {reason}"
            ),
            HealthState::Healthy(_) => log::info!("plugin {name}: healthy"),
            HealthState::Unknown => {}
        }
    }
}

impl Plugin {
    /// Lets it be asked whether it is well, in this way.
    pub fn with_health(self, check: Option<Arc<HealthCheck>>) -> Plugin {
        Plugin {
            health: check.map(Health::new),
            ..self
        }
    }

    /// How it is asked whether it is well, if it is.
    pub fn health(&self) -> Option<&Health> {
        self.health.as_ref()
    }
}

struct Tally {
    /// How many checks have failed since the last that ended well.
    failed: u32,
    state: HealthState,
}

impl Tally {
    /// Counts a check. Returns whether it has changed what is said of the plugin.
    fn note(&mut self, checked: Result<(), String>, retries: u32, now: SystemTime) -> bool {
        let Err(reason) = checked else {
            self.failed = 0;
            let is_new = !matches!(self.state, HealthState::Healthy(_));
            if is_new {
                self.state = HealthState::Healthy(now);
            }
            return is_new;
        };
        let reason = cut(&reason, REASON_BYTES).into_owned();
        self.failed = self.failed.saturating_add(1);
        match &mut self.state {
            HealthState::Unhealthy(_, last) => {
                *last = reason;
                false
            }
            HealthState::Unknown | HealthState::Healthy(_) if self.failed < retries => false,
            state => {
                *state = HealthState::Unhealthy(now, reason);
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn a_plugin_is_unhealthy_after_as_many_failures_in_a_row_and_each_change_is_told_once() {
        let mut tally = Tally {
            failed: 0,
            state: HealthState::Unknown,
        };
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        let failed = |reason: &str| Err(reason.to_owned());
        assert!(!tally.note(failed("a"), 2, at(1)));
        assert!(tally.note(Ok(()), 2, at(2)) && !tally.note(Ok(()), 2, at(3)));
        assert_eq!(tally.state, HealthState::Healthy(at(2)));
        assert!(!tally.note(failed("b"), 2, at(4)));
        assert_eq!(
            tally.state,
            HealthState::Healthy(at(2)),
            "one is not enough"
        );
        assert!(tally.note(failed("c"), 2, at(5)) && !tally.note(failed("d"), 2, at(6)));
        let unhealthy = HealthState::Unhealthy(at(5), "d".to_owned());
        assert_eq!(
            tally.state, unhealthy,
            "since the change, with the last reason"
        );
        assert!(tally.note(Ok(()), 2, at(7)));
        assert_eq!(tally.state, HealthState::Healthy(at(7)));
        assert!(!tally.note(failed("e"), 2, at(8)), "it is counted anew");
    }

    #[test]
    fn an_answer_is_judged_by_its_status() {
        let health = Health::new(Arc::new(HealthCheck {
            url: "/up".to_owned(),
            expect_status: 204,
            interval: None,
            timeout: None,
            retries: None,
            start_grace: None,
        }));
        assert_eq!(health.judge(204), Ok(()));
        let told = health.judge(200).err();
        assert_eq!(
            told.as_deref(),
            Some("/up was answered with 200 and not with 204")
        );
        assert_eq!((health.interval(), health.timeout()), (INTERVAL, TIMEOUT));
    }

    #[test]
    fn only_one_asks_at_a_time() {
        let health = Health::new(Arc::new(HealthCheck {
            url: "/".to_owned(),
            expect_status: 200,
            interval: None,
            timeout: None,
            retries: None,
            start_grace: None,
        }));
        let on_trial = smol::block_on(health.ask_alone());
        assert!(health.try_ask_alone().is_none());
        drop(on_trial);
        assert!(health.try_ask_alone().is_some());
    }

    #[test]
    fn failures_while_a_plugin_may_be_starting_do_not_count() {
        let health = |start_grace| {
            Health::new(Arc::new(HealthCheck {
                url: "/".to_owned(),
                expect_status: 200,
                interval: None,
                timeout: None,
                retries: Some(2),
                start_grace,
            }))
        };
        let fail = |health: &Health| {
            (0..3).for_each(|_| health.record("p", Err("no".to_owned())));
            health.state().name()
        };
        let (none, day) = (health(None), health(Some(Duration::from_secs(86_400))));
        assert_eq!(fail(&none), "unhealthy");
        assert_eq!(none.tries().collect::<Vec<_>>(), [0, 1]);
        assert_eq!(fail(&day), "unknown");
        assert_eq!(day.tries().nth(9), Some(9), "none of them counts");
        // Whoever was well has started.
        day.record("p", Ok(()));
        assert_eq!(fail(&day), "unhealthy");
    }
}
