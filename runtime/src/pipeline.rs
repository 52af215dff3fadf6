//! The way of a request through the plugins: the order of the stages is written here, once.
//!
//! Request: **authenticate** → **rate-limit** → **middleware** (declared order) → **cache** →
//! **route** → [a request for a WebSocket leaves here: **websocket**] → **transform** → **handle**.
//! Answer: **transform** → **cache** → **middleware** (reverse order).
//!
//! Who a client is comes before how often it may ask, so that limits can be per identity; both come
//! before middlewares, so that these see no request that was refused, and before the cache, so that they
//! hold for what is stored too. What the cache answers goes past all that follows. Routes are chosen before
//! bodies are transformed, since a transformer cannot change the path.
//!
//! A request for a WebSocket takes the same way, but the cache is not asked about it: what it leads to
//! cannot be stored, and a stored answer must not take its place. So a client can have its own request
//! answered afresh by it, as by `Range`.
//!
//! Every stage is a file of the same shape: `run` takes the stage and the request and says
//! whether it goes on ([`ControlFlow::Continue`]) or is answered ([`ControlFlow::Break`]).

mod authenticate;
pub mod bodies;
mod cache;
pub mod fields;
mod handle;
mod middleware;
mod narrowing;
mod own;
mod passage;
mod questions;
mod rate_limit;
mod request;
mod route;
mod stage;
mod transform;
mod websocket;

use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;

use futures_lite::future::{or, try_zip};
use http_body_util::BodyExt;
use tokio::sync::oneshot;
use zlayer_bundle::Role;

use crate::cache::{Cache, Clock};
use crate::config::{Limits, Timeouts};
use crate::error::{Error, Result};
use crate::failure::Failure;
use crate::memory::Budget;
use crate::message::{Response, whole};
use crate::plugin::Plugin;
use crate::stats::Outcome;
use crate::upstream::{self, Upstreams};
use bodies::WholeBodies;

pub use own::Told;
pub use passage::Passage;
pub use rate_limit::RateLimit;
pub use request::{Record, Request};
pub use stage::{Stage, Step};
pub use websocket::{Upgrade, Upgrading, upgrade_token};

/// Who waits for an answer.
pub type Answer = oneshot::Sender<Response>;

/// The work on one request.
pub type Work = Pin<Box<dyn Future<Output = std::result::Result<(), Failure>> + Send>>;

/// A request on its way through the plugins.
pub struct Started {
    /// It may go on after the answer has come, and ends with how it went.
    pub work: Work,
    /// The answer; closed without one, `work` ends with the reason.
    pub answer: oneshot::Receiver<Response>,
    /// Which plugin is at work.
    pub passage: Arc<Passage>,
}

/// The plugins of a daemon, in the order in which they take part.
pub struct Pipeline {
    plugins: Vec<Arc<Plugin>>,
    /// By step, and in the declared order within one.
    stages: Vec<Stage>,
    /// Where a plugin has that role.
    cache: Option<Arc<Cache>>,
    bodies: WholeBodies,
    upstreams: Upstreams,
    timeouts: Timeouts,
    /// What the conversations may take together.
    messages: Arc<Budget>,
    budget: Arc<Budget>,
}

/// What a request leaves behind on its way in, for its answer on the way out.
#[derive(Default)]
struct Trail {
    /// The middlewares or transformers that have seen the request, as indices of stages.
    seen: Vec<usize>,
    /// What limiters said of the client.
    limit: Option<RateLimit>,
}

