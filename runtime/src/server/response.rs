//! Writes responses to a client: frames them, and makes sure that one that broke off does not look
//! complete.

mod framing;

use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use futures_lite::future::poll_once;
use http_body::Body as _;
use http_body_util::BodyExt;
use smol::io::AsyncWriteExt;
use zlayer_http1::{ResponseHead, ResponseLength, Version, forbids_body, reason_phrase, websocket};

use super::client_stream::ClientStream;
use super::receipt::Receipt;
use crate::clients::Claim;
use crate::config::TRANSFER_RATE;
use crate::failure::Failure;
use crate::message::{Body, Spelled, final_status};
use crate::wire::deadline::Deadline;
use crate::wire::with_date;
use framing::Framing;

/// How many bytes of a body are gathered, if the plugin has them ready, so that one write sends the
/// response and its length is known.
const GATHER: usize = 16 << 10;

/// Writes one response to a client, and consumes itself by that.
pub(super) struct ResponseWriter<'a> {
    pub(super) stream: &'a ClientStream,
    /// The buffer in which the response is encoded.
    pub(super) out: &'a mut Vec<u8>,
    /// Moved on with every write that succeeded.
    pub(super) deadline: &'a Deadline,
    /// How long the client may take nothing.
    pub(super) stall: Duration,
    /// How much longer it may take nothing now, since it has been slow before.
    pub(super) patience: Duration,
    /// See [`crate::config::Limits::response_head`].
    pub(super) head_limit: usize,
    pub(super) version: Version,
    pub(super) is_head: bool,
    pub(super) keep_alive: bool,
    /// Set before the first byte of the response goes out.
    pub(super) begun: &'a AtomicBool,
    /// How much of the request's body has come. None if the request was refused by its head.
    pub(super) receipt: Option<&'a Receipt>,
    /// Told how fast the client takes the response.
    pub(super) claim: &'a Claim,
    /// The response was made earlier, as one from the cache, and keeps its own Date if it has one.
    pub(super) keep_date: bool,
}

/// A response that was written to its end.
pub(super) struct Responded {
    /// The response's status.
    pub(super) status: u16,
    /// Whether the connection may carry another request.
    pub(super) keep_alive: bool,
}

/// Why no response was written, or only a part of one.
#[derive(Debug)]
pub(super) enum WriteError {
    /// Nothing was written yet, so the client can be told of the failure.
    Failed(Failure),
    /// The plugin broke its response off, or the body has another length than the head announced.
    Broken,
    /// The client went away.
    Gone,
}

impl From<io::Error> for WriteError {
    fn from(_: io::Error) -> Self {
        WriteError::Gone
    }
}

