//! All plugins' series on one page, sorted by name. A name has one kind there: where plugins
//! disagree about it, its samples are shown without a kind (`untyped`).

use std::collections::{BTreeMap, BTreeSet};

use futures_lite::future::yield_now;

use super::table::{Key, Value};
use super::{Page, SUFFIXES};

/// How many series are written in one piece. A histogram is some fifteen lines.
const PIECE: usize = 64;

/// Adds series to a page, in pieces: others run in between.
pub(super) async fn write(series: &[(Key, Value)], page: &mut Page) {
    let mut series: Vec<(&Key, &Value)> = series.iter().map(|(key, value)| (key, value)).collect();
    // They come as one sorted list for each plugin, which this sort merges.
    series.sort_by(|left, right| left.0.cmp(right.0));
    let disputed = disputed(&series);
    let mut last = "";
    for piece in series.chunks(PIECE) {
        for (Key { name, labels }, value) in piece {
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
        yield_now().await;
    }
    write_untyped(&series, &disputed, page).await;
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
async fn write_untyped(series: &[(&Key, &Value)], disputed: &BTreeSet<&str>, page: &mut Page) {
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
    let mut written = 0;
    for (name, of) in samples {
        page.family(&name, "untyped", "");
        for (key, value) in of {
            written += 1;
            if written % PIECE == 0 {
                yield_now().await;
            }
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
