//! `wasi:clocks`: the monotonic clock on async-io's timers, and the wall clock.
//!
//! wasmtime-wasi's own monotonic clock needs a tokio runtime whose driver runs; with this one a
//! sleeping plugin costs no thread.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use smol::Timer;
use wasmtime::component::Resource;
use wasmtime_wasi::p2::bindings::clocks::{monotonic_clock, wall_clock};
use wasmtime_wasi::p2::{DynPollable, Pollable, subscribe};

use super::{Host, HostState, Interface};

/// The interfaces.
pub(super) const INTERFACES: &[Interface] = &[
    ("wasi:clocks/monotonic-clock", |linker| {
        monotonic_clock::add_to_linker::<HostState, Host>(linker, |state| state)
    }),
    ("wasi:clocks/wall-clock", |linker| {
        wall_clock::add_to_linker::<HostState, Host>(linker, |state| state)
    }),
];

impl wall_clock::Host for HostState {
    fn now(&mut self) -> wasmtime::Result<wall_clock::Datetime> {
        // A clock that was set before 1970 is not set.
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        Ok(datetime(since.unwrap_or_default()))
    }

    fn resolution(&mut self) -> wasmtime::Result<wall_clock::Datetime> {
        Ok(datetime(Duration::from_nanos(1)))
    }
}

fn datetime(time: Duration) -> wall_clock::Datetime {
    wall_clock::Datetime {
        seconds: time.as_secs(),
        nanoseconds: time.subsec_nanos(),
    }
}

impl monotonic_clock::Host for HostState {
    fn now(&mut self) -> wasmtime::Result<monotonic_clock::Instant> {
        let since = Instant::now().duration_since(*EPOCH);
        Ok(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
    }

    fn resolution(&mut self) -> wasmtime::Result<monotonic_clock::Duration> {
        Ok(1)
    }

    fn subscribe_instant(
        &mut self,
        when: monotonic_clock::Instant,
    ) -> wasmtime::Result<Resource<DynPollable>> {
        let now = monotonic_clock::Host::now(self)?;
        self.subscribe_duration(when.saturating_sub(now))
    }

    fn subscribe_duration(
        &mut self,
        after: monotonic_clock::Duration,
    ) -> wasmtime::Result<Resource<DynPollable>> {
        // `None` means a time that is too far away ever to come.
        let at = Instant::now().checked_add(Duration::from_nanos(after));
        let alarm = self.table().push(Alarm { at })?;
        subscribe(&mut self.table, alarm)
    }
}

/// When the plugins' monotonic clock started. It is not the device's boot, so that plugins do not
/// learn the uptime.
static EPOCH: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);

struct Alarm {
    at: Option<Instant>,
}

#[wasmtime_wasi::async_trait]
impl Pollable for Alarm {
    async fn ready(&mut self) {
        match self.at {
            Some(at) if at <= Instant::now() => {}
            Some(at) => {
                Timer::at(at).await;
            }
            None => std::future::pending().await,
        }
    }
}
