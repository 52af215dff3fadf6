//! What holds for whatever fields belong to one connection. The fuzz targets check it, and so does a
//! test.

use http::HeaderMap;
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, HeaderName};

use super::hop;
use crate::message::fields::is_hop_by_hop;

/// Takes what belongs to the connection out of `headers`: nothing of that is left, and all else is as
/// it was.
pub fn hop(headers: &HeaderMap) {
    let mut stripped = headers.clone();
    hop::strip_received(&mut stripped);
    // `Connection` once more, as plainly as can be.
    let options = headers.get_all(CONNECTION).iter().flat_map(|value| {
        let options = value.as_bytes().split(|byte| *byte == b',');
        options.map(|option| option.trim_ascii().to_ascii_lowercase())
    });
    let options: Vec<Vec<u8>> = options.collect();
    let is_named = |name: &HeaderName| {
        let is_kept = [HOST, CONTENT_LENGTH].contains(name);
        !is_kept
            && options
                .iter()
                .any(|option| option == name.as_str().as_bytes())
    };
    for name in headers.keys() {
        let (before, after) = (headers.get_all(name), stripped.get_all(name));
        match is_hop_by_hop(name) || is_named(name) {
            true => assert_eq!(after.iter().count(), 0, "{name}"),
            false => assert!(before.iter().eq(after.iter()), "{name}"),
        }
    }
    assert!(stripped.keys().all(|name| headers.contains_key(name)));
    let once = stripped.clone();
    hop::strip_received(&mut stripped);
    assert_eq!(stripped, once);
    let _ = hop::accepts_trailers(headers);
}

#[cfg(test)]
mod tests {
    use crate::message::fuzz::Heads;
    use crate::mutations;

    #[test]
    fn whatever_belongs_to_a_connection_ends_with_it() {
        mutations::each("fields", 20_000, |input| {
            let heads = Heads::of(input);
            super::hop(&heads.request);
            super::hop(&heads.response);
        });
    }
}
