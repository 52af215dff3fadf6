//! Asks other servers.
//!
//! - `/guide?url=URL`: with the function that the plugin guide has for it; answers status and body.
//! - `/relay?to=HOST:PORT`: sends method and body on, to the path that the query's `path` names (default `/`), and
//!   streams the answer back with its trailers. `scheme=https` asks over TLS; `connect`, `first` and
//!   `between` are its times in milliseconds. The answer's head comes when the upstream's has come.
//!
//! - `/early?to=HOST:PORT&kib=N`: writes a body of N KiB before it sends the request; answers the status.
//!
//! A request that fails is answered 502 with the error code.

wit_bindgen::generate!({ world: "zlayer-http-handler", path: "../../../wit", generate_all });

use exports::wasi::http::incoming_handler::Guest;
use support::{field, split_target};
use wasi::http::outgoing_handler;
use wasi::http::types::{
    ErrorCode, Fields, IncomingBody, IncomingRequest, IncomingResponse, Method, OutgoingBody,
    OutgoingRequest, OutgoingResponse, RequestOptions, ResponseOutparam, Scheme, Trailers,
};
use wasi::io::poll::poll;
use wasi::io::streams::{InputStream, OutputStream, StreamError};

/// The most that is read at a time.
const CHUNK: u64 = 64 * 1024;

struct Fetch;

impl Guest for Fetch {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let target = request.path_with_query().unwrap_or_default();
        let (path, query) = split_target(&target);
        match path {
            "/guide" => match make_http_request(field(query, "url").unwrap_or(""), Method::Get) {
                Ok((status, body)) => answer(out, status, &body),
                Err(error) => answer(out, 502, error.as_bytes()),
            },
            "/relay" => relay(&request, query, out),
            "/early" => match early(query) {
                Ok(status) => answer(out, status, b""),
                Err(error) => answer(out, 502, error.as_bytes()),
            },
            _ => answer(out, 404, b"there are /guide, /relay and /early\n"),
        }
    }
}

/// Writes the whole body, waits until each piece is on its way, and only then sends the request.
fn early(query: &str) -> Result<u16, String> {
    let kib: usize = field(query, "kib")
        .and_then(|kib| kib.parse().ok())
        .unwrap_or(32);
    let outgoing = OutgoingRequest::new(Fields::new());
    outgoing.set_method(&Method::Post).unwrap();
    outgoing.set_scheme(Some(&Scheme::Http)).unwrap();
    outgoing.set_authority(field(query, "to")).unwrap();
    outgoing.set_path_with_query(Some("/")).unwrap();
    let body = outgoing.body().unwrap();
    {
        let stream = body.write().unwrap();
        for _ in 0..kib {
            let written = stream.blocking_write_and_flush(&[b'e'; 1024]);
            written.map_err(|error| format!("{error:?}"))?;
        }
    }
    OutgoingBody::finish(body, None).map_err(|code| format!("{code:?}"))?;
    let promised = outgoing_handler::handle(outgoing, None).map_err(|code| format!("{code:?}"))?;
    promised.subscribe().block();
    match promised.get() {
        Some(Ok(Ok(incoming))) => Ok(incoming.status()),
        other => Err(format!("{other:?}")),
    }
}

/// Makes the calls of the plugin guide's example, in its order: a whole URL goes into the path, and the body is
/// taken to end at the first empty piece.
fn make_http_request(url: &str, method: Method) -> Result<(u16, Vec<u8>), String> {
    let fields = Fields::new();
    // The guide's traps here, too: what a host refuses shows as a failed test.
    fields.append("user-agent", b"zlayer-plugin/1.0").unwrap();
    let outgoing = OutgoingRequest::new(fields);
    outgoing.set_method(&method).unwrap();
    outgoing.set_path_with_query(Some(url)).unwrap();
    let promised = outgoing_handler::handle(outgoing, None)
        .map_err(|code| format!("Request failed: {code:?}"))?;
    promised.subscribe().block();
    let incoming = match promised.get() {
        None => return Err("No response".to_owned()),
        Some(Err(())) => return Err("Response error: ()".to_owned()),
        Some(Ok(Err(code))) => return Err(format!("HTTP error: {code:?}")),
        Some(Ok(Ok(incoming))) => incoming,
    };
    let body = incoming.consume().map_err(|()| "no body")?;
    let pieces = body.stream().map_err(|()| "no stream")?;
    let mut whole = Vec::new();
    while let Ok(piece) = pieces.read(65536)
        && !piece.is_empty()
    {
        whole.extend_from_slice(&piece);
    }
    Ok((incoming.status(), whole))
}

fn relay(request: &IncomingRequest, query: &str, out: ResponseOutparam) {
    let mut outlet = Some(out);
    if let Err(error) = try_relay(request, query, &mut outlet) {
        let text = format!("{error:?}");
        // Without one the answer has begun: dropping its body cuts it off.
        if let Some(out) = outlet {
            answer(out, 502, text.as_bytes());
        }
    }
}

