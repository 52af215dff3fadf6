//! `init`: the first call of a plugin that is a handler, and what follows when it fails.

use std::sync::MutexGuard;
use std::time::{Duration, Instant};

use super::failed::from_call;
use super::status::About;
use super::{Instance, Plugin};
use crate::capability::{Capabilities, Capability};
use crate::failure::{Failure, REASON_BYTES};
use crate::host::{handler, plugin_metadata};
use crate::redact::cut;
use crate::sync;

/// After a failed `init` no new instance is tried for this long: a broken plugin must not keep
/// the device busy.
const INIT_PAUSE: Duration = Duration::from_secs(1);

/// When and why the last `init` failed.
pub(super) struct Broken {
    when: Instant,
    pub(super) reason: String,
    /// Another instance has worked since then, so the plugin as a whole has not failed.
    pub(super) outlived: bool,
}

impl Plugin {
    pub(super) async fn new_handler(&self) -> std::result::Result<Instance, Failure> {
        if let Some(broken) = &*self.broken()
            && broken.when.elapsed() < INIT_PAUSE
        {
            return Err(Failure::InitFailed(broken.reason.clone()));
        }
        let record = InitRecord {
            plugin: self,
            began: Instant::now(),
            result: InitResult::GivenUp,
        };
        let made = self.init_handler().await;
        record.finish(match &made {
            Ok(_) => InitResult::Succeeded,
            Err(Failure::InitFailed(reason)) => InitResult::Failed(reason.clone()),
            // `init` was not called, or had no memory: that says nothing about the plugin.
            Err(_) => InitResult::Unknown,
        });
        made
    }

    pub(super) fn broken(&self) -> MutexGuard<'_, Option<Broken>> {
        // The value is only ever replaced as a whole, so it is valid even if a thread panicked
        // while it held the lock.
        sync::lock(&self.broken)
    }

    async fn init_handler(&self) -> std::result::Result<Instance, Failure> {
        let (mut store, instance) = self.instantiate().await?;
        let guests = self
            .roles
            .load(&mut store, &instance)
            .map_err(Failure::trap)?;
        let Some(guest) = &guests.handler else {
            return Err(Failure::PassThrough);
        };
        let wanted = match guest.call_init(&mut store).await {
            Ok(Ok(wanted)) => wanted,
            Ok(Err(error)) => return Err(Failure::InitFailed(init_error(&error))),
            // `init` may succeed when there is memory again.
            Err(_) if store.data().limiter.is_busy() => {
                return Err(Failure::Busy(
                    "no memory for init (--memory-max)".to_owned(),
                ));
            }
            Err(error) => {
                return Err(Failure::InitFailed(from_call(error, &store).to_string()));
            }
        };
        let wanted = from_flags(wanted);
        let denied = wanted.without(self.host.granted.capabilities);
        if denied != Capabilities::NONE {
            let why = self.host.granted.beyond(wanted).join("; ");
            return Err(Failure::InitFailed(format!(
                "capability-unavailable: it asks for {denied}, which is not granted ({why})"
            )));
        }
        let about = self.about.get_or_try_init(|| async {
            let info = guest.call_info(&mut store).await;
            let info = info.map_err(|error| from_call(error, &store))?;
            let about = About::new(&info, wanted);
            log::info!("plugin {}: {about}", self.name());
            Ok(about)
        });
        if let Err(failure) = about.await {
            let failure: Failure = failure;
            return Err(Failure::InitFailed(format!("info: {failure}")));
        }
        Ok(Instance {
            store,
            guests,
            served: 0,
        })
    }
}

/// Records in the plugin how its `init` ended, when this is dropped.
struct InitRecord<'a> {
    plugin: &'a Plugin,
    began: Instant,
    result: InitResult,
}

/// How an `init` ended.
enum InitResult {
    /// Nobody waited for its end.
    GivenUp,
    Unknown,
    Succeeded,
    Failed(String),
}

impl InitRecord<'_> {
    fn finish(mut self, result: InitResult) {
        self.result = result;
    }
}

impl Drop for InitRecord<'_> {
    fn drop(&mut self) {
        let result = match std::mem::replace(&mut self.result, InitResult::Unknown) {
            // A client that leaves says nothing about the plugin.
            InitResult::GivenUp if self.began.elapsed() < self.plugin.places.patience() => return,
            InitResult::GivenUp => InitResult::Failed("it did not end in time".to_owned()),
            result => result,
        };
        let broken = match result {
            InitResult::GivenUp | InitResult::Unknown => return,
            InitResult::Succeeded => None,
            InitResult::Failed(reason) => {
                log::error!("plugin {}: init failed: {reason}", self.plugin.name());
                Some(Broken {
                    when: Instant::now(),
                    reason,
                    outlived: false,
                })
            }
        };
        *self.plugin.broken() = broken;
    }
}

fn init_error(error: &handler::InitError) -> String {
    let (case, what) = match error {
        handler::InitError::ConfigMissing(what) => ("config-missing", what),
        handler::InitError::ConfigInvalid(what) => ("config-invalid", what),
        handler::InitError::CapabilityUnavailable(what) => ("capability-unavailable", what),
        handler::InitError::Failed(what) => ("failed", what),
    };
    format!("{case}: {}", cut(what, REASON_BYTES))
}

/// Converts the contract's flags to a set of capabilities.
fn from_flags(flags: plugin_metadata::Capabilities) -> Capabilities {
    use plugin_metadata::Capabilities as Flags;
    let pairs = [
        (Flags::CONFIG, Capability::Config),
        (Flags::KEYVALUE, Capability::Keyvalue),
        (Flags::LOGGING, Capability::Logging),
        (Flags::SECRETS, Capability::Secrets),
        (Flags::METRICS, Capability::Metrics),
        (Flags::HTTP_CLIENT, Capability::HttpClient),
    ];
    pairs
        .into_iter()
        .filter(|(flag, _)| flags & *flag == *flag)
        .fold(Capabilities::NONE, |set, (_, one)| set.with(one))
}
