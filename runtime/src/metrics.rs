//! The table of the plugins' metrics, bounded in series and in bytes.

mod text;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};
use std::sync::{Mutex, MutexGuard};

pub use text::{CONTENT_TYPE, Histogram, Page, labels};
use text::{Escaped, label_name, metric_name};

use crate::sync;

/// Series that one plugin may have, whatever others have; more are dropped and counted.
pub const SERIES: usize = 256;
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

/// The tables of counters, gauges and histograms: one for each plugin, by name and labels.
#[derive(Default)]
pub struct Metrics {
    tables: Mutex<BTreeMap<Box<str>, Table>>,
}

/// The series of one plugin.
#[derive(Default)]
struct Table {
    series: BTreeMap<Key, Value>,
    dropped: u64,
    /// Which faults were told, as bits.
    told: u8,
}

#[derive(PartialEq, Eq, PartialOrd, Ord, Clone)]
struct Key {
    name: Box<str>,
    /// `{a="b",c="d"}`, without the braces; the plugin is the first.
    labels: Box<str>,
}

/// Why a change was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The plugin has [`SERIES`] series already.
    Full,
    /// The plugin has another kind of metric under that name, or a histogram one of whose samples
    /// is called so.
    Clash,
    /// Name and labels are longer than [`NAME_BYTES`], or the labels too many.
    TooLong,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Full => write!(
                f,
                "it has {SERIES} series already, which are as many as it may have"
            ),
            Fault::Clash => f.write_str("it has another kind of metric under that name"),
            Fault::TooLong => write!(
                f,
                "name and labels are longer than {NAME_BYTES} bytes, or there are more than {LABELS} labels"
            ),
        }
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

