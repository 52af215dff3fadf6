use std::collections::BTreeMap;

type Labels = BTreeMap<String, String>;

/// Every series with its value, every name with its kind.
#[derive(Debug)]
pub(super) struct Table {
    series: BTreeMap<(String, Labels), f64>,
    kinds: BTreeMap<String, String>,
}

impl Table {
    /// The value of the one series with exactly these labels.
    pub(super) fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let labels = labels.iter().map(|(k, v)| (k.to_string(), v.to_string()));
        let key = (name.to_owned(), labels.collect::<Labels>());
        let found = self.series.get(&key);
        *found.unwrap_or_else(|| panic!("no {key:?} in {:#?}", self.series))
    }

    /// The sum over the labels of `name`, which has to be there.
    pub(super) fn sum(&self, name: &str) -> f64 {
        assert!(self.names_of(name) > 0, "no {name} in {:#?}", self.series);
        let all = self.series.iter().filter(|((other, _), _)| other == name);
        all.map(|(_, value)| value).sum()
    }

    /// How many series have this name.
    pub(super) fn names_of(&self, name: &str) -> usize {
        self.series
            .keys()
            .filter(|(other, _)| other == name)
            .count()
    }

    /// Whether neither a series nor a TYPE line has this name.
    pub(super) fn has_none_of(&self, name: &str) -> bool {
        self.names_of(name) == 0 && !self.kinds.contains_key(name)
    }

    /// What the TYPE line of `name` says.
    pub(super) fn kind(&self, name: &str) -> &str {
        self.kinds.get(name).map_or("", String::as_str)
    }
}

/// Reads Prometheus' text format, version 0.0.4, as strictly as its description has it: every name has
/// one TYPE line before its samples, which stand together; buckets are cumulative and end with +Inf.
pub(super) fn parse(text: &str) -> Table {
    assert!(text.ends_with('\n'));
    let mut kinds: BTreeMap<&str, &str> = BTreeMap::new();
    let mut current = ("", "");
    let mut series = BTreeMap::new();
    let mut bucket: Option<(f64, f64)> = None;
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(is_name(name), "{line:?}");
            assert!(
                ["counter", "gauge", "histogram"].contains(&kind),
                "{line:?}"
            );
            assert!(kinds.insert(name, kind).is_none(), "twice: {line:?}");
            current = (name, kind);
            continue;
        }
        let (name, labels, value) = parse_sample(line);
        let suffix = name.strip_prefix(current.0);
        let suffix = suffix.unwrap_or_else(|| panic!("not below its TYPE: {line:?}"));
        match current.1 {
            "histogram" => assert!(["_bucket", "_sum", "_count"].contains(&suffix), "{line:?}"),
            _ => assert_eq!(suffix, "", "{line:?}"),
        }
        if current.1 == "counter" || suffix == "_count" || suffix == "_bucket" {
            assert!(value >= 0.0 && value.fract() == 0.0, "{line:?}");
        }
        match (suffix, bucket) {
            ("_bucket", last) => {
                let le = parse_number(&labels["le"]);
                if let Some((last_le, last_count)) = last.filter(|(le, _)| *le != f64::INFINITY) {
                    assert!(le > last_le && value >= last_count, "{line:?}");
                }
                bucket = Some((le, value));
            }
            ("_sum", Some((le, _))) => assert_eq!(le, f64::INFINITY, "{line:?}"),
            ("_count", Some((_, count))) => {
                assert_eq!(value, count, "{line:?}");
                bucket = None;
            }
            _ => assert!(bucket.is_none(), "{line:?}"),
        }
        let key = (name.to_owned(), labels);
        assert!(series.insert(key, value).is_none(), "twice: {line:?}");
    }
    let kinds = kinds.iter().map(|(k, v)| (k.to_string(), v.to_string()));
    Table {
        series,
        kinds: kinds.collect(),
    }
}

/// `NAME{LABEL="VALUE",..} NUMBER` or `NAME NUMBER`.
fn parse_sample(line: &str) -> (&str, Labels, f64) {
    let end = line.find(['{', ' ']).unwrap_or_else(|| panic!("{line:?}"));
    let (name, mut rest) = line.split_at(end);
    assert!(is_name(name), "{line:?}");
    let mut labels = Labels::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            let (label, after) = rest.split_once("=\"").unwrap_or_else(|| panic!("{line:?}"));
            assert!(is_name(label) && !label.contains(':'), "{line:?}");
            let mut value = String::new();
            let mut chars = after.char_indices();
            let end = loop {
                match chars.next().unwrap_or_else(|| panic!("{line:?}")) {
                    (at, '"') => break at,
                    (_, '\\') => value.push(match chars.next() {
                        Some((_, 'n')) => '\n',
                        Some((_, c @ ('\\' | '"'))) => c,
                        other => panic!("escape {other:?} in {line:?}"),
                    }),
                    (_, c) => value.push(c),
                }
            };
            assert!(
                labels.insert(label.to_owned(), value).is_none(),
                "twice {label}: {line:?}"
            );
            rest = &after[end + 1..];
            match rest.split_at_checked(1) {
                Some((",", more)) => rest = more,
                Some(("}", more)) => {
                    rest = more;
                    break;
                }
                _ => panic!("{line:?}"),
            }
        }
    }
    let number = rest.strip_prefix(' ').unwrap_or_else(|| panic!("{line:?}"));
    (name, labels, parse_number(number))
}

fn is_name(name: &str) -> bool {
    let is_letter = |c: char| c.is_ascii_alphabetic() || "_:".contains(c);
    name.starts_with(is_letter) && name.chars().all(|c| is_letter(c) || c.is_ascii_digit())
}

fn parse_number(text: &str) -> f64 {
    match text {
        "+Inf" => f64::INFINITY,
        "-Inf" => f64::NEG_INFINITY,
        "NaN" => f64::NAN,
        _ => {
            assert!(
                text.starts_with(|c: char| c.is_ascii_digit() || c == '-'),
                "{text:?}"
            );
            text.parse().unwrap_or_else(|_| panic!("{text:?}"))
        }
    }
}
