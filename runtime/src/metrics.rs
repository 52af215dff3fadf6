//! The table of a device's metrics, bounded in series and in bytes.

use std::fmt::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};

use heapless::index_map::FnvIndexMap;

/// Series kept in all; a full table drops new ones and counts the drops. A power of two, as
/// heapless wants it.
pub const SERIES: usize = 256;
/// Longest series name with its labels, in bytes.
pub const NAME_BYTES: usize = 256;

/// Upper bounds of the histogram buckets, in the unit observed (seconds, by convention).
pub const BUCKETS: [f64; 12] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0,
];

/// Counters, gauges and histograms by name and labels.
pub struct Metrics {
    table: Mutex<Table>,
}

struct Table {
    /// On the heap and of fixed size: it is allocated once, when the process starts.
    series: Box<FnvIndexMap<Key, Value, SERIES>>,
    dropped: u64,
}

#[derive(PartialEq, Eq, Hash, PartialOrd, Ord, Clone)]
struct Key {
    name: Box<str>,
    /// `{a="b",c="d"}`, without the braces.
    labels: Box<str>,
}

enum Value {
    Counter(u64),
    Gauge(f64),
    Histogram(Box<Histogram>),
}

#[derive(Default)]
struct Histogram {
    buckets: [u64; BUCKETS.len()],
    count: u64,
    sum: f64,
}

/// What is done to a series.
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
    /// Applies `change` to the series of `name` and `labels`, making it on first use. A change
    /// that does not fit the series' kind, a name or label list that is too long, and a new
    /// series in a full table are dropped and counted.
    pub fn apply<'a>(
        &self,
        plugin: &str,
        name: &str,
        labels: impl Iterator<Item = (&'a str, &'a str)>,
        change: Change,
    ) {
        let key = series_key(plugin, name, labels);
        let mut table = self.lock();
        if key.name.len() + key.labels.len() > NAME_BYTES || !table.apply(key, change) {
            table.dropped += 1;
        }
    }

    /// Everything in Prometheus' text format (version 0.0.4), sorted by name.
    pub fn render(&self) -> String {
        let table = self.lock();
        let mut series: Vec<_> = table.series.iter().collect();
        series.sort_by(|left, right| left.0.cmp(right.0));
        let mut out = String::new();
        let mut last = "";
        for (key, value) in series {
            if *key.name != *last {
                let kind = match value {
                    Value::Counter(_) => "counter",
                    Value::Gauge(_) => "gauge",
                    Value::Histogram(_) => "histogram",
                };
                let _ = writeln!(out, "# TYPE {} {kind}", key.name);
                last = &key.name;
            }
            value.render(key, &mut out);
        }
        let _ = writeln!(
            out,
            "# TYPE zlayer_metrics_dropped_total counter\nzlayer_metrics_dropped_total {}",
            table.dropped
        );
        out
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        // Every change is a single assignment, so a holder that died left the table whole.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
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
            // One name has one kind, or the text format is not valid.
            let clash = self.series.iter().any(|(other, value)| {
                other.name == key.name
                    && std::mem::discriminant(value) != std::mem::discriminant(&fresh)
            });
            if clash || self.series.insert(key.clone(), fresh).is_err() {
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

impl Histogram {
    fn observe(&mut self, value: f64) {
        for (bucket, bound) in self.buckets.iter_mut().zip(BUCKETS) {
            *bucket += u64::from(value <= bound);
        }
        self.count += 1;
        self.sum += value;
    }
}

impl Value {
    fn render(&self, key: &Key, out: &mut String) {
        let Key { name, labels } = key;
        // Writing to a String cannot fail.
        let _ = match self {
            Value::Counter(count) => writeln!(out, "{name}{{{labels}}} {count}"),
            Value::Gauge(value) => writeln!(out, "{name}{{{labels}}} {}", Number(*value)),
            Value::Histogram(histogram) => {
                for (count, bound) in histogram.buckets.iter().zip(BUCKETS) {
                    let _ = writeln!(out, "{name}_bucket{{{labels},le=\"{bound}\"}} {count}");
                }
                let (count, sum) = (histogram.count, Number(histogram.sum));
                let _ = writeln!(out, "{name}_bucket{{{labels},le=\"+Inf\"}} {count}");
                writeln!(
                    out,
                    "{name}_sum{{{labels}}} {sum}\n{name}_count{{{labels}}} {count}"
                )
            }
        };
    }
}

/// A float as Prometheus writes it.
struct Number(f64);

impl std::fmt::Display for Number {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            value if value.is_nan() => f.write_str("NaN"),
            value if value.is_infinite() => f.write_str(if value > 0.0 { "+Inf" } else { "-Inf" }),
            value => write!(f, "{value}"),
        }
    }
}

fn series_key<'a>(
    plugin: &str,
    name: &str,
    labels: impl Iterator<Item = (&'a str, &'a str)>,
) -> Key {
    let mut text = String::with_capacity(64);
    let _ = write!(text, "plugin=\"{}\"", Escaped(plugin));
    let mut given: Vec<(String, &str)> = labels
        .take(16) // more labels than this cannot fit NAME_BYTES in earnest
        .map(|(key, value)| (prometheus_name(key, false), value))
        .filter(|(key, _)| key != "plugin" && key != "le")
        .collect();
    given.sort();
    given.dedup_by(|next, kept| next.0 == kept.0);
    for (key, value) in given {
        if text.len() > NAME_BYTES {
            break;
        }
        let _ = write!(text, ",{key}=\"{}\"", Escaped(value));
    }
    Key {
        name: prometheus_name(name, true).into(),
        labels: text.into(),
    }
}

/// Maps a name to the letters that Prometheus allows; `.` and `-` become `_`, like all others.
fn prometheus_name(name: &str, colons: bool) -> String {
    let mut mapped: String = name
        .chars()
        .take(NAME_BYTES + 1)
        .map(|c| {
            if c.is_ascii_alphanumeric() || c == '_' || (colons && c == ':') {
                c
            } else {
                '_'
            }
        })
        .collect();
    if mapped.is_empty() || mapped.as_bytes()[0].is_ascii_digit() {
        mapped.insert(0, '_');
    }
    mapped
}

/// A label value with `\`, `"` and line feeds escaped as the text format wants it.
struct Escaped<'a>(&'a str);

impl std::fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for c in self.0.chars() {
            match c {
                '\\' => f.write_str("\\\\")?,
                '"' => f.write_str("\\\"")?,
                '\n' => f.write_str("\\n")?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn none() -> std::iter::Empty<(&'static str, &'static str)> {
        std::iter::empty()
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
}
