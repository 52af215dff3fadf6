//! What changes something: over the Unix socket alone, which only the daemon's own user may use.

use std::borrow::Cow;

use super::connection::{Answer, Request};
use super::json::Json;
use super::view::View;

/// The methods that a path is there for.
pub(super) fn methods(path: &str) -> &'static str {
    match path {
        "/cache/purge" => "POST",
        _ => "GET, HEAD",
    }
}

/// Does what is asked for with POST.
pub(super) fn run(view: &View, request: &Request) -> Answer {
    let query = request.query.as_deref().unwrap_or_default();
    match request.path.as_str() {
        "/cache/purge" => purge(view, query),
        _ => Answer::text(404, "there is /cache/purge"),
    }
}

fn purge(view: &View, query: &str) -> Answer {
    let Some(cache) = view.pipeline.cache() else {
        return Answer::text(404, "no plugin has the caching role");
    };
    let (mut tags, mut all) = (Vec::new(), false);
    for (name, value) in pairs(query) {
        match (&*name, &*value) {
            ("tag", tag) if !tag.is_empty() => tags.push(tag.to_owned()),
            ("all", "true") => all = true,
            _ => return Answer::text(400, "what to purge is said by tag=TAG or by all=true"),
        }
    }
    let purged = match (all, tags.is_empty()) {
        (true, true) => cache.purge_all(),
        (false, false) => {
            let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
            cache.purge_tags(&tags)
        }
        _ => {
            return Answer::text(
                400,
                "say either tag=TAG, which may be repeated, or all=true",
            );
        }
    };
    log::info!("admin interface: {purged} responses were purged");
    let mut json = Json::object();
    json.number("purged", purged as u64);
    Answer::json(json)
}

/// The parameters of a query, decoded.
fn pairs(query: &str) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    let parts = query.split('&').filter(|part| !part.is_empty());
    parts.map(|part| {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        (decoded(name), decoded(value))
    })
}

/// Decodes percent signs. What is not Unicode then becomes U+FFFD, and a sign without two digits stays.
fn decoded(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let digits = text.get(at + 1..at + 3);
        let byte = digits
            .filter(|digits| bytes[at] == b'%' && digits.bytes().all(|b| b.is_ascii_hexdigit()))
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        out.push(byte.unwrap_or(bytes[at]));
        at += if byte.is_some() { 3 } else { 1 };
    }
    Cow::Owned(String::from_utf8_lossy(&out).into_owned())
}

/// Encodes what may not stand in a query as it is.
pub(super) fn encoded(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_encoded_is_decoded() {
        for text in ["api:users/1", "a&b=c%20 é\u{1f980}", "", "100%", "%zz"] {
            assert_eq!(decoded(&encoded(text)), text);
        }
        assert_eq!(decoded("%"), "%");
        assert_eq!(decoded("%4"), "%4");
        assert_eq!(decoded("%+1é%é"), "%+1é%é");
        assert_eq!(decoded("%ff"), "\u{fffd}");
        let read: Vec<_> = pairs("tag=a%26b&&all&x=1=2").collect();
        let wanted = [("tag", "a&b"), ("all", ""), ("x", "1=2")];
        assert!(
            read.iter()
                .map(|(name, value)| (&**name, &**value))
                .eq(wanted)
        );
    }
}
