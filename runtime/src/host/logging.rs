//! `zlayer:plugin/logging`: records with plugin, request id and fields, at the plugin's own level.
//!
//! Without the capability `logging` records go nowhere and no level is enabled.

use std::borrow::Cow;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use log::LevelFilter;
use zlayer_binlog::{PLUGIN_TARGET, Record};

use super::HostState;
use super::bindings::zlayer::plugin::common::KeyValue;
use super::bindings::zlayer::plugin::logging::{Host, Level};
use crate::capability::Capability;
use crate::logger;
use crate::redact::cut;

/// Seconds whose records may come at once.
const BURST_SECONDS: u32 = 5;
/// Bytes of one record's message and fields; the rest is cut off.
const RECORD_BYTES: usize = 4096;
/// What a field takes beside its text: ` =""`.
const FIELD_OVERHEAD: usize = 4;

/// A plugin's way into the log: its level, and a bound on how much it writes.
pub struct PluginLog {
    target: String,
    level: LevelFilter,
    /// Records a second that the plugin may write in the long run.
    rate: u32,
    allowance: Mutex<Allowance>,
}

struct Allowance {
    records: u32,
    since: Instant,
    /// All drops.
    dropped: u64,
    /// Those that were not told of yet.
    untold: u64,
    /// When drops were last told of.
    told: Option<Instant>,
}

impl PluginLog {
    /// The log of plugin `name` at the level that its config names (default info), with room for
    /// `rate` records a second.
    pub fn new(name: &str, level: Option<&str>, rate: u32) -> PluginLog {
        let known = level.map(str::parse::<LevelFilter>);
        if let (Some(Err(_)), Some(text)) = (&known, level) {
            log::warn!(
                "plugin {name}: '{text}' is not a log level; info it is. Known: off, error, warn, info, debug, trace"
            );
        }
        let level = known.and_then(Result::ok).unwrap_or(LevelFilter::Info);
        PluginLog {
            target: format!("{PLUGIN_TARGET}{name}"),
            level,
            rate,
            allowance: Mutex::new(Allowance {
                records: rate.saturating_mul(BURST_SECONDS),
                since: Instant::now(),
                dropped: 0,
                untold: 0,
                told: None,
            }),
        }
    }

    /// Records that were dropped since the start, for they were too many.
    pub fn dropped(&self) -> u64 {
        self.allowance
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .dropped
    }

    /// Whether records of `level` are written.
    pub fn is_enabled(&self, level: log::Level) -> bool {
        level <= self.level
    }

    /// Writes one record, unless its level is off or the plugin has used its allowance up.
    pub fn write(
        &self,
        level: log::Level,
        request_id: Option<&str>,
        message: &str,
        fields: &[(&str, &str)],
    ) {
        if !self.is_enabled(level) || !self.allowed() {
            return;
        }
        let message = cut(message, RECORD_BYTES);
        let mut room = RECORD_BYTES - message.len();
        let mut kept = Vec::new();
        for (key, value) in fields {
            let Some(left) = room.checked_sub(FIELD_OVERHEAD) else {
                break;
            };
            let key = cut(key, left);
            let value = cut(value, left - key.len());
            room = left - key.len() - value.len();
            kept.push((key, value));
        }
        self.emit(level, request_id, &message, kept);
    }

    /// Past the macros of `log`, whose levels are the daemon's.
    fn emit<'a>(
        &'a self,
        level: log::Level,
        request_id: Option<&'a str>,
        message: &'a str,
        fields: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    ) {
        let mut record = Record::new(Record::now(), level, &self.target, message);
        record.request = request_id.map(Cow::Borrowed);
        record.fields = fields;
        logger::record(&record);
    }

    /// A token bucket; drops are counted, and told at most once a second when there is room again.
    fn allowed(&self) -> bool {
        let mut allowance = self
            .allowance
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let burst = self.rate.saturating_mul(BURST_SECONDS);
        let earned = now.duration_since(allowance.since).as_millis() * u128::from(self.rate) / 1000;
        if earned > 0 {
            let earned = u32::try_from(earned).unwrap_or(burst);
            allowance.records = allowance.records.saturating_add(earned).min(burst);
            allowance.since = now;
        }
        if allowance.records == 0 {
            allowance.dropped += 1;
            allowance.untold += 1;
            return false;
        }
        allowance.records -= 1;
        let dropped = allowance.untold;
        let long_ago = |told: Instant| now.duration_since(told) >= Duration::from_secs(1);
        let tell = dropped > 0 && allowance.told.is_none_or(long_ago);
        if tell {
            (allowance.untold, allowance.told) = (0, Some(now));
        }
        drop(allowance);
        if tell {
            let told = format!(
                "{dropped} records dropped: more than {} a second",
                self.rate
            );
            self.emit(log::Level::Warn, None, &told, Vec::new());
        }
        true
    }
}

impl Host for HostState {
    fn log(&mut self, level: Level, message: String) {
        self.write_record(level, &message, &[]);
    }

    fn log_structured(&mut self, level: Level, message: String, fields: Vec<KeyValue>) {
        let fields: Vec<_> = fields
            .iter()
            .map(|field| (field.key.as_str(), field.value.as_str()))
            .collect();
        self.write_record(level, &message, &fields);
    }

    fn trace(&mut self, message: String) {
        self.write_record(Level::Trace, &message, &[]);
    }

    fn debug(&mut self, message: String) {
        self.write_record(Level::Debug, &message, &[]);
    }

    fn info(&mut self, message: String) {
        self.write_record(Level::Info, &message, &[]);
    }

    fn warn(&mut self, message: String) {
        self.write_record(Level::Warn, &message, &[]);
    }

    fn error(&mut self, message: String) {
        self.write_record(Level::Error, &message, &[]);
    }

    fn is_enabled(&mut self, level: Level) -> bool {
        self.may(Capability::Logging) && self.plugin.log.is_enabled(level.into())
    }
}

impl HostState {
    fn write_record(&self, level: Level, message: &str, fields: &[(&str, &str)]) {
        if !self.may(Capability::Logging) {
            return;
        }
        let request = self.request.id();
        self.plugin
            .log
            .write(level.into(), request.as_deref(), message, fields);
    }
}

impl From<Level> for log::Level {
    fn from(level: Level) -> Self {
        match level {
            Level::Trace => log::Level::Trace,
            Level::Debug => log::Level::Debug,
            Level::Info => log::Level::Info,
            Level::Warn => log::Level::Warn,
            Level::Error => log::Level::Error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugin_that_floods_is_cut_off_and_its_drops_are_counted() {
        for rate in [1, 200] {
            let log = PluginLog::new("p", None, rate);
            let burst = rate * BURST_SECONDS;
            let passed = (0..burst * 10).filter(|_| log.allowed()).count() as u32;
            assert!((burst..burst * 2).contains(&passed), "{passed} of {burst}");
            assert_eq!(u64::from(burst * 10 - passed), log.dropped());
        }
    }

    #[test]
    fn the_plugins_own_level_rules() {
        assert!(PluginLog::new("p", Some("debug"), 1).is_enabled(log::Level::Debug));
        assert!(!PluginLog::new("p", Some("DEBUG"), 1).is_enabled(log::Level::Trace));
        assert!(!PluginLog::new("p", Some("off"), 1).is_enabled(log::Level::Error));
        assert!(PluginLog::new("p", Some("nonsense"), 1).is_enabled(log::Level::Info));
        assert_eq!(cut("aé", 2), "a");
    }
}
