//! What holds for the requests that are sent.

use zlayer_http1::*;

/// Checks that what a request is made of arrives as it was, or is refused. True if it was encoded.
///
/// # Panics
///
/// If the server's side reads something else than what was written.
pub fn check_outgoing(method: &str, target: &str, name: &str, value: &[u8]) -> bool {
    let headers = [("host", &b"h"[..]), (name, value)];
    let request = OutgoingRequest {
        method,
        target,
        headers: &headers,
        length: RequestLength::Fixed(3),
        accepts_trailers: true,
        connection: ConnectionUse::Keep,
    };
    let mut wire = Vec::new();
    if request.encode(&mut wire).is_err() {
        assert!(wire.is_empty());
        return false;
    }
    let limits = Limits {
        head_bytes: usize::MAX,
        target_bytes: usize::MAX,
        ..Limits::default()
    };
    let mut slots = HeaderSlots::new();
    let parsed = match RequestHead::parse(&wire, &mut slots, &limits) {
        // The encoder leaves it to the server what it expects.
        Err(RequestError::UnknownExpectation) => return true,
        parsed => parsed,
    };
    let Ok(Some((head, length))) = parsed else {
        panic!("{}: {parsed:?}", wire.escape_ascii());
    };
    assert_eq!(
        (length, head.method, head.target),
        (wire.len(), method, target.as_bytes())
    );
    assert_eq!((head.body, head.keep_alive), (BodyLength::Fixed(3), true));
    assert_eq!(
        all_but(&head, name),
        ["host", "content-length", "te", "connection"]
    );
    true
}

/// The names of a head's fields in lower case, without the second one if that is `name`.
fn all_but(head: &RequestHead<'_, '_>, name: &str) -> Vec<String> {
    let names = head.headers.iter().map(|header| header.name);
    let mut names: Vec<_> = names.map(str::to_ascii_lowercase).collect();
    if names.len() > 4 {
        assert_eq!(names.remove(1), name.to_ascii_lowercase());
    }
    names
}
