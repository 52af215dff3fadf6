//! The key-value store in the status.

use std::fmt::Write as _;

use zlayer_binlog::one_line;

use super::json::Json;
use crate::keyvalue::{State, Status};
use crate::metrics::Page;

/// The state of the store at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Store {
    pub(super) status: Status,
    /// The name, bytes and keys of each namespace in use.
    pub(super) namespaces: Vec<(String, u64, u64)>,
}

impl Store {
    fn state(&self) -> (&'static str, Option<&str>) {
        match &self.status.state {
            State::Opening => ("opening", None),
            State::Open => ("open", None),
            State::Failing(reason) => ("failing", Some(reason)),
        }
    }

    pub(super) fn json(&self, json: &mut Json) {
        let (state, reason) = self.state();
        let status = &self.status;
        json.nest("store", '{', &mut |json| {
            json.text("state", state);
            json.text_or_null("reason", reason);
            json.number("pending_bytes", status.pending_bytes as u64);
            json.number("disk_bytes", status.disk_bytes);
            json.number("commits", status.commits);
            json.number("failed_commits", status.failures);
            json.number("read_errors", status.read_errors);
            json.number("restarts", status.restarts);
            // Left out where the kernel does not count.
            if let Some(bytes) = status.written_bytes {
                json.number("written_bytes", bytes);
            }
            json.nest("set_aside", '[', &mut |json| {
                for path in &status.aside {
                    json.text("", &path.to_string_lossy());
                }
            });
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

    /// Writes one line, and one more for each namespace.
    pub(super) fn text(&self, out: &mut String) {
        let (state, reason) = self.state();
        let status = &self.status;
        // Writing to a String cannot fail.
        let _ = write!(out, "store      {state}");
        if let Some(reason) = reason {
            let _ = write!(out, ": {}", one_line(reason));
        }
        let _ = write!(out, ", {} KiB on disk", status.disk_bytes >> 10);
        if let Some(bytes) = status.written_bytes {
            let _ = write!(out, ", {} KiB written", bytes >> 10);
        }
        let _ = write!(
            out,
            ", {} commits, {} failed, {} reads failed, {} bytes pending, {} restarts, {} set aside",
            status.commits,
            status.failures,
            status.read_errors,
            status.pending_bytes,
            status.restarts,
            status.aside.len()
        );
        out.push('\n');
        for (name, bytes, keys) in &self.namespaces {
            let name = one_line(name);
            let _ = writeln!(out, "           {name}: {keys} keys, {bytes} bytes");
        }
    }

    pub(super) fn series(&self, page: &mut Page) {
        let status = &self.status;
        // Left out where the kernel does not count.
        if let Some(bytes) = status.written_bytes {
            page.single(
                "zlayer_kv_written_bytes_total",
                "counter",
                "Bytes that the key-value store handed to the kernel to write.",
                bytes,
            );
        }
        for (name, help, value) in [
            ("commits", "Batches that the store wrote.", status.commits),
            (
                "failed_commits",
                "Batches that the store could not write.",
                status.failures,
            ),
            (
                "read_errors",
                "Reads of the store that failed.",
                status.read_errors,
            ),
            (
                "restarts",
                "How often the store was opened anew after a failure.",
                status.restarts,
            ),
        ] {
            page.single(&format!("zlayer_kv_{name}_total"), "counter", help, value);
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
            status: Status {
                state: State::Failing("the disk is \"full\"\n".to_owned()),
                pending_bytes: 1,
                disk_bytes: 4 << 10,
                commits: 2,
                failures: 9,
                read_errors: 10,
                restarts: 5,
                written_bytes: Some(3 << 10),
                aside: vec!["aside/000001-0-db".into()],
            },
            namespaces: vec![("p".to_owned(), 7, 8)],
        };
        let mut json = Json::object();
        store.json(&mut json);
        let read: serde_json::Value = serde_json::from_str(&json.finish()).unwrap();
        let wanted = serde_json::json!({"store": {
            "state": "failing", "reason": "the disk is \"full\"\n", "pending_bytes": 1, "disk_bytes": 4096,
            "commits": 2, "failed_commits": 9, "read_errors": 10, "restarts": 5, "written_bytes": 3072,
            "set_aside": ["aside/000001-0-db"],
            "namespaces": [{"name": "p", "bytes": 7, "keys": 8}],
        }});
        assert_eq!(read, wanted);
        let mut text = String::new();
        store.text(&mut text);
        assert!(
            text.starts_with(
                "store      failing: the disk is \"full\"\\n, 4 KiB on disk, 3 KiB written"
            ),
            "{text}"
        );
        assert!(
            text.ends_with("\n           p: 8 keys, 7 bytes\n"),
            "{text}"
        );
        let mut page = Page::default();
        store.series(&mut page);
        let text = page.into_text();
        for line in [
            "\nzlayer_kv_written_bytes_total 3072\n",
            "\nzlayer_kv_commits_total 2\n",
            "\nzlayer_kv_failed_commits_total 9\n",
            "\nzlayer_kv_restarts_total 5\n",
        ] {
            assert_eq!(text.matches(line).count(), 1, "{text}");
        }
    }
}
