//! The way of a request through the plugins: the order of the stages is written here, once.
//!
//! Request: **authenticate** → **rate-limit** → **middleware** (declared order) → **cache** →
//! **route** → [a request for a WebSocket leaves here: **websocket**] → **transform** → **handle**.
//! Response: **transform** → **cache** → **middleware** (reverse order).
//!
//! Authentication comes before rate limits, so that limits can be per identity. Both come before
//! middlewares, so that these see no request that was refused, and before the cache, so that they
//! hold for stored responses too. But middlewares see all responses, those that refuse a request
//! among them, and a browser's preflight before anybody else: see `outer.rs`. A response from the cache skips all stages behind it. Routes are
//! chosen before bodies are transformed, since a transformer cannot change the path.
//!
//! A request for a WebSocket takes the same way, but not through the cache: a conversation cannot
//! be stored, and a stored response must not take its place. As a consequence, a client that asks
//! for a WebSocket always gets a fresh response, as does one that sends `Range`.
//!
//! # How to write a stage
//!
//! [`Step::ORDER`] names the steps in their order, and each has a file here. Most look at a request
//! on its way in and nothing else: an async function `run` takes the stage and the request, and
//! says whether the request goes on ([`ControlFlow::Continue`]) or gets this response
//! ([`ControlFlow::Break`]). `Pipeline::each` calls it for every plugin of the step, within the
//! time that a stage may take, and does what the deployment wants if it fails.
//!
//! A stage that has to do with the response as well is an async function that calls what lies
//! behind it and returns what that returns: a [`Reply`], which is a response with the work that
//! goes on behind it, or a [`Failure`], of which the client is told. What to do with that work is
//! written at the head of `reply.rs`. The functions of this kind are, from the outermost to the
//! innermost, `Pipeline::outer` (middlewares), `Pipeline::cached`, `Pipeline::inner` (transformers)
//! and `Pipeline::handle`.

mod authenticate;
pub mod bodies;
mod cache;
pub mod fields;
#[cfg(test)]
pub mod fuzz;
mod handle;
mod health;
mod inner;
mod marks;
mod middleware;
mod narrowing;
mod outer;
mod own;
mod passage;
mod present;
mod questions;
mod rate_limit;
mod reach;
mod readings;
mod reply;
mod request;
mod retirement;
mod route;
mod shares;
mod stage;
mod standing;
mod token;
mod trail;
mod transform;
mod upgrading;
mod websocket;

use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use zlayer_bundle::Role;

use crate::cache::Cache;
use crate::config::Placement;
use crate::error::Result;
use crate::failure::Failure;
use crate::memory::Budget;
use crate::message::Response;
use crate::plugin::{Common, Plugin};
use crate::upstream::{self, Upstreams};
use bodies::WholeBodies;
use reach::{Order, Reach, reached};
use reply::AtWork;
use retirement::Retirement;
use shares::{new_bodies, new_cache};
use trail::Trail;

pub use marks::Marks;
pub use passage::Passage;
pub use present::Present;
pub use reply::{Reply, Tail};
pub use request::{Record, Request};
pub use stage::{Stage, Step, takes_bodies};
pub use standing::RateLimit;
pub use websocket::Upgrade;

/// The work on a request, up to the response.
pub type Responding = Pin<Box<dyn Future<Output = std::result::Result<Reply, Failure>> + Send>>;

/// A request on its way through the plugins.
pub struct Started {
    /// Resolves to the response with the work that goes on behind it, or to the reason why there is
    /// none. Dropping it stops the plugin that is at work.
    pub responding: Responding,
    /// Which plugin is at work, for the log and the counters.
    pub passage: Arc<Passage>,
}

/// The plugins of a daemon, in the order in which they take part.
pub struct Pipeline {
    plugins: Vec<Arc<Plugin>>,
    /// By step, and in the declared order within one.
    stages: Vec<Stage>,
    reach: Reach,
    /// The handlers, and the plugins that decide on WebSockets, in the order in which they are asked.
    handlers: Order,
    conversing: Order,
    /// The response cache, if a plugin has that role.
    cache: Option<Arc<Cache>>,
    /// The fields that tell clients apart for one of the caching plugins.
    personal: Arc<[HeaderName]>,
    /// See [`Limits::underscore_headers`](crate::config::Limits::underscore_headers).
    underscore_headers: bool,
    bodies: Arc<WholeBodies>,
    upstreams: Upstreams,
    /// How long a request may take to its response.
    time: Duration,
    /// The budget for the messages of all WebSocket conversations together.
    messages: Arc<Budget>,
    budget: Arc<Budget>,
    /// Why it has no plugins, where it has none.
    nothing: Option<String>,
    retirement: Retirement,
}

