//! The table of the plugins' metrics, bounded in series and in bytes.

mod text;

use std::fmt::Write as _;
use std::sync::{Mutex, MutexGuard};

use heapless::index_map::FnvIndexMap;

pub use text::{CONTENT_TYPE, Histogram, Page, labels};
use text::{Escaped, label_name, metric_name};

use crate::sync;

/// Series that one plugin may have; more are dropped and counted.
pub const SERIES: usize = 256;
/// Series of all plugins together; a full table drops new ones. heapless wants a power of two.
const TABLE: usize = 1024;
/// Longest series name with its labels, in bytes.
pub const NAME_BYTES: usize = 256;

/// Upper bounds of the histogram buckets, in the unit observed (seconds, by convention).
pub const BUCKETS: [f64; 12] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0,
];

/// Bytes that a line on the page takes beside its name and labels: a suffix, a bucket's bound and a
/// number of at most 24 characters.
const LINE_BYTES: usize = 56;
/// Labels that a series may have beside the one that names its plugin.
const LABELS: usize = 16;
/// What the text format appends to a histogram's name for its samples.
const SUFFIXES: [&str; 3] = ["_bucket", "_sum", "_count"];

/// The table of counters, gauges and histograms, by name and labels.
pub struct Metrics {
    table: Mutex<Table>,
}

struct Table {
    /// On the heap and of fixed size: it is allocated once, when the process starts.
    series: Box<FnvIndexMap<Key, Value, TABLE>>,
    dropped: u64,
}

#[derive(PartialEq, Eq, Hash, PartialOrd, Ord, Clone)]
struct Key {
    name: Box<str>,
    /// `{a="b",c="d"}`, without the braces.
    labels: Box<str>,
}

impl Key {
    /// The first label, which names the plugin that the series belongs to.
    fn plugin(&self) -> &str {
        // Quotes in a value are escaped, so the first plain one ends it.
        let end = self.labels.find("\",").unwrap_or(self.labels.len() - 1);
        &self.labels[..end]
    }
}

enum Value {
    Counter(u64),
    Gauge(f64),
    Histogram(Box<Histogram>),
}

/// A change of one series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Change {
    /// Adds to a counter.
    CounterInc(u64),
    /// Sets a gauge.
    GaugeSet(f64),
    /// Adds to a gauge, which starts at 0.
    GaugeAdd(f64),
    /// Observes a value in a histogram.
    Observe(f64),
}

impl Default for Metrics {
    fn default() -> Self {
        Metrics {
            table: Mutex::new(Table {
                series: Box::default(),
                dropped: 0,
            }),
        }
    }
}

impl Metrics {
    /// Applies `change` to the series of `name` and `labels`, which is made on first use. Dropped
    /// and counted are a change that does not fit the kind of the series, a name that clashes with
    /// the samples of a histogram, a name or label list that is too long, and a new series in a
    /// full table.
    pub fn apply<'a>(
        &self,
        plugin: &str,
        name: &str,
        labels: impl Iterator<Item = (&'a str, &'a str)>,
        change: Change,
    ) {
        let key = series_key(plugin, name, labels);
        let mut table = self.lock();
        if !key.is_some_and(|key| table.apply(key, change)) {
            table.dropped += 1;
        }
    }

    /// How many changes were dropped.
    pub fn dropped(&self) -> u64 {
        self.lock().dropped
    }

    /// The table as a page of its own, with the number of dropped changes at its end.
    pub fn render(&self) -> String {
        let mut page = Page::default();
        self.write(&mut page);
        page.single(
            "zlayer_metrics_dropped_total",
            "counter",
            "",
            self.dropped(),
        );
        page.into_text()
    }

    /// The most bytes that the table takes on a page.
    pub fn page_bytes(&self) -> usize {
        let table = self.lock();
        let bytes = |(key, value): (&Key, &Value)| {
            // A series may be the first of its family, which adds a line (`# TYPE name histogram`).
            let lines = match value {
                Value::Counter(_) | Value::Gauge(_) => 2,
                Value::Histogram(_) => BUCKETS.len() + 4,
            };
            lines * (key.name.len() + key.labels.len() + LINE_BYTES)
        };
        table.series.iter().map(bytes).sum()
    }

    /// Adds the table to a page, sorted by name.
    pub fn write(&self, page: &mut Page) {
        let table = self.lock();
        let mut series: Vec<_> = table.series.iter().collect();
        series.sort_by(|left, right| left.0.cmp(right.0));
        let mut last = "";
        for (Key { name, labels }, value) in series {
            if **name != *last {
                page.family(name, value.kind(), "");
                last = name;
            }
            match value {
                Value::Counter(count) => page.whole(name, labels, *count),
                Value::Gauge(value) => page.number(name, labels, *value),
                Value::Histogram(histogram) => page.histogram(name, labels, histogram),
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        // Every change is a single assignment, so a holder that died left the table whole.
        sync::lock(&self.table)
    }
}

impl Table {
    fn apply(&mut self, key: Key, change: Change) -> bool {
        if !self.series.contains_key(&key) {
            let fresh = match change {
                Change::CounterInc(_) => Value::Counter(0),
                Change::GaugeSet(_) | Change::GaugeAdd(_) => Value::Gauge(0.0),
                Change::Observe(_) => Value::Histogram(Box::default()),
            };
            let names_clash = |(other, value): (&Key, &Value)| {
                // Series of one name must have one kind, or the text format is not valid.
                (other.name == key.name && value.kind() != fresh.kind())
                    || has_sample_named(&other.name, value, &key.name)
                    || has_sample_named(&key.name, &fresh, &other.name)
            };
            let clash = self.series.iter().any(names_clash);
            let own = |other: &&Key| other.plugin() == key.plugin();
            let is_full = self.series.keys().filter(own).count() >= SERIES;
            if clash || is_full || self.series.insert(key.clone(), fresh).is_err() {
                return false;
            }
        }
        match (self.series.get_mut(&key), change) {
            (Some(Value::Counter(count)), Change::CounterInc(more)) => {
                *count = count.saturating_add(more)
            }
            (Some(Value::Gauge(value)), Change::GaugeSet(new)) => *value = new,
            (Some(Value::Gauge(value)), Change::GaugeAdd(more)) => *value += more,
            (Some(Value::Histogram(histogram)), Change::Observe(value)) => histogram.observe(value),
            _ => return false,
        }
        true
    }
}

impl Value {
    fn kind(&self) -> &'static str {
        match self {
            Value::Counter(_) => "counter",
            Value::Gauge(_) => "gauge",
            Value::Histogram(_) => "histogram",
        }
    }
}

