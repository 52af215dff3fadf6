//! What texts look like, as a JSON Schema says it of a string: what the functions and types that read them take.
//!
//! Only what all dialects of regular expressions know is used. `agreement.rs` holds these against the readers.

use serde_json::{Value, json};
use zlayer_bundle::Role;

/// What no text on one line has.
const CONTROL: &str = r"\u0000-\u001f\u007f-\u009f";
/// A part of a path between two slashes: without what no request's path is compared with, and neither `.` nor `..`.
const SEGMENT: &str = r"(?:\.?[^/.*?#%\\][^/*?#%\\]*|\.\.[^/*?#%\\]+)";
const LABEL: &str = "[A-Za-z0-9_-]";
const OCTET: &str = "(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])";
/// An address of IPv6 has too many forms for a pattern that anybody could read: this is what all of them have.
const IPV6: &str = "[0-9A-Fa-f]{0,4}:[0-9A-Fa-f]{0,4}:[0-9A-Fa-f:.]*";

fn pattern(inner: impl AsRef<str>) -> Value {
    json!({ "pattern": format!("^(?:{})$", inner.as_ref()) })
}

fn ipv4() -> String {
    format!(r"{OCTET}(?:\.{OCTET}){{3}}")
}

pub(crate) fn name() -> Value {
    pattern("[a-z0-9][a-z0-9._-]{0,62}")
}

/// As [`is_line`](crate::shape::is_line).
pub(crate) fn line() -> Value {
    pattern(format!("[^{CONTROL}]+"))
}

/// A name of secrets: a `*` stands at the end, for all that begin so.
pub(crate) fn secret() -> Value {
    pattern(format!(r"[^*{CONTROL}]+\*?|\*"))
}

pub(crate) fn variable() -> Value {
    pattern(format!("[^={CONTROL}]+"))
}

/// A value of `env`: each `${` that no `$` stands before begins the name of a variable, and it is no reference of ZLayer's.
pub(crate) fn value() -> Value {
    let mut schema = pattern(r"(?:[^$]|\$\$+\{|\$+[^${]|\$\{[A-Za-z_][A-Za-z0-9_]*\})*\$*");
    schema["not"] = json!({ "type": "string", "pattern": r"^\$[ES]:" });
    schema
}

/// As [`check_name`](crate::image::check_name).
pub(crate) fn image() -> Value {
    let (no_url, no_folder) = ("://", r"/\.{0,2}$");
    let file = format!(r"\.{{0,2}}/[^{CONTROL}]*|[^{CONTROL}]*\.c?wasm");
    let mut schema = pattern(format!("{file}|[!-~]+"));
    let refused = format!("{no_url}|{no_folder}");
    // What is no string has no pattern, and would be what is meant.
    schema["not"] = json!({ "type": "string", "pattern": refused });
    schema
}

pub(crate) fn absolute_path() -> Value {
    pattern(format!("/[^{CONTROL}]*"))
}

/// The name of a file, without its folder.
pub(crate) fn file_name() -> Value {
    pattern(format!(
        r"\.?[^./{CONTROL}][^/{CONTROL}]*|\.\.[^/{CONTROL}]+"
    ))
}

