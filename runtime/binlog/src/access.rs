//! The access log: one record for each request.
//!
//! Its message is a line of the Combined Log Format of Apache and nginx without the time, behind which
//! the request's time is appended:
//!
//! ```text
//! CLIENT - - "REQUEST LINE" STATUS BYTES "REFERER" "USER AGENT" SECONDS
//! ```
//!
//! Time and request id are parts of the record as they are of all others. [`Record::combined`] puts
//! them where programs that read such logs look for them.

use std::time::{Duration, UNIX_EPOCH};

use crate::record::{LAST_SECOND, Record, UNKNOWN_TIME, one_line};

/// The target of the access log's records.
pub const ACCESS_TARGET: &str = "access";
/// Whose share of a log its records take. No plugin has a name with a blank.
pub(crate) const ACCESS_OWNER: &str = "access log";

impl Record<'_> {
    /// Whether it is a line of the access log.
    pub fn is_access(&self) -> bool {
        self.target == ACCESS_TARGET
    }

    /// The line of the access log as programs read it: `CLIENT - - [TIME] "REQUEST LINE" STATUS BYTES
    /// "REFERER" "USER AGENT" SECONDS ID`, with its end. `None` for other records.
    pub fn combined(&self) -> Option<String> {
        if !self.is_access() {
            return None;
        }
        // What stands in front of the first quote is the daemon's own.
        let (who, rest) = self.message.split_once('"')?;
        let id = self.request.as_deref().unwrap_or("-");
        let line = format!("{who}[{}] \"{rest} {id}", time(self.micros));
        // A log may come from a stranger, who can write what no daemon writes.
        Some(one_line(&line) + "\n")
    }
}

/// A time as Apache writes it, in UTC: `29/Nov/2026:14:31:54 +0000`. One that is not known is the
/// epoch.
fn time(micros: u64) -> String {
    let micros = if micros == UNKNOWN_TIME { 0 } else { micros };
    let second = Duration::from_secs((micros / 1_000_000).min(LAST_SECOND));
    // "Sun, 29 Nov 2026 14:31:54 GMT": each part has its place (RFC 9110 section 5.6.7).
    let date = httpdate::HttpDate::from(UNIX_EPOCH + second).to_string();
    let parts: Vec<&str> = date.split(' ').collect();
    match parts[..] {
        [_, day, month, year, time, _] => format!("{day}/{month}/{year}:{time} +0000"),
        _ => date,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use log::Level;

    #[test]
    fn a_line_is_what_readers_of_such_logs_expect() {
        let message = r#"192.0.2.1 - - "GET /a\x22b HTTP/1.1" 200 5 "-" "curl/8.5.0" 0.012"#;
        let micros = 1_795_962_714_999_999;
        let mut record = Record::new(micros, Level::Info, ACCESS_TARGET, message);
        let line = |id| {
            format!(
                "192.0.2.1 - - [29/Nov/2026:14:31:54 +0000] \"GET /a\\x22b HTTP/1.1\" 200 5 \"-\" \
                 \"curl/8.5.0\" 0.012 {id}\n"
            )
        };
        assert_eq!(record.combined(), Some(line("-")));
        record.request = Some("0123456789abcdef".into());
        assert_eq!(record.combined(), Some(line("0123456789abcdef")));
        record.request = Some("\u{9b}2J".into());
        let forged = message.replace("curl", "a\nb\u{1b}]0;x\u{202e}");
        record.message = forged.as_str().into();
        let shown = record.combined().unwrap_or_default();
        assert!(
            !shown.trim_end_matches('\n').contains(crate::steers),
            "{shown:?}"
        );
        assert_eq!(record.owner(), ACCESS_OWNER);
        assert_eq!((record.plugin(), record.about()), (None, None));
    }

    #[test]
    fn other_records_are_no_lines_and_no_time_is_too_late() {
        let record = Record::new(0, Level::Info, "plugin access", "\"GET / HTTP/1.1\"");
        assert_eq!((record.combined(), record.owner()), (None, "access"));
        let torn = Record::new(0, Level::Info, ACCESS_TARGET, "?7");
        assert_eq!(torn.combined(), None);
        for (micros, expected) in [
            (u64::MAX - 1, "31/Dec/9999:23:59:59 +0000"),
            (UNKNOWN_TIME, "01/Jan/1970:00:00:00 +0000"),
        ] {
            assert_eq!(time(micros), expected);
        }
    }
}
