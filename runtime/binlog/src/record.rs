//! A record, and the line that people read.

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use log::Level;

use crate::access::ACCESS_OWNER;

/// The target of a plugin's record begins with this.
pub const PLUGIN_TARGET: &str = "plugin ";
/// The key of the field that names the plugin which a record of the daemon concerns. The message
/// names it as well, so the line that people read leaves the field out.
pub const ABOUT_PLUGIN: &str = "plugin";
/// The most bytes of a message; the rest is cut off when it is written.
pub const MESSAGE_BYTES: usize = 4096;
/// The most bytes of all keys and values of a record, where each pair counts 16 more; the rest is
/// cut off.
pub const FIELDS_BYTES: usize = 4096;
/// The [`Record::micros`] of a record whose segment's start was lost.
pub const UNKNOWN_TIME: u64 = u64::MAX;
/// What a pair counts beside its text, so that empty pairs are bounded as well.
pub(crate) const FIELD_OVERHEAD: usize = 16;
/// The last second that an HTTP date can show, in the year 9999.
pub(crate) const LAST_SECOND: u64 = 253_402_300_799;

/// What happened, when, where, and in which request.
///
/// Its `Display` is the line that people read, with the line's end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record<'a> {
    /// Microseconds since the Unix epoch by the device's clock. A board whose clock does not
    /// outlive its power counts from 1970 until it learns the time: then this is the time since it
    /// started. [`UNKNOWN_TIME`] if it was lost in a torn log.
    pub micros: u64,
    /// How severe it is.
    pub level: Level,
    /// `plugin NAME`, or the module of the daemon that wrote it.
    pub target: Cow<'a, str>,
    /// The id of the request that was being worked on.
    pub request: Option<Cow<'a, str>>,
    /// A text that says what happened.
    pub message: Cow<'a, str>,
    /// Keys and values, in the order in which they were given.
    pub fields: Vec<(Cow<'a, str>, Cow<'a, str>)>,
}

impl<'a> Record<'a> {
    /// A record without a request and without fields.
    pub fn new(micros: u64, level: Level, target: &'a str, message: &'a str) -> Record<'a> {
        Record {
            micros,
            level,
            target: target.into(),
            request: None,
            message: message.into(),
            fields: Vec::new(),
        }
    }

    /// The present time, as [`Record::micros`] counts it.
    pub fn now() -> u64 {
        // A clock before 1970 shows as 1970.
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        u64::try_from(since.unwrap_or_default().as_micros()).unwrap_or(u64::MAX)
    }

    /// The name of the plugin that wrote it, if a plugin did.
    pub fn plugin(&self) -> Option<&str> {
        self.target.strip_prefix(PLUGIN_TARGET)
    }

    /// The name of the plugin that it concerns: of the one that wrote it, or of the one that the
    /// daemon tells something about.
    pub fn about(&self) -> Option<&str> {
        self.plugin().or_else(|| {
            let mut fields = self.fields.iter();
            let (_, name) = fields.find(|(key, _)| key == ABOUT_PLUGIN)?;
            Some(name)
        })
    }

    /// Whose share of a log it takes: that of the plugin that it concerns, of the access log, or of
    /// the daemon (the empty name).
    pub fn owner(&self) -> &str {
        match self.is_access() {
            true => ACCESS_OWNER,
            false => self.about().unwrap_or_default(),
        }
    }
}

impl fmt::Display for Record<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.micros == UNKNOWN_TIME {
            // This is as wide as a time.
            write!(f, "{:<29} {:<5} ", "(time unknown)", self.level)?;
        } else {
            let second = Duration::from_secs((self.micros / 1_000_000).min(LAST_SECOND));
            let time = httpdate::HttpDate::from(UNIX_EPOCH + second);
            write!(f, "{time} {:<5} ", self.level)?;
        }
        let mut line = OneLine(f);
        write!(line, "{}: ", self.target)?;
        if let Some(request) = &self.request {
            write!(line, "[{request}] ")?;
        }
        line.write_str(&self.message)?;
        let is_told = self.plugin().is_none();
        for (key, value) in &self.fields {
            if !(is_told && key == ABOUT_PLUGIN) {
                write!(line, " {key}={value:?}")?;
            }
        }
        f.write_str("\n")
    }
}

