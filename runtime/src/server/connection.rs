//! One client connection: reads heads and writes responses, one request at a time.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use futures_lite::future::{or, yield_now};
use smol::channel::Sender;
use zlayer_http1::{BodyDecoder, BodyLength, HeaderSlots, RequestHead, Version};

use super::ServerState;
use super::access::{CLIENT_LEFT, CLOSED, Entry};
use super::client_stream::ClientStream;
use super::doorstep::Doorstep;
use super::exchange::{Ended, Exchange};
use super::head::{Head, Refusal};
use super::linger::Linger;
use super::origin::Peer;
use super::redirect::location;
use super::response::ResponseWriter;
use crate::clients::{self, Claim, Phase, asked};
use crate::failure::Failure;
use crate::message::{Client, Scheme};
use crate::pipeline::{Pipeline, Upgrade};
use crate::upstream::Owner;
use crate::websocket::Endpoint;
use crate::wire::buffer::ReadBuffer;
use crate::wire::deadline::{Deadline, TimedOut};

/// The write buffer's capacity in bytes that an idle connection may keep.
const OUT_BYTES: usize = 8 << 10;
/// How often a head that is not complete yet is read on after the connection was asked to leave: more often
/// than the longest head takes whose client has sent it.
const LAST_READS: u32 = 16;
/// How long the client may take to take in why its request's head was refused.
const REFUSING: Duration = Duration::from_secs(1);

/// A connection and its buffers.
pub(super) struct Connection {
    stream: ClientStream,
    peer: Peer,
    /// What it shares with those that came in where it did.
    step: Arc<Doorstep>,
    shared: Arc<ServerState>,
    buffer: ReadBuffer,
    /// The buffer in which responses are encoded. It is reused from request to request.
    out: Vec<u8>,
    deadline: Deadline,
    /// See [`super::Server::run`].
    open: Sender<()>,
    /// Its standing among the others.
    claim: Arc<Claim>,
    /// Owns connections to upstreams on which the client has identified itself.
    owner: Owner,
    /// Whose request came last: a proxy may bring those of several clients.
    client: IpAddr,
    /// When the head that is being read, or was read last, began; for the access log.
    begun: Option<Instant>,
}

/// What to do with the connection after an exchange.
enum Next {
    /// Wait for the next request.
    Keep,
    /// Close it: nothing is left to be read or written.
    Close,
    /// Close it in such a way that the client, which may still be sending, can read the response.
    Linger,
    /// Go on with it as a WebSocket.
    Converse(Box<Upgrade>, Arc<Pipeline>, Option<Entry>),
}

impl Connection {
    pub(super) fn new(
        stream: ClientStream,
        peer: Peer,
        step: Arc<Doorstep>,
        shared: Arc<ServerState>,
        open: Sender<()>,
        claim: Arc<Claim>,
    ) -> Connection {
        Connection {
            stream,
            client: peer.address.ip(),
            peer,
            step,
            shared,
            buffer: ReadBuffer::default(),
            out: Vec::new(),
            deadline: Deadline::new(),
            open,
            claim,
            owner: Owner::default(),
            begun: None,
        }
    }

    /// Serves requests until one of the two sides ends the connection.
    pub(super) async fn serve(mut self) {
        let mut first = true;
        loop {
            let next = match self.read_head(first).await {
                Ok(Some(head)) => self.exchange(head).await,
                Ok(None) => {
                    self.note_lost_head();
                    Next::Close
                }
                Err(refusal) => {
                    self.refuse_unread(&refusal).await;
                    Next::Linger
                }
            };
            first = false;
            self.buffer.release_if_empty();
            if self.out.capacity() > OUT_BYTES {
                self.out = Vec::new();
            }
            match next {
                // A client that always has its next request ready must not keep the thread from
                // others.
                Next::Keep => yield_now().await,
                Next::Close => return,
                Next::Linger => return self.lingering().close().await,
                Next::Converse(upgrade, pipeline, _entry) => {
                    return Box::pin(self.converse(*upgrade, &pipeline)).await;
                }
            }
        }
    }

