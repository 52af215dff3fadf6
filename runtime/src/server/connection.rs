//! One client connection: heads in, answers out, one request at a time.

use std::future::{Future, poll_fn};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::Poll;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_lite::future::or;
use http::header::{HeaderName, HeaderValue};
use smol::io::AsyncWriteExt;
use smol::lock::Mutex;
use smol::{Async, Timer};
use zlayer_http1::{BodyDecoder, BodyLength, CONTINUE, Decoded, HeaderSlots, RequestHead, Version};

use super::body::{BodySender, IncomingBody, Piece};
use super::buffer::ReadBuffer;
use super::deadline::{Deadline, TimedOut};
use super::response::{ResponseWriter, WriteError};
use super::{Shared, stopped};
use crate::failure::Failure;
use crate::handle::{self, Exchange, Request};
use crate::reactor;

/// Bytes of a body that nobody read which are skipped to keep a connection; past that it is closed.
const SKIP_BYTES: usize = 64 << 10;
/// How long a closing connection is read from, so that the client gets the answer before a reset.
const LINGER: Duration = Duration::from_secs(1);
/// A client has to bring this much of a body within each [`crate::config::Timeouts::stall`].
const PROGRESS_BYTES: usize = 1 << 10;

/// A connection and its buffers.
pub(super) struct Connection {
    stream: Async<TcpStream>,
    client: SocketAddr,
    shared: Arc<Shared>,
    buffer: ReadBuffer,
    out: Vec<u8>,
    deadline: Deadline,
}

/// What becomes of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// The next request may come.
    Keep,
    /// All was said and read: close.
    Close,
    /// The client may still be sending: close so that it can read the answer.
    Linger,
}

/// A request's head, taken out of the buffer.
struct Head {
    parts: http::request::Parts,
    version: Version,
    body: BodyLength,
    keep_alive: bool,
    expect_continue: bool,
}

impl Connection {
    pub(super) fn new(
        stream: Async<TcpStream>,
        client: SocketAddr,
        shared: Arc<Shared>,
    ) -> Connection {
        Connection {
            stream,
            client,
            shared,
            buffer: ReadBuffer::default(),
            out: Vec::new(),
            deadline: Deadline::new(),
        }
    }

    /// Serves requests until one side has had enough.
    pub(super) async fn serve(mut self) {
        let mut first = true;
        loop {
            let next = match self.read_head(first).await {
                Ok(Some(head)) => self.exchange(head).await,
                Ok(None) => Next::Close,
                Err((status, text)) => {
                    log::debug!("{}: refused with {status}: {text}", self.client);
                    self.refuse(status, &text).await;
                    Next::Linger
                }
            };
            first = false;
            self.buffer.release_if_empty();
            match next {
                Next::Keep => {}
                Next::Close => return,
                Next::Linger => return self.linger().await,
            }
        }
    }

    /// Reads the next head; `None` when the client is done or silent, or the daemon drains.
    async fn read_head(&mut self, first: bool) -> Result<Option<Head>, (u16, String)> {
        let Connection {
            stream,
            shared,
            buffer,
            deadline,
            ..
        } = self;
        let timeouts = &shared.timeouts;
        // The first request has to come soon: who connects and stays silent holds a place.
        let mut begun = !buffer.bytes().is_empty();
        deadline.set(if begun || first {
            timeouts.head
        } else {
            timeouts.idle
        });
        loop {
            if !buffer.bytes().is_empty() {
                let mut slots = HeaderSlots::new();
                match RequestHead::parse(buffer.bytes(), &mut slots, &shared.limits.http) {
                    Ok(Some((head, length))) => {
                        let head = Head::new(&head, stream)?;
                        buffer.consume(length);
                        return Ok(Some(head));
                    }
                    Ok(None) => {}
                    Err(error) => return Err((error.status(), error.to_string())),
                }
            }
            let filling =
                async { Some(buffer.fill(&*stream, shared.limits.http.head_bytes).await) };
            let filled = if begun {
                deadline.within(filling).await
            } else {
                // Between requests a draining daemon need not wait.
                deadline
                    .within(or(filling, async {
                        stopped(&shared.stop).await;
                        None
                    }))
                    .await
            };
            match filled {
                Ok(Some(Ok(0))) | Ok(Some(Err(_))) | Ok(None) => return Ok(None),
                Ok(Some(Ok(_))) if !begun => {
                    begun = true;
                    deadline.set(timeouts.head);
                }
                Ok(Some(Ok(_))) => {}
                Err(TimedOut) if begun => {
                    return Err((408, "the request's head did not come in time".to_owned()));
                }
                Err(TimedOut) => return Ok(None),
            }
        }
    }

