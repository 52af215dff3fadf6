//! Writes JSON (RFC 8259), as much of it as the status needs.

use std::fmt::Write as _;

use zlayer_binlog::steers;

use crate::redact;

/// A JSON document that is being written. Members of an object have a name; elements of an array
/// have none (`""`).
#[derive(Debug)]
pub(crate) struct Json {
    text: String,
}

impl Json {
    /// Begins a document that is an object.
    pub(crate) fn object() -> Json {
        Json {
            text: "{".to_owned(),
        }
    }

    /// Ends the document.
    pub(crate) fn finish(mut self) -> String {
        self.text.push_str("}\n");
        self.text
    }

    /// Begins an object (`{`) or an array (`[`), writes what is in it, and ends it.
    pub(crate) fn nest(&mut self, name: &str, bracket: char, inside: &mut dyn FnMut(&mut Json)) {
        self.name(name);
        self.text.push(bracket);
        inside(self);
        self.text.push(if bracket == '{' { '}' } else { ']' });
    }

    /// Writes a string with secrets masked, because it may hold a plugin's words.
    pub(crate) fn text(&mut self, name: &str, value: &str) {
        self.name(name);
        self.quoted(&redact::scrub(value));
    }

    /// Writes a string, or null.
    pub(crate) fn text_or_null(&mut self, name: &str, value: Option<&str>) {
        match value {
            Some(value) => self.text(name, value),
            None => self.plain(name, "null"),
        }
    }

    /// Writes a number.
    pub(crate) fn number(&mut self, name: &str, value: u64) {
        self.plain(name, &value.to_string());
    }

    /// Writes true or false.
    pub(crate) fn truth(&mut self, name: &str, value: bool) {
        self.plain(name, if value { "true" } else { "false" });
    }

    fn plain(&mut self, name: &str, value: &str) {
        self.name(name);
        self.text.push_str(value);
    }

    fn name(&mut self, name: &str) {
        if !self.text.ends_with(['{', '[']) {
            self.text.push(',');
        }
        if !name.is_empty() {
            self.quoted(name);
            self.text.push(':');
        }
    }

    fn quoted(&mut self, value: &str) {
        self.text.push('"');
        for c in value.chars() {
            match c {
                '"' => self.text.push_str("\\\""),
                '\\' => self.text.push_str("\\\\"),
                // JSON allows many of these, but terminals obey them.
                c if steers(c) => {
                    // Writing to a String cannot fail. All of them fit four digits.
                    let _ = write!(self.text, "\\u{:04x}", u32::from(c));
                }
                c => self.text.push(c),
            }
        }
        self.text.push('"');
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;

    #[test]
    fn a_parser_reads_back_what_was_written() {
        let every: String = (0..0x3000).filter_map(char::from_u32).collect();
        let mut json = Json::object();
        json.text("every", &every);
        json.text("na\"me", "[");
        json.nest("list", '[', &mut |json| {
            json.text("", "{");
            json.number("", u64::MAX);
            json.truth("", true);
            json.nest("", '{', &mut |json| json.text_or_null("a", None));
            json.nest("", '[', &mut |_| {});
        });
        json.nest("empty", '{', &mut |_| {});
        json.truth("last", false);
        let text = json.finish();
        assert!(!text.trim_end().contains(steers));
        let read: serde_json::Value = serde_json::from_str(&text).unwrap();
        let wanted = serde_json::json!({
            "every": every,
            "na\"me": "[",
            "list": ["{", u64::MAX, true, {"a": null}, []],
            "empty": {},
            "last": false,
        });
        assert_eq!(read, wanted);
    }
}
