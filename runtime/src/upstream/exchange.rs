//! One request on one connection, until the response's head is there.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::task::{Context, Poll};
use std::time::Duration;

use http::header::CONTENT_LENGTH;
use http_body_util::BodyExt;
use smol::Timer;
use zlayer_http1::{
    IncomingResponse, Limits, RequestLength, ResponseBody, ResponseError, ResponseSlots,
};

use super::body::{RestOfUpload, UpstreamBody};
use super::connection::Connection;
use super::upload::{Upload, UploadError};
use super::{
    ForClient, REQUEST_TIMEOUT, REQUEST_TIMEOUT_MAX, STALL_TIMEOUT, STALL_TIMEOUT_MAX, Target,
    UpstreamError, Upstreams, client, hop, within,
};
use crate::message::fields::response_header_map;
use crate::message::{Body, Spellings, empty};

/// How long an upstream that was sent `Expect: 100-continue` may say nothing before the body is
/// sent even so: there are servers that do not know the field (RFC 9110 section 10.1.1). Clients
/// wait as long (curl), or longer.
const CONTINUE_TIME: Duration = Duration::from_secs(1);

/// Marks a response, in its extensions, that came by a connection on which its client has
/// identified itself: it is for nobody else, though the request need not show that.
#[derive(Debug, Clone, Copy)]
pub struct Personal;

/// A request that is being sent, and the connection that its response will come on.
pub(super) struct Exchange<'a> {
    pub(super) connection: Connection,
    upload: Upload,
    /// Why the upstream takes no more of the request.
    lost: Option<io::Error>,
    method: &'a http::Method,
    /// Bytes of interim responses so far.
    interim_bytes: usize,
    /// Ends the wait for `100 Continue`.
    patience: Option<Timer>,
}

/// The head of a response.
pub(super) struct Head {
    pub(super) parts: http::response::Parts,
    body: ResponseBody,
    keep_alive: bool,
}

/// An exchange that ended without a response.
pub(super) struct Failed {
    pub(super) error: UpstreamError,
    /// The request's body, if the request may be sent again.
    pub(super) retry: Option<Body>,
}

