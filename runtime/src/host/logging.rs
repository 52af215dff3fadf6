//! `zlayer:plugin/logging`: records with plugin, request id and fields, at the plugin's own level.
//!
//! Without the capability `logging` records go nowhere and no level is enabled.

use std::borrow::Cow;
use std::time::Instant;

use log::LevelFilter;
use zlayer_binlog::{PLUGIN_TARGET, Record};

use super::HostState;
use super::bindings::zlayer::plugin::common::KeyValue;
use super::bindings::zlayer::plugin::logging::{Host, Level};
use crate::capability::Capability;
use crate::logger;
use crate::rate::Rate;
use crate::redact::cut;

/// How many seconds' worth of records may come at once.
const BURST_SECONDS: u32 = 5;
/// The most bytes of one record's message and fields; the rest is cut off.
pub(super) const RECORD_BYTES: usize = 4096;
/// The bytes that a field takes beside its text: ` =""`.
pub(super) const FIELD_OVERHEAD: usize = 4;

/// A plugin's way into the log: its level, and a bound on how much it writes.
pub struct PluginLog {
    target: String,
    level: LevelFilter,
    /// How many records a second the plugin may write in the long run.
    per_second: u32,
    rate: Rate,
}

impl PluginLog {
    /// Makes the log of plugin `name` at the level that its config names (default info), with room
    /// for `rate` records a second.
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
            per_second: rate,
            rate: Rate::new(rate, rate.saturating_mul(BURST_SECONDS)),
        }
    }

    /// How many records were dropped since the start because there were too many.
    pub fn dropped(&self) -> u64 {
        self.rate.held_back()
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
        if !self.is_enabled(level) || !self.rate.allows(Instant::now()) {
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

    /// Writes a record without the macros of `log`, whose levels are the daemon's own.
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

    /// Reports how many records were dropped, each time a second after the first of them. Never
    /// returns.
    pub async fn report_dropped_in_time(&self) {
        self.rate.watch(|dropped| self.write_dropped(dropped)).await;
    }

    /// Reports how many records were dropped, if that was not reported yet.
    pub fn report_dropped(&self) {
        match self.rate.take_unreported() {
            0 => {}
            dropped => self.write_dropped(dropped),
        }
    }

    fn write_dropped(&self, dropped: u64) {
        let told = format!(
            "{dropped} records dropped: more than {} a second",
            self.per_second
        );
        self.emit(log::Level::Warn, None, &told, Vec::new());
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
            let (burst, now) = (rate * BURST_SECONDS, Instant::now());
            let passed = (0..burst * 10).filter(|_| log.rate.allows(now)).count() as u32;
            assert_eq!(passed, burst);
            assert_eq!(u64::from(burst * 10 - passed), log.dropped());
            log.report_dropped();
            assert_eq!(log.rate.take_unreported(), 0);
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