impl Pipeline {
    /// Sorts the plugins' roles into stages.
    ///
    /// # Errors
    ///
    /// The budget has no room for the bodies that they take, or for the cache.
    pub fn new(
        plugins: Vec<Arc<Plugin>>,
        limits: &Limits,
        timeouts: &Timeouts,
        budget: &Arc<Budget>,
        upstreams: Upstreams,
    ) -> Result<Pipeline> {
        let mut stages = Vec::new();
        for step in Step::ORDER {
            for plugin in &plugins {
                if step.roles().iter().any(|role| plugin.plays(*role)) {
                    stages.push(Stage::new(step, Arc::clone(plugin)));
                }
            }
        }
        let caches = stages.iter().any(|stage| stage.step == Step::Cache);
        let cache = match caches {
            true => Some(new_cache(limits, budget)?),
            false => None,
        };
        // A quarter of what is left, and at least one body each way.
        let takes_bodies = stages.iter().any(Stage::takes_bodies);
        let free = budget.limit().saturating_sub(budget.used());
        let share = match takes_bodies {
            true => (free / 4).max(limits.body.saturating_mul(2)),
            false => 0,
        };
        let bodies = WholeBodies::new(budget, share, limits.body).ok_or_else(|| {
            Error::Usage(format!(
                "bodies need {} KiB, and --memory-max {} KiB leaves {} KiB for them; raise it, or lower --max-body",
                share >> 10,
                budget.limit() >> 10,
                free >> 10
            ))
        })?;
        // A quarter at most, and one of the longest messages each way.
        let free = budget.limit().saturating_sub(budget.used());
        let messages = budget.part((free / 4).max(limits.websocket_message.saturating_mul(2)));
        // Nothing is set aside after this.
        budget.settle();
        Ok(Pipeline {
            plugins,
            stages,
            cache,
            bodies,
            upstreams,
            timeouts: timeouts.clone(),
            messages,
            budget: Arc::clone(budget),
        })
    }

    /// The plugins, in the declared order.
    pub fn plugins(&self) -> &[Arc<Plugin>] {
        &self.plugins
    }

    /// Each step that plugins take part in, with their names, in the order of a request.
    pub fn order(&self) -> Vec<(&'static str, Vec<&str>)> {
        let steps = Step::ORDER.into_iter().map(|step| {
            let names = self.at(step).map(|(_, stage)| stage.plugin.name());
            (step.name(), names.collect::<Vec<_>>())
        });
        steps.filter(|(_, names)| !names.is_empty()).collect()
    }

    /// The response cache, where a plugin has that role.
    pub fn cache(&self) -> Option<&Arc<Cache>> {
        self.cache.as_ref()
    }

    /// Bytes of the memory budget that are set aside for whole bodies.
    pub fn bodies_share(&self) -> usize {
        self.bodies.share()
    }

    /// Begins to answer `request`; nothing happens until `work` is polled.
    pub fn start(self: &Arc<Self>, request: Request) -> Started {
        let (send, answer) = oneshot::channel();
        let passage = Arc::new(Passage::new(self.timeouts.request));
        let (pipeline, at) = (Arc::clone(self), Arc::clone(&passage));
        Started {
            work: Box::pin(async move { pipeline.run(request, &at, send).await }),
            answer,
            passage,
        }
    }

