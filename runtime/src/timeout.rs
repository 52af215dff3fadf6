//! Durations: how they are written, and time limits for futures. A future that is not ready in time
//! is dropped.

use std::time::{Duration, Instant};

use futures_lite::future::or;
use smol::Timer;

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

/// The output of `work`, if it is ready within `time`.
pub(crate) async fn within<T>(time: Duration, work: impl Future<Output = T>) -> Option<T> {
    before_timer(&mut Timer::after(time), work).await
}

/// The output of `work`, if it is ready before `end`.
pub(crate) async fn before<T>(end: Instant, work: impl Future<Output = T>) -> Option<T> {
    before_timer(&mut Timer::at(end), work).await
}

/// The output of `work`, if it is ready before `timer` fires. Several futures may share the timer.
/// It is armed only when `work` has to wait for something.
pub(crate) async fn before_timer<T>(timer: &mut Timer, work: impl Future<Output = T>) -> Option<T> {
    let done = async { Some(work.await) };
    let late = async {
        timer.await;
        None
    };
    or(done, late).await
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

    #[test]
    fn work_comes_to_its_end_or_is_given_up() {
        smol::block_on(async {
            let never = std::future::pending::<()>;
            assert_eq!(within(Duration::ZERO, async { 1 }).await, Some(1));
            assert_eq!(within(Duration::from_millis(1), never()).await, None);
            assert_eq!(before(Instant::now(), never()).await, None);
            let mut timer = Timer::after(Duration::from_millis(1));
            assert_eq!(before_timer(&mut timer, never()).await, None);
        });
    }
}
