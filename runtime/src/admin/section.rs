//! What the status tells, described once and written twice: as JSON for programs, and as lines for
//! people. A field that is added to the description appears in both.

use std::fmt::{self, Write as _};
use std::time::{SystemTime, UNIX_EPOCH};

use zlayer_binlog::one_line;

use super::json::Json;

/// Some fields that belong together: an object in JSON. In text it is a few lines, each with a
/// label and a sentence.
///
/// A sentence names fields in braces. What no sentence names is told behind the last one, unless it
/// is zero, empty or unknown. Sections within this one follow with lines of their own.
#[derive(Debug, Default)]
pub(super) struct Section {
    fields: Vec<(&'static str, Value)>,
    lines: Vec<(&'static str, &'static str)>,
}

/// What a field holds.
#[derive(Debug)]
pub(super) enum Value {
    /// JSON has no word for it but null.
    Unknown,
    Text(String),
    Texts(Vec<String>),
    Number(u64),
    /// Memory or disk: people read it in KiB.
    Bytes(u64),
    /// A length of time.
    Seconds(u64),
    /// A point in time: seconds since 1970 in JSON.
    Moment(SystemTime),
    /// With the words for no and yes.
    Truth(bool, [&'static str; 2]),
    Section(Section),
    Sections(Vec<Section>),
}

impl Section {
    /// With one more field.
    pub(super) fn field(mut self, name: &'static str, value: impl Into<Value>) -> Section {
        self.fields.push((name, value.into()));
        self
    }

    /// With one more line of text.
    pub(super) fn line(mut self, label: &'static str, sentence: &'static str) -> Section {
        self.lines.push((label, sentence));
        self
    }

    /// Writes the fields of an object that was begun.
    pub(super) fn write_json(&self, json: &mut Json) {
        for (name, value) in &self.fields {
            match value {
                Value::Unknown => json.text_or_null(name, None),
                Value::Text(text) => json.text(name, text),
                Value::Texts(texts) => json.nest(name, '[', &mut |json| {
                    texts.iter().for_each(|text| json.text("", text));
                }),
                Value::Number(number) | Value::Bytes(number) | Value::Seconds(number) => {
                    json.number(name, *number);
                }
                Value::Moment(at) => {
                    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
                    json.number(name, since.as_secs());
                }
                Value::Truth(truth, _) => json.truth(name, *truth),
                Value::Section(section) => {
                    json.nest(name, '{', &mut |json| section.write_json(json));
                }
                Value::Sections(sections) => json.nest(name, '[', &mut |json| {
                    for section in sections {
                        json.nest("", '{', &mut |json| section.write_json(json));
                    }
                }),
            }
        }
    }

    /// Writes the lines. `name` is the label of what no sentence names, where there is no line yet.
    pub(super) fn write_text(&self, name: &str, out: &mut String) {
        let mut lines: Vec<(String, String)> = self
            .lines
            .iter()
            .map(|(label, sentence)| ((*label).to_owned(), self.fill(sentence)))
            .collect();
        let unnamed = self.fields.iter().filter(|(name, _)| !self.is_named(name));
        let rest: Vec<String> = unnamed
            .filter_map(|(name, value)| value.beside(name))
            .collect();
        if !rest.is_empty() {
            let rest = rest.join(", ");
            match lines.last_mut() {
                Some((_, line)) => {
                    line.push_str(", ");
                    line.push_str(&rest);
                }
                None => lines.push((words(name), rest)),
            }
        }
        for (label, line) in lines {
            // Writing to a String cannot fail. What a plugin says must not steer a terminal.
            let _ = writeln!(out, "{label:<10} {}", one_line(&line));
        }
        for (name, value) in &self.fields {
            match value {
                Value::Section(section) => section.write_text(name, out),
                Value::Sections(sections) => {
                    sections
                        .iter()
                        .for_each(|section| section.write_text(name, out));
                }
                _ => {}
            }
        }
    }

    /// Puts the fields in the place of their names. What they hold is not looked through again.
    fn fill(&self, sentence: &str) -> String {
        let mut filled = String::new();
        let mut rest = sentence;
        while let Some((before, from)) = rest.split_once('{') {
            let (name, after) = from.split_once('}').unwrap_or((from, ""));
            let value = self.fields.iter().find(|(field, _)| *field == name);
            filled.push_str(before);
            let _ = match value {
                Some((_, value)) => write!(filled, "{value}"),
                None => write!(filled, "{}", Value::Unknown),
            };
            rest = after;
        }
        filled + rest
    }

    fn is_named(&self, field: &str) -> bool {
        let in_braces = format!("{{{field}}}");
        let mut sentences = self.lines.iter().map(|(_, sentence)| sentence);
        sentences.any(|sentence| sentence.contains(&in_braces))
    }
}

impl Value {
    /// The value with its name, for who has not read a sentence about it. Nothing where the value
    /// is zero, empty or unknown, or has lines of its own.
    fn beside(&self, name: &str) -> Option<String> {
        match self {
            Value::Unknown | Value::Section(_) | Value::Sections(_) => None,
            Value::Number(0) | Value::Bytes(0) | Value::Truth(false, _) => None,
            Value::Texts(texts) if texts.is_empty() => None,
            Value::Number(_) => Some(format!("{self} {}", words(name))),
            // The unit is told with the number.
            Value::Bytes(_) => Some(format!("{self} {}", words(name.trim_end_matches("_bytes")))),
            Value::Truth(true, _) => Some(self.to_string()),
            Value::Text(_) | Value::Texts(_) | Value::Seconds(_) | Value::Moment(_) => {
                Some(format!("{} {self}", words(name)))
            }
        }
    }
}

/// A field's name as people write it.
fn words(name: &str) -> String {
    name.replace('_', " ")
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Unknown | Value::Section(_) | Value::Sections(_) => f.write_str("-"),
            Value::Text(text) => f.write_str(text),
            Value::Texts(texts) if texts.is_empty() => f.write_str("nothing"),
            Value::Texts(texts) => f.write_str(&texts.join(", ")),
            Value::Number(number) => write!(f, "{number}"),
            Value::Bytes(bytes) => write!(f, "{} KiB", bytes >> 10),
            Value::Seconds(seconds) => write!(f, "{}", Uptime(*seconds)),
            Value::Moment(at) => write!(f, "{}", httpdate::HttpDate::from(*at)),
            Value::Truth(truth, [no, yes]) => f.write_str(if *truth { yes } else { no }),
        }
    }
}

impl From<String> for Value {
    fn from(text: String) -> Value {
        Value::Text(text)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::Text(text.to_owned())
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Value {
        Value::Number(number)
    }
}

impl From<usize> for Value {
    fn from(number: usize) -> Value {
        Value::Number(number as u64)
    }
}

impl From<Section> for Value {
    fn from(section: Section) -> Value {
        Value::Section(section)
    }
}

impl From<Vec<String>> for Value {
    fn from(texts: Vec<String>) -> Value {
        Value::Texts(texts)
    }
}

impl From<Vec<Section>> for Value {
    fn from(sections: Vec<Section>) -> Value {
        Value::Sections(sections)
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Value {
        value.map_or(Value::Unknown, Into::into)
    }
}

/// A time in seconds, shown as `3d 04:05:06`.
struct Uptime(u64);

impl fmt::Display for Uptime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, rest) = (self.0 / 86_400, self.0 % 86_400);
        if days > 0 {
            write!(f, "{days}d ")?;
        }
        write!(
            f,
            "{:02}:{:02}:{:02}",
            rest / 3600,
            rest / 60 % 60,
            rest % 60
        )
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;

