//! A plugin in one of its roles, at its place in the order.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::Instant;

use zlayer_bundle::{Bodies, Role};

use super::bodies::{WholeBodies, content_coding};
use super::narrowing;
use super::passage::Passage;
use super::reach::Reached;
use super::readings;
use super::request::Request;
use crate::cache::Fault;
use crate::config::{BodyAccess, OnFailure, Placement};
use crate::failure::Failure;
use crate::plugin::Plugin;
use crate::stats::Outcome;

/// A place in the way of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Finds out who the client is.
    Authenticate,
    /// Refuses clients that ask too often.
    RateLimit,
    /// Looks at the heads of requests and responses.
    Middleware,
    /// Responses that were stored before.
    Cache,
    /// Chooses where the request goes.
    Route,
    /// Decides whether a WebSocket conversation may begin.
    WebSocket,
    /// Changes what the handler sees of the request, and what the client sees of the response.
    Transform,
    /// Makes the response.
    Handle,
}

impl Step {
    /// The order in which a request passes the steps. Middlewares and transformers see the response
    /// too, in reverse order.
    pub const ORDER: [Step; 8] = [
        Step::Authenticate,
        Step::RateLimit,
        Step::Middleware,
        Step::Cache,
        Step::Route,
        Step::WebSocket,
        Step::Transform,
        Step::Handle,
    ];

    /// Its name in the status and in the log.
    pub fn name(self) -> &'static str {
        match self {
            Step::Authenticate => "authenticate",
            Step::RateLimit => "rate-limit",
            Step::Middleware => "middleware",
            Step::Cache => "cache",
            Step::Route => "route",
            Step::WebSocket => "websocket",
            Step::Transform => "transform",
            Step::Handle => "handle",
        }
    }

    /// The roles that take part in it.
    pub(super) fn roles(self) -> &'static [Role] {
        match self {
            Step::Authenticate => &[Role::Authenticator],
            Step::RateLimit => &[Role::RateLimiter],
            Step::Middleware => &[Role::Middleware],
            Step::Cache => &[Role::Cache],
            Step::Route => &[Role::Router],
            Step::WebSocket => &[Role::WebSocket],
            Step::Transform => &[Role::Transformer],
            Step::Handle => &[Role::Handler, Role::HttpHandler],
        }
    }

    /// Whether a request goes on when the stage fails, unless the deployment says otherwise: a
    /// broken limiter or cache should not take the service down, but no request may pass a broken
    /// authenticator.
    fn on_failure(self) -> OnFailure {
        match self {
            Step::RateLimit | Step::Cache => OnFailure::Open,
            _ => OnFailure::Closed,
        }
    }
}

/// Whether a plugin may hold whole bodies in this role; its author says `bodies` of a transformer.
pub fn takes_bodies(role: Role, placement: &Placement, bodies: Option<Bodies>) -> bool {
    match role {
        Role::Authenticator | Role::RateLimiter | Role::Router => {
            placement.request_body == BodyAccess::Whole
        }
        Role::Transformer => {
            let bodies = placement.bodies.or(bodies).unwrap_or_default();
            bodies.request || bodies.response
        }
        Role::Handler => true,
        Role::HttpHandler | Role::Middleware | Role::Cache | Role::WebSocket => false,
    }
}

/// A plugin at its place in the order.
pub struct Stage {
    pub(super) step: Step,
    /// Where its plugin stands in the declared order.
    pub(super) place: usize,
    /// The ways to its plugin.
    pub(super) ways: Reached,
    pub(super) plugin: Arc<Plugin>,
    pub(super) placement: Arc<Placement>,
    /// Which bodies a transformer takes: what the deployment says, else what its author says.
    pub(super) bodies: Bodies,
    on_failure: OnFailure,
    /// The faults of the plugin that were logged already, as bits.
    logged: AtomicU8,
    /// Whether it was told that a request's body could not be shown to it.
    told_unshown: AtomicBool,
}

impl Stage {
    pub(super) fn new(step: Step, plugin: Arc<Plugin>, placement: Arc<Placement>) -> Stage {
        Stage {
            step,
            place: 0,
            ways: Reached::default(),
            on_failure: placement.on_failure.unwrap_or(step.on_failure()),
            bodies: placement.bodies.or(plugin.bodies()).unwrap_or_default(),
            plugin,
            placement,
            logged: AtomicU8::new(0),
            told_unshown: AtomicBool::new(false),
        }
    }

    /// Logs, once for each fault, that a response which the plugin wants stored is not stored.
    pub(super) fn log_fault(&self, fault: Fault) {
        if self.logged.fetch_or(fault.bit(), Ordering::Relaxed) & fault.bit() == 0 {
            log::warn!(
                "cache by plugin {}: an answer is not stored: {fault}; said once, however often it happens",
                self.plugin.name()
            );
        }
    }

