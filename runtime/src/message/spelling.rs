//! How the names of header fields are spelled.
//!
//! Names mean the same in any case (RFC 9110 section 5.1), and `http::HeaderMap` keeps them in
//! lower case. But firmware compares them letter by letter, so a name that is passed on keeps the
//! case in which it came, and others are written as people write them: `Content-Length`.

use std::ops::Range;
use std::sync::Arc;

use http::{Extensions, HeaderMap};

/// Names that are not written with a capital behind each hyphen and nowhere else.
const EXCEPTIONS: [&str; 17] = [
    "CDN-Loop",
    "Content-MD5",
    "DNT",
    "ETag",
    "NEL",
    "RateLimit-Limit",
    "RateLimit-Remaining",
    "RateLimit-Reset",
    "SOAPAction",
    "Sec-CH-UA",
    "Sec-GPC",
    "Sec-WebSocket-Accept",
    "Sec-WebSocket-Extensions",
    "Sec-WebSocket-Key",
    "Sec-WebSocket-Protocol",
    "Sec-WebSocket-Version",
    "WWW-Authenticate",
];

/// The names of a head that are spelled otherwise than this daemon would spell them. It travels in
/// the extensions of a request or response. Most heads have none such.
///
/// It holds no more bytes than the names in the head that it was made of, and so it is covered by
/// what is charged for that.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Spellings(Arc<[Box<str>]>);

impl Spellings {
    /// Collects those of `names` that need it. Of a name that comes in several spellings the first
    /// counts.
    pub fn of<'n>(names: impl Iterator<Item = &'n str>) -> Spellings {
        let mut odd: Vec<Box<str>> = Vec::new();
        for name in names.filter(|name| !is_usual(name)) {
            if !odd.iter().any(|known| known.eq_ignore_ascii_case(name)) {
                odd.push(name.into());
            }
        }
        Spellings(odd.into())
    }

    /// The spellings in the extensions of a head.
    pub fn in_extensions(extensions: &Extensions) -> Spellings {
        extensions.get::<Spellings>().cloned().unwrap_or_default()
    }

    /// Puts them into the extensions of a head, in the place of those that are there.
    pub fn put(self, extensions: &mut Extensions) {
        match self.0.is_empty() {
            true => drop(extensions.remove::<Spellings>()),
            false => drop(extensions.insert(self)),
        }
    }

    /// How `name` is spelled, if not as usual. Names are mostly asked for in the order in which
    /// they came, so the search goes on from `at`, where the last one ended.
    fn get(&self, name: &str, at: &mut usize) -> Option<&str> {
        let count = self.0.len();
        for step in 0..count {
            let index = (*at + step) % count;
            if self.0[index].eq_ignore_ascii_case(name) {
                *at = index + 1;
                return Some(&self.0[index]);
            }
        }
        None
    }

    /// The spellings of a list that a plugin wants in the place of a head's fields. A plugin sees
    /// names in lower case; a name that it returns so, and that was there before, keeps its
    /// spelling. Any other is spelled as the plugin does.
    pub fn replaced<'n>(
        &self,
        old: &HeaderMap,
        names: impl Iterator<Item = &'n str> + Clone,
    ) -> Spellings {
        let is_lower = |name: &&str| !name.bytes().any(|byte| byte.is_ascii_uppercase());
        let of_plugin = names.filter(|name| !(is_lower(name) && old.contains_key(*name)));
        let new: Vec<&str> = of_plugin.collect();
        let kept = self.0.iter().map(|name| &**name);
        let kept = kept.filter(|kept| !new.iter().any(|name| name.eq_ignore_ascii_case(kept)));
        let all: Vec<&str> = kept.chain(new.iter().copied()).collect();
        // What is spelled as usual needs no entry.
        Spellings::of(all.into_iter())
    }
}

/// The fields of a head, with their names as they are to be written.
pub(crate) struct Spelled<'h> {
    names: String,
    fields: Vec<(Range<usize>, &'h [u8])>,
}