/// Whether a terminal would obey this character, or show what follows in another order than it was
/// written (the controls of Unicode's bidirectional algorithm, UAX #9), so that it could show a
/// forged text.
pub fn steers(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Returns `text` as one line that is safe to show on a terminal: control characters are escaped.
pub fn one_line(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    // Writing to a String cannot fail.
    let _ = OneLine(&mut shown).write_str(text);
    shown
}

/// Returns a text of several lines, such as a page that another process sent, as it is safe to show
/// on a terminal: control characters but for the ends of lines are escaped, and what was JSON still is.
pub fn lines(text: &str) -> Cow<'_, str> {
    let obeyed = |c: char| steers(c) && c != '\n' && c != '\t';
    if !text.contains(obeyed) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match obeyed(c) {
            // Writing to a String cannot fail. All of them fit four digits.
            true => drop(write!(shown, "\\u{:04x}", u32::from(c))),
            false => shown.push(c),
        }
    }
    Cow::Owned(shown)
}

/// Escapes the characters for which [`steers`] is true, so that a plugin's or a client's text
/// cannot forge a line or steer a terminal.
struct OneLine<'w, W>(&'w mut W);

impl<W: fmt::Write> fmt::Write for OneLine<'_, W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            if steers(c) && c != '\t' {
                write!(self.0, "{}", c.escape_default())?;
            } else {
                self.0.write_char(c)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_keeps_its_lines_and_steers_nothing() {
        assert_eq!(lines("a\n\tb \u{e9}\n"), "a\n\tb \u{e9}\n");
        assert_eq!(
            lines("a\x1b]0;b\x07\r\n\u{9b}2J\u{202e}c"),
            "a\\u001b]0;b\\u0007\\u000d\n\\u009b2J\\u202ec"
        );
    }

    #[test]
    fn a_record_is_one_line_whatever_it_holds() {
        let mut record = Record::new(12_999_999, Level::Warn, "plugin p", "a\nb\r\x1b[31m");
        record.request = Some("7\n".into());
        record.fields = vec![("k\n".into(), "two \"words\"\n".into())];
        assert_eq!(
            record.to_string(),
            "Thu, 01 Jan 1970 00:00:12 GMT WARN  plugin p: [7\\n] a\\nb\\r\\u{1b}[31m \
             k\\n=\"two \\\"words\\\"\\n\"\n"
        );
        assert_eq!(record.plugin(), Some("p"));
        assert_eq!(
            one_line("a\u{202e}b\u{2069}\u{e9}\t"),
            "a\\u{202e}b\\u{2069}\u{e9}\t"
        );
    }

    #[test]
    fn a_record_of_the_daemon_concerns_the_plugin_that_it_names() {
        let mut record = Record::new(0, Level::Warn, "zlayer_runtime", "plugin p: trap");
        assert_eq!(record.about(), None);
        record.fields = vec![(ABOUT_PLUGIN.into(), "p".into())];
        assert_eq!((record.plugin(), record.about()), (None, Some("p")));
        let line = "Thu, 01 Jan 1970 00:00:00 GMT WARN  zlayer_runtime: plugin p: trap\n";
        assert_eq!(record.to_string(), line);
        // What a plugin says of itself does not change whose record it is.
        record.target = "plugin q".into();
        assert_eq!(record.about(), Some("q"));
        assert!(record.to_string().ends_with("plugin=\"p\"\n"));
    }

    #[test]
    fn no_time_is_too_late_to_be_shown() {
        let mut record = Record::new(u64::MAX - 1, Level::Error, "zlayer_runtime", "late");
        let line = "Fri, 31 Dec 9999 23:59:59 GMT ERROR zlayer_runtime: late\n";
        assert_eq!(record.to_string(), line);
        assert_eq!(record.plugin(), None);
        record.micros = UNKNOWN_TIME;
        let line = "(time unknown)                ERROR zlayer_runtime: late\n";
        assert_eq!(record.to_string(), line);
    }
}
