//! What holds for whatever header fields come from clients and upstreams. The fuzz targets
//! check it, and so does a test.

use std::time::{Duration, SystemTime};

use http::header::{
    AUTHORIZATION, CACHE_CONTROL, DATE, ETAG, EXPIRES, IF_MODIFIED_SINCE, IF_NONE_MATCH,
    LAST_MODIFIED, VARY, WWW_AUTHENTICATE,
};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::age::{initial_age, lifetime};
use super::conditional::not_modified;
use super::directives::Directives;
use super::excluded::is_for_connection;
use super::vary::{self, Varied};
use crate::message::{begins_with, elements, endless, wants_events};

/// Reads `request` and `response` as the two heads of an exchange.
pub fn heads(request: &HeaderMap, response: &HeaderMap) {
    for headers in [request, response] {
        let directives = Directives::of(headers);
        are_read(&directives, headers);
        for now in [None, Some(SystemTime::UNIX_EPOCH), Some(SystemTime::now())] {
            let age = initial_age(headers, Duration::from_secs(1), now);
            // What is added to it later must not end beyond what can be told.
            assert!(age.checked_add(Duration::from_secs(1 << 40)).is_some());
            assert!(age >= Duration::from_secs(1));
            let time = lifetime(headers, &directives, now);
            let longest = time.unwrap_or_default();
            assert!(longest.checked_add(Duration::from_secs(1 << 40)).is_some());
            let says = headers.contains_key(EXPIRES) || directives.max_age.is_some();
            assert!(says || time.is_none());
        }
        let _ = (wants_events(headers), endless(headers));
        for name in [AUTHORIZATION, WWW_AUTHENTICATE] {
            let says = |word| has(headers, &name, word);
            assert!(!is_for_connection(headers, &name) || says("ntlm") || says("negotiate"));
        }
    }
    if not_modified(request, response) {
        is_named_or_dated(request, response);
    }
    let names = vary::names(response, &[]);
    assert!(names.is_err() || !elements(response, &VARY).any(|name| name == b"*"));
    for name in names.unwrap_or_default() {
        let varied = Varied::of(name.as_str(), request);
        assert!(varied.matches(request));
        let mut other = request.clone();
        if other.remove(&name).is_none() {
            other.insert(&name, HeaderValue::from_static("x"));
        }
        assert!(!varied.matches(&other), "{name}");
    }
}

/// What forbids to store or to share is obeyed wherever it stands: only quotes that are closed hide it.
fn are_read(directives: &Directives, headers: &HeaderMap) {
    assert!(directives.max_age.is_none_or(|seconds| seconds <= 1 << 31));
    let says = |word| elements(headers, &CACHE_CONTROL).any(|one| begins_with(one, b'=', word));
    let plainly = |word| {
        let lines = headers
            .get_all(CACHE_CONTROL)
            .into_iter()
            .map(HeaderValue::as_bytes);
        let mut plain = lines.filter(|line| {
            let quotes = line.iter().filter(|byte| **byte == b'"').count();
            quotes == 0 || quotes % 2 == 1
        });
        plain.any(|line| {
            line.split(|byte| *byte == b',')
                .any(|one| begins_with(one, b'=', word))
        })
    };
    for (is_read, word) in [
        (directives.no_store, "no-store"),
        (directives.no_cache, "no-cache"),
        (directives.private, "private"),
        (directives.max_age.is_some(), "max-age"),
        (directives.max_age.is_some(), "s-maxage"),
    ] {
        assert!(is_read || !plainly(word), "{word}");
    }
    assert!(!directives.public || says("public") || says("s-maxage"));
    assert!(directives.max_age.is_none() || says("max-age") || says("s-maxage"));
}

/// A client keeps its copy only if it has named the response's tag, or a date that is not before it.
fn is_named_or_dated(request: &HeaderMap, response: &HeaderMap) {
    let mut tags = request.get_all(IF_NONE_MATCH).iter().peekable();
    if tags.peek().is_none() {
        let dates = |headers: &HeaderMap, name| -> Vec<SystemTime> {
            let values = headers.get_all(name).into_iter();
            let values = values.filter_map(|value| value.to_str().ok());
            values
                .filter_map(|value| httpdate::parse_http_date(value).ok())
                .collect()
        };
        let own = [dates(response, LAST_MODIFIED), dates(response, DATE)].concat();
        let since = dates(request, IF_MODIFIED_SINCE);
        assert!(own.iter().min() <= since.first() && !own.is_empty());
        return;
    }
    let own = response.get(ETAG).map(|tag| tag.as_bytes().trim_ascii());
    let own = own.map(|tag| tag.strip_prefix(b"W/").unwrap_or(tag));
    let own = own.filter(|tag| !tag.is_empty());
    assert!(tags.any(|line| {
        let line = line.as_bytes();
        let names = |own: &[u8]| line.windows(own.len()).any(|part| part == own);
        line.trim_ascii() == b"*" || own.is_some_and(names)
    }));
}

/// Whether a word stands anywhere in fields of that name.
fn has(headers: &HeaderMap, name: &HeaderName, word: &str) -> bool {
    headers.get_all(name).iter().any(|line| {
        let line = line.as_bytes().to_ascii_lowercase();
        line.windows(word.len()).any(|part| part == word.as_bytes())
    })
}

#[cfg(test)]
mod tests {
    use crate::message::fuzz::Heads;
    use crate::mutations;

    #[test]
    fn whatever_heads_say_of_storing_keeps_the_rules() {
        mutations::each("fields", 20_000, |input| {
            let heads = Heads::of(input);
            super::heads(&heads.request, &heads.response);
        });
    }
}