    /// Has one request answered.
    async fn exchange(&mut self, head: Head) -> Next {
        let Connection {
            stream,
            client,
            shared,
            buffer,
            out,
            deadline,
        } = self;
        let (shared, deadline) = (&*shared, &*deadline);
        let id = shared.next_request_id();
        let mut decoder = BodyDecoder::new(head.body, &shared.limits.http);
        let stream_of = |length| {
            let (sender, body) = IncomingBody::stream(length);
            (Some(sender), body)
        };
        let (sender, body) = match head.body {
            BodyLength::Empty | BodyLength::Fixed(0) => (None, IncomingBody::default()),
            BodyLength::Fixed(length) => stream_of(Some(length)),
            BodyLength::Chunked => stream_of(None),
        };
        let has_body = sender.is_some();
        let expects = head.expect_continue && has_body;
        let is_head = head.parts.method == http::Method::HEAD;
        let name = format!("{} {}", head.parts.method, head.parts.uri.path());
        let request = Request {
            head: head.parts,
            body,
            client: *client,
            id: Arc::clone(&id),
            received_at: SystemTime::now(),
        };
        let Exchange { work, answer } = handle::start(Arc::clone(&shared.plugin), request);
        let mut work = Some(work);
        let outcome = OnceLock::new();
        let begun = AtomicBool::new(false);
        let continued = AtomicBool::new(!expects);
        deadline.set(shared.timeouts.request);

        let driven = {
            let out = Mutex::new(&mut *out);
            let upload = async {
                if let Some(sender) = sender {
                    if expects {
                        sender.wanted().await;
                        // Held by an answer that has begun, and then there is nothing to continue.
                        let _out = out.lock().await;
                        continued.store(true, Ordering::Relaxed);
                        if (&*stream).write_all(CONTINUE).await.is_err() {
                            return;
                        }
                    }
                    upload(stream, buffer, &mut decoder, sender, deadline, shared).await;
                }
            };
            let respond = async {
                let answered = answer.await;
                let mut out = out.lock().await;
                let writer = ResponseWriter {
                    stream,
                    out: &mut out,
                    deadline,
                    timeouts: &shared.timeouts,
                    limits: &shared.limits,
                    version: head.version,
                    is_head,
                    keep_alive: head.keep_alive
                        && continued.load(Ordering::Relaxed)
                        && !shared.stop.is_closed(),
                    begun: &begun,
                    outcome: &outcome,
                };
                match answered {
                    Ok(response) => writer.answer(response).await,
                    Err(_) => {
                        // No answer will come; why is known when the work has ended.
                        let ended = poll_fn(|_| outcome.get().map_or(Poll::Pending, Poll::Ready));
                        let failure = ended.await.clone().err().unwrap_or(Failure::NoAnswer);
                        Err(WriteError::Failed(failure))
                    }
                }
            };
            drive(&mut work, upload, respond, &outcome, deadline).await
        };

        let (failure, open) = match driven {
            Ok(Ok(open)) => (None, open),
            Ok(Err(WriteError::Failed(failure))) => (Some(failure), false),
            Ok(Err(WriteError::Broken)) => {
                log_cut(&id, &name, shared.plugin.name(), &outcome);
                return Next::Close;
            }
            Err(TimedOut) if begun.load(Ordering::Relaxed) => {
                log::warn!(
                    "[{id}] {name}: plugin {}: the answer stalled and was cut off",
                    shared.plugin.name()
                );
                return Next::Close;
            }
            Err(TimedOut) => {
                // The instance goes with its work, whatever it was doing.
                work = None;
                (Some(Failure::Deadline), false)
            }
        };
        if let Some(work) = work.take() {
            finish_detached(work, &id, shared);
        }
        let open = match failure {
            None => open,
            Some(failure) => {
                log_failure(&id, &name, shared.plugin.name(), &failure);
                let text = match failure.is_clients() {
                    true => format!("{failure}\nrequest {id}"),
                    false => format!("request {id}"),
                };
                let mut extra = vec![("x-request-id", id.as_bytes())];
                if let Some(seconds) = failure.retry_after() {
                    extra.push(("retry-after", seconds.as_bytes()));
                }
                let writer = ResponseWriter {
                    stream,
                    out,
                    deadline,
                    timeouts: &shared.timeouts,
                    limits: &shared.limits,
                    version: head.version,
                    is_head,
                    keep_alive: head.keep_alive
                        && continued.load(Ordering::Relaxed)
                        && !shared.stop.is_closed(),
                    begun: &begun,
                    outcome: &outcome,
                };
                deadline.set(shared.timeouts.stall);
                match deadline
                    .within(writer.failure(failure.status(), &text, &extra))
                    .await
                {
                    Ok(Ok(open)) => open,
                    _ => return Next::Close,
                }
            }
        };
        match (open, has_body) {
            (true, false) => Next::Keep,
            (true, true) => self.skip_body(decoder).await,
            (false, false) => Next::Close,
            (false, true) => Next::Linger,
        }
    }

