//! Streams: sends a request's body back as it comes.
//!
//! - `/count`: reads the body and answers `{"bytes":N,"fnv1a":"HEX"}`.
//! - `/greet`: sends 256 KiB of `h` first, more than is held on the way to the client, then the request's body as it
//!   comes.
//! - `/download?bytes=N`: answers N bytes with a `content-length`; byte i is i modulo 251.
//! - anything else: the request's body, chunk by chunk, with its content type and its trailers.
//!
//! The answer's head goes out before the body is read, and no more is read than can be written.

wit_bindgen::generate!({ world: "zlayer-http-handler", path: "../../../wit", generate_all });

use exports::wasi::http::incoming_handler::Guest;
use support::{field, split_target};
use wasi::http::types::{
    ErrorCode, Fields, IncomingBody, IncomingRequest, OutgoingBody, OutgoingResponse,
    ResponseOutparam, Trailers,
};
use wasi::io::streams::{InputStream, OutputStream, StreamError};

/// The most that is read at a time.
const CHUNK: u64 = 64 * 1024;

/// Bytes of a greeting.
const GREETING: usize = 256 << 10;

struct Echo;

impl Guest for Echo {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let target = request.path_with_query().unwrap_or_default();
        let (path, query) = split_target(&target);
        match path {
            "/count" => count(request, out),
            "/download" => match field(query, "bytes").and_then(|text| text.parse().ok()) {
                Some(bytes) => download(bytes, out),
                None => answer(out, 400, "/download wants ?bytes=N\n"),
            },
            "/greet" => echo(request, out, GREETING),
            _ => echo(request, out, 0),
        }
    }
}

fn echo(request: IncomingRequest, out: ResponseOutparam, greeting: usize) {
    let types = request.headers().get("content-type");
    let fields: Vec<_> = types
        .into_iter()
        .map(|value| ("content-type".to_owned(), value))
        .collect();
    let outgoing = begin(out, 200, &fields);
    let Ok(output) = outgoing.write() else { return };
    // Most of it is on its way before the body is asked for.
    if write(&output, &vec![b'h'; greeting]).is_err() {
        return;
    }
    let Ok(incoming) = request.consume() else {
        return;
    };
    let copied = {
        let Ok(input) = incoming.stream() else { return };
        copy(&input, &output)
    };
    drop(output);
    // An outgoing body that is dropped without `finish` tells the client that the answer is cut short.
    if copied.is_ok()
        && let Ok(trailers) = trailers(incoming)
    {
        let _ = OutgoingBody::finish(outgoing, trailers);
    }
}

fn count(request: IncomingRequest, out: ResponseOutparam) {
    let Ok(incoming) = request.consume() else {
        return;
    };
    let (mut bytes, mut hash) = (0u64, 0xcbf2_9ce4_8422_2325_u64);
    {
        let Ok(input) = incoming.stream() else { return };
        loop {
            match input.blocking_read(CHUNK) {
                Ok(chunk) => {
                    bytes += chunk.len() as u64;
                    for byte in chunk {
                        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
                    }
                }
                Err(StreamError::Closed) => break,
                Err(StreamError::LastOperationFailed(error)) => {
                    return answer(
                        out,
                        400,
                        &format!("the body broke off: {}\n", error.to_debug_string()),
                    );
                }
            }
        }
    }
    answer(
        out,
        200,
        &format!("{{\"bytes\":{bytes},\"fnv1a\":\"{hash:016x}\"}}"),
    );
}

fn download(bytes: u64, out: ResponseOutparam) {
    let length = bytes.to_string().into_bytes();
    let body = begin(out, 200, &[("content-length".to_owned(), length)]);
    // A whole number of periods, so that the chunks join without a seam.
    let pattern: Vec<u8> = (0..251u8).cycle().take(251 * 64).collect();
    let sent = {
        let Ok(output) = body.write() else { return };
        let mut left = bytes;
        let mut sent = Ok(());
        while left > 0 && sent.is_ok() {
            let next = left.min(pattern.len() as u64);
            sent = write(&output, &pattern[..next as usize]);
            left -= next;
        }
        sent
    };
    if sent.is_ok() {
        let _ = OutgoingBody::finish(body, None);
    }
}

fn answer(out: ResponseOutparam, status: u16, text: &str) {
    let body = begin(out, status, &[]);
    if let Ok(output) = body.write() {
        let _ = write(&output, text.as_bytes());
    }
    let _ = OutgoingBody::finish(body, None);
}

/// Sends the head and answers the body to write to.
fn begin(out: ResponseOutparam, status: u16, fields: &[(String, Vec<u8>)]) -> OutgoingBody {
    let headers = Fields::from_list(fields).expect("fields that the host itself let through");
    let response = OutgoingResponse::new(headers);
    response
        .set_status_code(status)
        .expect("a status code of HTTP");
    let body = response.body().expect("the first call for the body");
    ResponseOutparam::set(out, Ok(response));
    body
}

fn copy(input: &InputStream, output: &OutputStream) -> Result<(), StreamError> {
    loop {
        match input.blocking_read(CHUNK) {
            Ok(chunk) => write(output, &chunk)?,
            Err(StreamError::Closed) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
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

/// Waits for the end of the request and takes its trailers.
fn trailers(body: IncomingBody) -> Result<Option<Trailers>, ErrorCode> {
    let future = IncomingBody::finish(body);
    loop {
        match future.get() {
            None => future.subscribe().block(),
            Some(Ok(result)) => return result,
            Some(Err(())) => return Ok(None),
        }
    }
}

export!(Echo);
