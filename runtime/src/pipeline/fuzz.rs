//! What holds for whatever target and fields a client sends. The fuzz targets check it, and so does a
//! test.

use http::header::AUTHORIZATION;
use http::{Extensions, HeaderMap, Request, Uri};
use percent_encoding::percent_decode;
use zlayer_http1::Header;

use super::readings;
use super::token::{self, Token};
use crate::message::fields::header_map;
use crate::message::{Spelled, Spellings};

/// Reads `path` as applications may: whoever comes to the guarded path by decoding it, taking its
/// parameters off and resolving it is guarded.
pub fn path(path: &str) {
    let guarded = readings::any(path, |reading| {
        reading == "/admin" || reading.starts_with("/admin/")
    });
    for times in 0..3 {
        let mut bytes = path.as_bytes().to_vec();
        for _ in 0..times {
            bytes = percent_decode(&bytes).collect();
        }
        for ends in [&b"/"[..], b"/\\"] {
            for has_parameters in [false, true] {
                let read = resolved(&bytes, ends, has_parameters);
                let is_admin = path.starts_with('/') && read.first() == Some(&&b"admin"[..]);
                assert!(guarded || !is_admin, "{path} is read as {read:?}");
            }
        }
    }
}

/// The segments of a path, with the dots among them resolved.
fn resolved<'p>(path: &'p [u8], ends: &[u8], has_parameters: bool) -> Vec<&'p [u8]> {
    let mut kept = Vec::new();
    for segment in path.split(|byte| ends.contains(byte)) {
        let name = segment.split(|byte| *byte == b';' && has_parameters);
        match name.take(1).next().unwrap_or_default() {
            b"" | b"." => {}
            b".." => drop(kept.pop()),
            name => kept.push(name),
        }
    }
    kept
}

/// Looks for a token in a head: it can be shown as a field, none is passed on, and all else is.
pub fn token(uri: &Uri, headers: &HeaderMap) {
    let mut request = Request::new(());
    *request.uri_mut() = uri.clone();
    *request.headers_mut() = headers.clone();
    let (mut head, ()) = request.into_parts();
    if let Some(token) = Token::of(&head) {
        assert!(!headers.contains_key(AUTHORIZATION));
        assert!(!token.text().is_empty() && !token.text().contains(char::is_control));
    }
    token::strip(&mut head);
    assert!(Token::of(&head).is_none());
    assert_eq!(head.uri.path(), uri.path());
    // The other parameters and subprotocols, as plainly as can be.
    let others = |pair: &&str| {
        let name = pair.split('=').next().unwrap_or_default();
        !percent_decode(name.as_bytes()).eq(b"access_token".iter().copied())
    };
    let parameters = |uri: &Uri| uri.query().unwrap_or_default().to_owned();
    let kept: Vec<String> = parameters(uri)
        .split('&')
        .filter(others)
        .map(str::to_owned)
        .collect();
    assert_eq!(parameters(&head.uri), kept.join("&"));
    let offers = |headers: &HeaderMap| -> Vec<Vec<u8>> {
        let lines = headers.get_all(token::PROTOCOL).into_iter();
        let offers = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
        let offers = offers.map(|offer| offer.trim_ascii().to_vec());
        offers.filter(|offer| !offer.is_empty()).collect()
    };
    let mut kept = offers(headers);
    kept.retain(|offer| !offer.starts_with(b"auth-"));
    assert_eq!(offers(&head.headers), kept);
    for name in headers.keys().filter(|name| *name != token::PROTOCOL) {
        assert!(headers.get_all(name).iter().eq(head.headers.get_all(name)));
    }
}

/// Spells the names of a head as they came.
pub fn spelling(fields: &[Header<'_>]) {
    let Ok(headers) = header_map(fields) else {
        return;
    };
    let mut extensions = Extensions::new();
    Spellings::of(fields.iter().map(|field| field.name)).put(&mut extensions);
    let spelled = Spelled::new(&headers, &extensions);
    let pairs = spelled.pairs();
    assert_eq!(pairs.len(), headers.len());
    for (name, value) in pairs {
        let is_same = |field: &&Header<'_>| field.name.eq_ignore_ascii_case(name);
        let mut known = fields.iter().filter(is_same);
        assert!(fields.iter().any(|field| field.name == name));
        assert!(known.any(|field| field.value == value));
    }
}

#[cfg(test)]
mod tests {
    use crate::message::fuzz::Heads;
    use crate::mutations;

    #[test]
    fn whatever_brings_a_token_and_however_names_are_spelled() {
        mutations::each("fields", 20_000, |input| {
            let heads = Heads::of(input);
            super::spelling(&heads.fields);
            if let Some(uri) = &heads.uri {
                super::token(uri, &heads.request);
            }
        });
    }

    #[test]
    fn whatever_path_comes_is_guarded_as_applications_read_it() {
        mutations::each("paths", 20_000, |input| {
            super::path(&String::from_utf8_lossy(input));
        });
    }
}
