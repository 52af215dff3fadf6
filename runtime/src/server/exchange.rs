//! One request and its response, once the request's head is read.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use smol::Timer;
use smol::channel::Sender;
use smol::io::AsyncWriteExt;
use smol::lock::Mutex;
use zlayer_http1::{BodyDecoder, BodyLength, ResponseHead, ResponseLength, Version};

use super::ServerState;
use super::client_stream::ClientStream;
use super::head::Head;
use super::receipt::Receipt;
use super::response::{Responded, ResponseWriter, WriteError};
use super::upload::{Dues, Upload};
use crate::clients::{self, Claim, asked};
use crate::failure::Failure;
use crate::message::{BodySender, Client, IncomingBody, Interims, Response, Spelled};
use crate::pipeline::{Marks, Passage, Reply, Request, Responding, Started, Tail, Upgrade};
use crate::reactor;
use crate::redact;
use crate::stats::Outcome;
use crate::timeout;
use crate::upstream::Owner;
use crate::wire::buffer::ReadBuffer;
use crate::wire::deadline::{Deadline, TimedOut};

/// How often to check who is waited for, where the time of one of plugin and client is up.
const UPLOAD_CHECK: Duration = Duration::from_secs(1);

/// How long a response that reports a timeout may take on its way through the middlewares.
const LEAVING: Duration = Duration::from_secs(3);

/// How many bytes of a method, and of a path, the log shows. A client chooses both, so they are
/// cut.
const LOGGED_BYTES: usize = 128;

/// One request that is being served, and how far it has come.
pub(super) struct Exchange<'a> {
    stream: &'a ClientStream,
    deadline: &'a Deadline,
    /// How long plugin and client have until the response begins.
    dues: Dues,
    shared: &'a Arc<ServerState>,
    id: Arc<str>,
    /// When the request's head was complete.
    received: Instant,
    method: http::Method,
    uri: http::Uri,
    version: Version,
    keep_alive: bool,
    /// Whether the first byte of a response is out. From then on a failure can only cut the
    /// response off.
    begun: AtomicBool,
    /// Whether it is known where the next request will start. It is not while the client waits for
    /// `100 Continue`, since it may then send its body or not, nor when its body is malformed.
    in_step: AtomicBool,
    /// What has come of the request's body, and what the plugin wants of it.
    receipt: Receipt,
    /// Whose request it is, and what is asked of it for others.
    claim: &'a Arc<Claim>,
    /// Cloned into work that outlives the exchange: the drain waits until all clones are dropped.
    open: &'a Sender<()>,
    /// How the plugins' work ended, once it has ended.
    outcome: OnceLock<Result<(), Failure>>,
    /// Which plugin is at work, for the log and the counters.
    passage: Arc<Passage>,
    /// The failure that the response reports to the client, if it reports one.
    reported: OnceLock<Failure>,
    /// The name of the upstream that the response comes from, if it comes from one.
    origin: OnceLock<Arc<str>>,
}

/// In what state an exchange has left the connection.
pub(super) enum Ended {
    /// The response is written. The decoder knows what is left of the request's body.
    Responded(Responded, BodyDecoder),
    /// The connection is a WebSocket from now on.
    Upgraded(Box<Upgrade>),
    /// The response broke off, so the connection has to be closed.
    Broken,
}

/// The result of the plugins' work: a response, or the reason why there is none.
type Handled = Result<(Response, Marks), Failure>;

/// The result of writing a response, with the WebSocket that the connection turns into, if it does.
type Written = Result<(Responded, Option<Box<Upgrade>>), WriteError>;

/// A client that has ended its half of the stream. It may wait for its response, or be gone, which
/// looks the same until something is sent to it.
struct Leaving {
    timer: Timer,
    /// What it had taken of the response when the timer was set.
    moved: u64,
}

impl Leaving {
    fn begin(exchange: &Exchange<'_>) -> Leaving {
        Leaving {
            timer: Timer::after(exchange.shared.timeouts.half_closed),
            moved: exchange.claim.moved(),
        }
    }