    /// Reads the next head; `None` when the client is done or silent, the daemon
    /// drains, or another client needs the place.
    async fn read_head(&mut self, first: bool) -> Result<Option<Head>, Refusal> {
        let Connection {
            stream,
            step,
            shared,
            buffer,
            deadline,
            claim,
            begun: noted,
            ..
        } = self;
        claim.enter(Phase::Waiting);
        let timeouts = &shared.timeouts;
        // The first request has to come soon, since a client that connects and stays silent holds a
        // place.
        let mut begun = !buffer.bytes().is_empty();
        deadline.set(if begun || first {
            timeouts.head
        } else {
            timeouts.idle
        });
        // One wait until the head is complete, so that no client keeps a place by sending it bit by
        // bit.
        let note = || shared.access.map(|_| Instant::now());
        *noted = if begun { note() } else { None };
        let mut last_reads = LAST_READS;
        loop {
            if begun {
                let mut slots = HeaderSlots::new();
                match RequestHead::parse(buffer.bytes(), &mut slots, &shared.limits.http) {
                    Ok(Some((head, length))) => {
                        // What is refused stays, for the access log.
                        let head = Head::new(&head, stream)?;
                        buffer.consume(length);
                        return Ok(Some(head));
                    }
                    Ok(None) if !claim.is_asked(asked::LEAVE | asked::LEAVE_IDLE) => {}
                    // One that goes on and on with its head does not keep its place by that.
                    Ok(None) if last_reads == 0 => return Ok(None),
                    Ok(None) => last_reads -= 1,
                    Err(error) => {
                        return Err(Refusal {
                            status: error.status(),
                            text: error.to_string(),
                        });
                    }
                }
            }
            let filling = async { buffer.fill(&*stream, shared.limits.http.head_bytes).await };
            let leave = async {
                // A daemon that drains, or has closed this door, need not wait between requests. One whose
                // places are all taken can ask at any time for this one.
                let asked = claim.wait_to_leave();
                let stopped = async {
                    step.over().await;
                    // As when it is asked to leave, what has come is seen first.
                    yield_now().await;
                };
                match begun {
                    true => asked.await,
                    false => or(stopped, asked).await,
                }
                Ok(0)
            };
            let filled = deadline.within(or(filling, leave)).await;
            match filled {
                Ok(Ok(count)) if count > 0 => {
                    if !begun {
                        begun = true;
                        *noted = note();
                        deadline.set(timeouts.head);
                    }
                }
                Ok(_) => return Ok(None),
                Err(TimedOut) if begun => {
                    return Err(Refusal {
                        status: 408,
                        text: "the request's head did not come in time".to_owned(),
                    });
                }
                Err(TimedOut) => return Ok(None),
            }
        }
    }

    /// Serves one request: runs the pipeline and writes the response.
    async fn exchange(&mut self, mut head: Head) -> Next {
        let Connection {
            stream,
            peer,
            step,
            shared,
            buffer,
            out,
            deadline,
            open,
            claim,
            owner,
            client: last,
            begun,
        } = self;
        // At one moment, since what a port leads to changes with what is served.
        let moment = || (step.place(), step.is_gone());
        let (pipeline, (place, is_gone)) = shared.pipeline.get_with(moment);
        peer.place = place;
        head.keep_alive &= !step.is_shut();
        let client = peer.client(&head.parts.headers, &shared.entrance.trusted);
        claim.set_client(client.address.ip());
        if std::mem::replace(last, client.address.ip()) != client.address.ip() {
            // Who has identified itself by this connection before was somebody else.
            *owner = Owner::default();
        }
        let id = shared.next_request_id();
        let entry = shared.access.map(|output| {
            let begun = begun.unwrap_or_else(Instant::now);
            let client = client.address.ip();
            Entry::new(output, client, &id, &head.parts, begun, stream.sent())
        });
        if is_gone {
            // Its head was on its way when its port was closed. What is served now does not know the port, and would
            // say for good that nobody handles this.
            let text = Failure::Ended.public_text(&id);
            let refusal = Refusal { status: 503, text };
            self.refuse_with(&refusal, &[("Retry-After", b"1")]).await;
            return Next::Linger;
        }
        if let Some(port) = peer.place.redirect
            && client.scheme == Scheme::Http
        {
            return self.redirect(&head, &client, port).await;
        }
        let ended = Exchange::run(
            head, pipeline, client, id, stream, buffer, out, deadline, shared, open, claim, owner,
        );
        match ended.await {
            Ended::Broken => Next::Close,
            Ended::Upgraded(upgrade, pipeline) => Next::Converse(upgrade, pipeline, entry),
            Ended::Responded(responded, decoder) => match (responded.keep_alive, decoder.is_done())
            {
                (true, true) => Next::Keep,
                (true, false) => self.skip_body(decoder).await,
                // The client may have sent more, if only its next request.
                (false, _) => Next::Linger,
            },
        }
    }

    /// Hands the socket over to the WebSocket session that was agreed on.
    async fn converse(self, upgrade: Upgrade, pipeline: &Pipeline) {
        let Connection {
            stream,
            shared,
            buffer,
            claim,
            // Kept until the session ends, because the drain waits for it.
            open: _open,
            ..
        } = self;
        // The client may have sent its first frames behind the request.
        let client = Endpoint {
            socket: Box::new(stream),
            received: buffer.bytes().to_vec(),
        };
        drop(buffer);
        let stops = [shared.stop.clone(), pipeline.retired()];
        claim.enter(Phase::Conversation);
        let (limits, timeouts) = (&shared.limits, &shared.timeouts);
        let conversing = upgrade.converse(client, limits, timeouts, stops, pipeline.cutting());
        clients::on_behalf(&claim, conversing).await;
    }

