//! How durations are written.

use std::time::Duration;

/// Reads a duration such as `30`, `30s`, `500ms` or `2m`; without a unit it is seconds.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("'{text}' is not a duration; write it like 30s, 500ms or 2m");
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    // The number parser would take a sign.
    let has_only_digits = digits.bytes().all(|byte| byte.is_ascii_digit());
    let count = has_only_digits.then(|| digits.parse::<u64>().ok());
    let count = count.flatten().ok_or_else(wrong)?;
    let duration = match &text[digits.len()..] {
        "" | "s" => Duration::from_secs(count),
        "ms" => Duration::from_millis(count),
        "m" => Duration::from_secs(count.checked_mul(60).ok_or_else(wrong)?),
        _ => return Err(wrong()),
    };
    if duration.is_zero() || duration > Duration::from_secs(86_400) {
        return Err(format!(
            "'{text}' is out of range; at least 1ms, at most 24 hours"
        ));
    }
    Ok(duration)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_with_and_without_unit() {
        assert_eq!(parse_duration("2").unwrap(), Duration::from_secs(2));
        assert_eq!(parse_duration("250ms").unwrap(), Duration::from_millis(250));
        assert_eq!(parse_duration("2m").unwrap(), Duration::from_secs(120));
        for text in [
            "",
            "s",
            "0",
            "0ms",
            "1h",
            "-1s",
            "+1s",
            "18446744073709551615m",
            "2d",
        ] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }
}
