//! What the admin interface shows of a plugin.

use std::fmt;

use super::{Plugin, SHOWN_BYTES};
use crate::capability::Capabilities;
use crate::host::{PluginHost, handler};
use crate::redact::cut;

/// What a typed plugin says of itself in `info`, cut short and without secrets, and in `init`.
#[derive(Debug, Clone)]
pub struct About {
    /// The id that the plugin gives in `info`.
    pub id: String,
    /// The plugin's name for people to read.
    pub name: String,
    /// The version from `info`, which need not be that of the manifest.
    pub version: String,
    /// The capabilities that `init` asked for.
    pub asked: Capabilities,
}

impl About {
    pub(super) fn new(info: &handler::PluginInfo, asked: Capabilities) -> About {
        let shown = |text: &str| cut(text, SHOWN_BYTES).into_owned();
        let version = &info.version;
        let mut number = format!("{}.{}.{}", version.major, version.minor, version.patch);
        if let Some(pre_release) = &version.pre_release {
            number.push('-');
            number.push_str(&cut(pre_release, SHOWN_BYTES));
        }
        About {
            id: shown(&info.id),
            name: shown(&info.name),
            version: number,
            asked,
        }
    }
}

impl fmt::Display for About {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let About {
            id,
            name,
            version,
            asked,
        } = self;
        write!(f, "{id} ({name}) {version}, uses {asked}")
    }
}

/// Whether a plugin can take requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PluginState {
    /// No instance of the plugin has been made yet.
    Starting,
    /// The plugin takes requests.
    Ready,
    /// The last `init` failed for this reason, and no other instance works. The next request tries
    /// again.
    Failed(String),
}

impl PluginState {
    /// The state's name in metrics and status.
    pub fn name(&self) -> &'static str {
        match self {
            PluginState::Starting => "starting",
            PluginState::Ready => "ready",
            PluginState::Failed(_) => "failed",
        }
    }

    /// Which of the contract's `init-error` cases the failure was. None for a trap or a timeout.
    pub fn init_error(&self) -> Option<&'static str> {
        let PluginState::Failed(reason) = self else {
            return None;
        };
        let cases = [
            "config-missing",
            "config-invalid",
            "capability-unavailable",
            "failed",
        ];
        let (case, _) = reason.split_once(": ")?;
        cases.into_iter().find(|known| *known == case)
    }
}

/// How many instances a plugin has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instances {
    /// Instances at work on a request.
    pub running: usize,
    /// Instances that wait for a request.
    pub idle: usize,
    /// How many instances may be at work at the same time: what was wanted, or fewer where the
    /// memory has no room for them.
    pub max: usize,
    /// How many were wanted.
    pub wanted: usize,
}

impl Plugin {
    /// Whether the plugin can take requests.
    pub fn state(&self) -> PluginState {
        let idle = self.idle.count();
        match &*self.broken() {
            // An instance that was made before waits for requests, and will take the next one.
            Some(broken) if !broken.outlived && idle == 0 => {
                PluginState::Failed(broken.reason.clone())
            }
            Some(_) => PluginState::Ready,
            None if self.roles.handler.is_some() && !self.about.is_initialized() => {
                PluginState::Starting
            }
            None => PluginState::Ready,
        }
    }

    /// What the plugin said of itself. None before its first instance, and for a plugin that is not
    /// a `handler`.
    pub fn about(&self) -> Option<&About> {
        self.about.get()
    }

    /// How many instances a plugin has.
    pub fn instances(&self) -> Instances {
        Instances {
            running: self.places.running(),
            idle: self.idle.count(),
            max: self.places.max().min(self.room()),
            wanted: self.wanted,
        }
    }

    /// How many instances the memory has room for, beside what is set aside for others, if each takes
    /// no more than it starts with.
    fn room(&self) -> usize {
        1 + self.budget.attainable() / (self.share + self.memory)
    }

    /// Tells where the memory allows fewer instances than are wanted. For the end of the set-up.
    pub fn tell_room(&self) {
        let Instances { max, wanted, .. } = self.instances();
        if max < wanted {
            log::info!(
                "plugin {}: the memory allows {max} instances at a time, of {wanted} that \
                 `wasm.max_instances`, `scale` or --max-instances allow: each takes {} KiB at least; raise --memory-max where more \
                 requests are at work at a time",
                self.name(),
                (self.share + self.memory) >> 10
            );
        }
    }

    /// Bytes of the memory budget that are set aside for one instance, and for what all share.
    pub fn set_aside(&self) -> usize {
        self.standing.bytes() + self.description.bytes()
    }

    /// The part of the plugin that its instances share with the host interfaces.
    pub fn host(&self) -> &PluginHost {
        &self.host
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn init_errors_are_known_by_name() {
        let case = |reason: &str| PluginState::Failed(reason.to_owned()).init_error();
        assert_eq!(case("config-missing: a key"), Some("config-missing"));
        assert_eq!(case("failed: config-missing: x"), Some("failed"));
        assert_eq!(case("trap: unreachable"), None);
        assert_eq!(case("it did not end in time"), None);
        assert_eq!(PluginState::Ready.init_error(), None);
    }
}
