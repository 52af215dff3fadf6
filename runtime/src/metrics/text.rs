//! The text format of Prometheus, version 0.0.4.

use std::fmt::{self, Write as _};

use super::{BUCKETS, SUFFIXES};

/// The `Content-Type` of a page of metrics.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A histogram at one moment. Its buckets are cumulative: each includes the smaller ones.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Histogram {
    /// How many values were at most each of [`BUCKETS`].
    pub buckets: [u64; BUCKETS.len()],
    /// How many values were observed.
    pub count: u64,
    /// The sum of all observed values.
    pub sum: f64,
}

impl Histogram {
    /// Counts one value. NaN is in no bucket but the last.
    pub fn observe(&mut self, value: f64) {
        for (bucket, bound) in self.buckets.iter_mut().zip(BUCKETS) {
            *bucket += u64::from(value <= bound);
        }
        self.count += 1;
        self.sum += value;
    }
}

/// A page of metrics that is being written. Writing to it cannot fail.
#[derive(Debug, Default)]
pub struct Page {
    text: String,
}

impl Page {
    /// An empty page that has room for `bytes` before it must be moved.
    pub fn with_capacity(bytes: usize) -> Page {
        Page {
            text: String::with_capacity(bytes),
        }
    }

    /// The text of the page.
    pub fn into_text(self) -> String {
        self.text
    }

    /// Begins a family of samples. The help text is the daemon's own, so it needs no escaping.
    pub fn family(&mut self, name: &str, kind: &str, help: &str) {
        if !help.is_empty() {
            let _ = writeln!(self.text, "# HELP {name} {help}");
        }
        let _ = writeln!(self.text, "# TYPE {name} {kind}");
    }

    /// Writes a sample that is a whole number, with `labels` as [`labels`] writes them.
    pub fn whole(&mut self, name: &str, labels: &str, value: u64) {
        self.sample(name, labels, format_args!("{value}"));
    }

    /// Writes a sample with these labels.
    pub fn number(&mut self, name: &str, labels: &str, value: f64) {
        self.sample(name, labels, format_args!("{}", Number(value)));
    }

    /// Writes the samples of a histogram with these labels.
    pub fn histogram(&mut self, name: &str, labels: &str, histogram: &Histogram) {
        for suffix in SUFFIXES {
            self.part_of_histogram(name, suffix, labels, histogram);
        }
    }

    /// Writes those samples of a histogram that have this one of [`SUFFIXES`] behind its name.
    pub(super) fn part_of_histogram(
        &mut self,
        name: &str,
        suffix: &str,
        labels: &str,
        histogram: &Histogram,
    ) {
        let Histogram {
            buckets,
            count,
            sum,
        } = histogram;
        match suffix {
            "_sum" => self.number(&format!("{name}{suffix}"), labels, *sum),
            "_count" => self.whole(&format!("{name}{suffix}"), labels, *count),
            _ => {
                let comma = if labels.is_empty() { "" } else { "," };
                for (within, bound) in buckets.iter().zip(BUCKETS) {
                    let _ = writeln!(
                        self.text,
                        "{name}{suffix}{{{labels}{comma}le=\"{bound}\"}} {within}"
                    );
                }
                let _ = writeln!(
                    self.text,
                    "{name}{suffix}{{{labels}{comma}le=\"+Inf\"}} {count}"
                );
            }
        }
    }

    fn sample(&mut self, name: &str, labels: &str, value: fmt::Arguments<'_>) {
        let _ = match labels.is_empty() {
            true => writeln!(self.text, "{name} {value}"),
            false => writeln!(self.text, "{name}{{{labels}}} {value}"),
        };
    }

    /// Writes a family of one sample without labels.
    pub fn single(&mut self, name: &str, kind: &str, help: &str, value: u64) {
        self.family(name, kind, help);
        self.whole(name, "", value);
    }
}

/// Writes labels as `a="b",c="d"`, with the values escaped.
pub fn labels(pairs: &[(&str, &str)]) -> String {
    let mut text = String::new();
    for (index, (name, value)) in pairs.iter().enumerate() {
        let comma = if index > 0 { "," } else { "" };
        let _ = write!(text, "{comma}{name}=\"{}\"", Escaped(value));
    }
    text
}