/// Whether a histogram called `name` has a sample called `other`.
fn has_sample_named(name: &str, value: &Value, other: &str) -> bool {
    matches!(value, Value::Histogram(_))
        && other
            .strip_prefix(name)
            .is_some_and(|suffix| SUFFIXES.contains(&suffix))
}

/// The key of a series; `None` if it is too long.
fn series_key<'a>(
    plugin: &str,
    name: &str,
    mut labels: impl Iterator<Item = (&'a str, &'a str)>,
) -> Option<Key> {
    let mut text = String::with_capacity(64);
    let _ = write!(text, "plugin=\"{}\"", Escaped(plugin));
    let mut given: Vec<(String, &str)> = labels
        .by_ref()
        .take(LABELS)
        .map(|(key, value)| (label_name(key, NAME_BYTES), value))
        .filter(|(key, _)| key != "plugin" && key != "le")
        .collect();
    if labels.next().is_some() {
        return None;
    }
    given.sort();
    given.dedup_by(|next, kept| next.0 == kept.0);
    for (key, value) in given {
        if text.len() + key.len() + value.len() > NAME_BYTES {
            return None;
        }
        let _ = write!(text, ",{key}=\"{}\"", Escaped(value));
    }
    let name = metric_name(name, NAME_BYTES + 1);
    (name.len() + text.len() <= NAME_BYTES).then(|| Key {
        name: name.into(),
        labels: text.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn none() -> std::iter::Empty<(&'static str, &'static str)> {
        std::iter::empty()
    }

    #[test]
    fn a_page_is_no_longer_than_was_said() {
        let metrics = Metrics::default();
        assert_eq!(metrics.page_bytes(), 0);
        let overhead = metrics.render().len();
        for (index, value) in [1e17, -1.234_567_890_123_456_7e-300, f64::NEG_INFINITY, 0.1]
            .into_iter()
            .enumerate()
        {
            metrics.apply("p", &format!("h{index}"), none(), Change::Observe(value));
            metrics.apply("p", &format!("g{index}"), none(), Change::GaugeSet(value));
            let many = Change::CounterInc(u64::MAX);
            metrics.apply("p", &"c".repeat(200 + index), none(), many);
        }
        let gauge = Change::GaugeSet(-1.234_567_890_123_456_7e-9);
        metrics.apply("p", "g", [("a", "b")].into_iter(), gauge);
        let (length, said) = (metrics.render().len() - overhead, metrics.page_bytes());
        assert!(length <= said && said < 3 * length, "{length} of {said}");
    }

    #[test]
    fn kinds_are_rendered_sorted_and_typed() {
        let metrics = Metrics::default();
        metrics.apply("p", "z.total", none(), Change::CounterInc(2));
        metrics.apply("p", "z.total", none(), Change::CounterInc(3));
        metrics.apply(
            "p",
            "gauge",
            [("b", "1"), ("a", "x\"\\\n")].into_iter(),
            Change::GaugeAdd(1.5),
        );
        metrics.apply("p", "h", none(), Change::Observe(0.03));
        let text = metrics.render();
        assert!(
            text.contains("# TYPE z_total counter\nz_total{plugin=\"p\"} 5\n"),
            "{text}"
        );
        assert!(
            text.contains("gauge{plugin=\"p\",a=\"x\\\"\\\\\\n\",b=\"1\"} 1.5\n"),
            "{text}"
        );
        assert!(
            text.contains(
                "h_bucket{plugin=\"p\",le=\"0.025\"} 0\nh_bucket{plugin=\"p\",le=\"0.05\"} 1\n"
            ),
            "{text}"
        );
        assert!(
            text.contains("h_sum{plugin=\"p\"} 0.03\nh_count{plugin=\"p\"} 1\n"),
            "{text}"
        );
    }

    #[test]
    fn a_full_table_drops_and_counts() {
        let metrics = Metrics::default();
        for n in 0..SERIES + 10 {
            metrics.apply("p", &format!("m{n}"), none(), Change::CounterInc(1));
        }
        metrics.apply("p", "m0", none(), Change::GaugeSet(1.0));
        metrics.apply("p", &"x".repeat(1000), none(), Change::CounterInc(1));
        assert!(
            metrics
                .render()
                .ends_with("zlayer_metrics_dropped_total 12\n")
        );
    }

    #[test]
    fn a_label_cannot_pose_as_the_plugin() {
        let metrics = Metrics::default();
        metrics.apply(
            "real",
            "m",
            [("plugin", "forged"), ("9", "v")].into_iter(),
            Change::CounterInc(1),
        );
        assert!(metrics.render().contains("m{plugin=\"real\",_9=\"v\"} 1\n"));
    }

    #[test]
    fn names_of_a_histograms_samples_are_taken() {
        let metrics = Metrics::default();
        metrics.apply("p", "h", none(), Change::Observe(1.0));
        metrics.apply("p", "c_sum", none(), Change::CounterInc(1));
        for (name, change) in [
            ("h_count", Change::CounterInc(1)),
            ("h.sum", Change::GaugeSet(1.0)),
            ("h_bucket", Change::Observe(1.0)),
            ("h", Change::CounterInc(1)),
            ("c", Change::Observe(1.0)),
        ] {
            metrics.apply("p", name, none(), change);
        }
        // No suffix of the format, no histogram.
        metrics.apply("p", "h_total", none(), Change::CounterInc(1));
        metrics.apply("p", "c", none(), Change::CounterInc(1));
        assert_eq!(metrics.dropped(), 5);
        let text = metrics.render();
        assert_eq!(text.matches("h_count").count(), 1, "{text}");
        assert!(text.contains("\nh_total{plugin=\"p\"} 1\n"), "{text}");
    }

    #[test]
    fn the_daemons_own_names_cannot_be_taken() {
        let metrics = Metrics::default();
        metrics.apply(
            "p",
            "zlayer.metrics_dropped_total",
            none(),
            Change::CounterInc(7),
        );
        metrics.apply(
            "p",
            "m",
            [("__name__", "x")].into_iter(),
            Change::CounterInc(1),
        );
        let text = metrics.render();
        assert!(
            text.contains("\n_zlayer_metrics_dropped_total{plugin=\"p\"} 7\n"),
            "{text}"
        );
        assert!(text.contains("m{plugin=\"p\",_name__=\"x\"} 1\n"), "{text}");
        assert!(
            text.ends_with("\nzlayer_metrics_dropped_total 0\n"),
            "{text}"
        );
    }

    #[test]
    fn more_labels_than_fit_are_dropped_with_their_series() {
        let metrics = Metrics::default();
        let many: Vec<_> = (0..=LABELS).map(|n| (format!("l{n}"), "v")).collect();
        let pairs = many.iter().map(|(key, value)| (key.as_str(), *value));
        metrics.apply("p", "m", pairs.clone(), Change::CounterInc(1));
        metrics.apply("p", "m", pairs.skip(1), Change::CounterInc(1));
        let long = "v".repeat(NAME_BYTES);
        metrics.apply(
            "p",
            "m",
            [("l", long.as_str())].into_iter(),
            Change::CounterInc(1),
        );
        assert_eq!(metrics.dropped(), 2);
        assert!(metrics.render().contains(",l9=\"v\"} 1\n"));
    }
}
