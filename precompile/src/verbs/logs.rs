//! `logs`: what a device's binary log says.

use std::io::{self, Write as _};
use std::path::PathBuf;

use anyhow::Result;
use argh::FromArgs;
use serde_json::{Map, Value, json};
use zlayer_binlog::{Filter, Level, ReadError, Record, UNKNOWN_TIME, level, lines, one_line, read};
use zlayer_precompile::{Problem, Refused};

use super::{Outcome, usage};

/// show what a device's binary log says
#[derive(FromArgs)]
#[argh(subcommand, name = "logs")]
pub(crate) struct Logs {
    /// only records that this plugin wrote, and what the daemon tells of it
    #[argh(option)]
    plugin: Option<String>,

    /// only records of at least this level: error, warn, info, debug or trace
    #[argh(option, from_str_fn(level))]
    level: Option<Level>,

    /// only records of the request with this id
    #[argh(option)]
    request: Option<String>,

    /// only lines of the access log, in the Combined Log Format with the request's seconds and id behind
    #[argh(switch)]
    access: bool,

    /// wait for more, in one folder
    #[argh(switch)]
    follow: bool,

    /// print one JSON object for each record
    #[argh(switch)]
    #[expect(
        dead_code,
        reason = "`main` looks for the word itself, for errors in the arguments too"
    )]
    json: bool,

    /// the .zlog files, folders of them, or data folders
    #[argh(positional)]
    files: Vec<PathBuf>,
}

impl Logs {
    pub(crate) fn run(self, json: bool) -> Result<Outcome> {
        if self.files.is_empty() {
            return Err(usage("whose log? Name .zlog files, or a folder of them"));
        }
        if self.follow && (self.files.len() > 1 || self.files[0].is_file()) {
            return Err(usage("--follow goes with one folder of .zlog files"));
        }
        let filter = Filter {
            plugin: self.plugin,
            level: self.level,
            request: self.request,
            access: self.access,
        };
        let mut out = io::stdout().lock();
        let mut show = |record: &Record<'_>| match json {
            true => writeln!(out, "{}", shown(record)),
            false => match filter.access.then(|| record.combined()).flatten() {
                Some(line) => out.write_all(line.as_bytes()),
                None => write!(out, "{record}"),
            },
        };
        let mut torn = |what: &str| {
            // Who does not listen to standard error does not want to know.
            let _ = writeln!(io::stderr(), "zlayer-precompile: {}", one_line(what));
        };
        match read(&self.files, &filter, self.follow, &mut show, &mut torn) {
            // A reader that has seen enough, like `head`, is no failure.
            Err(ReadError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {}
            Err(ReadError::NoLog(path)) => {
                let mend = "give a .zlog file, a folder of them, or a data folder";
                let shown = path.display().to_string();
                return Err(
                    Refused::from(Problem::new(shown, "there is no log in it", mend)).into(),
                );
            }
            Err(ReadError::Foreign { path, format }) => {
                let what = format!("its format is version {format}, which is not known here");
                let mend = "use the zlayer-precompile that came with the device's zlayer";
                let shown = path.display().to_string();
                return Err(Refused::from(Problem::new(shown, what, mend)).into());
            }
            done => done?,
        }
        Ok(Outcome {
            text: String::new(),
            json: Value::Null,
        })
    }
}

/// A record for programs, as it is printed: some characters that terminals obey may stand in JSON as
/// they are.
fn shown(record: &Record<'_>) -> String {
    lines(&object(record).to_string()).into_owned()
}

/// A record for programs.
fn object(record: &Record<'_>) -> Value {
    let mut fields = Map::new();
    for (key, value) in &record.fields {
        match fields.get_mut(&**key) {
            None => drop(fields.insert(key.clone().into_owned(), json!(value))),
            Some(Value::Array(values)) => values.push(json!(value)),
            // A plugin may repeat a key, and an object may not.
            Some(first) => *first = json!([first.take(), value]),
        }
    }
    let micros = (record.micros != UNKNOWN_TIME).then_some(record.micros);
    json!({
        "time": micros.map(rfc3339),
        "time_us": micros,
        "level": record.level.as_str().to_lowercase(),
        "plugin": record.plugin(),
        "target": record.target,
        "request": record.request,
        "message": record.message,
        "fields": fields,
    })
}

/// A time as RFC 3339 has it, in UTC.
fn rfc3339(micros: u64) -> String {
    let (seconds, micros) = (micros / 1_000_000, micros % 1_000_000);
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`: years begin
    // in March, so that the leap day is their last.
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    };
    let year = era * 400 + year + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        for (micros, text) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (951_782_400_000_001, "2000-02-29T00:00:00.000001Z"),
            (1_709_251_199_999_999, "2024-02-29T23:59:59.999999Z"),
            (4_107_542_400_000_000, "2100-03-01T00:00:00.000000Z"),
        ] {
            assert_eq!(rfc3339(micros), text);
        }
        // Whatever a torn log says.
        assert!(rfc3339(u64::MAX).ends_with('Z'));
    }

    #[test]
    fn an_object_steers_no_terminal_and_says_what_the_record_says() {
        let message = "a\u{1b}[2J\u{9b}2J\u{202e}\u{7f}";
        let record = Record::new(0, Level::Warn, "plugin p", message);
        let shown = shown(&record);
        assert!(!shown.contains(zlayer_binlog::steers), "{shown:?}");
        let read: Result<Value, _> = serde_json::from_str(&shown);
        assert!(read.is_ok_and(|read| read["message"] == message));
    }

    #[test]
    fn a_record_is_one_object_with_every_part() {
        let mut record = Record::new(0, Level::Warn, "plugin p", "two\nlines");
        record.request = Some("7".into());
        record.fields = vec![("k".into(), "v".into())];
        let expected = json!({
            "time": "1970-01-01T00:00:00.000000Z", "time_us": 0, "level": "warn", "plugin": "p",
            "target": "plugin p", "request": "7", "message": "two\nlines", "fields": {"k": "v"},
        });
        assert_eq!(object(&record), expected);
        for more in ["w", "x"] {
            record.fields.push(("k".into(), more.into()));
        }
        record.micros = UNKNOWN_TIME;
        let shown = object(&record);
        assert_eq!(shown["fields"], json!({"k": ["v", "w", "x"]}));
        assert_eq!(
            (&shown["time"], &shown["time_us"]),
            (&Value::Null, &Value::Null)
        );
        let own = Record::new(0, Level::Info, "zlayer_runtime", "started");
        assert_eq!(object(&own)["plugin"], Value::Null);
    }
}