impl Pipeline {
    /// Sorts the plugins' roles into stages, each where its placement wants it. `time` is how long
    /// a request may take to its response. What has been set aside for the one that it follows `after` is
    /// its own then: the memory for bodies and messages, and the cache.
    ///
    /// # Errors
    ///
    /// The budget has no room for the bodies that they take, or for the cache.
    pub fn new(
        plugins: Vec<(Arc<Plugin>, Arc<Placement>)>,
        common: &Common<'_>,
        time: Duration,
        upstreams: Upstreams,
        after: Option<&Pipeline>,
    ) -> Result<Pipeline> {
        let Common { budget, limits, .. } = *common;
        let reach = Reach::new(plugins.iter().map(|(_, placement)| placement));
        let mut stages = Vec::new();
        for step in Step::ORDER {
            for (place, (plugin, placement)) in plugins.iter().enumerate() {
                if step.roles().iter().any(|role| plugin.plays(*role)) {
                    let (plugin, placement) = (Arc::clone(plugin), Arc::clone(placement));
                    let mut stage = Stage::new(step, plugin, placement);
                    (stage.place, stage.ways) = (place, reach.to(place));
                    stages.push(stage);
                }
            }
        }
        let place_of = |step, place| {
            let mut stages = stages.iter();
            stages.position(|stage: &Stage| stage.step == step && stage.place == place)
        };
        let [handlers, conversing] =
            [Step::Handle, Step::WebSocket].map(|step| reach.order(|place| place_of(step, place)));
        let caches = stages.iter().any(|stage| stage.step == Step::Cache);
        let cache = match (caches, after.and_then(|after| after.cache.clone())) {
            (false, _) => None,
            (true, Some(cache)) => Some(cache),
            (true, None) => Some(new_cache(common)?),
        };
        let personal = cache::personal_headers(&stages);
        let takes_bodies = stages.iter().any(Stage::takes_bodies);
        let before = after.filter(|after| after.bodies.share() > 0 || !takes_bodies);
        let bodies = match before {
            Some(before) => Arc::clone(&before.bodies),
            None => new_bodies(takes_bodies, common)?,
        };
        let messages = match after {
            Some(after) => Arc::clone(&after.messages),
            // A quarter at most, and at least room for one of the longest each way.
            None => {
                budget.part((common.room() / 4).max(limits.websocket_message.saturating_mul(2)))
            }
        };
        Ok(Pipeline {
            plugins: plugins.into_iter().map(|(plugin, _)| plugin).collect(),
            stages,
            reach,
            handlers,
            conversing,
            cache,
            personal: personal.into(),
            underscore_headers: limits.underscore_headers,
            bodies,
            upstreams,
            time,
            messages,
            budget: Arc::clone(budget),
            nothing: None,
            retirement: Retirement::default(),
        })
    }

    /// Answers every request with 503 because of this, as one without plugins.
    pub fn because(self, nothing: String) -> Pipeline {
        Pipeline {
            nothing: Some(nothing),
            ..self
        }
    }

    /// Why it has no plugins, where it has none.
    pub fn nothing(&self) -> Option<&str> {
        self.nothing.as_deref()
    }

    /// Bytes of the memory budget that are set aside for it.
    pub fn set_aside(&self) -> usize {
        let plugins = self.plugins.iter().map(|plugin| plugin.set_aside());
        let cache = self.cache.as_ref().map_or(0, |cache| cache.figures().limit);
        self.bodies.share() + cache + plugins.sum::<usize>()
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

    /// Prepares the work on `request`; nothing happens until `responding` is polled.
    pub fn start(self: &Arc<Self>, request: Request) -> Started {
        let passage = Arc::new(Passage::new(self.time));
        let pipeline = Arc::clone(self);
        Started {
            responding: Box::pin(pipeline.run(request, Arc::clone(&passage))),
            passage,
        }
    }

    async fn run(
        self: Arc<Self>,
        mut request: Request,
        passage: Arc<Passage>,
    ) -> std::result::Result<Reply, Failure> {
        if let Some(nothing) = &self.nothing {
            return Err(Failure::NothingServed(nothing.clone()));
        }
        // All plugins of a daemon share the engine and its clock.
        let ticking = self.plugins.first().map(|plugin| plugin.working());
        let rounds = self.upstreams.rounds();
        let round = rounds.begin_round(&request.id, &request.head.headers)?;
        request.came_round = round.is_some();
        let at_work = AtWork {
            _ticking: ticking,
            _round: round,
            _pipeline: Arc::clone(&self),
        };
        if !self.underscore_headers {
            upstream::strip_doubles(&mut request.head.headers);
        }
        request.keep_personal(&self.personal);
        request.reached = self.reach.of(&request.head, &request.client);
        passage.set_services(self.services(&request));
        let mut reply = self.outer(request, &passage).await?;
        reply.tail.keep_until_end(at_work);
        Ok(reply)
    }

    /// Calls every stage of a step with the request, until one of them responds.
    async fn each(
        &self,
        step: Step,
        request: &mut Request,
        passage: &Passage,
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
                    // These are not called here, since they do more than look at the request on its
                    // way in.
                    Step::Cache | Step::WebSocket | Step::Handle => Ok(ControlFlow::Continue(())),
                }
            };
            let ran = stage.guard(&id, passage, running).await?;
            if step == Step::Route
                && let Some(to) = &request.upstream
            {
                passage.set_route(format!("{}:{}", to.host, to.port), &stage.plugin);
            }
            match ran {
                Some(ControlFlow::Break(response)) => {
                    trail.responder = Some(index);
                    return Ok(ControlFlow::Break(response));
                }
                Some(ControlFlow::Continue(())) => {
                    if matches!(step, Step::Middleware | Step::Transform) {
                        request.for_client.only_links = true;
                        trail.seen.push(index);
                    }
                }
                // The stage failed open, so it does not see the response either.
                None => {}
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// The stages of a step, with their indices.
    fn at(&self, step: Step) -> impl Iterator<Item = (usize, &Stage)> {
        let stages = self.stages.iter().enumerate();
        stages.filter(move |(_, stage)| stage.step == step)
    }

    /// The handlers that the request may reach, in the order in which they are asked: those to which its endpoint
    /// leads and whose paths cover it, up to the first that cannot pass it through. A stage that is meant for one of them takes part in the request.
    /// Otherwise a request that an earlier handler passes through would reach the later one without
    /// its guard.
    fn services(&self, request: &Request) -> Vec<Arc<Plugin>> {
        let path = narrowing::normalised(request.head.uri.path());
        let handlers = reached(&self.handlers, request.reached).map(|stage| &self.stages[stage]);
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
