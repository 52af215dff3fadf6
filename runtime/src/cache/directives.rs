//! `Cache-Control` (RFC 9111 section 5.2), as far as a shared cache obeys it.

use http::HeaderMap;
use http::header::CACHE_CONTROL;

/// Larger numbers of seconds count as this one (RFC 9111 section 1.2.2).
const SECONDS_MAX: u64 = 1 << 31;

/// What the lines of the field say together. If a directive comes twice, the stricter one counts.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Directives {
    /// Nothing of the request and its response may be stored (sections 5.2.1.5 and 5.2.2.5).
    pub no_store: bool,
    /// A stored response may not be used without asking its origin (section 5.2.2.4). The form
    /// that names fields counts as this one.
    pub no_cache: bool,
    /// The response is for one user alone (section 5.2.2.7). The form that names fields counts as
    /// this one.
    pub private: bool,
    /// `public` or `s-maxage`: the response says itself that it is for all, whoever asked for it
    /// (sections 5.2.2.9 and 5.2.2.10). Unlike section 3.5 has it for `Authorization`,
    /// `must-revalidate` does not count: many pages for one user say that.
    pub public: bool,
    /// `must-revalidate`, `proxy-revalidate` or `s-maxage`: each of them forbids a shared cache to
    /// serve the response stale (sections 5.2.2.2, 5.2.2.8 and 5.2.2.10).
    pub never_stale: bool,
    /// The client wants a stored response or none (section 5.2.1.7).
    pub only_if_cached: bool,
    /// Seconds for which the response is fresh: `s-maxage`, else `max-age`. Unreadable numbers
    /// count as 0 (section 4.2.1).
    pub max_age: Option<u64>,
}

impl Directives {
    /// Reads all lines of the field; directives that a shared cache need not know are passed over.
    pub fn of(headers: &HeaderMap) -> Directives {
        let (mut read, mut shared) = (Directives::default(), None);
        for line in headers.get_all(CACHE_CONTROL) {
            let line = line.as_bytes();
            // A quote that is never closed must not hide the directives behind it.
            let quotes = line.iter().filter(|&&byte| byte == b'"').count() % 2 == 0;
            let mut inside = false;
            let parts = line.split(|&byte| {
                inside ^= byte == b'"' && quotes;
                byte == b',' && !inside
            });
            for part in parts {
                read.read_directive(part.trim_ascii(), &mut shared);
            }
        }
        read.max_age = shared.or(read.max_age);
        read
    }

    fn read_directive(&mut self, directive: &[u8], shared: &mut Option<u64>) {
        let (name, value) = match directive.iter().position(|&byte| byte == b'=') {
            Some(at) => (&directive[..at], &directive[at + 1..]),
            None => (directive, &b""[..]),
        };
        let name = name.trim_ascii().to_ascii_lowercase();
        match name.as_slice() {
            b"no-store" => self.no_store = true,
            b"no-cache" => self.no_cache = true,
            b"private" => self.private = true,
            b"public" => self.public = true,
            b"must-revalidate" | b"proxy-revalidate" => self.never_stale = true,
            b"only-if-cached" => self.only_if_cached = true,
            b"max-age" => stricter(&mut self.max_age, value),
            b"s-maxage" => {
                (self.never_stale, self.public) = (true, true);
                stricter(shared, value);
            }
            _ => {}
        }
    }
}

fn stricter(known: &mut Option<u64>, value: &[u8]) {
    let value = value.trim_ascii();
    let value = value.strip_prefix(b"\"").unwrap_or(value);
    let value = seconds(value.strip_suffix(b"\"").unwrap_or(value)).unwrap_or(0);
    *known = Some(known.map_or(value, |known| known.min(value)));
}

/// Reads a number of seconds (RFC 9111 section 1.2.2).
pub(super) fn seconds(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let sum = digits.iter().fold(0, |sum: u64, digit| {
        (sum * 10 + u64::from(digit - b'0')).min(SECONDS_MAX)
    });
    Some(sum)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;

    fn of(lines: &[&str]) -> Directives {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(CACHE_CONTROL, line.parse().unwrap());
        }
        Directives::of(&headers)
    }

    #[test]
    fn directives_are_read_whatever_their_form() {
        let none = Directives::default;
        for (lines, read) in [
            (&[][..], none()),
            (&["immutable, foo=\"no-store, private, public\""], none()),
            (
                &["PUBLIC"],
                Directives {
                    public: true,
                    ..none()
                },
            ),
            (
                &["No-Store"],
                Directives {
                    no_store: true,
                    ..none()
                },
            ),
            (
                &["max-age=5", "private=\"x-a, x-b\" ,no-cache=\"set-cookie\""],
                Directives {
                    private: true,
                    no_cache: true,
                    max_age: Some(5),
                    ..none()
                },
            ),
            (
                &["foo=\"bar, no-store"],
                Directives {
                    no_store: true,
                    ..none()
                },
            ),
            (
                &[",, only-if-cached ,"],
                Directives {
                    only_if_cached: true,
                    ..none()
                },
            ),
            (
                &["proxy-revalidate"],
                Directives {
                    never_stale: true,
                    ..none()
                },
            ),
        ] {
            assert_eq!(of(lines), read, "{lines:?}");
        }
    }

    #[test]
    fn ages_are_the_strictest_and_the_shared_one_goes_first() {
        for (line, age) in [
            ("max-age=10", Some(10)),
            ("max-age=\"10\"", Some(10)),
            ("max-age = 10", Some(10)),
            ("max-age=10, max-age=7", Some(7)),
            ("max-age=10, s-maxage=60", Some(60)),
            ("s-maxage=0, max-age=10", Some(0)),
            ("max-age=ten", Some(0)),
            ("max-age=-1", Some(0)),
            ("max-age", Some(0)),
            ("max-age=99999999999999999999999", Some(SECONDS_MAX)),
        ] {
            assert_eq!(of(&[line]).max_age, age, "{line}");
        }
    }
}