impl ResponseWriter<'_> {
    /// Writes a response to its end. `outcome` holds how the plugin's work ended, once it has
    /// ended. It is needed because a plugin that trapped drops its body just as one does that has
    /// finished it.
    pub(super) async fn write_response(
        mut self,
        response: http::Response<Body>,
        outcome: &OnceLock<Result<(), Failure>>,
    ) -> Result<Responded, WriteError> {
        let (parts, mut body) = response.into_parts();
        self.keep_date &= parts.headers.contains_key(http::header::DATE);
        let status = parts.status.as_u16();
        final_status(status).map_err(WriteError::Failed)?;
        let spelled = Spelled::new(&parts.headers, &parts.extensions);
        let headers = spelled.pairs();
        let announced = content_length(&parts.headers)?;
        let exact = body.size_hint().exact();
        if self.is_head || forbids_body(status) {
            let length = match status {
                // Only the plugin knows how long the response to a GET would have been (RFC 9110
                // section 8.6).
                304 => ResponseLength::HeadOf(announced),
                _ if forbids_body(status) => ResponseLength::None,
                // A plugin may leave the body out of its response to HEAD, so an empty body says
                // nothing about the length.
                _ => ResponseLength::HeadOf(announced.or(exact.filter(|&length| length > 0))),
            };
            let responded = self.write_head(status, &headers, length, true)?;
            self.write_out().await?;
            return Ok(responded);
        }
        // Most responses are complete by now: then their length is known and one write sends them.
        let mut ready = ReadyBody::default();
        ready.gather(&mut body).await;
        // Nothing is written yet, so a failure that is known by now can still be reported to the
        // client.
        match (outcome.get(), &ready.remainder) {
            (Some(Err(failure)), _) => return Err(WriteError::Failed(failure.clone())),
            (_, Remainder::Broken) => {
                let receipt = self.receipt.map(Receipt::broken_response);
                let failure = receipt.unwrap_or_else(Failure::broken_body);
                return Err(WriteError::Failed(failure));
            }
            _ => {}
        }
        // A complete body has the length that it has, whatever the plugin announced.
        let length = match (exact.or(announced), &ready.remainder) {
            (Some(length), _) => ResponseLength::Fixed(length),
            (None, Remainder::Ended(None)) => ResponseLength::Fixed(ready.bytes as u64),
            // Trailers can only follow a chunked body.
            (None, _) => ResponseLength::Chunked,
        };
        let is_complete = matches!(ready.remainder, Remainder::Ended(_));
        let responded = self.write_head(status, &headers, length, is_complete)?;
        // They are not kept while a slow client reads the body.
        drop(headers);
        drop(parts);
        let mut framing = Framing::new(length, self.version);
        for data in ready.data {
            self.write_piece(&mut framing, data).await?;
        }
        let trailers = match ready.remainder {
            Remainder::Ended(trailers) => trailers,
            Remainder::Open | Remainder::Broken => {
                self.stream_rest(&mut framing, &mut body, outcome).await?
            }
        };
        framing.encode_end(self.out, trailers.as_ref())?;
        self.write_out().await?;
        Ok(responded)
    }

    /// Writes the head with which a connection turns into a WebSocket.
    pub(super) async fn write_upgrade(
        mut self,
        accept: &str,
        headers: &http::HeaderMap,
        extensions: &http::Extensions,
    ) -> Result<Responded, WriteError> {
        let spelled = Spelled::new(headers, extensions);
        let headers = spelled.pairs();
        self.check_size(&headers)?;
        self.out.clear();
        websocket::encode_response(self.out, accept, &headers)
            .map_err(|error| WriteError::Failed(Failure::BadResponse(error.to_string())))?;
        self.stream.sent().begin_response(101, self.out.len());
        self.write_out().await?;
        Ok(Responded {
            status: 101,
            keep_alive: false,
        })
    }

    /// Writes a response that the daemon itself makes: a short text.
    pub(super) async fn write_text(
        mut self,
        status: u16,
        text: &str,
        extra: &[(&str, &[u8])],
    ) -> Result<Responded, WriteError> {
        let mut body = format!("{status} {}\n{text}\n", reason_phrase(status));
        let length = body.len() as u64;
        let mut headers: Vec<(&str, &[u8])> = vec![("Content-Type", b"text/plain; charset=utf-8")];
        headers.extend_from_slice(extra);
        let length = if self.is_head {
            body.clear();
            ResponseLength::HeadOf(Some(length))
        } else {
            ResponseLength::Fixed(length)
        };
        let responded = self.write_head(status, &headers, length, true)?;
        self.out.extend_from_slice(body.as_bytes());
        self.write_out().await?;
        Ok(responded)
    }

    /// Sends the pieces of the body as they come until it ends. Returns its trailers.
    async fn stream_rest(
        &mut self,
        framing: &mut Framing,
        body: &mut Body,
        outcome: &OnceLock<Result<(), Failure>>,
    ) -> Result<Option<http::HeaderMap>, WriteError> {
        loop {
            let frame = match poll_once(body.frame()).await {
                Some(frame) => frame,
                None => {
                    // The next piece is not there yet: what is gathered must not wait for it.
                    self.write_out().await?;
                    body.frame().await
                }
            };
            match frame {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.write_piece(framing, data).await?,
                    Err(frame) => return Ok(frame.into_trailers().ok()),
                },
                None if !matches!(outcome.get(), Some(Err(_))) => return Ok(None),
                None | Some(Err(_)) => return Err(WriteError::Broken),
            }
        }
    }

    fn write_head(
        &mut self,
        status: u16,
        headers: &[(&str, &[u8])],
        length: ResponseLength,
        is_complete: bool,
    ) -> Result<Responded, WriteError> {
        self.out.clear();
        let is_refused = |receipt: &Receipt| receipt.is_refused(is_complete);
        self.keep_alive &= !self.receipt.is_some_and(is_refused);
        self.check_size(headers)?;
        let encoded = with_date(|date| {
            let head = ResponseHead {
                version: self.version,
                status,
                headers,
                length,
                keep_alive: self.keep_alive,
                date: date.filter(|_| !self.keep_date),
            };
            head.encode(self.out).map(|()| head.stays_open())
        });
        let keep_alive =
            encoded.map_err(|error| WriteError::Failed(Failure::BadResponse(error.to_string())))?;
        self.stream.sent().begin_response(status, self.out.len());
        Ok(Responded { status, keep_alive })
    }

    fn check_size(&self, headers: &[(&str, &[u8])]) -> Result<(), WriteError> {
        let bytes: usize = headers
            .iter()
            .map(|(name, value)| name.len() + value.len() + 4)
            .sum();
        if bytes > self.head_limit {
            return Err(WriteError::Failed(Failure::BadResponse(format!(
                "headers of {bytes} bytes, with what was added on the way; at most {}, and no flag allows more",
                self.head_limit
            ))));
        }
        Ok(())
    }

    async fn write_piece(&mut self, framing: &mut Framing, data: Bytes) -> Result<(), WriteError> {
        if data.len() > GATHER {
            // The piece is too large to be copied: what is gathered goes out first, then the piece
            // itself.
            framing.begin_piece(self.out, data.len())?;
            self.write_out().await?;
            self.write(&data).await?;
            framing.end_piece(self.out);
        } else {
            framing.encode_piece(self.out, &data)?;
            if self.out.len() > GATHER {
                self.write_out().await?;
            }
        }
        Ok(())
    }

    async fn write_out(&mut self) -> io::Result<()> {
        let out = std::mem::take(self.out);
        let written = self.write(&out).await;
        *self.out = out;
        self.out.clear();
        written
    }

    /// Sends `data`. A client that takes it more slowly than [`TRANSFER_RATE`] in the long run is
    /// not waited for: what it takes earns it time, but never more than the stall time at once.
    async fn write(&mut self, mut data: &[u8]) -> io::Result<()> {
        if !data.is_empty() && !self.begun.swap(true, Ordering::Relaxed) {
            // The time that was left had been meant for the plugin, or for the request's body.
            self.deadline.extend(self.stall);
        }
        let mut stream = self.stream;
        while !data.is_empty() {
            let count = match poll_once(stream.write(data)).await {
                Some(written) => written?,
                None => {
                    let blocked = Instant::now();
                    self.deadline.set(self.patience);
                    self.claim.set_held_up(true);
                    let written = stream.write(data).await;
                    self.claim.set_held_up(false);
                    self.patience = self.patience.saturating_sub(blocked.elapsed());
                    written?
                }
            };
            if count == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            data.advance(count);
            self.claim.add_moved(count);
            let earned = Duration::from_millis(count as u64 * 1000 / TRANSFER_RATE);
            self.patience = (self.patience + earned).min(self.stall);
            self.deadline.set(self.stall);
        }
        self.claim.set_held_up(true);
        let flushed = stream.flush().await;
        self.claim.set_held_up(false);
        flushed
    }
}

