//! How durations are written.

use std::time::Duration;

/// The units, with the milliseconds of each: the longer name of two that begin alike comes first.
const UNITS: [(&str, u64); 4] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)];
/// The longest duration.
const MAX: Duration = Duration::from_secs(86_400);

/// Reads a duration such as `30`, `30s`, `500ms`, `2m`, `1h` or the sum `1h 30m`; without a unit it is seconds.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("'{text}' is not a duration; write it like 30s, 500ms, 2m, 1h or 1h30m");
    let millis = match text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        true => sum(text),
        false => text
            .parse()
            .ok()
            .and_then(|count: u64| count.checked_mul(1_000)),
    };
    let duration = Duration::from_millis(millis.ok_or_else(wrong)?);
    if duration.is_zero() || duration > MAX {
        return Err(format!(
            "'{text}' is out of range; at least 1ms, at most 24 hours"
        ));
    }
    Ok(duration)
}

/// The milliseconds of one count or several, each with its unit and the larger units first.
fn sum(text: &str) -> Option<u64> {
    let (mut rest, mut sum, mut before) = (text, 0u64, u64::MAX);
    loop {
        let end = rest.find(|c: char| !c.is_ascii_digit())?;
        let count: u64 = rest[..end].parse().ok()?;
        let is_next = |(name, _): &&(&str, u64)| rest[end..].starts_with(name);
        let (name, millis) = UNITS.iter().find(is_next)?;
        if *millis >= before {
            return None;
        }
        sum = sum.checked_add(count.checked_mul(*millis)?)?;
        before = *millis;
        rest = &rest[end + name.len()..];
        if rest.is_empty() {
            return Some(sum);
        }
        rest = rest.strip_prefix(' ').unwrap_or(rest);
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_with_and_without_unit_and_as_sums() {
        for (text, millis) in [
            ("2", 2_000),
            ("250ms", 250),
            ("2m", 120_000),
            ("1h", 3_600_000),
            ("24h", 86_400_000),
            ("1m30s", 90_000),
            ("1h 30m", 5_400_000),
            ("1h5s20ms", 3_605_020),
        ] {
            assert_eq!(parse_duration(text).unwrap(), Duration::from_millis(millis));
        }
        for text in [
            "",
            "s",
            "0",
            "0ms",
            "25h",
            "24h1ms",
            "-1s",
            "+1s",
            "18446744073709551615m",
            "18446744073709551615",
            "2d",
            "1s1m",
            "1m1m",
            "1h30",
            "1h ",
            "1h  1m",
            " 1h",
            "1.5h",
            "1hä",
        ] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }
}