    /// Reads over what is left of a body that the plugin did not want.
    async fn skip_body(&mut self, mut decoder: BodyDecoder) -> Next {
        let mut skipped = 0;
        self.deadline.set(LINGER);
        while skipped <= SKIP_BYTES {
            let consumed = match decoder.decode(self.buffer.bytes()) {
                Ok(Decoded::End { consumed, .. }) => {
                    self.buffer.consume(consumed);
                    return Next::Keep;
                }
                Ok(Decoded::Data { consumed, .. }) => consumed,
                Ok(Decoded::NeedMore { consumed }) => {
                    self.buffer.consume(consumed);
                    match self
                        .deadline
                        .within(self.buffer.fill(&self.stream, SKIP_BYTES))
                        .await
                    {
                        Ok(Ok(count)) if count > 0 => {}
                        _ => return Next::Close,
                    }
                    0
                }
                Err(_) => return Next::Linger,
            };
            self.buffer.consume(consumed);
            skipped += consumed;
        }
        Next::Linger
    }

    /// Tells the client what is wrong with its request.
    async fn refuse(&mut self, status: u16, text: &str) {
        let outcome = OnceLock::new();
        let begun = AtomicBool::new(false);
        let writer = ResponseWriter {
            stream: &self.stream,
            out: &mut self.out,
            deadline: &self.deadline,
            timeouts: &self.shared.timeouts,
            limits: &self.shared.limits,
            version: Version::Http11,
            is_head: false,
            keep_alive: false,
            begun: &begun,
            outcome: &outcome,
        };
        self.deadline.set(LINGER);
        // Whether the client still wanted to know does not matter any more.
        let _ = self
            .deadline
            .within(writer.failure(status, text, &[]))
            .await;
    }

    /// Closes without a reset that could overtake the answer (RFC 9112 section 9.6).
    async fn linger(mut self) {
        if self.stream.get_ref().shutdown(Shutdown::Write).is_err() {
            return;
        }
        self.deadline.set(LINGER);
        let draining = async {
            let mut read = 0;
            while read < SKIP_BYTES {
                let waiting = self.buffer.bytes().len();
                self.buffer.consume(waiting);
                match self.buffer.fill(&self.stream, SKIP_BYTES).await {
                    Ok(count) if count > 0 => read += count,
                    _ => return,
                }
            }
        };
        let _ = self.deadline.within(draining).await;
    }
}

impl Head {
    fn new(head: &RequestHead<'_, '_>, stream: &Async<TcpStream>) -> Result<Head, (u16, String)> {
        let (mut parts, ()) = http::Request::new(()).into_parts();
        let bad = |what: &str| (400, format!("the {what} cannot be understood"));
        parts.method =
            http::Method::from_bytes(head.method.as_bytes()).map_err(|_| bad("method"))?;
        if parts.method == http::Method::CONNECT {
            return Err((501, "this server is not a proxy".to_owned()));
        }
        parts.uri = head.target.parse().map_err(|_| bad("request target"))?;
        parts.headers.reserve(head.headers.len());
        for header in head.headers {
            let name =
                HeaderName::from_bytes(header.name.as_bytes()).map_err(|_| bad("header name"))?;
            let value = HeaderValue::from_bytes(header.value).map_err(|_| bad("header value"))?;
            parts.headers.append(name, value);
        }
        if parts.uri.authority().is_some() || !parts.headers.contains_key(http::header::HOST) {
            // An absolute target overrides Host (RFC 9112 section 3.2.2); an HTTP/1.0 client may send neither.
            let host = match head.authority() {
                Some(authority) => authority.to_owned(),
                None => stream
                    .get_ref()
                    .local_addr()
                    .map_or_else(|_| String::new(), |address| address.to_string()),
            };
            let value = HeaderValue::from_str(&host).map_err(|_| bad("authority"))?;
            parts.headers.insert(http::header::HOST, value);
        }
        parts.version = match head.version {
            Version::Http10 => http::Version::HTTP_10,
            Version::Http11 => http::Version::HTTP_11,
        };
        Ok(Head {
            parts,
            version: head.version,
            body: head.body,
            keep_alive: head.keep_alive,
            expect_continue: head.expect_continue,
        })
    }
}

