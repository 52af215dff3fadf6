//! The `log` backend for people: one line a record on standard error.

use std::io::Write;

use log::{LevelFilter, Log, Metadata, Record};

use crate::redact;

/// Targets of records that plugins wrote start with this; their level was checked already.
pub const PLUGIN_TARGET: &str = "plugin ";

/// Writes `LEVEL target message` lines; with the time in front when the clock is set.
struct Logger {
    level: LevelFilter,
}

/// Installs the logger at the level that the environment variable `ZLAYER_LOG` names (error,
/// warn, info, debug, trace, off; default info).
pub fn install() {
    let level = match std::env::var("ZLAYER_LOG") {
        Ok(name) => name.parse().unwrap_or(LevelFilter::Info),
        Err(_) => LevelFilter::Info,
    };
    // Once a process, never freed.
    if log::set_logger(Box::leak(Box::new(Logger { level }))).is_ok() {
        log::set_max_level(level);
    }
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let target = metadata.target();
        if target.starts_with(PLUGIN_TARGET) {
            return true;
        }
        // What libraries tell of their own workings is for those who look for it.
        let ours = target.starts_with("zlayer");
        metadata.level() <= self.level && (ours || metadata.level() != log::Level::Info)
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let now = httpdate::HttpDate::from(std::time::SystemTime::now());
        // Whoever wrote it: a client's path may hold what a secret is.
        let text = record.args().to_string();
        let text = redact::scrub(&text);
        // One write a record, so that lines of several threads do not mix. A closed standard
        // error must not take the daemon down: the result is dropped.
        let line = format!(
            "{now} {:<5} {}: {}\n",
            record.level(),
            record.target(),
            OneLine(&format_args!("{text}"))
        );
        let _ = std::io::stderr().lock().write_all(line.as_bytes());
    }

    fn flush(&self) {}
}

/// Writes to standard output; whoever started the program may not want to read it.
pub fn say(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// Writes to standard error, likewise.
pub fn complain(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// The longest prefix of `text` with at most `bytes` bytes that ends between characters.
pub fn cut(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

/// `text` with control characters escaped, as one line that is safe to show on a terminal.
pub fn one_line(text: &str) -> String {
    OneLine(&format_args!("{text}")).to_string()
}

/// Shows text with control characters escaped, so that what a plugin or a client sent cannot
/// forge a line or steer a terminal.
struct OneLine<'a>(&'a std::fmt::Arguments<'a>);

impl std::fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        struct Escape<'f, 'g>(&'f mut std::fmt::Formatter<'g>);
        impl std::fmt::Write for Escape<'_, '_> {
            fn write_str(&mut self, text: &str) -> std::fmt::Result {
                for c in text.chars() {
                    if c.is_control() && c != '\t' {
                        write!(self.0, "{}", c.escape_default())?;
                    } else {
                        self.0.write_char(c)?;
                    }
                }
                Ok(())
            }
        }
        use std::fmt::Write as _;
        Escape(f).write_fmt(*self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_cannot_forge_a_second_line() {
        let shown = OneLine(&format_args!("a\nb\r\x1b[31m")).to_string();
        assert_eq!(shown, "a\\nb\\r\\u{1b}[31m");
    }
}