/// The part of a body that was ready at once.
#[derive(Default)]
struct ReadyBody {
    data: Vec<Bytes>,
    bytes: usize,
    remainder: Remainder,
}

/// What follows the part of a body that was ready.
#[derive(Default)]
enum Remainder {
    /// More will come later.
    #[default]
    Open,
    /// The body ended, with these trailers if any.
    Ended(Option<http::HeaderMap>),
    /// The body broke off.
    Broken,
}

impl ReadyBody {
    async fn gather(&mut self, body: &mut Body) {
        while self.bytes < GATHER {
            match poll_once(body.frame()).await {
                None => return,
                Some(None) => return self.remainder = Remainder::Ended(None),
                Some(Some(Err(_))) => return self.remainder = Remainder::Broken,
                Some(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => {
                        self.bytes += data.len();
                        self.data.push(data);
                    }
                    Err(frame) => {
                        return self.remainder = Remainder::Ended(frame.into_trailers().ok());
                    }
                },
            }
        }
    }
}

/// The length that a plugin announced in Content-Length.
fn content_length(headers: &http::HeaderMap) -> Result<Option<u64>, WriteError> {
    let mut values = headers.get_all(http::header::CONTENT_LENGTH).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let digits = value
        .to_str()
        .ok()
        .filter(|text| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()));
    match digits.and_then(|text| text.parse().ok()) {
        Some(length) if values.next().is_none() => Ok(Some(length)),
        _ => Err(WriteError::Failed(Failure::BadResponse(
            "content-length".to_owned(),
        ))),
    }
}