/// Moves a request's body from the socket to the plugin, at the plugin's pace.
async fn upload(
    stream: &Async<TcpStream>,
    buffer: &mut ReadBuffer,
    decoder: &mut BodyDecoder,
    sender: BodySender,
    deadline: &Deadline,
    shared: &Shared,
) {
    let mut progress = 0;
    loop {
        let (consumed, piece) = match decoder.decode(buffer.bytes()) {
            Ok(Decoded::NeedMore { consumed }) => (consumed, None),
            Ok(Decoded::Data { consumed, data }) => {
                (consumed, Some(Piece::Data(Bytes::copy_from_slice(data))))
            }
            Ok(Decoded::End { consumed, trailers }) => {
                (consumed, Some(Piece::End(trailer_map(trailers))))
            }
            Err(error) => {
                log::debug!("a request's body is malformed: {error}");
                sender.send(Piece::Malformed).await;
                return;
            }
        };
        buffer.consume(consumed);
        progress += consumed;
        match piece {
            Some(piece) => {
                let is_end = matches!(piece, Piece::End(_));
                if !sender.send(piece).await {
                    return;
                }
                if progress >= PROGRESS_BYTES {
                    progress = 0;
                    deadline.extend(shared.timeouts.stall);
                }
                if is_end {
                    // The plugin has all it needs: its time to answer begins.
                    deadline.extend(shared.timeouts.request);
                    return;
                }
            }
            None => match buffer.fill(stream, 0).await {
                Ok(count) if count > 0 => {}
                // The sender is dropped without an end: the plugin sees a body that broke off.
                _ => return,
            },
        }
    }
}

fn trailer_map(trailers: Vec<(String, Vec<u8>)>) -> http::HeaderMap {
    let mut map = http::HeaderMap::new();
    for (name, value) in trailers {
        // The codec has checked both, and bounded their number.
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            map.append(name, value);
        }
    }
    map
}

type Work = Pin<Box<dyn Future<Output = Result<(), Failure>> + Send>>;

/// Polls the plugin's work, the upload and the answer side by side in this task, until the answer is written or
/// nothing moves before the deadline. Work that has ended is taken out of `work`, its result is in `outcome`.
async fn drive<R>(
    work: &mut Option<Work>,
    upload: impl Future<Output = ()>,
    respond: impl Future<Output = R>,
    outcome: &OnceLock<Result<(), Failure>>,
    deadline: &Deadline,
) -> Result<R, TimedOut> {
    let mut upload = pin!(upload);
    let mut uploading = true;
    let mut respond = pin!(respond);
    poll_fn(|cx| {
        // The work goes first: with luck it leaves a whole answer, and one write sends it.
        if let Some(running) = work
            && let Poll::Ready(result) = pin!(reactor::enter(running)).poll(cx)
        {
            *work = None;
            // Set once: the work is gone.
            let _ = outcome.set(result);
        }
        if uploading && upload.as_mut().poll(cx).is_ready() {
            uploading = false;
        }
        match respond.as_mut().poll(cx) {
            Poll::Ready(result) => Poll::Ready(Ok(result)),
            Poll::Pending => deadline.poll(cx).map(Err),
        }
    })
    .await
}

/// Lets a plugin go on that has answered, for as long as a request may take.
fn finish_detached(work: Work, id: &Arc<str>, shared: &Arc<Shared>) {
    let (id, shared) = (Arc::clone(id), Arc::clone(shared));
    let executor = shared.executor;
    let finish = async move {
        let ended = or(async { Some(reactor::enter(work).await) }, async {
            Timer::after(shared.timeouts.request).await;
            None
        });
        match ended.await {
            Some(Ok(())) => {}
            Some(Err(failure)) => log::error!(
                "[{id}] plugin {}: after its answer: {failure}",
                shared.plugin.name()
            ),
            None => log::error!(
                "[{id}] plugin {}: was stopped, it went on too long after its answer",
                shared.plugin.name()
            ),
        }
    };
    executor.spawn(finish).detach();
}

fn log_failure(id: &str, request: &str, plugin: &str, failure: &Failure) {
    if failure.is_clients() {
        log::debug!("[{id}] {request}: {failure}");
    } else {
        log::error!("[{id}] {request}: plugin {plugin}: {failure}");
    }
}

fn log_cut(id: &str, request: &str, plugin: &str, outcome: &OnceLock<Result<(), Failure>>) {
    match outcome.get() {
        Some(Err(failure)) => log::error!("[{id}] {request}: plugin {plugin}: cut off: {failure}"),
        _ => log::debug!(
            "[{id}] {request}: cut off: the client went away or the plugin broke its answer off"
        ),
    }
}