    async fn run(
        &self,
        mut request: Request,
        passage: &Arc<Passage>,
        send: Answer,
    ) -> std::result::Result<(), Failure> {
        // All plugins of a daemon share the engine and its clock.
        let _working = self.plugins.first().map(|plugin| plugin.working());
        let request = &mut request;
        let rounds = self.upstreams.rounds();
        let round = rounds.begin(&request.id, &request.head.headers)?;
        request.came_round = round.is_some();
        passage.serve(self.services(request));
        let mut trail = Trail::default();
        for step in [Step::Authenticate, Step::RateLimit] {
            let flow = self.each(step, request, passage, &mut trail).await?;
            if let ControlFlow::Break(response) = flow {
                return answer(send, response);
            }
        }
        let entered = self
            .each(Step::Middleware, request, passage, &mut trail)
            .await;
        // Most daemons have neither: then nothing stands between the plugin and the client.
        if trail.seen.is_empty() && trail.limit.is_none() {
            return match entered? {
                ControlFlow::Break(response) => answer(send, response),
                ControlFlow::Continue(()) => self.cached(request, passage, send).await,
            };
        }
        let id = Arc::clone(&request.id);
        let response = match entered {
            Ok(ControlFlow::Break(response)) => response,
            Ok(ControlFlow::Continue(())) => {
                let (inner_send, inner_answer) = oneshot::channel();
                let mut send = Some(send);
                let cut_off = passage.on_cut_off();
                let leaving = async {
                    // Without an answer `inner` ends with the reason.
                    let answered = async { Ok(inner_answer.await.ok()) };
                    let late = async { Err(cut_off.await.unwrap_or(Failure::Deadline)) };
                    // An answer that came in time is not cut off on its way out, nor is what it streams.
                    let answered = or(answered, late).await?;
                    if let Some(response) = answered {
                        let response = self.leave(&id, passage, &trail, response).await;
                        send.take().map(|send| answer(send, response));
                    }
                    Ok(())
                };
                let inner = self.cached(request, passage, inner_send);
                let ended = try_zip(inner, leaving).await.map(|((), ())| ());
                return match (ended, send) {
                    (Err(failure), Some(send)) => {
                        let response = own::failed(failure, &id);
                        answer(send, self.leave(&id, passage, &trail, response).await)
                    }
                    (ended, _) => ended,
                };
            }
            Err(failure) => own::failed(failure, &id),
        };
        answer(send, self.leave(&id, passage, &trail, response).await)
    }

    /// What lies behind the cache.
    async fn inner(
        &self,
        request: &mut Request,
        passage: &Arc<Passage>,
        send: Answer,
    ) -> std::result::Result<(), Failure> {
        let mut trail = Trail::default();
        let flow = self.each(Step::Route, request, passage, &mut trail);
        if let ControlFlow::Break(response) = flow.await? {
            return answer(send, response);
        }
        if let ControlFlow::Break(response) = self.converse(request, passage).await? {
            return answer(send, response);
        }
        let flow = self.each(Step::Transform, request, passage, &mut trail);
        if let ControlFlow::Break(response) = flow.await? {
            return answer(send, response);
        }
        if trail.seen.is_empty() {
            return self.handle(request, passage, send).await;
        }
        let (id, method) = (Arc::clone(&request.id), request.head.method.clone());
        let (inner_send, inner_answer) = oneshot::channel();
        let leaving = async {
            let Ok(mut response) = inner_answer.await else {
                return Ok(());
            };
            for &index in trail.seen.iter().rev() {
                let stage = &self.stages[index];
                let bodies = &self.bodies;
                let mut read = transform::read(stage, bodies, &method, &mut response).await?;
                let running =
                    transform::response(stage, &id, bodies, &method, &mut response, &mut read);
                stage.guard(&id, passage, running).await?;
                if let Some((body, held)) = read {
                    *response.body_mut() = whole(body, held);
                }
            }
            answer(send, response)
        };
        let handling = self.handle(request, passage, inner_send);
        try_zip(handling, leaving).await.map(|((), ())| ())
    }

    /// The upstream, or the plugins that answer, until one does.
    async fn handle(
        &self,
        request: &mut Request,
        passage: &Arc<Passage>,
        send: Answer,
    ) -> std::result::Result<(), Failure> {
        if let Some(to) = request.upstream.take() {
            let (head, body) = (request.head.clone(), request.stream().boxed_unsync());
            let (client, id) = (request.client.ip(), &request.id);
            let sent = upstream::forward(&self.upstreams, head, body, client, &to, id);
            return answer(send, sent.await?);
        }
        for (_, stage) in self.at(Step::Handle) {
            if !stage.applies(request, passage) {
                continue;
            }
            passage.enter(Some(&stage.plugin));
            if stage.plugin.plays(Role::Handler)
                && let Some(response) = handle::typed(&stage.plugin, request, &self.bodies).await?
            {
                return answer(send, response);
            }
            if stage.plugin.plays(Role::HttpHandler) {
                return handle::wasi_http(&stage.plugin, request, send).await;
            }
            stage.plugin.host().stats.request(Outcome::NotHandled);
            passage.enter(None);
        }
        Err(Failure::PassThrough)
    }

