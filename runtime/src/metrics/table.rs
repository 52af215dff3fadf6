//! The series of one plugin.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use super::text::{Escaped, label_name, metric_name};
use super::{Change, Fault, Histogram, MOST_LABELS, NAME_BYTES, SERIES, SUFFIXES};
use crate::memory::{Budget, Reservation};

/// Bytes by which a table reserves memory.
const STEP: usize = 4 << 10;
/// Bytes that a series takes beside its texts and its histogram: its place in the tree, whose nodes
/// are half full at the least, and what the allocator adds.
const SERIES_BYTES: usize = 2 * size_of::<(Key, Value)>() + 3 * 16;

/// The series of one plugin.
#[derive(Default)]
pub(super) struct Table {
    pub(super) series: BTreeMap<Key, Value>,
    pub(super) dropped: u64,
    /// Which faults were told, as bits.
    told: u8,
    /// Bytes that the series take.
    bytes: usize,
    /// What they are charged with.
    held: Option<Reservation>,
}

#[derive(PartialEq, Eq, PartialOrd, Ord, Clone)]
pub(super) struct Key {
    pub(super) name: Box<str>,
    /// `{a="b",c="d"}`, without the braces; the plugin is the first.
    pub(super) labels: Box<str>,
}

#[derive(Clone)]
pub(super) enum Value {
    Counter(u64),
    Gauge(f64),
    Histogram(Box<Histogram>),
}

impl Table {
    /// Applies `change` to the series of this key, which is made on first use and charged to
    /// `budget`. Returns why it was dropped and counted instead, where that is the first of its kind.
    pub(super) fn apply(
        &mut self,
        key: Option<Key>,
        change: Change,
        budget: &Arc<Budget>,
    ) -> Option<Fault> {
        let applied = match key {
            Some(key) => self.try_apply(key, change, budget),
            None => Err(Fault::TooLong),
        };
        let fault = applied.err()?;
        self.dropped += 1;
        let bit = 1 << fault as u8;
        let is_new = self.told & bit == 0;
        self.told |= bit;
        is_new.then_some(fault)
    }

    fn try_apply(&mut self, key: Key, change: Change, budget: &Arc<Budget>) -> Result<(), Fault> {
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
            if !self.charge(key.bytes() + fresh.bytes(), budget) {
                return Err(Fault::NoMemory);
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

impl Table {
    /// Charges so many more bytes. Returns whether there is memory for them. A series is never
    /// forgotten, so nothing is given back.
    fn charge(&mut self, more: usize, budget: &Arc<Budget>) -> bool {
        let bytes = self.bytes + more;
        if self.held.is_none() {
            self.held = budget.reserve(0);
        }
        let Some(held) = &mut self.held else {
            return false;
        };
        let missing = bytes.saturating_sub(held.bytes());
        let is_charged = missing == 0 || held.grow(missing.next_multiple_of(STEP));
        if is_charged {
            self.bytes = bytes;
        }
        is_charged
    }
}

/// Bytes that a copy of a series takes in a list.
pub(super) fn copied(key: &Key, value: &Value) -> usize {
    key.bytes() + value.bytes()
}

impl Key {
    fn bytes(&self) -> usize {
        SERIES_BYTES + self.name.len() + self.labels.len()
    }
}

impl Value {
    fn bytes(&self) -> usize {
        match self {
            Value::Counter(_) | Value::Gauge(_) => 0,
            Value::Histogram(_) => size_of::<Histogram>() + 16,
        }
    }

    /// What the text format calls it.
    pub(super) fn kind(&self) -> &'static str {
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
pub(super) fn series_key<'a>(
    plugin: &str,
    name: &str,
    mut labels: impl Iterator<Item = (&'a str, &'a str)>,
) -> Option<Key> {
    let mut text = String::with_capacity(64);
    let _ = write!(text, "plugin=\"{}\"", Escaped(plugin));
    let mut given: Vec<(String, &str)> = labels
        .by_ref()
        .take(MOST_LABELS)
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
