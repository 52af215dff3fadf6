//! Finds out whether a plugin's cache key depends on what tells clients apart: the plugin is asked
//! again with other values.

use http::header::{COOKIE, HeaderName};

use crate::host::common::KeyValue;

/// The most values of one request's personal field that are tried. Of a request with more it counts
/// as unknown whether the key depends on them. Browsers send fewer cookies to most sites, and each
/// costs a call of the plugin.
const VALUES: usize = 16;

/// Puts another credential in the place of the one that there is. It differs in the last character
/// only, because the parts that many clients share, as the scheme or the beginning of a token, must
/// not count.
pub(super) fn alter(headers: &mut [KeyValue], name: &str) {
    for field in headers.iter_mut().filter(|field| field.key == name) {
        let end = field.value.len();
        alter_at(&mut field.value, end);
    }
}

/// The places of all values of a personal field: of each cookie, or else of each line. Nobody knows
/// which of several cookies is the one that tells who the client is, so a key depends on them only
/// if it depends on each. `None` if there are too many.
pub(super) fn values(headers: &[KeyValue], name: &HeaderName) -> Option<Vec<(usize, usize)>> {
    let mut places = Vec::new();
    for (index, field) in headers.iter().enumerate() {
        if field.key != name.as_str() {
            continue;
        }
        let mut start = 0;
        for part in field.value.split(';') {
            if *name != COOKIE {
                places.push((index, field.value.len()));
                break;
            }
            let end = start + part.trim_end().len();
            if !part.trim().is_empty() {
                places.push((index, end));
            }
            start += part.len() + 1;
        }
        if places.len() > VALUES {
            return None;
        }
    }
    Some(places)
}

/// The headers with another value at one of these places.
pub(super) fn with_other_value(headers: &[KeyValue], at: (usize, usize)) -> Vec<KeyValue> {
    let mut headers = headers.to_vec();
    if let Some(field) = headers.get_mut(at.0) {
        alter_at(&mut field.value, at.1);
    }
    headers
}

/// Puts another character in the place of the one before `end`. A value that is empty gets one.
fn alter_at(value: &mut String, end: usize) {
    match value[..end].chars().next_back() {
        None | Some('=') => value.insert(end, '0'),
        Some(last) => {
            let other = if last == '0' { "1" } else { "0" };
            value.replace_range(end - last.len_utf8()..end, other);
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;

    fn field(key: &str, value: &str) -> KeyValue {
        KeyValue {
            key: key.to_owned(),
            value: value.to_owned(),
        }
    }

    #[test]
    fn another_credential_is_another_one_only_at_its_end() {
        let mut headers = [
            field("cookie", "theme=dark"),
            field("authorization", "Bearer eyJhbGciOiJ9.a.b"),
        ];
        alter(&mut headers, "authorization");
        assert_eq!(headers[1].value, "Bearer eyJhbGciOiJ9.a.0");
        alter(&mut headers, "authorization");
        assert_eq!(headers[1].value, "Bearer eyJhbGciOiJ9.a.1");
        assert_eq!(headers[0].value, "theme=dark");
    }

    #[test]
    fn each_cookie_is_tried_by_itself() {
        let headers = [
            field("cookie", "session=a; theme=dark ;; empty="),
            field("x-own", "a; b"),
            field("cookie", "\u{e9}"),
        ];
        let others = |name: HeaderName| -> Vec<String> {
            let places = values(&headers, &name).unwrap();
            let other = places.into_iter().map(|at| {
                let headers = with_other_value(&headers, at);
                headers[at.0].value.clone()
            });
            other.collect()
        };
        let tried = [
            "session=0; theme=dark ;; empty=",
            "session=a; theme=dar0 ;; empty=",
            "session=a; theme=dark ;; empty=0",
            "0",
        ];
        assert_eq!(others(COOKIE), tried);
        assert_eq!(others(HeaderName::from_static("x-own")), ["a; 0"]);
        assert!(others(HeaderName::from_static("x-none")).is_empty());
        let many = [field("cookie", &"a=b;".repeat(VALUES + 1))];
        assert!(values(&many, &COOKIE).is_none());
    }
}