/// What a health check asks for: a path, or a URL of the device itself.
pub(crate) fn asked_path() -> Value {
    let port = whole(0, u16::MAX.into());
    // Not all dialects can be told to disregard capitals.
    let any_case = |word: &str| -> String {
        let letters = word.chars();
        let both = letters.map(|c| format!("[{}{c}]", c.to_ascii_uppercase()));
        both.collect()
    };
    let (http, s, localhost) = (any_case("http"), any_case("s"), any_case("localhost"));
    let device = format!(r"{http}{s}?://(?:{localhost}|127\.0\.0\.1|\[::1\])(?::{port})?");
    pattern(format!(r#"(?:{device})?/[!"$-~]*|{device}"#))
}

/// A token (RFC 9110, 5.6.2).
pub(crate) fn header() -> Value {
    pattern(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
}

pub(crate) fn address() -> Value {
    pattern(format!("{}|{IPV6}", ipv4()))
}

pub(crate) fn network() -> Value {
    pattern(format!(
        "{}(?:/0*(?:[12]?[0-9]|3[0-2]))?|{IPV6}(?:/[0-9]+)?",
        ipv4()
    ))
}

pub(crate) fn host() -> Value {
    let label = format!("{LABEL}{{1,63}}");
    pattern(format!(r"(?:\*\.)?{label}(?:\.{label})*\.?|\[{IPV6}\]"))
}

pub(crate) fn allowed_host() -> Value {
    let name = format!(r"(?:\*\.)?{LABEL}+(?:\.{LABEL}+)*");
    let port = whole(1, u16::MAX.into());
    pattern(format!(r"(?:\*|{name}|\[{IPV6}\])(?::{port})?"))
}

pub(crate) fn path() -> Value {
    pattern(format!(r"/(?:{SEGMENT}/)*{SEGMENT}?\*?"))
}

pub(crate) fn folder() -> Value {
    pattern(format!(r"/(?:\*|{SEGMENT}(?:/{SEGMENT})*(?:/\*?)?)?"))
}

pub(crate) fn role() -> Value {
    json!({ "enum": Role::ALL.map(Role::name) })
}

pub(crate) fn on_failure() -> Value {
    json!({ "enum": ["open", "closed"] })
}

pub(crate) fn bodies() -> Value {
    json!({ "enum": ["both", "request", "response", "none"] })
}

pub(crate) fn body_access() -> Value {
    json!({ "enum": ["auto", "whole", "none"] })
}

pub(crate) fn durability() -> Value {
    pattern(format!(
        "memory|sync|interval(?:={})?",
        lasting(100, 3_600_000)
    ))
}

/// A duration of so many milliseconds, as a text or as a number of seconds.
pub(crate) fn duration(least: u64, most: u64) -> Value {
    let mut schema = pattern(lasting(least, most));
    schema["minimum"] = json!(least.div_ceil(1_000));
    schema["maximum"] = json!(most / 1_000);
    schema
}

/// One count and its unit, or a sum of several, of which no pattern says how much it is.
fn lasting(least: u64, most: u64) -> String {
    let units = [("ms", 1), ("s?", 1_000), ("m", 60_000), ("h", 3_600_000)];
    let (minutes, seconds, millis) = (" ?[0-9]+m", " ?[0-9]+s", " ?[0-9]+ms");
    let below_minutes = format!("(?:{seconds}(?:{millis})?|{millis})");
    let sums = format!(
        "[0-9]+h(?:{minutes}{below_minutes}?|{below_minutes})|[0-9]+m{below_minutes}|[0-9]+s{millis}"
    );
    format!("(?:{}|{sums})", in_units(least, most, &units))
}

/// A number of bytes, as a text or as a number.
pub(crate) fn size(least: u64, most: u64) -> Value {
    let units = [
        ("B?", 1),
        ("[kK]B?", 1_000),
        ("MB?", 1_000_000),
        ("GB?", 1_000_000_000),
        ("KiB?", 1 << 10),
        ("MiB?", 1 << 20),
        ("GiB?", 1 << 30),
    ];
    let mut schema = pattern(in_units(least, most, &units));
    schema["minimum"] = json!(least);
    if most < u64::MAX {
        schema["maximum"] = json!(most);
    }
    schema
}

/// A count of one of these units that is in the range.
fn in_units(least: u64, most: u64, units: &[(&str, u64)]) -> String {
    let counts = units.iter().filter_map(|(name, unit)| {
        let least = least.div_ceil(*unit);
        let most = match most {
            // A bound that only the type has would be long.
            u64::MAX => most,
            most => most / unit,
        };
        (least <= most).then(|| format!("{}{name}", whole(least, most)))
    });
    let counts: Vec<_> = counts.collect();
    format!("(?:{})", counts.join("|"))
}

/// A whole number in this range; one up to the largest that there is has no upper bound here.
fn whole(least: u64, most: u64) -> String {
    let mut ways = Vec::new();
    let (from, to) = (least.to_string(), most.to_string());
    match most {
        u64::MAX => {
            ways.push(same_length(&from, &"9".repeat(from.len())));
            ways.push(format!("[1-9][0-9]{{{},}}", from.len()));
        }
        _ if from.len() == to.len() => ways.push(same_length(&from, &to)),
        _ => {
            ways.push(same_length(&from, &"9".repeat(from.len())));
            if from.len() + 1 < to.len() {
                let (shortest, longest) = (from.len(), to.len() - 2);
                ways.push(format!("[1-9][0-9]{{{shortest},{longest}}}"));
            }
            let least = format!("1{}", "0".repeat(to.len() - 1));
            ways.push(same_length(&least, &to));
        }
    }
    format!("0*(?:{})", ways.join("|"))
}

/// A number from one to the other, which have as many digits.
fn same_length(from: &str, to: &str) -> String {
    let (Some(low), Some(high)) = (from.chars().next(), to.chars().next()) else {
        return String::new();
    };
    let (from, to) = (&from[1..], &to[1..]);
    let (is_lowest, is_highest) = (
        from.bytes().all(|byte| byte == b'0'),
        to.bytes().all(|byte| byte == b'9'),
    );
    let any = match from.len() {
        0 => String::new(),
        1 => "[0-9]".to_owned(),
        count => format!("[0-9]{{{count}}}"),
    };
    let digit = |low: char, high: char| match low == high {
        true => low.to_string(),
        false => format!("[{low}-{high}]"),
    };
    if is_lowest && is_highest {
        return format!("{}{any}", digit(low, high));
    }
    if low == high {
        return format!("{low}{}", same_length(from, to));
    }
    let step = |digit: char, by: i32| {
        let stepped = u32::from(digit).checked_add_signed(by);
        stepped.and_then(char::from_u32).unwrap_or(digit)
    };
    let (mut ways, mut first, mut last) = (Vec::new(), low, high);
    if !is_lowest {
        let nines = "9".repeat(from.len());
        ways.push(format!("{low}{}", same_length(from, &nines)));
        first = step(low, 1);
    }
    if !is_highest {
        last = step(high, -1);
    }
    if first <= last {
        ways.push(format!("{}{any}", digit(first, last)));
    }
    if !is_highest {
        let zeros = "0".repeat(to.len());
        ways.push(format!("{high}{}", same_length(&zeros, to)));
    }
    format!("(?:{})", ways.join("|"))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_of_numbers_takes_those_of_its_range_and_no_other() {
        for (least, most) in [
            (0, 9),
            (1, 1024),
            (7, 7),
            (12, 345),
            (99, 101),
            (190, 2048),
            (1, 1440),
            (1000, 1999),
            (256, u64::MAX),
        ] {
            let pattern = format!("^{}$", whole(least, most));
            let pattern = regex::Regex::new(&pattern).unwrap();
            for number in 0..3000 {
                let is_in = (least..=most).contains(&number);
                assert_eq!(pattern.is_match(&number.to_string()), is_in, "{number}");
            }
        }
    }
}
