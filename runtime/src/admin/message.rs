//! Requests and responses, as far as the admin interface looks at them.

use zlayer_http1::BodyLength;

use super::json::Json;

/// What a client asks for.
pub(super) struct Request {
    pub(super) path: String,
    pub(super) query: Option<String>,
    /// The body of a POST; empty for other methods. Of an upload, what has come of it with the head, as it came.
    pub(super) body: Vec<u8>,
    /// What of the body is still to come, where it is read as it comes.
    pub(super) upload: Option<Upload>,
    pub(super) is_post: bool,
    pub(super) is_head: bool,
}

/// A body that is read as it comes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Upload {
    pub(super) length: BodyLength,
    /// Whether the client waits for leave to send it (RFC 9110 section 10.1.1).
    pub(super) is_waiting: bool,
}

/// The response to a request.
pub(super) struct Response {
    pub(super) status: u16,
    pub(super) content_type: &'static str,
    pub(super) body: String,
    /// Whether the daemon is well, in responses that say so.
    pub(super) healthy: Option<bool>,
    /// The exit code of whoever asked on the command line, in responses that say why something failed.
    pub(super) exit_code: Option<u8>,
    pub(super) is_head: bool,
    /// The methods that are allowed, in responses that refuse one.
    pub(super) allow: Option<&'static str>,
}

impl Response {
    pub(super) fn new(status: u16, content_type: &'static str, body: String) -> Response {
        Response {
            status,
            content_type,
            body,
            healthy: None,
            exit_code: None,
            is_head: false,
            allow: None,
        }
    }

    pub(super) fn text(status: u16, text: &str) -> Response {
        Response::new(status, TEXT, format!("{text}\n"))
    }

    pub(super) fn json(json: Json) -> Response {
        Response::new(200, JSON, json.finish())
    }
}

pub(super) const TEXT: &str = "text/plain; charset=utf-8";
pub(super) const JSON: &str = "application/json";
