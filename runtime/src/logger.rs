//! The log's two outputs: text for people on standard error, and the binary ring in the data
//! folder.
//!
//! The daemon and its libraries write through the macros of `log`; plugins' records, which have
//! more parts, come through [`record`].

use std::borrow::Cow;
use std::io::Write;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use log::{LevelFilter, Log, Metadata};
use zlayer_binlog::Record;

use crate::config::LogOutput;
use crate::log_ring::LogRing;
use crate::redact::scrub;

static LOGGER: OnceLock<Logger> = OnceLock::new();

/// Where records go.
struct Logger {
    level: LevelFilter,
    text: AtomicBool,
    /// Takes records from the start; those of before the data folder is open wait in it.
    ring: LogRing,
}

/// Installs the logger at the level that the environment variable `ZLAYER_LOG` names (error,
/// warn, info, debug, trace, off; default info).
pub fn install() {
    let level = match std::env::var("ZLAYER_LOG") {
        Ok(name) => name.parse().unwrap_or(LevelFilter::Info),
        Err(_) => LevelFilter::Info,
    };
    let logger = LOGGER.get_or_init(|| Logger {
        level,
        text: AtomicBool::new(true),
        ring: LogRing::default(),
    });
    if log::set_logger(logger).is_ok() {
        log::set_max_level(level);
    }
}

/// Chooses the outputs, now that the folder of the ring is known. The future that is answered has to
/// be polled for records to be written in time.
pub fn choose(output: LogOutput, folder: &Path) -> Option<impl Future<Output = ()> + use<>> {
    let logger = LOGGER.get()?;
    logger
        .text
        .store(output != LogOutput::Binary, Ordering::Relaxed);
    if output == LogOutput::Text {
        logger.ring.close();
        return None;
    }
    logger.ring.open(folder.to_owned());
    Some(logger.ring.flush_in_time(on_standard_error))
}

/// Writes what waits to the ring, and to the disk. Later records go to standard error alone.
pub fn close() {
    if let Some(trouble) = LOGGER.get().and_then(|logger| logger.ring.close()) {
        on_standard_error(&trouble);
    }
}

/// Writes an error to the ring alone: one that people are told otherwise.
pub fn remember(message: &str) {
    if let Some(logger) = LOGGER.get() {
        let message = scrub(message);
        let record = Record::new(Record::now(), log::Level::Error, module_path!(), &message);
        logger.ring.write(&record, Instant::now());
    }
}

/// Writes a plugin's record, whose level was checked already.
pub fn record(record: &Record<'_>) {
    if let Some(logger) = LOGGER.get() {
        logger.put(record);
    }
}

impl Logger {
    fn put(&self, record: &Record<'_>) {
        // Whoever wrote it: a client's path may hold what a secret is.
        let record = &Record {
            micros: record.micros,
            level: record.level,
            target: scrub(&record.target),
            request: record.request.as_deref().map(scrub),
            message: scrub(&record.message),
            fields: record
                .fields
                .iter()
                .map(|(key, value)| (scrub(key), scrub(value)))
                .collect(),
        };
        if self.text.load(Ordering::Relaxed) {
            // One write a record, so that lines of several threads do not mix.
            complain(&record.to_string());
        }
        self.ring.write(record, Instant::now());
    }
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // What libraries tell of their own workings is for those who look for it.
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
        self.put(&parts);
    }

    fn flush(&self) {}
}

/// The daemon's own records have a request's id in front, as text: `[0123456789abcdef] …`.
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

/// What the ring has to say of itself goes past it, and is seen where there is someone to see it.
fn on_standard_error(trouble: &str) {
    let record = Record::new(Record::now(), log::Level::Error, module_path!(), trouble);
    complain(&record.to_string());
}

/// Writes to standard output; whoever started the program may not want to read it.
pub fn say(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// Writes to standard error, likewise: a closed one must not take the daemon down.
pub fn complain(text: &str) {
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

/// The longest prefix of `text` with at most `bytes` bytes that ends between characters.
pub fn cut(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

#[cfg(test)]
mod tests {
    use super::*;

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
