//! Reads a request: what is asked for, or why it is refused.

use zlayer_http1::{BodyLength, HeaderSlots, Limits, RequestHead};

use super::loopback::is_loopback;
use super::message::{Request, Response, Upload};

/// The most bytes of a request, its head and its body together.
pub(super) const REQUEST_BYTES: usize = 8 << 10;

/// Where a bundle is sent to. It is read as it comes.
pub(super) const INSTALL: &str = "/install";

/// The methods that a path allows.
pub(super) fn methods(path: &str) -> &'static str {
    match path {
        "/cache/purge" | "/validate-token" | INSTALL | "/rollback" | "/uninstall" => "POST",
        "/rate-limit" => "GET",
        _ => "GET, HEAD",
    }
}

/// Whether a path is that of a command, which changes something or calls plugins.
pub(super) fn is_command(path: &str) -> bool {
    is_change(path) || matches!(path, "/cache/purge" | "/validate-token" | "/rate-limit")
}

/// Whether a path is that of a command that changes which deployment is served: it may take a while.
pub(super) fn is_change(path: &str) -> bool {
    matches!(path, INSTALL | "/rollback" | "/uninstall")
}

/// Reads a request from what has come of it, at most [`REQUEST_BYTES`]. `None` as long as more is
/// needed. Whoever comes over TCP (`is_tcp`) may be another user of this device.
///
/// # Errors
///
/// The response to a request that is refused.
pub(super) fn read(bytes: &[u8], is_tcp: bool) -> Result<Option<Request>, Response> {
    let limits = Limits {
        head_bytes: REQUEST_BYTES,
        ..Limits::default()
    };
    let mut slots = HeaderSlots::new();
    let (head, length) = match RequestHead::parse(bytes, &mut slots, &limits) {
        Ok(Some(parsed)) => parsed,
        Ok(None) => return Ok(None),
        Err(error) => return Err(Response::text(error.status(), &error.to_string())),
    };
    let is_head = head.method == "HEAD";
    let mut request = check(&head, is_tcp).map_err(|refused| Response { is_head, ..refused })?;
    if request.is_post && request.path == INSTALL {
        request.body = bytes[length..].to_vec();
        request.upload = Some(Upload {
            length: head.body,
            is_waiting: head.expect_continue,
        });
        return Ok(Some(request));
    }
    // The body of a GET is ignored.
    if request.is_post {
        match body(bytes, length, head.body)? {
            Some(body) => request.body = body.to_vec(),
            None => return Ok(None),
        }
    }
    Ok(Some(request))
}

/// The body behind a head of `head` bytes. `None` until all of it is there.
fn body(bytes: &[u8], head: usize, body: BodyLength) -> Result<Option<&[u8]>, Response> {
    let length = match body {
        BodyLength::Empty => 0,
        BodyLength::Fixed(length) => usize::try_from(length).unwrap_or(usize::MAX),
        BodyLength::Chunked => {
            return Err(Response::text(
                411,
                "say how long it is, with content-length",
            ));
        }
    };
    let end = head.saturating_add(length);
    if end > REQUEST_BYTES {
        let refused = format!("head and body may have {REQUEST_BYTES} bytes together");
        return Err(Response::text(413, &refused));
    }
    Ok(bytes.get(head..end))
}

/// Reads what matters from a head, or refuses the request.
fn check(head: &RequestHead<'_, '_>, is_tcp: bool) -> Result<Request, Response> {
    let is_post = head.method == "POST";
    if is_tcp {
        if is_post || is_command(head.path()) {
            return Err(Response::text(
                403,
                "every user of this device can ask here: use the socket in the data folder",
            ));
        }
        // A web page can make a browser send requests here, under a name of its own that it
        // lets point to this device (DNS rebinding), and could read the response.
        if head.authority().is_some_and(|host| !is_loopback(host)) {
            return Err(Response::text(
                421,
                "ask for localhost, 127.0.0.1 or [::1]: the admin interface answers to no other name",
            ));
        }
    }
    // If somebody has put a proxy before the Unix socket, web pages must not change anything
    // through it.
    let foreign = |site: &[u8]| site != b"none" && site != b"same-origin";
    let from_page =
        head.header("origin").is_some() || head.header("sec-fetch-site").is_some_and(foreign);
    if from_page && (is_tcp || is_post) {
        return Err(Response::text(403, "web pages may not ask here"));
    }
    let methods = methods(head.path());
    if !methods.split(", ").any(|method| method == head.method) {
        return Err(Response {
            allow: Some(methods),
            ..Response::text(405, &format!("the methods here are {methods}"))
        });
    }
    Ok(Request {
        path: head.path().to_owned(),
        query: head.query().map(str::to_owned),
        body: Vec::new(),
        upload: None,
        is_post,
        is_head: head.method == "HEAD",
    })
}