    /// Has every stage of a step look at the request, until one answers it.
    async fn each(
        &self,
        step: Step,
        request: &mut Request,
        passage: &Arc<Passage>,
        trail: &mut Trail,
    ) -> std::result::Result<ControlFlow<Response>, Failure> {
        for (index, stage) in self.at(step) {
            if !stage.applies(request, passage) {
                continue;
            }
            stage.prepare(request, &self.bodies).await?;
            let id = Arc::clone(&request.id);
            let limit = &mut trail.limit;
            let running = async {
                match step {
                    Step::Authenticate => authenticate::run(stage, request).await,
                    Step::RateLimit => rate_limit::run(stage, request, limit).await,
                    Step::Middleware => middleware::run(stage, request).await,
                    Step::Route => route::run(stage, request, &self.bodies).await,
                    Step::Transform => transform::run(stage, request, &self.bodies).await,
                    // These do more than to look at it on its way in.
                    Step::Cache | Step::WebSocket | Step::Handle => Ok(ControlFlow::Continue(())),
                }
            };
            match stage.guard(&id, passage, running).await? {
                Some(ControlFlow::Break(response)) => return Ok(ControlFlow::Break(response)),
                Some(ControlFlow::Continue(())) => {
                    if matches!(step, Step::Middleware | Step::Transform) {
                        trail.seen.push(index);
                    }
                }
                // It failed open: it has not been there.
                None => {}
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Takes an answer past the middlewares that have seen its request.
    async fn leave(
        &self,
        id: &Arc<str>,
        passage: &Arc<Passage>,
        trail: &Trail,
        mut response: Response,
    ) -> Response {
        for &index in trail.seen.iter().rev() {
            let stage = &self.stages[index];
            let (status, headers) = (response.status().as_u16(), response.headers());
            let running = middleware::answer(stage, id, status, headers);
            match stage.guard(id, passage, running).await {
                Ok(Some(ControlFlow::Continue(headers))) => *response.headers_mut() = headers,
                Ok(Some(ControlFlow::Break(other))) => response = other,
                Ok(None) => {}
                Err(failure) => response = own::failed(failure, id),
            }
        }
        if let Some(limit) = &trail.limit {
            limit.tell(response.headers_mut());
        }
        response
    }

    /// The stages of a step, with their indices.
    fn at(&self, step: Step) -> impl Iterator<Item = (usize, &Stage)> {
        let stages = self.stages.iter().enumerate();
        stages.filter(move |(_, stage)| stage.step == step)
    }

    /// The handlers that the request may get to: those whose paths cover it, to the first that cannot
    /// pass it through. A stage that is for one of them takes part, lest a guard be passed by way of
    /// the handler before.
    fn services(&self, request: &Request) -> Vec<Arc<Plugin>> {
        let path = narrowing::normalised(request.head.uri.path());
        let handlers = self.at(Step::Handle).map(|(_, stage)| stage);
        let mut services = Vec::new();
        for stage in handlers.filter(|stage| stage.covers(&path)) {
            services.push(Arc::clone(&stage.plugin));
            if stage.plugin.plays(Role::HttpHandler) {
                break;
            }
        }
        services
    }
}

fn new_cache(limits: &Limits, budget: &Arc<Budget>) -> Result<Arc<Cache>> {
    let bytes = limits
        .cache
        .unwrap_or_else(|| Cache::share_of(budget.limit()));
    let share = budget.reserve(bytes).ok_or_else(|| {
        Error::Usage(format!(
            "the cache needs {} KiB, and --memory-max {} KiB leaves less; raise it, or lower --cache-max",
            bytes >> 10,
            budget.limit() >> 10
        ))
    })?;
    Ok(Cache::new(share, Clock::default()))
}

/// Hands an answer over; a client that went away has no use for it.
fn answer(send: Answer, response: Response) -> std::result::Result<(), Failure> {
    let _ = send.send(response);
    Ok(())
}