fn try_relay(
    request: &IncomingRequest,
    query: &str,
    out: &mut Option<ResponseOutparam>,
) -> Result<(), ErrorCode> {
    let invalid = |()| ErrorCode::HttpRequestUriInvalid;
    let fields: Vec<_> = ["content-length", "x-test"]
        .into_iter()
        .filter_map(|name| Some((name.to_owned(), request.headers().get(name).pop()?)))
        .collect();
    let headers = Fields::from_list(&fields).map_err(|_| ErrorCode::ConfigurationError)?;
    let outgoing = OutgoingRequest::new(headers);
    let scheme = match field(query, "scheme") {
        Some("https") => Scheme::Https,
        _ => Scheme::Http,
    };
    outgoing.set_method(&request.method()).map_err(invalid)?;
    outgoing.set_scheme(Some(&scheme)).map_err(invalid)?;
    outgoing
        .set_authority(field(query, "to"))
        .map_err(invalid)?;
    let path = field(query, "path").unwrap_or("/");
    outgoing.set_path_with_query(Some(path)).map_err(invalid)?;
    let options = RequestOptions::new();
    let time = |name| Some(field(query, name)?.parse::<u64>().ok()? * 1_000_000);
    let _ = options.set_connect_timeout(time("connect"));
    let _ = options.set_first_byte_timeout(time("first"));
    let _ = options.set_between_bytes_timeout(time("between"));

    let body = match request.method() {
        Method::Get | Method::Head => None,
        _ => Some(outgoing.body().map_err(invalid)?),
    };
    let future = outgoing_handler::handle(outgoing, Some(options))?;
    // The answer may come at any time: what waits for the one must not keep from the other.
    let mut upload = body.map(|body| Upload::new(request, body));
    let response = loop {
        if let Some(result) = future.get() {
            break result.map_err(|()| ErrorCode::InternalError(None))??;
        }
        let answered = future.subscribe();
        match upload.take() {
            Some(mut rest) => {
                let ready = poll(&[&answered, &rest.next()]);
                if !ready.contains(&1) || rest.step()? {
                    upload = Some(rest);
                } else {
                    rest.finish();
                }
            }
            None => answered.block(),
        }
    };
    let returned = begin(out, &response);
    let incoming = response.consume().map_err(invalid)?;
    {
        let (Ok(input), Ok(output)) = (incoming.stream(), returned.write()) else {
            return Err(ErrorCode::InternalError(None));
        };
        loop {
            let arrived = input.subscribe();
            match upload.take() {
                Some(mut rest) => {
                    let ready = poll(&[&arrived, &rest.next()]);
                    if !ready.contains(&1) || rest.step()? {
                        upload = Some(rest);
                    } else {
                        rest.finish();
                    }
                }
                None => arrived.block(),
            }
            match input.read(CHUNK) {
                Ok(chunk) => write(&output, &chunk).map_err(|_| ErrorCode::ConnectionTerminated)?,
                Err(StreamError::Closed) => break,
                Err(StreamError::LastOperationFailed(_)) => {
                    return Err(ErrorCode::HttpResponseIncomplete);
                }
            }
        }
    }
    let _ = OutgoingBody::finish(returned, trailers(incoming)?);
    Ok(())
}

/// The request's body on its way from the client to the upstream. Streams before bodies: a resource goes after
/// those that were made of it.
struct Upload {
    input: InputStream,
    output: OutputStream,
    body: OutgoingBody,
    _incoming: IncomingBody,
    /// Read, and not written yet.
    held: Vec<u8>,
}

impl Upload {
    fn new(request: &IncomingRequest, body: OutgoingBody) -> Upload {
        let incoming = request.consume().expect("the first call for the body");
        Upload {
            input: incoming.stream().expect("the first call for the stream"),
            output: body.write().expect("the first call for the stream"),
            body,
            _incoming: incoming,
            held: Vec::new(),
        }
    }

    /// What it waits for.
    fn next(&self) -> wasi::io::poll::Pollable {
        match self.held.is_empty() {
            true => self.input.subscribe(),
            false => self.output.subscribe(),
        }
    }

    /// Moves a piece on; false at the end of the body.
    fn step(&mut self) -> Result<bool, ErrorCode> {
        if self.held.is_empty() {
            match self.input.read(CHUNK) {
                Ok(chunk) => self.held = chunk,
                Err(StreamError::Closed) => return Ok(false),
                Err(_) => return Err(ErrorCode::ConnectionTerminated),
            }
        }
        let Ok(room) = self.output.check_write() else {
            // An upstream that takes no more may have answered.
            self.held.clear();
            return Ok(false);
        };
        let now = self.held.len().min(room as usize);
        if now == 0 {
            return Ok(true);
        }
        let piece: Vec<u8> = self.held.drain(..now).collect();
        Ok(self.output.write(&piece).is_ok())
    }

    fn finish(self) {
        drop((self.input, self.output));
        let _ = OutgoingBody::finish(self.body, None);
    }
}

fn begin(out: &mut Option<ResponseOutparam>, from: &IncomingResponse) -> OutgoingBody {
    let headers = Fields::new();
    for name in ["content-type", "content-length"] {
        let values = from.headers().get(name);
        headers.set(name, &values).expect("fields that came in");
    }
    let response = OutgoingResponse::new(headers);
    response
        .set_status_code(from.status())
        .expect("a status code of HTTP");
    let body = response.body().expect("the first call for the body");
    if let Some(out) = out.take() {
        ResponseOutparam::set(out, Ok(response));
    }
    body
}

fn answer(out: ResponseOutparam, status: u16, text: &[u8]) {
    let response = OutgoingResponse::new(Fields::new());
    let _ = response.set_status_code(status);
    let body = response.body().expect("the first call for the body");
    ResponseOutparam::set(out, Ok(response));
    if let Ok(output) = body.write() {
        let _ = write(&output, text);
    }
    let _ = OutgoingBody::finish(body, None);
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

/// Waits for the end of the answer and takes its trailers.
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

export!(Fetch);
