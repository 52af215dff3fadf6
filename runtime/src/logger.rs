//! The log's two outputs: text for people on standard error, and the binary ring in the data
//! folder.
//!
//! The daemon and its libraries write through the macros of `log`; plugins' records, which have
//! more parts, come through [`record`].

use std::borrow::Cow;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError, RwLock};
use std::time::Instant;

use futures_lite::future::or;
use log::{Level, LevelFilter, Log, Metadata};
use zlayer_binlog::{ABOUT_PLUGIN, Record};

use crate::config::{AccessOutput, LogOutput};
use crate::log_ring::LogRing;
use crate::rate::Rate;
use crate::redact::scrub;
pub use crate::standard_error::complain;
use crate::standard_error::print_line;
use crate::sync;

static LOGGER: OnceLock<Logger> = OnceLock::new();

/// How many records a second about single requests are logged in the long run. Clients decide how
/// many there would be.
const REQUEST_RECORDS: u32 = 20;
/// How many such records may come at once.
const REQUEST_BURST: u32 = 100;

/// The process's logger, with both outputs.
struct Logger {
    level: LevelFilter,
    text: AtomicBool,
    /// Held while a record goes to both, so that both have the records in the same order.
    order: Mutex<()>,
    /// Takes records from the start. Until the data folder is open, they wait in it.
    ring: LogRing,
    /// Bounds the daemon's own records about single requests.
    requests: Rate,
    /// The names of the plugins, the longest first.
    plugins: RwLock<Vec<String>>,
}

/// Installs the logger at the level that the environment variable `ZLAYER_LOG` names (error,
/// warn, info, debug, trace, off; default info).
pub fn install() {
    let named = std::env::var_os("ZLAYER_LOG").map(|name| name.to_string_lossy().into_owned());
    let known = named
        .as_deref()
        .filter(|name| !name.is_empty())
        .map(str::parse::<LevelFilter>);
    let level = match known {
        Some(Ok(level)) => level,
        _ => LevelFilter::Info,
    };
    let logger = LOGGER.get_or_init(|| Logger {
        level,
        text: AtomicBool::new(true),
        order: Mutex::new(()),
        ring: LogRing::default(),
        requests: Rate::new(REQUEST_RECORDS, REQUEST_BURST),
        plugins: RwLock::default(),
    });
    if log::set_logger(logger).is_ok() {
        log::set_max_level(level);
    }
    if let (Some(Err(_)), Some(name)) = (known, named) {
        log::warn!(
            "ZLAYER_LOG: '{name}' is not a log level; info it is. Known: off, error, warn, info, debug, trace"
        );
    }
}

/// Chooses the outputs, once the folder of the ring is known. Records are written in time only
/// while the returned future is polled.
pub fn choose(output: LogOutput, folder: &Path) -> impl Future<Output = ()> + use<> {
    let logger = LOGGER.get();
    if let Some(logger) = logger {
        let text = output != LogOutput::Binary;
        logger.text.store(text, Ordering::Relaxed);
        match output {
            LogOutput::Text => drop(logger.ring.close()),
            _ => logger.ring.open(folder.to_owned()),
        }
    }
    async move {
        let Some(logger) = logger else { return };
        // If the ring is closed, this does nothing.
        let writing = logger.ring.flush_in_time(on_standard_error);
        let telling = logger
            .requests
            .watch(|count| logger.report_held_back(count));
        or(writing, telling).await;
    }
}

/// Writes what waits to the ring, and syncs it. Later records go to standard error alone.
pub fn close() {
    let Some(logger) = LOGGER.get() else { return };
    match logger.requests.take_unreported() {
        0 => {}
        count => logger.report_held_back(count),
    }
    if let Some(trouble) = logger.ring.close() {
        on_standard_error(&trouble);
    }
}

/// Writes an error to the ring alone, because people see it elsewhere.
pub fn remember(message: &str) {
    if let Some(logger) = LOGGER.get() {
        let message = scrub(message);
        let record = Record::new(Record::now(), log::Level::Error, module_path!(), &message);
        logger.ring.write(&record, Instant::now());
    }
}

/// Writes a plugin's record. The caller has checked its level.
pub fn record(record: &Record<'_>) {
    if let Some(logger) = LOGGER.get() {
        logger.write_record(record);
    }
}

/// Writes a line of the access log. The caller has masked what is secret in it.
pub fn access(line: &Record<'_>, output: AccessOutput) {
    let Some(logger) = LOGGER.get() else { return };
    if output != AccessOutput::Stdout {
        logger.ring.write(line, Instant::now());
    }
    if output != AccessOutput::Ring
        && let Some(text) = line.combined()
    {
        match print_line(&text) {
            0 => {}
            dropped => log::warn!(
                "{dropped} lines of the access log were dropped: standard output was not read"
            ),
        }
    }
}

/// Says which plugins there are from now on, so that the daemon's records about them can be found by their
/// names.
pub fn know_plugins(mut names: Vec<String>) {
    // Of two names that fit, the longer is meant.
    names.sort_by_key(|name| std::cmp::Reverse(name.len()));
    if let Some(logger) = LOGGER.get() {
        *logger
            .plugins
            .write()
            .unwrap_or_else(PoisonError::into_inner) = names;
    }
}

