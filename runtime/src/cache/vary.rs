//! The request's headers that choose among the responses of one key.

use http::HeaderMap;
use http::header::{HeaderName, VARY};

/// The most fields by which one response may vary.
pub(super) const NAMES: usize = 16;

/// A field and its value in the request; `None` if the request had no such field.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Varied {
    pub(super) name: Box<str>,
    value: Option<Box<[u8]>>,
}

impl Varied {
    pub(super) fn of(name: &str, request: &HeaderMap) -> Varied {
        Varied {
            name: name.into(),
            value: value(name, request),
        }
    }

    /// Whether `request` has the same value (RFC 9111 section 4.1).
    pub(super) fn matches(&self, request: &HeaderMap) -> bool {
        self.value == value(&self.name, request)
    }

    /// Bytes of memory that it takes.
    pub(super) fn bytes(&self) -> usize {
        self.name.len() + self.value.as_ref().map_or(0, |value| value.len()) + size_of::<Varied>()
    }
}

/// The fields by which a response varies: those in its own `Vary`, and those that the plugin named.
///
/// # Errors
///
/// It can match no other request (`*`), or there are too many names, or one is not a field name.
pub(super) fn names(
    response: &HeaderMap,
    policy: &[String],
) -> Result<Vec<HeaderName>, &'static str> {
    let mut names = Vec::new();
    let own = response.get_all(VARY).iter();
    let own = own.flat_map(|line| line.as_bytes().split(|&byte| byte == b','));
    let policy = policy.iter().map(|name| name.as_bytes());
    for name in own.chain(policy) {
        let name = match name.trim_ascii() {
            b"" => continue,
            b"*" => return Err("it varies by more than headers"),
            name => {
                HeaderName::from_bytes(name).map_err(|_| "it varies by what is no header's name")?
            }
        };
        if !names.contains(&name) {
            names.push(name);
        }
        if names.len() > NAMES {
            return Err("it varies by too many headers");
        }
    }
    Ok(names)
}

/// The field's lines joined into one, in a form that is the same for values of the same meaning
/// (RFC 9111 section 4.1). Space around lines is dropped. In lists of codings and languages, case
/// and all space do not matter and are dropped as well.
fn value(name: &str, request: &HeaderMap) -> Option<Box<[u8]>> {
    let mut lines = request.get_all(name).iter();
    let mut joined = lines.next()?.as_bytes().trim_ascii().to_vec();
    for line in lines {
        joined.extend_from_slice(b", ");
        joined.extend_from_slice(line.as_bytes().trim_ascii());
    }
    if matches!(name, "accept-encoding" | "accept-language") {
        joined.retain(|byte| !byte.is_ascii_whitespace());
        joined.make_ascii_lowercase();
    }
    Some(joined.into())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(*name, value.parse().unwrap());
        }
        map
    }

    #[test]
    fn equal_meaning_is_an_equal_value_and_nothing_else_is() {
        let same = |name, a: &[(&'static str, &str)], b: &[(&'static str, &str)]| {
            Varied::of(name, &headers(a)).matches(&headers(b))
        };
        let (accept, coding) = ("accept", "accept-encoding");
        assert!(same(accept, &[], &[("x", "y")]));
        assert!(!same(accept, &[], &[(accept, "")]));
        assert!(same(
            accept,
            &[(accept, "a"), (accept, "b")],
            &[(accept, "a, b")]
        ));
        assert!(same(
            coding,
            &[(coding, "GZip , br")],
            &[(coding, "gzip,br")]
        ));
        assert!(!same(
            coding,
            &[(coding, "br,gzip")],
            &[(coding, "gzip,br")]
        ));
        let token = "authorization";
        assert!(!same(token, &[(token, "Basic Aa")], &[(token, "Basic aa")]));
        assert!(!same(token, &[(token, "Basic Aa")], &[]));
    }

    #[test]
    fn the_plugins_names_and_the_responses_are_taken_together() {
        let response = headers(&[("vary", "Accept , ,origin"), ("vary", "accept")]);
        let read = names(&response, &["ORIGIN".to_owned(), "x-a".to_owned()]).unwrap();
        assert_eq!(read, ["accept", "origin", "x-a"]);
        assert!(names(&headers(&[("vary", "a, *")]), &[]).is_err());
        assert!(names(&HeaderMap::new(), &["*".to_owned()]).is_err());
        assert!(names(&HeaderMap::new(), &["no name".to_owned()]).is_err());
        let many: Vec<_> = (0..=NAMES).map(|number| format!("x-{number}")).collect();
        assert!(names(&HeaderMap::new(), &many).is_err());
        assert!(names(&HeaderMap::new(), &many[1..]).is_ok());
    }
}
