//! A plain `wasi:http` handler that tells what request it saw, as text:
//!
//! - `METHOD TARGET`, `authority AUTHORITY`, `scheme https` unless it is http, then `NAME: VALUE` for each field, sorted
//! - `body LENGTH HASH` (64-bit FNV-1a); the body is read as a stream, never whole
//! - `call N`: how many requests there were before this one and with it, as the store counts them
//!
//! The query asks for more, see [`Wanted`].

wit_bindgen::generate!({ world: "zlayer-http-handler", path: "../../../wit", generate_all });

mod wanted;

use exports::wasi::http::incoming_handler::Guest;
use support::Fnv;
use wanted::Wanted;
use wasi::clocks::monotonic_clock;
use wasi::http::types::{
    Fields, IncomingRequest, Method, OutgoingBody, OutgoingResponse, ResponseOutparam, Scheme,
};
use wasi::io::streams::{OutputStream, StreamError};
use zlayer::plugin::keyvalue;

/// The most that is read or written at a time.
const CHUNK: u64 = 64 * 1024;

struct EchoHeaders;

impl Guest for EchoHeaders {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let target = request.path_with_query().unwrap_or_default();
        let wanted = Wanted::of(support::split_target(&target).1);
        let head = describe(&request, &target);
        let is_head = matches!(request.method(), Method::Head);
        let known = wanted.etag().is_some_and(|etag| {
            let seen = request.headers().get("if-none-match");
            wanted.revalidate && seen.iter().any(|value| value == etag.as_bytes())
        });
        let body = match read(request) {
            Ok(line) => line,
            Err(error) => format!("body broke off: {error:?}\n"),
        };
        let call = keyvalue::increment(&format!("calls/{}", wanted.counter), 1);
        let call = call.map_or_else(|error| format!("not counted: {error}"), |n| n.to_string());

        pause(wanted.delay_ms);
        let text = format!("{head}{body}call {call}\n");
        let length = wanted.bytes.unwrap_or(text.len() as u64);
        let mut fields = wanted.fields.clone();
        fields.push(("x-calls".to_owned(), call.clone()));
        if !known && !wanted.chunked && wanted.status != 204 {
            fields.push(("content-length".to_owned(), length.to_string()));
        }
        let status = if known { 304 } else { wanted.status };
        let Some(outgoing) = begin(out, status, &fields) else {
            return;
        };
        let sent = if known || is_head || status == 204 {
            Ok(())
        } else {
            send(&outgoing, &text, &wanted)
        };
        // A body that is dropped without `finish` tells the client that the answer is cut short.
        if sent.is_ok() {
            let _ = OutgoingBody::finish(outgoing, None);
        }
    }
}

/// The request's line, whom it was for, and its fields.
fn describe(request: &IncomingRequest, target: &str) -> String {
    let method = match request.method() {
        Method::Other(name) => name,
        known => format!("{known:?}").replace("Method::", "").to_uppercase(),
    };
    let fields = request.headers().entries();
    let mut lines: Vec<_> = fields
        .iter()
        .map(|(name, value)| format!("{name}: {}\n", String::from_utf8_lossy(value)))
        .collect();
    lines.sort();
    let authority = request.authority().unwrap_or_default();
    let scheme = match request.scheme() {
        Some(Scheme::Https) => "scheme https\n",
        _ => "",
    };
    format!(
        "{method} {target}\nauthority {authority}\n{scheme}{}",
        lines.concat()
    )
}

/// Reads the whole body and answers its length and hash.
fn read(request: IncomingRequest) -> Result<String, StreamError> {
    let (mut bytes, mut hash) = (0, Fnv::new());
    let body = request.consume().map_err(|()| StreamError::Closed)?;
    let stream = body.stream().map_err(|()| StreamError::Closed)?;
    loop {
        match stream.blocking_read(CHUNK) {
            Ok(chunk) => {
                bytes += chunk.len();
                hash.update(&chunk);
            }
            Err(StreamError::Closed) => return Ok(format!("body {bytes} {}\n", hash.hex())),
            Err(error) => return Err(error),
        }
    }
}

/// Sends the head and answers the body to write to. Fields that the host refuses are told of instead.
fn begin(out: ResponseOutparam, status: u16, fields: &[(String, String)]) -> Option<OutgoingBody> {
    let pairs: Vec<_> = fields
        .iter()
        .map(|(name, value)| (name.clone(), value.clone().into_bytes()))
        .collect();
    let (headers, refused) = match Fields::from_list(&pairs) {
        Ok(headers) => (headers, false),
        Err(error) => {
            let note = ("x-refused".to_owned(), format!("{error:?}").into_bytes());
            (Fields::from_list(&[note]).ok()?, true)
        }
    };
    let response = OutgoingResponse::new(headers);
    if refused || response.set_status_code(status).is_err() {
        response.set_status_code(500).ok()?;
    }
    let body = response.body().ok()?;
    ResponseOutparam::set(out, Ok(response));
    Some(body)
}

/// Writes the text, or as many bytes as are wanted of `0123456789abcdef` over and over.
fn send(body: &OutgoingBody, text: &str, wanted: &Wanted) -> Result<(), StreamError> {
    let stream = body.write().map_err(|()| StreamError::Closed)?;
    let Some(mut left) = wanted.bytes else {
        write(&stream, &text.as_bytes()[..text.len() / 2])?;
        pause(wanted.pause_ms);
        return write(&stream, &text.as_bytes()[text.len() / 2..]);
    };
    let pattern = b"0123456789abcdef".repeat(CHUNK as usize / 16);
    let mut paused = false;
    while left > 0 {
        let next = left.min(CHUNK);
        write(&stream, &pattern[..next as usize])?;
        left -= next;
        if !paused {
            paused = true;
            pause(wanted.pause_ms);
        }
    }
    Ok(())
}

/// Writes all of `bytes`, never more at once than the host has room for.
fn write(output: &OutputStream, mut bytes: &[u8]) -> Result<(), StreamError> {
    while !bytes.is_empty() {
        let room = output.check_write()?.min(bytes.len() as u64) as usize;
        if room == 0 {
            output.subscribe().block();
            continue;
        }
        let (now, later) = bytes.split_at(room);
        output.write(now)?;
        bytes = later;
    }
    Ok(())
}

fn pause(milliseconds: u64) {
    if milliseconds > 0 {
        let time = milliseconds.saturating_mul(1_000_000);
        monotonic_clock::subscribe_duration(time).block();
    }
}

export!(EchoHeaders);