    /// Ready when the client counts as gone: there was nothing that it could have taken for a while.
    /// One that is gone answers what is sent to it with a reset; how long one may take nothing of
    /// what is there, the exchange's deadline says.
    fn poll(&mut self, exchange: &Exchange<'_>, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(Pin::new(&mut self.timer).poll(cx));
            let claim = exchange.claim;
            if claim.moved() == self.moved && !claim.is_held_up() {
                return Poll::Ready(());
            }
            *self = Leaving::begin(exchange);
        }
    }
}

/// The plugins' work on a request.
enum Work {
    /// There is no response yet.
    Responding(Responding),
    /// There is a response or a failure, and this work goes on while that is written.
    Tail(Tail),
}

impl Work {
    /// Polls the work. Returns its result once: a response, or the reason why there is none. How
    /// the work as a whole ended is put into `outcome` when it is known, which may be at the same
    /// time.
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
            // It cannot have been set already: that was checked above.
            let _ = outcome.set(ended);
        }
        handled
    }
}

impl<'a> Exchange<'a> {
    /// Serves the request behind `head`: starts the pipeline, reads the body for it, and writes the
    /// response.
    #[expect(
        clippy::too_many_arguments,
        reason = "the parts of a connection, borrowed apart from each other"
    )]
    pub(super) async fn run(
        head: Head,
        client: Client,
        id: Arc<str>,
        stream: &'a ClientStream,
        buffer: &mut ReadBuffer,
        out: &mut Vec<u8>,
        deadline: &'a Deadline,
        shared: &'a Arc<ServerState>,
        open: &'a Sender<()>,
        claim: &'a Arc<Claim>,
        owner: &Owner,
    ) -> Ended {
        claim.enter(clients::Phase::Exchange);
        let mut decoder = BodyDecoder::new(head.body, &shared.limits.http);
        let (sender, body) = match head.body {
            BodyLength::Empty | BodyLength::Fixed(0) => (None, IncomingBody::default()),
            BodyLength::Fixed(length) => IncomingBody::stream(Some(length)),
            BodyLength::Chunked => IncomingBody::stream(None),
        };
        let expects = head.expect_continue && sender.is_some();
        let (method, uri) = (head.parts.method.clone(), head.parts.uri.clone());
        let mut request = Request::new(head.parts, body, client, Arc::clone(&id));
        let interims = Interims::default();
        request.for_client.owner = Some(owner.clone());
        // HTTP/1.0 has no interim responses (RFC 9110 section 15.2).
        if head.version == Version::Http11 {
            request.for_client.interims = Some(interims.clone());
        }
        let Started {
            responding,
            passage,
        } = shared.pipeline.start(request);
        let exchange = Exchange {
            stream,
            deadline,
            dues: Dues::new(&shared.timeouts),
            shared,
            id,
            received: Instant::now(),
            method,
            uri,
            version: head.version,
            keep_alive: head.keep_alive,
            begun: AtomicBool::new(false),
            in_step: AtomicBool::new(!expects),
            receipt: Receipt::new(head.body, sender.as_ref().map(BodySender::demand)),
            claim,
            open,
            outcome: OnceLock::new(),
            passage,
            reported: OnceLock::new(),
            origin: OnceLock::new(),
        };
        let mut work = Work::Responding(responding);
        deadline.set(match exchange.receipt.demand() {
            Some(_) => exchange.dues.next_look(),
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
            let passing_on = exchange.pass_on(&interims, &out);
            exchange.drive(&mut work, upload, passing_on, respond).await
        };
        let mut is_watched = false;
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
            Ok(Err(WriteError::Failed(failure))) => {
                let failure = exchange.blame_upstream(failure);
                // Only a response that has passed the middlewares can fail so, and the one in its
                // place passes them too.
                is_watched = exchange.passage.is_watched();
                failure
            }
            Ok(Err(WriteError::Broken)) => {
                let failure = exchange.outcome.get().and_then(|ended| ended.clone().err());
                let failure = failure.unwrap_or_else(|| exchange.receipt.broken_response());
                let failure = exchange.blame_upstream(failure);
                exchange.log_failure("cut off", &failure);
                exchange.count(0, failure.outcome());
                return Ended::Broken;
            }
            Ok(Err(WriteError::Gone)) => {
                exchange.count(0, Outcome::Gone);
                log::debug!("[{}] the client went away", exchange.id);
                return Ended::Broken;
            }
            Err(failure @ (Failure::Stalled | Failure::Displaced))
                if exchange.begun.load(Ordering::Relaxed) =>
            {
                exchange.log_failure("cut off", &failure);
                exchange.count(0, failure.outcome());
                return Ended::Broken;
            }
            Err(failure) => failure,
        };
        // This drops the plugin's instance, whatever it was doing.
        drop(work);
        if !decoder.is_done() {
            // The rest of the body would have to be read first.
            exchange.in_step.store(false, Ordering::Relaxed);
        }
        exchange.log_failure("failed", &failure);
        let reported = match is_watched {
            true => exchange.report_through_stages(&failure, out).await,
            false => exchange.respond_with_failure(&failure, out).await,
        };
        let status = reported.as_ref().map_or(0, |responded| responded.status);
        exchange.count(status, failure.outcome());
        match reported {
            Some(responded) => Ended::Responded(responded, decoder),
            None => Ended::Broken,
        }
    }

    /// Polls the plugins' work, the upload and the writing of the responses side by side in this
    /// task, until the response is written, the client has gone or nothing moves before the
    /// deadline; in the last case it returns the failure that this means. `respond` writes the
    /// work's result. `upload` returns whether all that the client sent so far has been read: only
    /// then do the next bytes on the socket show whether the client is still there.
    async fn drive<R: Future<Output = Written>>(
        &self,
        work: &mut Work,
        upload: impl Future<Output = bool>,
        interims: impl Future<Output = ()>,
        respond: impl Fn(Handled) -> R,
    ) -> Result<Written, Failure> {
        let mut late = None;
        let mut upload = pin!(upload);
        let (mut interims, mut passing_on) = (pin!(interims), true);
        let mut uploading = true;
        let (mut watching, mut leaving) = (false, None);
        let mut responding = pin!(None);
        poll_fn(|cx| {
            loop {
                // The work is polled first: it may leave a complete response, which one write then
                // sends.
                let polled = clients::within(self.claim, || work.poll(cx, &self.outcome));
                if let Some(handled) = polled {
                    responding.set(Some(respond(handled)));
                }
                if uploading && let Poll::Ready(all_read) = upload.as_mut().poll(cx) {
                    (uploading, watching) = (false, all_read);
                }
                // Before the response, which they come before.
                if passing_on && interims.as_mut().poll(cx).is_ready() {
                    passing_on = false;
                }
                if let Some(responding) = responding.as_mut().as_pin_mut()
                    && let Poll::Ready(result) = responding.poll(cx)
                {
                    return Poll::Ready(Ok(result));
                }
                if watching && let Poll::Ready(next) = self.stream.poll_next(cx) {
                    watching = false;
                    match next {
                        Ok(0) => leaving = Some(Leaving::begin(self)),
                        // Its next request.
                        Ok(_) => {}
                        Err(_) => return Poll::Ready(Ok(Err(WriteError::Gone))),
                    }
                }
                if let Some(leaving) = &mut leaving
                    && leaving.poll(self, cx).is_ready()
                {
                    return Poll::Ready(Ok(Err(WriteError::Gone)));
                }
                let asked = asked::LEAVE | asked::END_REQUEST;
                if late.is_none() && self.claim.poll_asked(asked, cx).is_ready() {
                    return Poll::Ready(Err(Failure::Displaced));
                }
                let TimedOut = ready!(self.deadline.poll(cx));
                if self.begun.load(Ordering::Relaxed) {
                    return Poll::Ready(Err(Failure::Stalled));
                }
                if let Some(failure) = late.take() {
                    return Poll::Ready(Err(failure));
                }
                let is_for_client = self.is_waiting_for_client();
                let left = self.dues.left(is_for_client);
                if left.as_millis() > 0 {
                    // The other one's time is up, who is not waited for at the moment.
                    self.deadline.set(left.min(UPLOAD_CHECK));
                    continue;
                }
                let failure = match is_for_client {
                    true => Failure::SlowBody,
                    false => self.late_failure(),
                };
                if !self.passage.cut_off(failure.clone()) {
                    return Poll::Ready(Err(failure));
                }
                late = Some(failure);
                if uploading {
                    // The rest of the body would have to be read before the next request. Nobody
                    // wants it, and it must not move the deadline.
                    uploading = false;
                    self.in_step.store(false, Ordering::Relaxed);
                }
                self.deadline.set(LEAVING);
            }
        })
        .await
    }

    /// The failure that it means when the time of the request is up: it is the upstream's that a
    /// router chose, or the plugin's, or that of one that the plugin asks itself.
    fn late_failure(&self) -> Failure {
        match (self.passage.plugin(), self.passage.route()) {
            (Some(plugin), _) => plugin.host().late(&self.id),
            (None, Some((upstream, _))) => {
                Failure::late_upstream(upstream, self.shared.timeouts.request)
            }
            (None, None) => Failure::Deadline,
        }
    }

    /// Whether the plugin waits for the client's body.
    fn is_waiting_for_client(&self) -> bool {
        let demand = self.receipt.demand();
        demand.is_some_and(|demand| demand.is_waiting())
    }

    fn upload(&self) -> Upload<'_> {
        Upload {
            stream: self.stream,
            deadline: self.deadline,
            dues: &self.dues,
            timeouts: &self.shared.timeouts,
            id: &self.id,
            in_step: &self.in_step,
            begun: &self.begun,
            receipt: &self.receipt,
            claim: self.claim,
        }
    }

    /// Writes interim responses as they come, until the response begins. Ends when the client takes
    /// no more.
    async fn pass_on(&self, interims: &Interims, out: &Mutex<&mut Vec<u8>>) {
        loop {
            let head = interims.next().await;
            // A response holds this lock from before its first byte to its end.
            let Some(mut out) = out.try_lock() else {
                continue;
            };
            let spelled = Spelled::new(&head.headers, &head.extensions);
            out.clear();
            let encoded = ResponseHead {
                version: self.version,
                status: head.status.as_u16(),
                headers: &spelled.pairs(),
                length: ResponseLength::None,
                keep_alive: true,
                date: None,
            }
            .encode(&mut out);
            if encoded.is_err() {
                continue;
            }
            // If only half of it got out, whatever is written next would be unreadable.
            self.begun.store(true, Ordering::Relaxed);
            let mut stream = self.stream;
            // Over TLS what is written may wait for more, and this is to be there early.
            let written = async {
                stream.write_all(&out).await?;
                stream.flush().await
            };
            let written = written.await;
            out.clear();
            if written.is_err() {
                return;
            }
            self.begun.store(false, Ordering::Relaxed);
        }
    }

    /// Writes the response that the plugins' work resulted in.
    async fn respond(&self, handled: Handled, out: &Mutex<&mut Vec<u8>>) -> Written {
        let (mut response, marks) = handled.map_err(WriteError::Failed)?;
        // Neither can have been set before, because there is one response.
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
            let (head, _) = response.into_parts();
            let upgrading = writer.write_upgrade(accept, &head.headers, &head.extensions);
            let responded = upgrading.await?;
            return Ok((responded, Some(upgrade)));
        }
        // What was made elsewhere, or earlier, says itself when that was (RFC 9110 section 6.6.1).
        writer.keep_date = marks.is_stored || self.origin.get().is_some();
        let responded = writer.write_response(response, &self.outcome).await?;
        Ok((responded, None))
    }

    /// Responds to the client with a failure, by a response that passes those who have to see it. If
    /// they take too long, or make something of it that cannot be written, the client is told of the
    /// failure all the same.
    async fn report_through_stages(
        &self,
        failure: &Failure,
        out: &mut Vec<u8>,
    ) -> Option<Responded> {
        self.deadline.set(LEAVING);
        let pipeline = &self.shared.pipeline;
        let reporting = pipeline.report(failure.clone(), &self.id, &self.passage);
        if let Ok(reply) = self.deadline.within(reactor::enter(reporting)).await {
            self.deadline.set(self.shared.timeouts.stall);
            let nothing_goes_on = OnceLock::from(Ok(()));
            let writing = self
                .writer(out)
                .write_response(reply.response, &nothing_goes_on);
            match self.deadline.within(writing).await {
                Ok(Ok(responded)) => return Some(responded),
                _ if self.begun.load(Ordering::Relaxed) => return None,
                _ => {}
            }
        }
        self.respond_with_failure(failure, out).await
    }

    /// Responds to the client with a failure: a status and the request's id, and the reason only
    /// where the client can mend it.
    async fn respond_with_failure(
        &self,
        failure: &Failure,
        out: &mut Vec<u8>,
    ) -> Option<Responded> {
        let text = failure.public_text(&self.id);
        let mut extra = vec![("X-Request-Id", self.id.as_bytes())];
        if let Some(codings) = failure.accepted_codings() {
            extra.push(("Accept-Encoding", codings.as_bytes()));
        }
        if let Some(seconds) = failure.retry_after() {
            extra.push(("Retry-After", seconds.as_bytes()));
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
            patience: self.shared.timeouts.stall,
            head_limit: self.shared.limits.response_head,
            version: self.version,
            is_head: self.method == http::Method::HEAD,
            keep_alive: self.keep_alive
                && self.in_step.load(Ordering::Relaxed)
                && !self.shared.stop.is_closed()
                && !self.claim.is_asked(asked::LEAVE | asked::LEAVE_IDLE),
            begun: &self.begun,
            receipt: Some(&self.receipt),
            claim: self.claim,
            keep_date: false,
        }
    }

    /// Lets a plugin go on after its response is written, for as long as a request may take.
    fn finish_detached(&self, tail: Tail) {
        let (id, shared) = (Arc::clone(&self.id), Arc::clone(self.shared));
        let (open, passage) = (self.open.clone(), Arc::clone(&self.passage));
        let executor = shared.executor;
        let claim = Arc::clone(self.claim);
        let finish = async move {
            let tail = clients::on_behalf(&claim, tail);
            let ended = timeout::within(shared.timeouts.request, reactor::enter(tail));
            let plugin = passage.plugin();
            let plugin = plugin.as_ref().map_or("-", |plugin| plugin.name());
            match ended.await {
                Some(Ok(())) => {}
                Some(Err(failure)) => {
                    log::error!("[{id}] plugin {plugin}: after its response: {failure}");
                }
                None => log::error!(
                    "[{id}] plugin {plugin}: was stopped, it went on too long after its response"
                ),
            }
            drop(open);
        };
        executor.spawn(finish).detach();
    }

    /// Counts the request, which ended with this status, or with 0 if no complete response got out.
    /// Stages were counted when they ended.
    fn count(&self, status: u16, outcome: Outcome) {
        self.shared
            .stats
            .count_request(status, self.received.elapsed());
        if let Some(plugin) = self.passage.plugin() {
            plugin.host().stats.count_request(outcome);
        }
    }

    /// Puts the blame for a failed response on the upstream that it came from, if it came from one.
    fn blame_upstream(&self, failure: Failure) -> Failure {
        match self.origin.get() {
            Some(name) => failure.of_upstream(name),
            None => failure,
        }
    }

    fn log_failure(&self, how: &str, failure: &Failure) {
        let plugin = self.passage.plugin();
        // Only a timeout is recorded here: a trap was recorded where it was seen.
        if failure.outcome() == Outcome::Deadline
            && let Some(plugin) = &plugin
        {
            let id = Arc::clone(&self.id);
            let stats = &plugin.host().stats;
            stats.add_incident(Some(id), Outcome::Deadline, &failure.to_string());
        }
        // Every 5xx is told, also those that nobody here is to blame for.
        let level = match (failure.is_clients(), failure.status()) {
            (false, _) => log::Level::Error,
            (true, 500..) => log::Level::Info,
            (true, _) => log::Level::Debug,
        };
        let plugin = plugin.map_or(String::new(), |plugin| {
            format!("plugin {}: ", plugin.name())
        });
        let more = match (self.passage.route(), failure) {
            (Some((_, router)), _) if failure.outcome() == Outcome::Upstream => {
                format!(" (forwarded by plugin {router})")
            }
            (_, Failure::Displaced) => {
                " (places are few: --max-connections, --memory-max)".to_owned()
            }
            _ => String::new(),
        };
        log::log!(
            level,
            "[{}] {} {}: {plugin}{how}: {failure}{more}",
            self.id,
            redact::cut(self.method.as_str(), LOGGED_BYTES),
            redact::cut(self.uri.path(), LOGGED_BYTES),
        );
    }
}
