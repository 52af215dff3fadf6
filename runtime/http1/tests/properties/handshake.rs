//! What must hold for any fields of a WebSocket's opening handshake.

use zlayer_http1::websocket::*;
use zlayer_http1::{
    IncomingResponse, Limits, ResponseSlots, Version, is_valid_header_name, is_valid_header_value,
};

/// Header fields by name.
type Fields<'a> = Vec<(&'a str, &'a [u8])>;

/// Checks a request's fields and those of a response to it: a method, then a field a line, with an
/// empty line between the two. True if the request asks for a WebSocket as it should.
///
/// # Panics
///
/// If a rule is broken.
pub fn check_handshake(input: &[u8]) -> bool {
    let mut lines = input.split(|byte| *byte == b'\n');
    let method = std::str::from_utf8(lines.next().unwrap_or_default()).unwrap_or_default();
    let request: Fields<'_> = lines
        .by_ref()
        .take_while(|line| !line.is_empty())
        .filter_map(field)
        .collect();
    let response: Fields<'_> = lines.filter_map(field).collect();

    let accept = read_upgrade(method, Version::Http11, &request);
    assert_eq!(
        matches!(accept, Ok(Some(_))),
        begins(method, &request),
        "{accept:?}"
    );
    assert_eq!(read_upgrade(method, Version::Http10, &request), Ok(None));
    check_extensions(&request);
    let key = values(&request, "sec-websocket-key");
    let key = key.first().copied().unwrap_or_default();
    let key = std::str::from_utf8(key).unwrap_or_default();
    if check_response(key, &request, 101, &response).is_ok() {
        check_taken(&request, &response);
    }
    match accept {
        Ok(Some(accept)) => {
            check_answer(key, &accept, &request, &response);
            true
        }
        _ => false,
    }
}

/// A line as a field, as far as the codec lets it through.
fn field(line: &[u8]) -> Option<(&str, &[u8])> {
    let at = line.iter().position(|byte| *byte == b':')?;
    let (name, value) = (&line[..at], line[at + 1..].trim_ascii());
    let name = std::str::from_utf8(name).ok()?;
    let is_field = is_valid_header_name(name.as_bytes()) && is_valid_header_value(value);
    is_field.then_some((name, value))
}

fn values<'a>(fields: &Fields<'a>, name: &str) -> Vec<&'a [u8]> {
    let found = fields
        .iter()
        .filter(|(field, _)| field.eq_ignore_ascii_case(name));
    found.map(|(_, value)| *value).collect()
}

/// The elements of a list over all fields of that name, in lower case.
fn listed(fields: &Fields<'_>, name: &str) -> Vec<Vec<u8>> {
    let all = values(fields, name).join(&b","[..]);
    let elements = all.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    elements.map(<[u8]>::to_ascii_lowercase).collect()
}

/// RFC 6455, 4.2.1, once more and as plainly as can be.
fn begins(method: &str, fields: &Fields<'_>) -> bool {
    let has = |name: &str, wanted: &str| {
        let elements = listed(fields, name);
        elements.iter().any(|one| one == wanted.as_bytes())
    };
    let is_letter = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/".contains(byte);
    let is_key =
        |key: &[u8]| key.len() == 24 && key.ends_with(b"==") && key[..22].iter().all(is_letter);
    let keys = values(fields, "sec-websocket-key");
    let lengths = values(fields, "content-length");
    method == "GET"
        && has("upgrade", "websocket")
        && has("connection", "upgrade")
        && values(fields, "host").len() == 1
        && values(fields, "sec-websocket-version") == [b"13"]
        && values(fields, "transfer-encoding").is_empty()
        && lengths.concat().iter().all(|digit| *digit == b'0')
        && keys.len() == 1
        && is_key(keys[0])
}

/// What is agreed on about compression was offered, and offered again it is agreed on again.
fn check_extensions(request: &Fields<'_>) {
    let Some(agreed) = Deflate::negotiate(request) else {
        return;
    };
    assert!((8..=15).contains(&agreed.server_window_bits()));
    let offers = listed(request, "sec-websocket-extensions");
    assert!(
        offers
            .iter()
            .any(|offer| offer.starts_with(b"permessage-deflate"))
    );
    let accepted = agreed.accepted();
    let again = [("sec-websocket-extensions", accepted.as_bytes())];
    assert_eq!(Deflate::negotiate(&again), Some(agreed));
}

/// A response that is taken for the start of a WebSocket keeps every rule.
fn check_taken(request: &Fields<'_>, response: &Fields<'_>) {
    assert_eq!(values(response, "upgrade").len(), 1);
    assert_eq!(listed(response, "upgrade"), [b"websocket"]);
    assert!(listed(response, "connection").contains(&b"upgrade".to_vec()));
    assert_eq!(values(response, "sec-websocket-accept").len(), 1);
    assert!(
        values(response, "sec-websocket-extensions")
            .concat()
            .is_empty()
    );
    let offered: Vec<_> = offered_protocols(request).collect();
    let chosen = values(response, "sec-websocket-protocol");
    assert!(chosen.len() <= 1 && chosen.iter().all(|one| offered.contains(one)));
}

/// The answer to a request that was accepted is read as one by the other side, whatever a plugin
/// wants to have in it.
fn check_answer(key: &str, accept: &str, request: &Fields<'_>, wanted: &Fields<'_>) {
    let ours = |name: &str| name.to_ascii_lowercase().starts_with("sec-websocket-");
    let mut fields: Fields<'_> = wanted.clone();
    fields.retain(|(name, _)| !ours(name));
    let chosen = offered_protocols(request).next();
    fields.extend(chosen.map(|one| ("sec-websocket-protocol", one)));
    let mut wire = Vec::new();
    assert_eq!(encode_response(&mut wire, accept, &fields), Ok(()));
    let limits = Limits {
        head_bytes: usize::MAX,
        ..Limits::default()
    };
    let mut slots = ResponseSlots::new();
    let (head, length) = match IncomingResponse::parse(&wire, &mut slots, "GET", &limits) {
        Ok(Some(parsed)) => parsed,
        // More fields than anybody reads.
        Err(_) if fields.len() > 90 => return,
        other => panic!("{}: {other:?}", wire.escape_ascii()),
    };
    assert_eq!((length, head.status), (wire.len(), 101));
    let fields: Fields<'_> = head
        .headers
        .iter()
        .map(|field| (field.name, field.value))
        .collect();
    assert_eq!(check_response(key, request, 101, &fields), Ok(()));
}
