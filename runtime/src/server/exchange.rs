//! One request and its answer, once the head is read.

use std::future::{Future, poll_fn};
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use smol::channel::Sender;
use smol::lock::Mutex;
use smol::{Async, Timer};
use zlayer_http1::{BodyDecoder, BodyLength, Version};

use super::ServerState;
use super::head::Head;
use super::response::{Responded, ResponseWriter, WriteError};
use super::upload::{Upload, grace};
use crate::failure::Failure;
use crate::message::{BodySender, Demand, IncomingBody, Response};
use crate::pipeline::{Marks, Passage, Reply, Request, Responding, Started, Tail, Upgrade};
use crate::reactor;
use crate::redact;
use crate::stats::Outcome;
use crate::timeout;
use crate::wire::buffer::ReadBuffer;
use crate::wire::deadline::{Deadline, TimedOut};

/// How often a client that is further behind is looked at: it is cut off once the plugin waits for it.
const UPLOAD_CHECK: Duration = Duration::from_secs(1);

/// How long an answer that tells that time is up may take past the middlewares.
const LEAVING: Duration = Duration::from_secs(3);

/// Bytes of a method, and of a path, that the log shows: a client chooses both.
const LOGGED_BYTES: usize = 128;

/// What an exchange is about, and how far it has come.
pub(super) struct Exchange<'a> {
    stream: &'a Async<TcpStream>,
    deadline: &'a Deadline,
    shared: &'a Arc<ServerState>,
    id: Arc<str>,
    /// When its head was complete.
    received: Instant,
    method: http::Method,
    uri: http::Uri,
    version: Version,
    keep_alive: bool,
    /// The first byte of an answer is out: from then on a failure can only cut it off.
    begun: AtomicBool,
    /// It is known where the next request will start: the client does not wait for `100 Continue`
    /// (it might send its body or leave it), and its body keeps to the rules.
    in_step: AtomicBool,
    /// What the plugin asks for of the body.
    demand: Option<Arc<Demand>>,
    /// Kept until the exchange and what follows from it have ended: the drain waits for it.
    open: &'a Sender<()>,
    /// How the plugins' work ended, once it has.
    outcome: OnceLock<Result<(), Failure>>,
    /// Which plugin is at work.
    passage: Arc<Passage>,
    /// The failure that the answer tells of, if it does.
    reported: OnceLock<Failure>,
    /// The upstream that the answer comes from, if it does.
    origin: OnceLock<Arc<str>>,
}

/// How an exchange left the connection.
pub(super) enum Ended {
    /// The answer is out. The decoder knows what is left of the request's body.
    Responded(Responded, BodyDecoder),
    /// The connection is a WebSocket from here on.
    Upgraded(Box<Upgrade>),
    /// The answer broke off.
    Broken,
}

/// What the plugins' work comes to: a response, or the reason why there is none.
type Handled = Result<(Response, Marks), Failure>;

/// What became of the writing of a response; with it, what the connection turns into, if it does.
type Written = Result<(Responded, Option<Box<Upgrade>>), WriteError>;

/// The plugins' work on a request.
enum Work {
    /// There is no response yet.
    Responding(Responding),
    /// There is one, or a failure to be reported of, and this goes on while it is written.
    Tail(Tail),
}

impl Work {
    /// Goes on. What it comes to is handed out once: a response, or the reason why there is none. How all
    /// of it ended is put into `outcome` when that is known, which may be at the same time.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        outcome: &OnceLock<Result<(), Failure>>,
    ) -> Option<Handled> {
        let mut handled = None;
        if let Work::Responding(responding) = self
            && let Poll::Ready(replied) = Pin::new(&mut reactor::enter(responding)).poll(cx)
        {
            let (result, tail) = match replied {
                Ok(Reply {
                    response,
                    marks,
                    tail,
                }) => (Ok((response, marks)), tail),
                Err(failure) => (Err(failure.clone()), Tail::ended(Err(failure))),
            };
            *self = Work::Tail(tail);
            handled = Some(result);
        }
        if outcome.get().is_none()
            && let Work::Tail(tail) = self
            && let Poll::Ready(ended) = Pin::new(&mut reactor::enter(tail)).poll(cx)
        {
            // Set once: it was just looked at.
            let _ = outcome.set(ended);
        }
        handled
    }
}

