//! One request and its response, once the request's head is read.

mod account;
mod leaving;
mod work;
mod writing;

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Poll, ready};
use std::time::{Duration, Instant};

use futures_lite::future::poll_once;
use smol::channel::Sender;
use smol::lock::Mutex;
use zlayer_http1::{BodyDecoder, BodyLength, Version};

use super::ServerState;
use super::client_stream::{ClientStream, End};
use super::head::Head;
use super::receipt::Receipt;
use super::response::{Responded, WriteError};
use super::upload::{Dues, Upload};
use crate::clients::{self, Claim, asked};
use crate::failure::Failure;
use crate::message::{BodySender, Client, IncomingBody, Interims};
use crate::pipeline::{Passage, Pipeline, Request, Started, Upgrade};
use crate::stats::Outcome;
use crate::timeout;
use crate::upstream::Owner;
use crate::wire::buffer::ReadBuffer;
use crate::wire::deadline::{Deadline, TimedOut};
use leaving::Leaving;
use work::{Handled, Work};

/// How often to check who is waited for, where the time of one of plugin and client is up.
const UPLOAD_CHECK: Duration = Duration::from_secs(1);

/// How long a client may take to take in that its request was cut off.
const TELLING: Duration = Duration::from_secs(1);

/// How long a response that reports a timeout may take on its way through the middlewares.
const LEAVING: Duration = Duration::from_secs(3);

/// One request that is being served, and how far it has come.
pub(super) struct Exchange<'a> {
    stream: &'a ClientStream,
    deadline: &'a Deadline,
    /// How long plugin and client have until the response begins.
    dues: Dues,
    shared: &'a Arc<ServerState>,
    /// What the request goes through to its end, whatever others take by then.
    pipeline: Arc<Pipeline>,
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
    Upgraded(Box<Upgrade>, Arc<Pipeline>),
    /// The response broke off, so the connection has to be closed.
    Broken,
}

/// The result of writing a response, with the WebSocket that the connection turns into, if it does.
type Written = Result<(Responded, Option<Box<Upgrade>>), WriteError>;

impl<'a> Exchange<'a> {
    /// Serves the request behind `head`: starts the pipeline, reads the body for it, and writes the
    /// response.
    #[expect(
        clippy::too_many_arguments,
        reason = "the parts of a connection, borrowed apart from each other"
    )]
    pub(super) async fn run(
        head: Head,
        pipeline: Arc<Pipeline>,
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
        } = pipeline.start(request);
        let exchange = Exchange {
            stream,
            deadline,
            dues: Dues::new(&shared.timeouts),
            shared,
            pipeline,
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
                        exchange.count_failed(responded.status, failure);
                    }
                }
                if let Work::Tail(tail) = work
                    && tail.is_running()
                {
                    exchange.finish_detached(tail);
                }
                return match upgrade {
                    Some(upgrade) => Ended::Upgraded(upgrade, exchange.pipeline),
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
                exchange.count_failed(0, &failure);
                return Ended::Broken;
            }
            Ok(Err(WriteError::Gone)) => {
                exchange.count(0, Outcome::Gone);
                log::debug!("[{}] the client went away", exchange.id);
                return Ended::Broken;
            }
            Err(failure @ (Failure::Stalled | Failure::Displaced | Failure::Ended))
                if exchange.begun.load(Ordering::Relaxed) =>
            {
                exchange.log_failure("cut off", &failure);
                exchange.count_failed(0, &failure);
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
        // On the heap, as few requests fail, and all would be larger by it.
        let reporting = Box::pin(async {
            match is_watched {
                true => exchange.report_through_stages(&failure, out).await,
                false => exchange.respond_with_failure(&failure, out).await,
            }
        });
        let reported = match exchange.pipeline.is_cut_off() {
            true => timeout::within(TELLING, reporting).await.flatten(),
            false => reporting.await,
        };
        let status = reported.as_ref().map_or(0, |responded| responded.status);
        exchange.count_failed(status, &failure);
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
        let mut cutting = pin!(self.pipeline.cut());
        // It wakes this task, whose waker stays the same: to poll it once is enough.
        let _ = poll_once(cutting.as_mut()).await;
        poll_fn(|cx| {
            loop {
                // Before an instance is made for a client that has left meanwhile.
                if self.claim.is_queued() && self.has_left(&mut leaving) {
                    return Poll::Ready(Ok(Err(WriteError::Gone)));
                }
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
                let mut is_asked = || self.claim.poll_asked(asked, cx).is_ready();
                if self.pipeline.is_cut_off() {
                    return Poll::Ready(Err(Failure::Ended));
                }
                if late.is_none() && is_asked() {
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

    /// Whether nobody needs the response any more. A client that has ended its half of the stream and
    /// may still wait for its response is `leaving` from then on.
    fn has_left(&self, leaving: &mut Option<Leaving>) -> bool {
        let unread = match self.stream.end() {
            None => return false,
            Some(End::Reset) => return true,
            Some(End::Ended { unread }) => unread,
        };
        let is_begun = self.begun.load(Ordering::Relaxed);
        if !is_begun && self.receipt.is_hopeless(unread) == Some(true) {
            return true;
        }
        leaving.get_or_insert_with(|| Leaving::begin(self));
        false
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
}