    /// Skips the rest of a request body that the plugin did not read.
    async fn skip_body(&mut self, decoder: BodyDecoder) -> Next {
        match self.lingering().skip(decoder).await {
            true => Next::Keep,
            false => Next::Linger,
        }
    }

    /// The rest of the connection, once nothing more is to be written.
    pub(super) fn lingering(&mut self) -> Linger<'_> {
        Linger {
            stream: &self.stream,
            buffer: &mut self.buffer,
            claim: &self.claim,
            stop: &self.shared.stop,
        }
    }

    /// Notes for the access log that a head had begun and will never be whole.
    fn note_lost_head(&self) {
        let is_asked = self.claim.is_asked(asked::LEAVE | asked::LEAVE_IDLE);
        let status = if is_asked { CLOSED } else { CLIENT_LEFT };
        if !self.buffer.bytes().is_empty() {
            drop(self.unread(status));
        }
    }

    /// The access log's entry for a head that could not be read.
    fn unread(&self, unsent: u16) -> Option<Entry> {
        let output = self.shared.access?;
        let begun = self.begun.unwrap_or_else(Instant::now);
        let (bytes, sent) = (self.buffer.bytes(), self.stream.sent());
        let client = self.peer.address.ip();
        Some(Entry::unread(output, client, bytes, begun, sent, unsent))
    }

    /// Tells the client what is wrong with the head of its request.
    pub(super) async fn refuse_unread(&mut self, refusal: &Refusal) {
        let _entry = self.unread(CLIENT_LEFT);
        self.refuse(refusal).await;
    }

    /// Tells the client what is wrong with its request.
    async fn refuse(&mut self, refusal: &Refusal) {
        self.refuse_with(refusal, &[]).await;
    }

    /// The same, with these fields.
    async fn refuse_with(&mut self, refusal: &Refusal, fields: &[(&str, &[u8])]) {
        let Refusal { status, text } = refusal;
        let level = match status {
            500.. => log::Level::Info,
            _ => log::Level::Debug,
        };
        log::log!(
            level,
            "{}: refused with {status}: {text}",
            self.peer.address
        );
        self.shared.stats.count_request(*status, Duration::ZERO);
        let writer = ResponseWriter {
            stream: &self.stream,
            out: &mut self.out,
            deadline: &self.deadline,
            stall: REFUSING,
            patience: REFUSING,
            head_limit: self.shared.limits.response_head,
            version: Version::Http11,
            is_head: false,
            keep_alive: false,
            begun: &AtomicBool::new(false),
            receipt: None,
            claim: &self.claim,
            keep_date: false,
        };
        self.deadline.set(REFUSING);
        // The connection is closed either way, so it does not matter whether the client still reads
        // this.
        let _ = self
            .deadline
            .within(writer.write_text(*status, text, fields))
            .await;
    }

    /// Sends the client to the same place over TLS, at this port.
    async fn redirect(&mut self, head: &Head, client: &Client, port: u16) -> Next {
        let Some(location) = location(&head.parts, client, port) else {
            let text = "the host cannot be redirected to HTTPS".to_owned();
            self.refuse(&Refusal { status: 400, text }).await;
            return Next::Linger;
        };
        self.shared.stats.count_request(308, Duration::ZERO);
        let has_body = !matches!(head.body, BodyLength::Empty | BodyLength::Fixed(0));
        self.deadline.set(self.shared.timeouts.stall);
        let writer = ResponseWriter {
            stream: &self.stream,
            out: &mut self.out,
            deadline: &self.deadline,
            stall: self.shared.timeouts.stall,
            patience: self.shared.timeouts.stall,
            head_limit: self.shared.limits.response_head,
            version: head.version,
            is_head: head.parts.method == http::Method::HEAD,
            // Nobody wants the body, which the client may still be sending.
            keep_alive: head.keep_alive
                && !has_body
                && !self.shared.stop.is_closed()
                && !self.claim.is_asked(asked::LEAVE | asked::LEAVE_IDLE),
            begun: &AtomicBool::new(false),
            receipt: None,
            claim: &self.claim,
            keep_date: false,
        };
        let text = format!("this is at {location}");
        let extra = [("Location", location.as_bytes())];
        let writing = writer.write_text(308, &text, &extra);
        match self.deadline.within(writing).await {
            Ok(Ok(responded)) if responded.keep_alive => Next::Keep,
            Ok(Ok(_)) => Next::Linger,
            _ => Next::Close,
        }
    }
}
