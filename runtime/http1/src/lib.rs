//! Both sides of HTTP/1.1, as pure functions over bytes.
//!
//! What it is: for a server, a strict parser for request heads, a decoder for bodies, and an
//! encoder for responses; for a client, an encoder for request heads and a parser for response
//! heads, with the same decoder (RFC 9110, RFC 9112). Splitting a request's head into its parts is
//! done by [`httparse`]; this crate adds the rules that httparse leaves to its user, and the limits.
//!
//! For WebSocket, [`websocket`] has both sides of RFC 6455.
//!
//! What it is not: it does no I/O, starts no timer, keeps no connection, decodes no percent signs,
//! and compresses nothing but WebSocket messages. It knows nothing of WebAssembly.
//!
//! # How data flows
//!
//! The caller owns one buffer per connection and fills it from a socket. [`RequestHead::parse`]
//! borrows a head from it, or asks for more bytes, or refuses. The caller copies what it needs,
//! drops the bytes of the head from its buffer, and hands what follows to a [`BodyDecoder`], which
//! returns slices of that buffer. What is left when the body ends is the next request.
//! [`ResponseHead::encode`], [`encode_chunk`] and [`encode_last_chunk`] append to a buffer that the
//! caller writes out.
//!
//! A client goes the other way: [`OutgoingRequest::encode`] and the same chunks into the buffer that
//! is written, [`IncomingResponse::parse`] on what comes back, and [`ResponseBody::decoder`] for the
//! body behind it.
//!
//! Nothing is allocated by what a peer sends, but for trailer fields, WebSocket messages and request
//! targets that have to be percent-encoded. Trailers and targets are bounded by [`Limits`], messages by the limit that their decoder is made with. The length of a
//! body is not bounded: the caller compares [`BodyLength::Fixed`], and counts
//! chunked data, against a limit of its own.
//!
//! # Strict with clients, lenient with servers
//!
//! Where the RFCs let a server choose between repairing a request and refusing it, this one
//! refuses. Two readers who repair a message differently are what request smuggling lives on. The
//! section behind each check stands beside it. After a [`RequestError`], a [`ResponseError`] or a
//! [`BodyError`] nobody knows where the next message starts: answer, and close.
//!
//! Servers on small devices get much wrong, and nobody mends them. What they send is read where it
//! means one thing only, and marked as sloppy, so that the caller closes the connection behind it
//! and nothing that such a server adds is taken for the next response. Nothing wrong is passed on:
//! names are tokens, the length is told once, and [`clean_value`] takes control bytes out.
//!
//! # Example
//!
//! ```
//! use zlayer_http1::*;
//!
//! let limits = Limits::default();
//! let mut buffer = b"POST /greet?loud HTTP/1.1\r\nHost: device.local\r\n\
//!     Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n".to_vec();
//!
//! // A real server reads from its socket and tries again where this one would give up.
//! let mut slots = HeaderSlots::new();
//! let (head, length) = RequestHead::parse(&buffer, &mut slots, &limits)?.ok_or("incomplete")?;
//! assert_eq!((head.method, head.path(), head.query()), ("POST", "/greet", Some("loud")));
//! assert_eq!(head.authority(), Some("device.local"));
//! let (version, keep_alive) = (head.version, head.keep_alive);
//! let mut decoder = BodyDecoder::new(head.body, &limits);
//! buffer.drain(..length);
//!
//! let mut body = Vec::new();
//! while let Decoded::Data { consumed, data } = decoder.decode(&buffer)? {
//!     body.extend_from_slice(data);
//!     buffer.drain(..consumed);
//! }
//! assert_eq!(body, b"hello");
//!
//! let mut out = Vec::new();
//! ResponseHead {
//!     version,
//!     status: 200,
//!     headers: &[("content-type", b"text/plain")],
//!     length: ResponseLength::Fixed(body.len() as u64),
//!     keep_alive,
//!     date: None,
//! }
//! .encode(&mut out)?;
//! out.extend_from_slice(&body);
//! assert_eq!(out, b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\nContent-Length: 5\r\n\r\nhello");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

mod body;
mod chunk_extension;
mod chunks;
mod error;
mod forwarded;
mod framing;
mod headers;
mod incoming_response;
mod limits;
mod odd_target;
mod outgoing_request;
mod proxy_protocol;
mod request;
mod response;
mod response_framing;
mod status;
mod target;
mod trailers;
pub mod websocket;

pub use body::{BodyDecoder, Decoded};
pub use chunks::{encode_chunk, encode_last_chunk};
pub use error::{BodyError, HeaderError, RequestError};
pub use forwarded::{
    ForwardedElement, MalformedForwarded, is_well_formed_via, parse_forwarded, parse_node,
    well_formed_nodes,
};
pub use headers::{is_valid_header_name, is_valid_header_value};
/// One header field, as [`RequestHead::headers`] holds it.
pub use httparse::Header;
pub use incoming_response::{
    IncomingResponse, MAX_RESPONSE_HEADERS, ResponseBody, ResponseError, ResponseSlots, clean_value,
};
pub use limits::{Limits, MAX_EMPTY_LINES, MAX_HEADERS, MAX_METHOD_BYTES};
pub use outgoing_request::{ConnectionUse, OutgoingRequest, RequestLength};
pub use proxy_protocol::{PROXY_V1_BYTES, PROXY_V2_BYTES, ProxyError, ProxyHeader};
pub use request::{BodyLength, HeaderSlots, RequestHead, Version};
pub use response::{CONTINUE, ResponseHead, ResponseLength};
pub use status::{forbids_body, reason_phrase};
pub use target::{is_valid_host, without_zone};