impl Metrics {
    /// Applies `change` to the series of `name` and `labels`, which is made on first use. Returns
    /// why the change was dropped and counted instead, where that is the first of its kind for this
    /// plugin.
    pub fn apply<'a>(
        &self,
        plugin: &str,
        name: &str,
        labels: impl Iterator<Item = (&'a str, &'a str)>,
        change: Change,
    ) -> Option<Fault> {
        let key = series_key(plugin, name, labels);
        let mut tables = self.lock();
        if !tables.contains_key(plugin) {
            tables.insert(plugin.into(), Table::default());
        }
        let table = tables.get_mut(plugin)?;
        let applied = match key {
            Some(key) => table.apply(key, change),
            None => Err(Fault::TooLong),
        };
        let fault = applied.err()?;
        table.dropped += 1;
        let bit = 1 << fault as u8;
        let is_new = table.told & bit == 0;
        table.told |= bit;
        is_new.then_some(fault)
    }

    /// How many changes were dropped.
    pub fn dropped(&self) -> u64 {
        self.lock().values().map(|table| table.dropped).sum()
    }

    /// How many series a plugin has, and how many of its changes were dropped.
    pub fn of(&self, plugin: &str) -> (usize, u64) {
        let tables = self.lock();
        let table = tables.get(plugin);
        table.map_or((0, 0), |table| (table.series.len(), table.dropped))
    }

    /// The tables as a page of their own, with the number of dropped changes at its end.
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

    /// The most bytes that the tables take on a page.
    pub fn page_bytes(&self) -> usize {
        let tables = self.lock();
        let bytes = |(key, value): (&Key, &Value)| {
            // A series may be the first of its family, which adds a line (`# TYPE name histogram`);
            // the samples of a histogram may be families of their own.
            let lines = match value {
                Value::Counter(_) | Value::Gauge(_) => 2,
                Value::Histogram(_) => BUCKETS.len() + 6,
            };
            lines * (key.name.len() + key.labels.len() + LINE_BYTES)
        };
        let series = tables.values().flat_map(|table| &table.series);
        series.map(bytes).sum()
    }

    /// Adds the tables to a page, sorted by name. A name has one kind there: where plugins disagree
    /// about it, its samples are shown without a kind (`untyped`).
    pub fn write(&self, page: &mut Page) {
        let tables = self.lock();
        let mut series: Vec<_> = tables.values().flat_map(|table| &table.series).collect();
        series.sort_by(|left, right| left.0.cmp(right.0));
        let disputed = disputed(&series);
        let mut last = "";
        for (Key { name, labels }, value) in &series {
            if disputed.contains(&**name) {
                continue;
            }
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
        write_untyped(&series, &disputed, page);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Box<str>, Table>> {
        // Every change is a single assignment, so a holder that died left the tables whole.
        sync::lock(&self.tables)
    }
}

/// The names that plugins disagree about: they are of several kinds, or those of samples of a
/// histogram.
fn disputed<'a>(series: &[(&'a Key, &'a Value)]) -> BTreeSet<&'a str> {
    let mut kinds: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (key, value) in series {
        kinds.entry(&key.name).or_default().insert(value.kind());
    }
    let mut disputed = BTreeSet::new();
    for (name, of) in &kinds {
        if of.len() > 1 {
            disputed.insert(*name);
        }
        if of.contains("histogram") {
            for suffix in SUFFIXES {
                let sample = format!("{name}{suffix}");
                if let Some((taken, _)) = kinds.get_key_value(sample.as_str()) {
                    disputed.extend([*name, *taken]);
                }
            }
        }
    }
    disputed
}

/// Adds the samples of disputed names to a page, each name of a sample as a family of its own.
fn write_untyped(series: &[(&Key, &Value)], disputed: &BTreeSet<&str>, page: &mut Page) {
    // The samples of a name have to stand together.
    let mut samples: BTreeMap<String, Vec<(&Key, &Value)>> = BTreeMap::new();
    for (key, value) in series {
        if !disputed.contains(&*key.name) {
            continue;
        }
        let suffixes: &[&str] = match value {
            Value::Histogram(_) => &SUFFIXES,
            Value::Counter(_) | Value::Gauge(_) => &[""],
        };
        for suffix in suffixes {
            let name = format!("{}{suffix}", key.name);
            samples.entry(name).or_default().push((key, value));
        }
    }
    for (name, of) in samples {
        page.family(&name, "untyped", "");
        for (key, value) in of {
            match value {
                Value::Counter(count) => page.whole(&name, &key.labels, *count),
                Value::Gauge(value) => page.number(&name, &key.labels, *value),
                Value::Histogram(histogram) => {
                    let suffix = name.strip_prefix(&*key.name).unwrap_or_default();
                    page.part_of_histogram(&key.name, suffix, &key.labels, histogram);
                }
            }
        }
    }
}

impl Table {
    fn apply(&mut self, key: Key, change: Change) -> Result<(), Fault> {
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
            if self.series.iter().any(names_clash) {
                return Err(Fault::Clash);
            }
            if self.series.len() >= SERIES {
                return Err(Fault::Full);
            }
            self.series.insert(key.clone(), fresh);
        }
        match (self.series.get_mut(&key), change) {
            (Some(Value::Counter(count)), Change::CounterInc(more)) => {
                *count = count.saturating_add(more)
            }
            (Some(Value::Gauge(value)), Change::GaugeSet(new)) => *value = new,
            (Some(Value::Gauge(value)), Change::GaugeAdd(more)) => *value += more,
            (Some(Value::Histogram(histogram)), Change::Observe(value)) => histogram.observe(value),
            _ => return Err(Fault::Clash),
        }
        Ok(())
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
    fn what_one_plugin_has_is_no_matter_of_another() {
        let metrics = Metrics::default();
        let apply = |plugin: &str, name: &str, change| metrics.apply(plugin, name, none(), change);
        for plugin in ["a", "b", "c", "d", "e", "f"] {
            for n in 0..SERIES {
                assert_eq!(
                    apply(plugin, &format!("m{n:03}"), Change::CounterInc(1)),
                    None
                );
            }
        }
        assert_eq!(apply("a", "more", Change::CounterInc(1)), Some(Fault::Full));
        assert_eq!(
            apply("a", "other", Change::CounterInc(1)),
            None,
            "told once"
        );
        assert_eq!(
            apply("a", "m001", Change::GaugeSet(1.0)),
            Some(Fault::Clash)
        );
        assert_eq!(
            (metrics.of("a"), metrics.of("b")),
            ((SERIES, 3), (SERIES, 0))
        );
        assert_eq!(metrics.of("nobody"), (0, 0));
    }

    #[test]
    fn a_name_that_plugins_disagree_about_is_shown_without_a_kind() {
        let metrics = Metrics::default();
        let apply = |plugin: &str, name: &str, change| {
            assert_eq!(
                metrics.apply(plugin, name, none(), change),
                None,
                "{plugin} {name}"
            );
        };
        apply("p", "x", Change::GaugeSet(1.5));
        apply("q", "x", Change::CounterInc(2));
        apply("r", "x", Change::Observe(0.5));
        apply("p", "h", Change::Observe(0.5));
        apply("q", "h_count", Change::CounterInc(7));
        apply("p", "same", Change::CounterInc(1));
        apply("q", "same", Change::CounterInc(1));
        let text = metrics.render();
        for part in [
            "# TYPE x untyped\nx{plugin=\"p\"} 1.5\nx{plugin=\"q\"} 2\n",
            "# TYPE x_count untyped\nx_count{plugin=\"r\"} 1\n",
            "# TYPE x_bucket untyped\nx_bucket{plugin=\"r\",le=\"0.001\"} 0\n",
            "# TYPE h_count untyped\nh_count{plugin=\"p\"} 1\nh_count{plugin=\"q\"} 7\n",
            "# TYPE h_sum untyped\nh_sum{plugin=\"p\"} 0.5\n",
            "# TYPE same counter\nsame{plugin=\"p\"} 1\nsame{plugin=\"q\"} 1\n",
        ] {
            assert!(text.contains(part), "no {part} in\n{text}");
        }
        assert_eq!(text.matches("# TYPE ").count(), 4 + 3 + 1 + 1, "{text}");
        assert!(text.len() <= metrics.page_bytes() + 200, "{text}");
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