impl<'h> Spelled<'h> {
    /// Spells the names of `headers`, which belong to a head with these extensions.
    pub(crate) fn new(headers: &'h HeaderMap, extensions: &Extensions) -> Spelled<'h> {
        let spellings = extensions.get::<Spellings>();
        let mut names = String::with_capacity(headers.len() * 16);
        let mut at = 0;
        let fields = headers.iter().map(|(name, value)| {
            let start = names.len();
            let known = spellings.and_then(|known| known.get(name.as_str(), &mut at));
            match known {
                Some(spelled) => names.push_str(spelled),
                None => push_usual(&mut names, name.as_str()),
            }
            (start..names.len(), value.as_bytes())
        });
        let fields = fields.collect();
        Spelled { names, fields }
    }

    /// The fields as pairs, as the codec writes them.
    pub(crate) fn pairs(&self) -> Vec<(&str, &'h [u8])> {
        let fields = self.fields.iter();
        fields
            .map(|(name, value)| (&self.names[name.clone()], *value))
            .collect()
    }
}

/// Appends a name as this daemon spells it.
fn push_usual(out: &mut String, name: &str) {
    match exception(name) {
        Some(spelled) => out.push_str(spelled),
        None => out.extend(usual(name).map(char::from)),
    }
}

/// Whether a name is spelled as this daemon would spell it.
fn is_usual(name: &str) -> bool {
    match exception(name) {
        Some(spelled) => spelled == name,
        None => usual(name).eq(name.bytes()),
    }
}

fn exception(name: &str) -> Option<&'static str> {
    let mut known = EXCEPTIONS.iter();
    known
        .find(|known| known.eq_ignore_ascii_case(name))
        .copied()
}

/// A name with a capital at its start and behind each hyphen. Names are ASCII.
fn usual(name: &str) -> impl Iterator<Item = u8> {
    let mut before = b'-';
    name.bytes().map(move |byte| {
        let first = std::mem::replace(&mut before, byte) == b'-';
        match first {
            true => byte.to_ascii_uppercase(),
            false => byte.to_ascii_lowercase(),
        }
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use http::header::HeaderName;

    use super::*;

    fn map(names: &[&str]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for name in names {
            if let Ok(name) = HeaderName::from_bytes(name.as_bytes()) {
                map.append(name, HeaderValue::from_static("v"));
            }
        }
        map
    }

    fn written(headers: &HeaderMap, spellings: Spellings) -> Vec<String> {
        let mut extensions = Extensions::new();
        spellings.put(&mut extensions);
        let spelled = Spelled::new(headers, &extensions);
        let pairs = spelled.pairs();
        pairs.iter().map(|(name, _)| (*name).to_owned()).collect()
    }

    #[test]
    fn names_keep_their_spelling_and_others_get_the_usual_one() {
        let names = [
            "Content-Length",
            "X-ODD-name",
            "accept",
            "ETag",
            "X-A",
            "etag-x",
        ];
        let spellings = Spellings::of(names.iter().copied());
        assert_eq!(spellings.0.len(), 3, "{spellings:?}");
        assert_eq!(written(&map(&names), spellings.clone()), names);
        let added = map(&[
            "x-forwarded-for",
            "etag",
            "cdn-loop",
            "accept",
            "www-authenticate",
            "ratelimit-limit",
        ]);
        assert_eq!(
            written(&added, spellings),
            [
                "X-Forwarded-For",
                "ETag",
                "CDN-Loop",
                "accept",
                "WWW-Authenticate",
                "RateLimit-Limit"
            ]
        );
    }

    #[test]
    fn fields_of_one_name_are_spelled_as_the_first() {
        let names = ["SET-cookie", "set-Cookie", "x"];
        let spellings = Spellings::of(names.iter().copied());
        assert_eq!(
            written(&map(&names), spellings),
            ["SET-cookie", "SET-cookie", "x"]
        );
    }

    #[test]
    fn a_plugin_that_changes_nothing_changes_no_spelling() {
        let names = ["CONTENT-Length", "X-A", "accept"];
        let (old, spellings) = (map(&names), Spellings::of(names.iter().copied()));
        let seen = ["content-length", "x-a", "accept"];
        let same = spellings.replaced(&old, seen.iter().copied());
        assert_eq!(written(&old, same), names);
        let listed = ["Content-length", "x-a", "X-new", "x-lower", "X-Usual"];
        let replaced = spellings.replaced(&old, listed.iter().copied());
        assert_eq!(
            written(&map(&listed), replaced),
            ["Content-length", "X-A", "X-new", "x-lower", "X-Usual"]
        );
    }
}
