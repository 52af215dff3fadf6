//! Whether a client's own copy is as good as the stored response (RFC 9110 section 13).

use http::HeaderMap;
use http::header::{
    CACHE_CONTROL, CONTENT_LOCATION, DATE, ETAG, EXPIRES, HeaderName, IF_MODIFIED_SINCE,
    IF_NONE_MATCH, LAST_MODIFIED, VARY,
};

use super::age::date;

/// The fields of a 304 (RFC 9110 section 15.4.5); `Age` is added. `Last-Modified` is for clients
/// that do not know entity tags.
pub(super) const NOT_MODIFIED_FIELDS: [HeaderName; 7] = [
    CACHE_CONTROL,
    CONTENT_LOCATION,
    DATE,
    ETAG,
    EXPIRES,
    LAST_MODIFIED,
    VARY,
];

/// Whether a GET or HEAD with the headers `request` gets a 304, where it would otherwise get a
/// response with the headers `response` and status 200.
///
/// `If-None-Match` is compared weakly (section 13.1.2), and `If-Modified-Since` is ignored where it
/// is present (section 13.1.3). `If-Modified-Since` is compared with `Last-Modified`, or else with
/// `Date` (RFC 9111 section 4.3.2).
pub fn not_modified(request: &HeaderMap, response: &HeaderMap) -> bool {
    if request.contains_key(IF_NONE_MATCH) {
        let own = response.get(ETAG).and_then(|tag| opaque(tag.as_bytes()));
        let own = own.filter(|(_, rest)| rest.trim_ascii().is_empty());
        return request
            .get_all(IF_NONE_MATCH)
            .iter()
            .any(|line| names(line.as_bytes(), own.map(|(tag, _)| tag)));
    }
    let Some(since) = date(request, &IF_MODIFIED_SINCE) else {
        return false;
    };
    let changed = date(response, &LAST_MODIFIED).or_else(|| date(response, &DATE));
    changed.is_some_and(|changed| changed <= since)
}

/// Whether a line of `If-None-Match` is `*` or lists `own`. Reading stops where the line is
/// malformed.
fn names(line: &[u8], own: Option<&[u8]>) -> bool {
    let mut rest = line.trim_ascii();
    if rest == b"*" {
        return true;
    }
    loop {
        // Empty elements are passed over (section 5.6.1.2).
        while let [b',' | b' ' | b'\t', more @ ..] = rest {
            rest = more;
        }
        let Some((tag, more)) = opaque(rest) else {
            return false;
        };
        if own == Some(tag) {
            return true;
        }
        rest = more;
    }
}

/// The tag in its quotes but without `W/`, and what follows it (section 8.8.3).
fn opaque(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let text = text.strip_prefix(b"W/").unwrap_or(text);
    let inside = text.strip_prefix(b"\"")?;
    let length = inside.iter().position(|&byte| byte == b'"')?;
    Some(text.split_at(length + 2))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;

    fn headers(fields: &[(HeaderName, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(name, value.parse().unwrap());
        }
        map
    }

    #[test]
    fn entity_tags_are_compared_weakly_and_may_come_in_lists() {
        let matches = |lines: &[&str], tag: &str| {
            let lines: Vec<_> = lines.iter().map(|line| (IF_NONE_MATCH, *line)).collect();
            not_modified(&headers(&lines), &headers(&[(ETAG, tag)]))
        };
        for (lines, tag) in [
            (&["\"a\""][..], "\"a\""),
            (&["W/\"a\""], "\"a\""),
            (&["\"a\""], "W/\"a\""),
            (&["\"x\", W/\"a\""], "W/\"a\""),
            (&["\"x\" ,,\"a\""], "\"a\""),
            (&["\"x\"", "\"a\""], "\"a\""),
            (&["\"a,b\""], "\"a,b\""),
            (&["*"], "\"a\""),
            (&["\"\""], "\"\""),
        ] {
            assert!(matches(lines, tag), "{lines:?} {tag}");
        }
        for (lines, tag) in [
            (&["\"x\""][..], "\"a\""),
            (&["a"], "a"),
            (&["\"a"], "\"a\""),
            (&["\"x\" y \"a\""], "\"a\""),
            (&["w/\"a\""], "\"a\""),
            (&[""], "\"a\""),
            (&["\"a,b\""], "\"a\""),
            (&["\"a\""], "\"a\" \"b\""),
        ] {
            assert!(!matches(lines, tag), "{lines:?} {tag}");
        }
        let any = headers(&[(IF_NONE_MATCH, "*")]);
        assert!(not_modified(&any, &HeaderMap::new()));
        let one = headers(&[(IF_NONE_MATCH, "\"a\"")]);
        assert!(!not_modified(&one, &HeaderMap::new()));
    }

    #[test]
    fn dates_count_where_no_tag_is_asked_for() {
        let (early, late) = (
            "Sun, 06 Nov 1994 12:00:00 GMT",
            "Sun, 06 Nov 1994 12:00:01 GMT",
        );
        let since = |since: &str, fields: &[(HeaderName, &str)]| {
            not_modified(&headers(&[(IF_MODIFIED_SINCE, since)]), &headers(fields))
        };
        assert!(since(early, &[(LAST_MODIFIED, early)]));
        assert!(since(late, &[(LAST_MODIFIED, early)]));
        assert!(!since(early, &[(LAST_MODIFIED, late)]));
        assert!(since(early, &[(DATE, early)]));
        assert!(!since(early, &[(LAST_MODIFIED, late), (DATE, early)]));
        assert!(!since(early, &[]));
        assert!(!since("yesterday", &[(LAST_MODIFIED, early)]));
        let both = headers(&[(IF_NONE_MATCH, "\"x\""), (IF_MODIFIED_SINCE, late)]);
        let response = headers(&[(ETAG, "\"a\""), (LAST_MODIFIED, early)]);
        assert!(!not_modified(&both, &response));
    }
}