    /// Whether it may hold whole bodies.
    pub(super) fn takes_bodies(&self) -> bool {
        let played = { self.step.roles().iter() }.filter(|role| self.plugin.plays(**role));
        let mut played = played.copied();
        played.any(|role| takes_bodies(role, &self.placement, self.plugin.bodies()))
    }

    /// Whether it takes part in this request.
    pub(super) fn applies(&self, request: &Request, passage: &Passage) -> bool {
        let Placement {
            paths, services, ..
        } = &*self.placement;
        // A stage may be meant for some handlers alone. That does not apply to the handlers
        // themselves.
        let serves = |names: &Vec<String>| {
            let mut services = passage.services().iter();
            services.any(|service| names.iter().any(|name| name == service.name()))
        };
        let path = request.head.uri.path();
        // How a handler reads a path is not known: a guard holds for all places that it may mean.
        let covered = || match self.step {
            Step::Handle => self.covers(&narrowing::normalised(path)),
            _ => readings::any(path, |reading| self.placement.guards(reading)),
        };
        (!self.answers() || request.reached.has(self.ways))
            && (self.step == Step::Handle || services.as_ref().is_none_or(serves))
            && (paths.is_none() || covered())
    }

    /// Whether it may answer requests, so that its service is reached by its endpoints alone.
    pub(super) fn answers(&self) -> bool {
        matches!(self.step, Step::Handle | Step::WebSocket | Step::Route)
    }

    /// Whether its paths cover a normalised path.
    pub(super) fn covers(&self, path: &str) -> bool {
        self.placement.covers(path)
    }

    /// Reads the body of the request, if this stage is to see it. The time that the client takes to
    /// send it is not counted as the stage's.
    pub(super) async fn prepare(
        &self,
        request: &mut Request,
        bodies: &WholeBodies,
    ) -> Result<(), Failure> {
        let placement = &self.placement;
        match self.step {
            Step::Authenticate | Step::RateLimit | Step::Route => {
                request.prepare(bodies, placement.request_body).await
            }
            Step::Transform if self.bodies.request => {
                let read = match content_coding(&request.head.headers) {
                    Some(coding) if request.has_body() => Err(Failure::EncodedBody(coding)),
                    _ => request.read_whole(bodies).await,
                };
                read.inspect_err(|failure| self.tell_unshown(&request.id, failure))
            }
            _ => Ok(()),
        }
    }

    /// Tells of a request whose body the transformer was to see and cannot be shown. That is the
    /// client's doing, so it is told once, but the owner decides whether it has to be so.
    fn tell_unshown(&self, id: &Arc<str>, failure: &Failure) {
        let unshown = matches!(failure, Failure::BodyTooLarge(_) | Failure::EncodedBody(_));
        if unshown && !self.told_unshown.swap(true, Ordering::Relaxed) {
            let spared = match self.bodies.response {
                true => "response",
                false => "none",
            };
            let name = self.plugin.name();
            log::warn!(
                "[{id}] transform by plugin {name}: {failure}; `wasm.bodies: {spared}` in its service spares it \
                 the bodies of requests; said once, however often it happens"
            );
        }
    }

    /// Waits for `running` as long as this stage may take. Returns `None` if the stage failed and
    /// the request goes on without it.
    pub(super) async fn guard<T>(
        &self,
        id: &Arc<str>,
        passage: &Passage,
        running: impl Future<Output = Result<T, Failure>>,
    ) -> Result<Option<T>, Failure> {
        let before = passage.set_at_work(Some(&self.plugin));
        let started = Instant::now();
        let running = pin!(running);
        let most = Some(passage.allowance());
        let ran = self.plugin.in_time(id, most, running).await;
        passage.add_spent(started.elapsed());
        passage.set_at_work(before.as_ref());
        let stats = &self.plugin.host().stats;
        let failure = match ran {
            Ok(answer) => {
                stats.count_request(Outcome::Answered);
                return Ok(Some(answer));
            }
            // No plugin can be called with this request: that is the client's failure alone.
            Err(failure) if failure.is_clients() => return Err(failure),
            Err(failure) => failure,
        };
        stats.count_request(failure.outcome());
        if failure.outcome() == Outcome::Deadline {
            stats.add_late(
                Some(Arc::clone(id)),
                failure.is_own_delay(),
                &failure.to_string(),
            );
        }
        let failure = self.failure(failure, true);
        match self.on_failure {
            OnFailure::Closed => Err(failure),
            OnFailure::Open => {
                log::warn!("[{id}] goes on without its stage: {failure}");
                Ok(None)
            }
        }
    }

    /// The failure of a request for which this stage failed. Whether it `is_counted` as its plugin's fault.
    fn failure(&self, cause: Failure, is_counted: bool) -> Failure {
        Failure::Stage {
            step: self.step.name(),
            plugin: self.plugin.name().to_owned(),
            cause: Box::new(cause),
            is_counted,
        }
    }

    /// The same where it cannot be shown what it was to see, which is not its fault.
    pub(super) fn unshown(&self, cause: Failure) -> Failure {
        self.failure(cause, false)
    }
}
