//! How old a response is, and how long its origin lets it be used.

use std::time::{Duration, SystemTime};

use http::HeaderMap;
use http::header::{AGE, DATE, EXPIRES, HeaderName};

use super::directives::{Directives, seconds};

/// The date in a header field; `None` if the field is missing, comes twice, or is no date.
pub(super) fn date(headers: &HeaderMap, name: &HeaderName) -> Option<SystemTime> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    match values.next() {
        None => httpdate::parse_http_date(value).ok(),
        Some(_) => None,
    }
}

/// The age of a response when it came, `delay` after it was asked for (RFC 9111 section 4.2.3,
/// `corrected_initial_age`). `now` is `None` while the device's clock was never set: then only
/// `Age` and the delay count.
pub(super) fn initial_age(
    headers: &HeaderMap,
    delay: Duration,
    now: Option<SystemTime>,
) -> Duration {
    // If there are several, in one line or in more, the first counts (section 5.1).
    let first = |value: &http::HeaderValue| {
        let first = value.as_bytes().split(|&byte| byte == b',').next();
        seconds(first.unwrap_or_default().trim_ascii())
    };
    let age = headers.get(AGE).and_then(first);
    let corrected = Duration::from_secs(age.unwrap_or(0)).saturating_add(delay);
    let apparent = match (now, date(headers, &DATE)) {
        (Some(now), Some(date)) => now.duration_since(date).unwrap_or_default(),
        _ => Duration::ZERO,
    };
    apparent.max(corrected)
}

/// How long a response is fresh according to its own headers, counted from when its origin sent it
/// (RFC 9111 section 4.2.1). `None` if they do not say, or not in a way that a device without a
/// clock can use.
pub(super) fn lifetime(
    headers: &HeaderMap,
    directives: &Directives,
    now: Option<SystemTime>,
) -> Option<Duration> {
    if let Some(seconds) = directives.max_age {
        return Some(Duration::from_secs(seconds));
    }
    if !headers.contains_key(EXPIRES) {
        return None;
    }
    let Some(expires) = date(headers, &EXPIRES) else {
        // "0", and whatever else is no date, has expired (section 5.3).
        return Some(Duration::ZERO);
    };
    let from = date(headers, &DATE).or(now)?;
    Some(expires.duration_since(from).unwrap_or_default())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;

    const NOON: &str = "Sun, 06 Nov 1994 12:00:00 GMT";

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(*name, value.parse().unwrap());
        }
        map
    }

    fn noon() -> SystemTime {
        httpdate::parse_http_date(NOON).unwrap()
    }

    #[test]
    fn the_age_is_the_larger_of_what_date_and_age_say() {
        let (second, minute) = (Duration::from_secs(1), Duration::from_secs(60));
        let age = |fields: &[(&'static str, &str)], now| initial_age(&headers(fields), second, now);
        assert_eq!(age(&[], Some(noon())), second);
        assert_eq!(age(&[("age", "9")], None), second * 10);
        assert_eq!(age(&[("date", NOON)], Some(noon() + minute)), minute);
        let both = [("date", NOON), ("age", "90")];
        assert_eq!(age(&both, Some(noon() + minute)), second * 91);
        // A date in the future, and fields that are none, say nothing.
        assert_eq!(age(&[("date", NOON)], Some(noon() - minute)), second);
        assert_eq!(age(&[("date", NOON)], None), second);
        assert_eq!(
            age(&[("age", "-9"), ("date", "today")], Some(noon())),
            second
        );
        assert_eq!(age(&[("age", "3"), ("age", "7")], None), second * 4);
        assert_eq!(age(&[("age", "7200, 0")], None), second * 7201);
        assert_eq!(age(&[("age", " 3 ,x")], None), second * 4);
        assert_eq!(age(&[("age", "x, 3")], None), second);
    }

    #[test]
    fn the_lifetime_is_what_the_origin_says() {
        let life = |fields: &[(&'static str, &str)], now| {
            let headers = headers(fields);
            lifetime(&headers, &Directives::of(&headers), now)
        };
        let hour = Duration::from_secs(3600);
        let later = ("expires", "Sun, 06 Nov 1994 13:00:00 GMT");
        assert_eq!(life(&[], Some(noon())), None);
        assert_eq!(
            life(&[("cache-control", "max-age=3600"), ("expires", "0")], None),
            Some(hour)
        );
        assert_eq!(life(&[later, ("date", NOON)], None), Some(hour));
        assert_eq!(life(&[later], Some(noon())), Some(hour));
        assert_eq!(life(&[later], None), None);
        assert_eq!(
            life(&[later], Some(noon() + hour * 2)),
            Some(Duration::ZERO)
        );
        assert_eq!(life(&[("expires", "0")], None), Some(Duration::ZERO));
        assert_eq!(life(&[later, later], Some(noon())), Some(Duration::ZERO));
    }
}
