//! Answers, right ones and wrong ones.

use crate::wasi::http::types::{Fields, OutgoingBody, OutgoingResponse, ResponseOutparam};
use crate::wasi::io::streams::{OutputStream, StreamError};

/// 200 with this text: what a well-behaved plugin does.
pub fn text(out: ResponseOutparam, text: &str) {
    let body = begin(out, &[]);
    send(&body, text.as_bytes());
    let _ = OutgoingBody::finish(body, None);
}

/// Sends the head of a 200 and answers the body.
pub fn begin(out: ResponseOutparam, fields: &[(&str, &str)]) -> OutgoingBody {
    let fields: Vec<_> = fields
        .iter()
        .map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()))
        .collect();
    let response = OutgoingResponse::new(Fields::from_list(&fields).expect("valid header fields"));
    let body = response.body().expect("the first call for the body");
    ResponseOutparam::set(out, Ok(response));
    body
}

/// Writes and waits until it is on its way. Errors are the host's answer to
/// misbehaviour, and this plugin does not mend its ways.
pub fn send(body: &OutgoingBody, bytes: &[u8]) {
    if let Ok(stream) = body.write() {
        pour(&stream, bytes);
    }
}

/// The same into a body's stream, of which there is one alone.
fn pour(stream: &OutputStream, bytes: &[u8]) {
    // The bindings allow 4096 bytes at a time.
    for chunk in bytes.chunks(4096) {
        if stream.blocking_write_and_flush(chunk).is_err() {
            return;
        }
    }
}

/// The head and the beginning of a body, which is left open.
pub fn partial(out: ResponseOutparam, part: &str) -> OutgoingBody {
    let body = begin(out, &[]);
    send(&body, part.as_bytes());
    body
}

/// `count` fields with values of `size` bytes, or 200 with the refusal.
pub fn with_headers(out: ResponseOutparam, count: usize, size: usize) {
    let headers = Fields::new();
    let value = vec![b'v'; size];
    for i in 0..count {
        if let Err(error) = headers.append(&format!("x-{i}"), &value) {
            return text(out, &format!("refused at field {i}: {error}"));
        }
    }
    let response = OutgoingResponse::new(headers);
    let body = response.body().expect("the first call for the body");
    ResponseOutparam::set(out, Ok(response));
    send(&body, b"ok");
    let _ = OutgoingBody::finish(body, None);
}

/// A body of another length than the head says. Calls `pause` when what both lengths allow is out.
pub fn with_length(out: ResponseOutparam, said: usize, sent: usize, pause: impl FnOnce()) {
    let body = begin(out, &[("content-length", &said.to_string())]);
    let valid = said.min(sent);
    if let Ok(stream) = body.write() {
        pour(&stream, &vec![b'x'; valid]);
        pause();
        pour(&stream, &vec![b'x'; sent - valid]);
    }
    let _ = OutgoingBody::finish(body, None);
}

/// A body that is dropped instead of finished, once its first part is out and `pause` has returned.
pub fn without_finish(out: ResponseOutparam, pause: impl FnOnce()) {
    let body = partial(out, "unfinished\n");
    pause();
    drop(body);
}

/// A body of ten bytes that is over before the head is set: shorter than the length `said`, or not finished
/// at all.
pub fn at_once(out: ResponseOutparam, said: Option<usize>) {
    let length = said.map(|said| ("content-length".to_owned(), said.to_string().into_bytes()));
    let fields: Vec<_> = length.into_iter().collect();
    let response = OutgoingResponse::new(Fields::from_list(&fields).expect("valid header fields"));
    let body = response.body().expect("the first call for the body");
    if let Ok(stream) = body.write()
        && stream.check_write().is_ok_and(|room| room >= 10)
    {
        // Waiting until it is on its way would be for ever: it is on its way behind the head.
        let _ = stream.write(b"ten bytes\n");
    }
    match said {
        Some(_) => drop(OutgoingBody::finish(body, None)),
        None => drop(body),
    }
    ResponseOutparam::set(out, Ok(response));
}

/// A body of so many bytes that is written and finished before the answer is set, each piece with a wait
/// until it is on its way, or all at once. What the host has no room for is answered as its reason.
pub fn early(out: ResponseOutparam, bytes: usize, pieces: bool) {
    let response = OutgoingResponse::new(Fields::new());
    let body = response.body().expect("the first call for the body");
    let stream = body.write().expect("the first call for the stream");
    let whole = vec![b'e'; bytes];
    let written = match pieces {
        true => whole
            .chunks(4096)
            .try_for_each(|chunk| stream.blocking_write_and_flush(chunk)),
        false => stream
            .check_write()
            .and_then(|room| stream.write(&whole[..bytes.min(room as usize)])),
    };
    drop(stream);
    match written {
        Ok(()) => {
            let _ = OutgoingBody::finish(body, None);
            ResponseOutparam::set(out, Ok(response));
        }
        Err(StreamError::LastOperationFailed(reason)) => {
            text(out, &format!("refused: {}", reason.to_debug_string()));
        }
        Err(StreamError::Closed) => text(out, "closed"),
    }
}

/// Sets the answer twice through the same handle, and calls `pause` between.
pub fn twice(out: ResponseOutparam, pause: impl FnOnce()) {
    let first = OutgoingResponse::new(Fields::new());
    let second = OutgoingResponse::new(Fields::new());
    second.set_status_code(500).expect("a status code of HTTP");
    let handle = out.take_handle();
    // SAFETY: the handle came from `take_handle`, so this is its owner.
    let out = unsafe { ResponseOutparam::from_handle(handle) };
    ResponseOutparam::set(out, Ok(first));
    pause();
    // SAFETY: not kept. The handle is gone by now; that the host notices is
    // what this path is for. Nothing of this module's memory hangs on it.
    let out = unsafe { ResponseOutparam::from_handle(handle) };
    ResponseOutparam::set(out, Ok(second));
}