/// Writes a float as Prometheus does: very large and very small ones with an exponent.
struct Number(f64);

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            value if value.is_nan() => f.write_str("NaN"),
            value if value.is_infinite() => f.write_str(if value > 0.0 { "+Inf" } else { "-Inf" }),
            value if value != 0.0 && !(1e-9..1e18).contains(&value.abs()) => write!(f, "{value:e}"),
            value => write!(f, "{value}"),
        }
    }
}

/// Writes a label value with `\`, `"` and line feeds escaped, as the text format wants it. It has no way
/// to write what a terminal would obey: that becomes U+FFFD.
pub(super) struct Escaped<'a>(pub(super) &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '\\' => f.write_str("\\\\")?,
                '"' => f.write_str("\\\"")?,
                '\n' => f.write_str("\\n")?,
                c if zlayer_binlog::steers(c) => f.write_char(char::REPLACEMENT_CHARACTER)?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

/// Turns a metric's name into one that Prometheus allows: all other characters, `.` and `-` among
/// them, become `_`. A name that begins with a digit, or that looks like one of the daemon's own
/// (`zlayer_`), gets a `_` in front. At most `bytes` characters are looked at.
pub(super) fn metric_name(name: &str, bytes: usize) -> String {
    let mut mapped = mapped(name, bytes, ":");
    if mapped.starts_with("zlayer_") {
        mapped.insert(0, '_');
    }
    mapped
}

/// Turns a label's name into one that Prometheus allows, which keeps names with two leading `_` to
/// itself.
pub(super) fn label_name(name: &str, bytes: usize) -> String {
    let mut mapped = mapped(name, bytes, "");
    while mapped.starts_with("__") {
        mapped.remove(0);
    }
    mapped
}

fn mapped(name: &str, bytes: usize, also: &str) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || also.contains(c);
    let letters = name.chars().take(bytes);
    let mut mapped: String = letters.map(|c| if allowed(c) { c } else { '_' }).collect();
    if !mapped.starts_with(|c: char| !c.is_ascii_digit()) {
        mapped.insert(0, '_');
    }
    mapped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_mapped() {
        for (given, metric, label) in [
            ("a.b-c", "a_b_c", "a_b_c"),
            ("a:b", "a:b", "a_b"),
            ("", "_", "_"),
            ("9", "_9", "_9"),
            ("é ü", "___", "_"),
            ("zlayer_up", "_zlayer_up", "zlayer_up"),
            ("zlayer.up", "_zlayer_up", "zlayer_up"),
            ("__name__", "__name__", "_name__"),
            ("long", "lon", "lon"),
        ] {
            let bytes = if given == "long" { 3 } else { 100 };
            assert_eq!(metric_name(given, bytes), metric, "{given:?}");
            assert_eq!(label_name(given, bytes), label, "{given:?}");
        }
    }

    #[test]
    fn numbers_are_short_and_exact() {
        for (value, text) in [
            (0.0, "0"),
            (-0.5, "-0.5"),
            (1e17, "100000000000000000"),
            (1e300, "1e300"),
            (-2.5e-30, "-2.5e-30"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
        ] {
            assert_eq!(Number(value).to_string(), text);
        }
    }

    #[test]
    fn a_page_without_labels() {
        let mut page = Page::default();
        page.single("a", "gauge", "what it is", 1);
        page.family("h", "histogram", "");
        page.histogram("h", "", &Histogram::default());
        let text = page.into_text();
        assert!(text.starts_with("# HELP a what it is\n# TYPE a gauge\na 1\n# TYPE h histogram\nh_bucket{le=\"0.001\"} 0\n"), "{text}");
        assert!(
            text.ends_with("h_bucket{le=\"+Inf\"} 0\nh_sum 0\nh_count 0\n"),
            "{text}"
        );
        assert_eq!(
            labels(&[("a", "\"\\\n"), ("b", "é")]),
            "a=\"\\\"\\\\\\n\",b=\"é\""
        );
    }
}
