//! What the status tells of the key-value store.

use std::fmt::Write as _;

use super::json::Json;
use crate::keyvalue::KeyValue;
use crate::metrics::Page;

/// The store at a moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Store {
    /// `opening`, `open` or `failing`; none while the store does not tell.
    pub(super) state: Option<&'static str>,
    /// Why it is failing.
    pub(super) reason: Option<String>,
    /// Bytes written that no commit has taken to the disk yet.
    pub(super) pending_bytes: u64,
    /// Commits since the start.
    pub(super) commits: u64,
    /// Bytes written to files since the start.
    pub(super) written_bytes: u64,
    /// Bytes that its files take.
    pub(super) disk_bytes: u64,
    /// How often it had to be opened anew since the start.
    pub(super) restarts: u64,
    /// Files set aside because they could not be read.
    pub(super) set_aside: u64,
    /// Name, bytes and keys of each namespace in use.
    pub(super) namespaces: Vec<(String, u64, u64)>,
}

/// Asks the store. It does not tell of itself yet: this is the one place to change when it does.
pub(super) fn of(_store: &KeyValue) -> Store {
    Store::default()
}

impl Store {
    fn figures(&self) -> [(&'static str, u64); 6] {
        [
            ("pending_bytes", self.pending_bytes),
            ("commits", self.commits),
            ("written_bytes", self.written_bytes),
            ("disk_bytes", self.disk_bytes),
            ("restarts", self.restarts),
            ("set_aside_files", self.set_aside),
        ]
    }

    pub(super) fn json(&self, json: &mut Json) {
        json.nest("store", '{', &mut |json| {
            json.text("state", self.state.unwrap_or("unknown"));
            if self.state.is_none() {
                return;
            }
            json.text_or_null("reason", self.reason.as_deref());
            for (name, value) in self.figures() {
                json.number(name, value);
            }
            json.nest("namespaces", '[', &mut |json| {
                for (name, bytes, keys) in &self.namespaces {
                    json.nest("", '{', &mut |json| {
                        json.text("name", name);
                        json.number("bytes", *bytes);
                        json.number("keys", *keys);
                    });
                }
            });
        });
    }

    /// One line, and one for each namespace.
    pub(super) fn text(&self, out: &mut String) {
        // Writing to a String cannot fail.
        let _ = write!(out, "store      {}", self.state.unwrap_or("unknown"));
        if let Some(reason) = &self.reason {
            let _ = write!(out, ": {reason}");
        }
        if self.state.is_some() {
            let _ = write!(
                out,
                ", {} KiB on disk, {} KiB written in {} commits, {} bytes pending, {} restarts, {} files set aside",
                self.disk_bytes >> 10,
                self.written_bytes >> 10,
                self.commits,
                self.pending_bytes,
                self.restarts,
                self.set_aside
            );
        }
        out.push('\n');
        for (name, bytes, keys) in &self.namespaces {
            let _ = writeln!(out, "           {name}: {keys} keys, {bytes} bytes");
        }
    }

    pub(super) fn series(&self, page: &mut Page) {
        if self.state.is_some() {
            page.single(
                "zlayer_kv_written_bytes_total",
                "counter",
                "Bytes that the key-value store wrote to files.",
                self.written_bytes,
            );
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;

    #[test]
    fn all_that_is_known_is_told() {
        let store = Store {
            state: Some("failing"),
            reason: Some("the disk is \"full\"".to_owned()),
            pending_bytes: 1,
            commits: 2,
            written_bytes: 3 << 10,
            disk_bytes: 4 << 10,
            restarts: 5,
            set_aside: 6,
            namespaces: vec![("p".to_owned(), 7, 8)],
        };
        let mut json = Json::object();
        store.json(&mut json);
        let read: serde_json::Value = serde_json::from_str(&json.finish()).unwrap();
        let wanted = serde_json::json!({"store": {
            "state": "failing", "reason": "the disk is \"full\"", "pending_bytes": 1, "commits": 2,
            "written_bytes": 3072, "disk_bytes": 4096, "restarts": 5, "set_aside_files": 6,
            "namespaces": [{"name": "p", "bytes": 7, "keys": 8}],
        }});
        assert_eq!(read, wanted);
        let mut text = String::new();
        store.text(&mut text);
        assert!(
            text.starts_with("store      failing: the disk is \"full\", 4 KiB on disk"),
            "{text}"
        );
        assert!(
            text.ends_with("\n           p: 8 keys, 7 bytes\n"),
            "{text}"
        );
        let mut page = Page::default();
        store.series(&mut page);
        Store::default().series(&mut page);
        let text = page.into_text();
        assert_eq!(
            text.matches("\nzlayer_kv_written_bytes_total 3072\n")
                .count(),
            1,
            "{text}"
        );
    }
}
