//! The response cache in the status.

use super::section::{Section, Value};
use crate::cache::Figures;
use crate::metrics::Page;

impl Figures {
    fn counts(&self) -> [(&'static str, &'static str, u64); 6] {
        let counts = &self.counts;
        [
            (
                "hits",
                "Requests that a fresh response answered.",
                counts.hits,
            ),
            (
                "stale",
                "Requests that a stale response answered.",
                counts.stale,
            ),
            (
                "misses",
                "Requests that no response answered.",
                counts.misses,
            ),
            ("stored", "Responses that were stored.", counts.stored),
            (
                "evicted",
                "Responses that made room for others.",
                counts.evicted,
            ),
            (
                "purged",
                "Responses that were purged or made invalid.",
                counts.purged,
            ),
        ]
    }

    pub(super) fn describe(&self) -> Section {
        let described = Section::default()
            .line("cache", "{entries} responses in {bytes} of {limit_bytes}")
            .field("entries", self.entries)
            .field("bytes", Value::Bytes(self.bytes as u64))
            .field("limit_bytes", Value::Bytes(self.limit as u64));
        let counts = self.counts().into_iter();
        counts.fold(described, |section, (name, _, count)| {
            section.field(name, count)
        })
    }

    pub(super) fn series(&self, page: &mut Page) {
        let entries = self.entries as u64;
        page.single(
            "zlayer_cache_entries",
            "gauge",
            "Responses in the cache.",
            entries,
        );
        let (help, bytes) = ("Bytes of the cache that are used.", self.bytes as u64);
        page.single("zlayer_cache_bytes", "gauge", help, bytes);
        for (name, help, count) in self.counts() {
            page.single(
                &format!("zlayer_cache_{name}_total"),
                "counter",
                help,
                count,
            );
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::super::json::Json;
    use super::*;
    use crate::cache::Counts;

    #[test]
    fn all_figures_are_told() {
        let figures = Figures {
            entries: 1,
            bytes: 2048,
            limit: 1 << 20,
            counts: Counts {
                hits: 3,
                stale: 4,
                misses: 5,
                stored: 6,
                evicted: 7,
                purged: 8,
            },
        };
        let described = Section::default().field("cache", figures.describe());
        let mut json = Json::object();
        described.write_json(&mut json);
        let read: serde_json::Value = serde_json::from_str(&json.finish()).unwrap();
        let wanted = serde_json::json!({"cache": {
            "entries": 1, "bytes": 2048, "limit_bytes": 1 << 20, "hits": 3, "stale": 4,
            "misses": 5, "stored": 6, "evicted": 7, "purged": 8,
        }});
        assert_eq!(read, wanted);
        let mut text = String::new();
        described.write_text("", &mut text);
        let wanted = "cache      1 responses in 2 KiB of 1024 KiB, 3 hits, 4 stale, 5 misses, 6 stored, \
            7 evicted, 8 purged\n";
        assert_eq!(text, wanted);
        let mut page = Page::default();
        figures.series(&mut page);
        let text = page.into_text();
        for line in [
            "\nzlayer_cache_entries 1\n",
            "\nzlayer_cache_bytes 2048\n",
            "\nzlayer_cache_hits_total 3\n",
            "\nzlayer_cache_purged_total 8\n",
        ] {
            assert_eq!(text.matches(line).count(), 1, "{text}");
        }
    }
}
