//! What messages take of the memory, as the allocator gives it out.

use http::HeaderMap;
use wasmtime_wasi_http::p2::bindings::http::types::{Method, Scheme};
use wasmtime_wasi_http::p2::types::HostOutgoingRequest;

/// Bytes of one name and value in a map beside their texts: hash, name, value and links, with the
/// place in the index, of which there are up to three for each.
const ENTRY_BYTES: usize = 120;
/// Bytes of a further value for a name beside its text; the list of them doubles as it grows.
const FURTHER_BYTES: usize = 160;
/// Bytes that a text takes at the least: what the allocator adds, and a counter of those who share it.
const TEXT_BYTES: usize = 48;

/// Bytes of a text.
pub(super) fn text(text: &str) -> usize {
    text.len() + TEXT_BYTES
}

/// Bytes of header fields. It is what they take when nobody else shares them.
pub(super) fn fields(map: &HeaderMap) -> usize {
    let names: usize = map.keys().map(|name| text(name.as_str())).sum();
    let values: usize = map.values().map(|value| value.len() + TEXT_BYTES).sum();
    let further = map.len().saturating_sub(map.keys_len());
    map.capacity() * ENTRY_BYTES + further * FURTHER_BYTES + names + values
}

/// Bytes of a request's texts beside its fields.
pub(super) fn texts(request: &HostOutgoingRequest) -> usize {
    let method = match &request.method {
        Method::Other(other) => text(other),
        _ => 0,
    };
    let scheme = match &request.scheme {
        Some(Scheme::Other(other)) => text(other),
        _ => 0,
    };
    let parts = [&request.authority, &request.path_with_query];
    let parts: usize = parts.into_iter().flatten().map(|part| text(part)).sum();
    method + scheme + parts
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use http::header::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn fields_weigh_more_than_their_parts() {
        assert_eq!(fields(&HeaderMap::new()), 0);
        let mut map = HeaderMap::new();
        for number in 0..600 {
            let name = HeaderName::try_from(format!("x{number}")).unwrap();
            map.append(name, HeaderValue::from_static("v"));
        }
        // Hash and links beside name and value.
        let entry = size_of::<HeaderName>() + size_of::<HeaderValue>() + 4 * size_of::<usize>();
        assert!(entry <= ENTRY_BYTES, "{entry}");
        assert!(fields(&map) >= map.capacity() * entry + 600 * 2 * 32);
        let one = fields(&map);
        for _ in 0..100 {
            map.append("x1", HeaderValue::from_static("v"));
        }
        let further = size_of::<HeaderValue>() + 4 * size_of::<usize>();
        assert!(fields(&map) - one >= 100 * (2 * further + 32), "{further}");
    }
}
