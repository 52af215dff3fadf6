//! Responses that the daemon itself makes.

use std::sync::Arc;

use http::header::{ACCEPT_ENCODING, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use zlayer_http1::reason_phrase;

use super::{Marks, Reply};
use crate::failure::{Failure, REASON_BYTES};
use crate::message::{Response, final_status, whole};
use crate::redact::cut;

/// Makes a response with a short text for people.
pub(super) fn text(status: u16, text: &str) -> Response {
    let mut response = http::Response::new(whole(
        format!("{status} {}\n{text}\n", reason_phrase(status)),
        None,
    ));
    // Callers pass statuses that are valid; any other would be the plugin's mistake.
    *response.status_mut() =
        http::StatusCode::from_u16(status).unwrap_or(http::StatusCode::BAD_GATEWAY);
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, plain);
    response
}

/// Makes the response with which a plugin refuses a request.
///
/// # Errors
///
/// The status is not that of a final response.
pub(super) fn refusal(status: u16, reason: &str) -> Result<Response, Failure> {
    final_status(status)?;
    Ok(text(status, &cut(reason, REASON_BYTES)))
}

/// Makes the response that reports a failure to the client: a status and the request's id, and the
/// reason only where the client can mend it.
pub(super) fn failure_reply(failure: Failure, id: &Arc<str>) -> Reply {
    let mut response = text(failure.status(), &failure.public_text(id));
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(id) {
        headers.insert(HeaderName::from_static("x-request-id"), id);
    }
    if let Some(codings) = failure.accepted_codings() {
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(codings));
    }
    if let Some(seconds) = failure.retry_after() {
        headers.insert(RETRY_AFTER, HeaderValue::from_static(seconds));
    }
    let marks = Marks {
        failure: Some(failure),
        ..Marks::default()
    };
    Reply::marked(response, marks)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_a_response() {
        assert_eq!(refusal(403, "no").unwrap().status(), 403);
        for status in [0, 101, 199, 600, 1000] {
            assert!(refusal(status, "no").is_err(), "{status}");
        }
    }
}