impl<'a> Exchange<'a> {
    /// Begins an exchange. `head` is encoded and includes `length`; `method` is the one in it.
    pub(super) fn new(
        connection: Connection,
        head: Vec<u8>,
        length: RequestLength,
        body: Body,
        method: &'a http::Method,
    ) -> Exchange<'a> {
        Exchange {
            connection,
            upload: Upload::new(head, length, body),
            lost: None,
            method,
            interim_bytes: 0,
            patience: None,
        }
    }

    /// Holds the body back until the upstream has said `100 Continue`, or nothing for a while.
    pub(super) fn wait_for_continue(&mut self) {
        self.upload.hold();
    }

    /// Sends the request and reads the response's head. What is left of both bodies belongs to the
    /// body of the response that it returns.
    pub(super) async fn run(
        mut self,
        upstreams: &Upstreams,
        to: &Target,
        id: &str,
    ) -> Result<http::Response<Body>, Failed> {
        let head = match self.head(upstreams, to).await {
            Ok(head) => head,
            Err(error) => return Err(self.failed(error)),
        };
        if head.parts.status == http::StatusCode::SWITCHING_PROTOCOLS {
            return Err(self.failed(UpstreamError::Switched));
        }
        if head.parts.status == http::StatusCode::EXPECTATION_FAILED && self.upload.is_held() {
            return Err(Failed {
                error: UpstreamError::Expectation,
                retry: Some(self.upload.into_body()),
            });
        }
        Ok(self.into_response(head, upstreams, to, id))
    }

    /// Makes the response that begins with `head`. Its body carries the rest of the exchange.
    pub(super) fn into_response(
        self,
        head: Head,
        upstreams: &Upstreams,
        to: &Target,
        id: &str,
    ) -> http::Response<Body> {
        let Head {
            mut parts,
            body,
            keep_alive,
        } = head;
        hop::strip_received(&mut parts.headers);
        if self.connection.personal {
            parts.extensions.insert(Personal);
        }
        // The upstream has responded without wanting the body, and nobody can tell whether it still
        // waits for it.
        let unwanted = self.upload.is_held();
        let keep = keep_alive && self.lost.is_none() && !unwanted;
        let owner = to.client.owner.as_ref();
        if matches!(body, ResponseBody::None | ResponseBody::Fixed(0)) {
            if keep && self.upload.is_done() && self.connection.buffer.bytes().is_empty() {
                upstreams.keep_idle(self.connection, owner);
            }
            return http::Response::from_parts(parts, empty());
        }
        let stall = within(to.stall_timeout, STALL_TIMEOUT, STALL_TIMEOUT_MAX);
        let waits = Arc::new(AtomicBool::new(false));
        let unsent = !self.upload.is_done() && self.lost.is_none() && !unwanted;
        let upload = unsent.then(|| {
            let (io, deadline) = (self.connection.io.clone(), &self.connection.deadline);
            let rest = self.upload;
            let finish = rest.finish(io, Arc::clone(deadline), stall, Arc::clone(&waits));
            upstreams.executor().spawn(finish)
        });
        let body = UpstreamBody::new(
            upstreams.clone(),
            owner.cloned(),
            self.connection,
            RestOfUpload { upload, waits },
            body,
            keep,
            stall,
            id,
        );
        http::Response::from_parts(parts, body.boxed_unsync())
    }

    /// Sends as much of the request as the upstream takes, and reads the response's head.
    pub(super) async fn head(
        &mut self,
        upstreams: &Upstreams,
        to: &Target,
    ) -> Result<Head, UpstreamError> {
        let time = within(to.request_timeout, REQUEST_TIMEOUT, REQUEST_TIMEOUT_MAX);
        self.connection.deadline.set(time);
        self.patience = self.upload.is_held().then(|| Timer::after(CONTINUE_TIME));
        let limits = &upstreams.settings().http;
        poll_fn(|cx| self.poll_head(cx, time, &to.client, limits)).await
    }

    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        time: Duration,
        client: &ForClient,
        limits: &Limits,
    ) -> Poll<Result<Head, UpstreamError>> {
        loop {
            if let Some(patience) = &mut self.patience
                && Pin::new(patience).poll(cx).is_ready()
            {
                self.patience = None;
                self.upload.release();
            }
            if self.lost.is_none() && !self.upload.is_done() {
                let upload = &mut self.upload;
                let polled = self.connection.io.with(|io| upload.poll(cx, io));
                if std::mem::take(&mut self.upload.moved) {
                    self.connection.deadline.set(time);
                }
                match polled {
                    Poll::Ready(Err(UploadError::Body(error))) => {
                        return Poll::Ready(Err(UpstreamError::RequestBody(error)));
                    }
                    // The upstream may have sent a response before it closed the connection.
                    Poll::Ready(Err(UploadError::Upstream(error))) => self.lost = Some(error),
                    Poll::Ready(Ok(())) | Poll::Pending => {}
                }
            }
            match self.connection.poll_fill(cx, limits.head_bytes) {
                Poll::Ready(Ok(count)) if count > 0 => match self.parse(client, limits) {
                    Ok(None) => continue,
                    Ok(Some(head)) => {
                        self.go_on_after(&head, cx);
                        return Poll::Ready(Ok(head));
                    }
                    Err(error) => return Poll::Ready(Err(UpstreamError::Malformed(error))),
                },
                Poll::Ready(ended) => {
                    let error = ended.err().or(self.lost.take());
                    let reason =
                        error.map_or("it was closed".to_owned(), |error| error.to_string());
                    return Poll::Ready(Err(UpstreamError::BrokeOff(reason)));
                }
                Poll::Pending => {}
            }
            match self.connection.deadline.poll(cx) {
                Poll::Pending => return Poll::Pending,
                // The sender of the request is slow, not the upstream.
                Poll::Ready(_) if self.upload.waits => self.connection.deadline.set(time),
                Poll::Ready(_) => return Poll::Ready(Err(UpstreamError::ResponseTimeout)),
            }
        }
    }

    /// Asks for a body that was held back where the upstream has begun a response without a word
    /// about it, or right behind its `100 Continue`, and that response is no refusal: it may stream
    /// what comes. The client is asked before it gets the response.
    fn go_on_after(&mut self, head: &Head, cx: &mut Context<'_>) {
        if self.upload.is_unasked() && head.parts.status.is_success() {
            self.upload.release();
            let upload = &mut self.upload;
            let polled = self.connection.io.with(|io| upload.poll(cx, io));
            if let Poll::Ready(Err(_)) = polled {
                // Nothing more is sent, and the connection is not used again.
                self.lost = Some(io::ErrorKind::BrokenPipe.into());
            }
        }
    }

    /// Takes the final head out of the buffer, once it is complete, and interim ones before it.
    fn parse(
        &mut self,
        client: &ForClient,
        limits: &Limits,
    ) -> Result<Option<Head>, ResponseError> {
        loop {
            let Some((head, length)) = self.parse_one(limits)? else {
                return Ok(None);
            };
            self.connection.buffer.consume(length);
            if head.parts.status.as_u16() >= 200
                || head.parts.status == http::StatusCode::SWITCHING_PROTOCOLS
            {
                self.connection.personal |= client::offers_such(&head.parts.headers);
                return Ok(Some(head));
            }
            // There is an end to interim responses: they count towards the limit of one head.
            self.interim_bytes += length;
            if self.interim_bytes > limits.head_bytes {
                return Err(ResponseError::HeadTooLong {
                    most: limits.head_bytes,
                });
            }
            match head.parts.status {
                // The client gets one of its own when its body is asked for.
                http::StatusCode::CONTINUE => {
                    self.patience = None;
                    self.upload.release();
                }
                _ => client.send_interim(head.parts),
            }
        }
    }

    /// Parses the head at the front of the buffer; `None` if it is not complete.
    fn parse_one(&self, limits: &Limits) -> Result<Option<(Head, usize)>, ResponseError> {
        let mut slots = ResponseSlots::new();
        let bytes = self.connection.buffer.bytes();
        let method = self.method.as_str();
        let Some((head, length)) = IncomingResponse::parse(bytes, &mut slots, method, limits)?
        else {
            return Ok(None);
        };
        let (mut parts, ()) = http::Response::new(()).into_parts();
        // The codec has checked status and fields already.
        parts.status = http::StatusCode::from_u16(head.status)
            .map_err(|_| ResponseError::InvalidStatusLine)?;
        parts.headers =
            response_header_map(head.headers).map_err(|_| ResponseError::InvalidStatusLine)?;
        Spellings::of(head.headers.iter().map(|header| header.name)).put(&mut parts.extensions);
        if head.sloppy {
            // Whatever stood there, the length is told once, or not at all.
            parts.headers.remove(CONTENT_LENGTH);
            if let Some(length) = head.content_length {
                parts.headers.insert(CONTENT_LENGTH, length.into());
            }
        }
        let head = Head {
            parts,
            body: head.body,
            keep_alive: head.keep_alive,
        };
        Ok(Some((head, length)))
    }

    /// Ends the exchange with an error. Decides whether the request may be sent again.
    fn failed(self, error: UpstreamError) -> Failed {
        let unanswered = matches!(error, UpstreamError::BrokeOff(_))
            && self.connection.buffer.bytes().is_empty();
        // RFC 9110 section 9.2.2: a repeated request must not have another effect.
        let repeatable = self.method.is_idempotent() && !self.upload.begun;
        let safe = unanswered && (!self.upload.wrote || repeatable);
        Failed {
            error,
            retry: safe.then(|| self.upload.into_body()),
        }
    }
}