impl Logger {
    /// Writes a record of the daemon's own, unless there are too many about requests.
    fn write_own<'r>(&'r self, mut record: Record<'r>) {
        // Whoever sets a finer level wants to see all such records.
        let bounded = record.request.is_some() && record.level <= Level::Info;
        if bounded && !self.requests.allows(Instant::now()) {
            return;
        }
        let known = self.plugins.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(name) = plugin_of(&record.message, &known) {
            let name = Cow::Owned(name.to_owned());
            record.fields.push((ABOUT_PLUGIN.into(), name));
        }
        drop(known);
        self.write_record(&record);
    }

    fn report_held_back(&self, held_back: u64) {
        let message = format!(
            "{held_back} more records of requests were not logged: more than {REQUEST_RECORDS} a second"
        );
        self.write_record(&Record::new(
            Record::now(),
            log::Level::Warn,
            module_path!(),
            &message,
        ));
    }

    fn write_record(&self, record: &Record<'_>) {
        // Records of the daemon are masked as well: a client's path may hold a secret. The names of
        // modules and the ids of requests are the daemon's own, and what people search the log for.
        let target = match record.plugin() {
            Some(_) => scrub(&record.target),
            None => Cow::Borrowed(&*record.target),
        };
        let record = &Record {
            micros: record.micros,
            level: record.level,
            target,
            request: record.request.as_deref().map(Cow::Borrowed),
            message: scrub(&record.message),
            fields: record
                .fields
                .iter()
                .map(|(key, value)| (scrub(key), scrub(value)))
                .collect(),
        };
        if !self.text.load(Ordering::Relaxed) {
            self.ring.write(record, Instant::now());
            return;
        }
        let text = record.to_string();
        let _order = sync::lock(&self.order);
        // One write for each record, so that lines of several threads do not mix.
        complain(&text);
        self.ring.write(record, Instant::now());
    }
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // Libraries' records at level info are left out: they are about their own workings.
        let ours = metadata.target().starts_with("zlayer");
        metadata.level() <= self.level && (ours || metadata.level() != log::Level::Info)
    }

    fn log(&self, record: &log::Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let text = match record.args().as_str() {
            Some(text) => Cow::Borrowed(text),
            None => Cow::Owned(record.args().to_string()),
        };
        let (request, message) = split_request(&text);
        let mut parts = Record::new(Record::now(), record.level(), record.target(), message);
        parts.request = request.map(Cow::Borrowed);
        self.write_own(parts);
    }

    fn flush(&self) {}
}

/// The name of the plugin that a text of the daemon's is about: `… plugin NAME …`. Only the first one
/// counts. What clients and plugins say comes behind it, and no path holds a blank.
fn plugin_of<'n>(text: &str, known: &'n [String]) -> Option<&'n str> {
    const WORD: &str = "plugin ";
    let begins = |at: usize| {
        text[..at]
            .chars()
            .next_back()
            .is_none_or(|c| !c.is_alphanumeric())
    };
    let (at, _) = text.match_indices(WORD).find(|(at, _)| begins(*at))?;
    let rest = &text[at + WORD.len()..];
    let is_name = |name: &&String| {
        let after = rest.strip_prefix(name.as_str());
        // A name does not go on.
        let goes_on = |c: char| c.is_alphanumeric() || c == '-' || c == '_';
        after.is_some_and(|after| !after.starts_with(goes_on))
    };
    known.iter().find(is_name).map(String::as_str)
}

/// Splits off a request's id, which the daemon puts in front of its texts: `[0123456789abcdef] …`.
fn split_request(text: &str) -> (Option<&str>, &str) {
    let split = text
        .strip_prefix('[')
        .and_then(|rest| rest.split_once("] "));
    match split {
        Some((id, message)) if id.len() == 16 && id.bytes().all(|b| b.is_ascii_hexdigit()) => {
            (Some(id), message)
        }
        _ => (None, text),
    }
}

/// Shows an error of the ring itself. It cannot go to the ring, so standard error gets it.
fn on_standard_error(trouble: &str) {
    let record = Record::new(Record::now(), log::Level::Error, module_path!(), trouble);
    complain(&record.to_string());
}

/// Writes to standard output, for people: names of files and what is in them must not steer a terminal.
/// Errors are ignored: the reader may have gone.
pub fn say(text: &str) {
    let _ = std::io::stdout().write_all(zlayer_binlog::lines(text).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_about_the_first_plugin_that_it_names() {
        let known = ["my plugin", "hello-2", "hello"].map(str::to_owned);
        let of = |text| plugin_of(text, &known);
        for (text, name) in [
            ("plugin hello: init failed", Some("hello")),
            (
                "GET /: plugin hello-2: failed: plugin hello",
                Some("hello-2"),
            ),
            ("failed: route by plugin my plugin: trap", Some("my plugin")),
            ("plugin hello imports what it is not granted", Some("hello")),
            ("plugin other: asked for plugin hello", None),
            ("plugin hello_3: unknown", None),
            ("GET /plugin%20hello: failed", None),
            ("(plugin hello) gave up", Some("hello")),
            ("unplugin hello", None),
            ("", None),
        ] {
            assert_eq!(of(text), name, "{text}");
        }
    }

    #[test]
    fn a_requests_id_is_taken_from_the_front_of_a_message() {
        let id = "0123456789abcdef";
        let split = |text: &str| {
            let (request, message) = split_request(text);
            (request.map(str::to_owned), message.to_owned())
        };
        let found = split(&format!("[{id}] GET /: failed"));
        assert_eq!(found, (Some(id.to_owned()), "GET /: failed".to_owned()));
        for other in [
            "[::1] x",
            "[0123456789abcdeg] x",
            "0123456789abcdef] x",
            "[] x",
            "",
        ] {
            assert_eq!(split(other), (None, other.to_owned()));
        }
    }
}
