//! The key-value store in the status.

use super::section::{Section, Value};
use crate::keyvalue::{Status, StoreState};
use crate::metrics::Page;

/// The state of the store at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Store {
    pub(super) status: Status,
    pub(super) namespaces: Vec<Held>,
}

/// A namespace in use.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Held {
    pub(super) name: String,
    pub(super) bytes: u64,
    pub(super) keys: u64,
    /// As its flag says it.
    pub(super) durability: String,
    /// Changes that were refused because it was full.
    pub(super) refused: u64,
}

impl Store {
    fn state(&self) -> (&'static str, Option<&str>) {
        match &self.status.state {
            StoreState::Unused => ("unused", None),
            StoreState::Opening => ("opening", None),
            StoreState::Open => ("open", None),
            StoreState::Failing(reason) => ("failing", Some(reason)),
        }
    }

    pub(super) fn describe(&self) -> Section {
        let (state, reason) = self.state();
        let status = &self.status;
        let sentence = match reason {
            None => "{state}, {disk_bytes} on disk, {pending_bytes} bytes pending",
            Some(_) => "{state}: {reason}, {disk_bytes} on disk, {pending_bytes} bytes pending",
        };
        let aside = status.aside.iter();
        let aside = aside.map(|path| path.to_string_lossy().into_owned());
        let described = Section::default()
            .line("store", sentence)
            .field("state", state)
            .field("reason", reason)
            .field("pending_bytes", status.pending_bytes)
            .field("disk_bytes", Value::Bytes(status.disk_bytes))
            .field("commits", status.commits)
            .field("failed_commits", status.failures)
            .field("read_errors", status.read_errors)
            .field("restarts", status.restarts)
            .field("written_bytes", Value::Bytes(status.written_bytes));
        let namespaces = self.namespaces.iter().map(|held| {
            Section::default()
                .line("", "{name}: {keys} keys, {bytes} bytes, {durability}")
                .field("name", held.name.as_str())
                .field("bytes", held.bytes)
                .field("keys", held.keys)
                .field("durability", held.durability.as_str())
                .field("refused_changes", held.refused)
        });
        described
            .field("set_aside", Value::Texts(aside.collect()))
            .field("namespaces", namespaces.collect::<Vec<_>>())
    }

    pub(super) fn series(&self, page: &mut Page) {
        let status = &self.status;
        for (name, help, value) in [
            (
                "written_bytes",
                "Bytes that the key-value store handed to the kernel to write; reckoned from its batches where \
                 the kernel does not tell this account.",
                status.written_bytes,
            ),
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
    use super::super::json::Json;
    use super::*;

    #[test]
    fn all_that_is_known_is_told() {
        let store = Store {
            status: Status {
                state: StoreState::Failing("the disk is \"full\"\n".to_owned()),
                pending_bytes: 1,
                disk_bytes: 4 << 10,
                commits: 2,
                failures: 9,
                read_errors: 10,
                restarts: 5,
                written_bytes: 3 << 10,
                aside: vec!["aside/000001-0-db".into()],
            },
            namespaces: vec![Held {
                name: "p".to_owned(),
                bytes: 7,
                keys: 8,
                durability: "interval=60s".to_owned(),
                refused: 4,
            }],
        };
        let described = Section::default().field("store", store.describe());
        let mut json = Json::object();
        described.write_json(&mut json);
        let read: serde_json::Value = serde_json::from_str(&json.finish()).unwrap();
        let wanted = serde_json::json!({"store": {
            "state": "failing", "reason": "the disk is \"full\"\n", "pending_bytes": 1, "disk_bytes": 4096,
            "commits": 2, "failed_commits": 9, "read_errors": 10, "restarts": 5, "written_bytes": 3072,
            "set_aside": ["aside/000001-0-db"],
            "namespaces": [{"name": "p", "bytes": 7, "keys": 8, "durability": "interval=60s", "refused_changes": 4}],
        }});
        assert_eq!(read, wanted);
        let mut text = String::new();
        described.write_text("", &mut text);
        assert_eq!(
            text,
            "store      failing: the disk is \"full\"\\n, 4 KiB on disk, 1 bytes pending, 2 commits, \
             9 failed commits, 10 read errors, 5 restarts, 3 KiB written, \
             set aside aside/000001-0-db\n           p: 8 keys, 7 bytes, interval=60s, 4 refused changes\n"
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