impl<'a> Exchange<'a> {
    /// Has the request behind `head` responded.
    #[expect(
        clippy::too_many_arguments,
        reason = "the parts of a connection, borrowed apart from each other"
    )]
    pub(super) async fn run(
        head: Head,
        client: SocketAddr,
        stream: &'a Async<TcpStream>,
        buffer: &mut ReadBuffer,
        out: &mut Vec<u8>,
        deadline: &'a Deadline,
        shared: &'a Arc<ServerState>,
        open: &'a Sender<()>,
    ) -> Ended {
        let mut decoder = BodyDecoder::new(head.body, &shared.limits.http);
        let (sender, body) = match head.body {
            BodyLength::Empty | BodyLength::Fixed(0) => (None, IncomingBody::default()),
            BodyLength::Fixed(length) => IncomingBody::stream(Some(length)),
            BodyLength::Chunked => IncomingBody::stream(None),
        };
        let expects = head.expect_continue && sender.is_some();
        let id = shared.next_request_id();
        let (method, uri) = (head.parts.method.clone(), head.parts.uri.clone());
        let request = Request::new(head.parts, body, client, Arc::clone(&id));
        let Started {
            responding,
            passage,
        } = shared.pipeline.start(request);
        let exchange = Exchange {
            stream,
            deadline,
            shared,
            id,
            received: Instant::now(),
            method,
            uri,
            version: head.version,
            keep_alive: head.keep_alive,
            begun: AtomicBool::new(false),
            in_step: AtomicBool::new(!expects),
            demand: sender.as_ref().map(BodySender::demand),
            open,
            outcome: OnceLock::new(),
            passage,
            reported: OnceLock::new(),
            origin: OnceLock::new(),
        };
        let mut work = Work::Responding(responding);
        deadline.set(match exchange.demand {
            Some(_) => shared.timeouts.request.min(grace(&shared.timeouts)),
            None => shared.timeouts.request,
        });
        let driven = {
            let out = Mutex::new(&mut *out);
            let upload = async {
                exchange
                    .upload()
                    .run(sender, buffer, &mut decoder, &out)
                    .await;
                decoder.is_done() && buffer.bytes().is_empty()
            };
            let respond = |handled| exchange.respond(handled, &out);
            exchange.drive(&mut work, upload, respond).await
        };
        let failure = match driven {
            Ok(Ok((responded, upgrade))) => {
                match exchange.reported.get() {
                    None => exchange.count(responded.status, Outcome::Answered),
                    Some(failure) => {
                        exchange.log_failure("failed", failure);
                        exchange.count(responded.status, failure.outcome());
                    }
                }
                if let Work::Tail(tail) = work
                    && tail.is_running()
                {
                    exchange.finish_detached(tail);
                }
                return match upgrade {
                    Some(upgrade) => Ended::Upgraded(upgrade),
                    None => Ended::Responded(responded, decoder),
                };
            }
            Ok(Err(WriteError::Failed(failure))) => exchange.blame_upstream(failure),
            Ok(Err(WriteError::Broken)) => {
                let failure = exchange.outcome.get().and_then(|ended| ended.clone().err());
                let failure = exchange.blame_upstream(failure.unwrap_or_else(Failure::broken_body));
                exchange.log_failure("cut off", &failure);
                exchange.count(0, failure.outcome());
                return Ended::Broken;
            }
            Ok(Err(WriteError::Gone)) => {
                exchange.count(0, Outcome::Gone);
                log::debug!("[{}] the client went away", exchange.id);
                return Ended::Broken;
            }
            Err(failure @ Failure::Stalled) => {
                exchange.log_failure("cut off", &failure);
                exchange.count(0, failure.outcome());
                return Ended::Broken;
            }
            Err(failure) => failure,
        };
        // The instance goes with its work, whatever it was doing.
        drop(work);
        if !decoder.is_done() {
            // The rest of the body would have to be read first.
            exchange.in_step.store(false, Ordering::Relaxed);
        }
        let reported = exchange.respond_with_failure(&failure, out).await;
        let status = reported.as_ref().map_or(0, |responded| responded.status);
        exchange.count(status, failure.outcome());
        match reported {
            Some(responded) => Ended::Responded(responded, decoder),
            None => Ended::Broken,
        }
    }

    /// Polls the plugins' work, the upload and the writing of the response side by side in this
    /// task, until the response is written, the client has gone or nothing moves before the deadline:
    /// then it answers what that means. `respond` writes what the work comes to. `upload` tells whether
    /// it has read all that the client sent so far: only then does what comes next tell of the client.
    async fn drive<R: Future<Output = Written>>(
        &self,
        work: &mut Work,
        upload: impl Future<Output = bool>,
        respond: impl Fn(Handled) -> R,
    ) -> Result<Written, Failure> {
        let mut late = None;
        let mut upload = pin!(upload);
        let mut uploading = true;
        let (mut watching, mut leaving) = (false, None);
        let mut responding = pin!(None);
        poll_fn(|cx| {
            loop {
                // The work goes first: with luck it leaves a whole answer, and one write sends it.
                if let Some(handled) = work.poll(cx, &self.outcome) {
                    responding.set(Some(respond(handled)));
                }
                if uploading && let Poll::Ready(all_read) = upload.as_mut().poll(cx) {
                    (uploading, watching) = (false, all_read);
                }
                if let Some(responding) = responding.as_mut().as_pin_mut()
                    && let Poll::Ready(result) = responding.poll(cx)
                {
                    return Poll::Ready(Ok(result));
                }
                if watching && let Poll::Ready(next) = self.poll_next(cx) {
                    watching = false;
                    match next {
                        Ok(0) => leaving = Some(Timer::after(self.shared.timeouts.half_closed)),
                        // Its next request.
                        Ok(_) => {}
                        Err(_) => return Poll::Ready(Ok(Err(WriteError::Gone))),
                    }
                }
                if let Some(timer) = &mut leaving
                    && Pin::new(timer).poll(cx).is_ready()
                {
                    return Poll::Ready(Ok(Err(WriteError::Gone)));
                }
                let TimedOut = ready!(self.deadline.poll(cx));
                if self.begun.load(Ordering::Relaxed) {
                    return Poll::Ready(Err(Failure::Stalled));
                }
                if let Some(failure) = late.take() {
                    return Poll::Ready(Err(failure));
                }
                let failure = self.late_failure();
                let left = self
                    .shared
                    .timeouts
                    .request
                    .saturating_sub(self.received.elapsed());
                if left.as_millis() > 0 && !matches!(failure, Failure::SlowBody) {
                    // The client is behind with its body, but the plugin is at work.
                    self.deadline.set(left.min(UPLOAD_CHECK));
                    continue;
                }
                if !self.passage.cut_off(failure.clone()) {
                    return Poll::Ready(Err(failure));
                }
                late = Some(failure);
                if uploading {
                    // The rest of the body would have to be read first. Nobody wants it, and it must not move
                    // the deadline.
                    uploading = false;
                    self.in_step.store(false, Ordering::Relaxed);
                }
                self.deadline.set(LEAVING);
            }
        })
        .await
    }

    /// What it means that time is up before the first byte of an answer.
    fn late_failure(&self) -> Failure {
        let demand = self.demand.as_ref();
        match demand.is_some_and(|demand| demand.is_waiting()) {
            true => Failure::SlowBody,
            false => Failure::Deadline,
        }
    }

    /// Waits for what comes next of the client: bytes, its end (0), or a reset. Nothing is taken.
    fn poll_next(&self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        loop {
            // The first time it may only tell of what was read before.
            let ready = ready!(self.stream.poll_readable(cx));
            match ready.and_then(|()| self.stream.get_ref().peek(&mut [0])) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                next => return Poll::Ready(next),
            }
        }
    }

    fn upload(&self) -> Upload<'_> {
        Upload {
            stream: self.stream,
            deadline: self.deadline,
            timeouts: &self.shared.timeouts,
            id: &self.id,
            in_step: &self.in_step,
            begun: &self.begun,
        }
    }

    /// Writes the response that the work has come to.
    async fn respond(&self, handled: Handled, out: &Mutex<&mut Vec<u8>>) -> Written {
        let (mut response, marks) = handled.map_err(WriteError::Failed)?;
        // Both are set once: there is one response.
        if let Some(upstream) = marks.upstream {
            let _ = self.origin.set(upstream);
        }
        if let Some(failure) = marks.failure {
            let _ = self.reported.set(failure);
        }
        let mut out = out.lock().await;
        let mut writer = self.writer(&mut out);
        if let Some(upgrade) = marks.upgrade {
            let accept = upgrade.accept(response.headers_mut());
            let responded = writer.write_upgrade(accept, response.headers()).await?;
            return Ok((responded, Some(upgrade)));
        }
        writer.keep_date = marks.is_stored;
        let responded = writer.write_response(response, &self.outcome).await?;
        Ok((responded, None))
    }

    /// Tells the client of a failure: a status and the request's id, and the reason only where
    /// the client can mend it.
    async fn respond_with_failure(
        &self,
        failure: &Failure,
        out: &mut Vec<u8>,
    ) -> Option<Responded> {
        self.log_failure("failed", failure);
        let text = failure.public_text(&self.id);
        let mut extra = vec![("x-request-id", self.id.as_bytes())];
        if let Some(seconds) = failure.retry_after() {
            extra.push(("retry-after", seconds.as_bytes()));
        }
        self.deadline.set(self.shared.timeouts.stall);
        let telling = self.writer(out).write_text(failure.status(), &text, &extra);
        self.deadline.within(telling).await.ok()?.ok()
    }

    fn writer<'w>(&'w self, out: &'w mut Vec<u8>) -> ResponseWriter<'w> {
        ResponseWriter {
            stream: self.stream,
            out,
            deadline: self.deadline,
            stall: self.shared.timeouts.stall,
            head_limit: self.shared.limits.response_head,
            version: self.version,
            is_head: self.method == http::Method::HEAD,
            keep_alive: self.keep_alive
                && self.in_step.load(Ordering::Relaxed)
                && !self.shared.stop.is_closed(),
            begun: &self.begun,
            keep_date: false,
        }
    }

    /// Lets a plugin go on that has responded, for as long as a request may take.
    fn finish_detached(&self, tail: Tail) {
        let (id, shared) = (Arc::clone(&self.id), Arc::clone(self.shared));
        let (open, passage) = (self.open.clone(), Arc::clone(&self.passage));
        let executor = shared.executor;
        let finish = async move {
            let ended = timeout::within(shared.timeouts.request, reactor::enter(tail));
            let plugin = passage.plugin();
            let plugin = plugin.as_ref().map_or("-", |plugin| plugin.name());
            match ended.await {
                Some(Ok(())) => {}
                Some(Err(failure)) => {
                    log::error!("[{id}] plugin {plugin}: after its answer: {failure}");
                }
                None => log::error!(
                    "[{id}] plugin {plugin}: was stopped, it went on too long after its answer"
                ),
            }
            drop(open);
        };
        executor.spawn(finish).detach();
    }

    /// Counts the request, which ended with this status, or without a whole answer (0). Stages were
    /// counted when they ended.
    fn count(&self, status: u16, outcome: Outcome) {
        self.shared.stats.request(status, self.received.elapsed());
        if let Some(plugin) = self.passage.plugin() {
            plugin.host().stats.request(outcome);
        }
    }

    /// Says whose answer it was that failed.
    fn blame_upstream(&self, failure: Failure) -> Failure {
        match self.origin.get() {
            Some(name) => failure.of_upstream(name),
            None => failure,
        }
    }

    fn log_failure(&self, how: &str, failure: &Failure) {
        let plugin = self.passage.plugin();
        // A trap was counted where it was seen.
        if failure.outcome() == Outcome::Deadline
            && let Some(plugin) = &plugin
        {
            let id = Arc::clone(&self.id);
            let stats = &plugin.host().stats;
            stats.incident(Some(id), Outcome::Deadline, &failure.to_string());
        }
        let level = if failure.is_clients() {
            log::Level::Debug
        } else {
            log::Level::Error
        };
        let plugin = plugin.map_or(String::new(), |plugin| {
            format!("plugin {}: ", plugin.name())
        });
        log::log!(
            level,
            "[{}] {} {}: {plugin}{how}: {failure}",
            self.id,
            redact::cut(self.method.as_str(), LOGGED_BYTES),
            redact::cut(self.uri.path(), LOGGED_BYTES),
        );
    }
}