    fn json(section: &Section) -> serde_json::Value {
        let mut json = Json::object();
        section.write_json(&mut json);
        serde_json::from_str(&json.finish()).unwrap()
    }

    fn text(section: &Section) -> String {
        let mut text = String::new();
        section.write_text("all", &mut text);
        text
    }

    #[test]
    fn every_kind_of_field_is_in_both() {
        let inner = || Section::default().field("count", 3_u64);
        let section = Section::default()
            .field("text", "a")
            .field("texts", Value::Texts(vec!["b".to_owned(), "c".to_owned()]))
            .field("number", 1_u64)
            .field("disk_bytes", Value::Bytes(2048))
            .field("up_seconds", Value::Seconds(60))
            .field("at", Value::Moment(UNIX_EPOCH + Duration::from_secs(1)))
            .field("is_full", Value::Truth(true, ["", "full"]))
            .field("inner", inner())
            .field("several", vec![inner(), inner()]);
        assert_eq!(
            json(&section),
            json!({
                "text": "a", "texts": ["b", "c"], "number": 1, "disk_bytes": 2048, "up_seconds": 60,
                "at": 1, "is_full": true, "inner": {"count": 3},
                "several": [{"count": 3}, {"count": 3}],
            })
        );
        assert_eq!(
            text(&section),
            "all        text a, texts b, c, 1 number, 2 KiB disk, up seconds 00:01:00, \
             at Thu, 01 Jan 1970 00:00:01 GMT, full\n\
             inner      3 count\n\
             several    3 count\n\
             several    3 count\n"
        );
    }

    #[test]
    fn what_no_sentence_names_stands_behind_the_last_one() {
        let section = Section::default()
            .line("first", "{a} of {b}")
            .line("", "no field")
            .field("a", 0_u64)
            .field("b", 2_u64)
            .field("failed_reads", 3_u64);
        assert_eq!(
            text(&section),
            "first      0 of 2\n           no field, 3 failed reads\n"
        );
    }

    #[test]
    fn what_is_zero_empty_or_unknown_goes_without_saying_and_is_in_json() {
        let section = Section::default()
            .field("zero", 0_u64)
            .field("empty", Value::Texts(Vec::new()))
            .field("unknown", None::<String>)
            .field("no", Value::Truth(false, ["", "yes"]));
        assert_eq!(text(&section), "");
        let wanted = json!({"zero": 0, "empty": [], "unknown": null, "no": false});
        assert_eq!(json(&section), wanted);
        let named = section.line("named", "{zero}, {empty}, {unknown}, {absent}");
        assert_eq!(text(&named), "named      0, nothing, -, -\n");
    }

    #[test]
    fn what_a_field_holds_is_no_sentence_and_no_second_line() {
        let section = Section::default()
            .line("a", "{a}")
            .field("a", "{b}\nforged")
            .field("b", "c");
        assert_eq!(text(&section), "a          {b}\\nforged, b c\n");
    }

    #[test]
    fn uptimes_are_read_at_a_glance() {
        assert_eq!(Uptime(59).to_string(), "00:00:59");
        assert_eq!(Uptime(86_399).to_string(), "23:59:59");
        assert_eq!(Uptime(3 * 86_400 + 3_661).to_string(), "3d 01:01:01");
    }
}
