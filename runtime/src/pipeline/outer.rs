//! The stages before the cache: who is let in, and what middlewares see.
//!
//! Middlewares see requests that were let in, and every response: also the 401 of an authenticator
//! and the 429 of a limiter, though they have not seen the request then. Without the fields that a
//! middleware adds, a page of another origin could not read such a response (CORS).
//!
//! For the same reason a middleware is shown a browser's preflight before anybody else. A preflight
//! has no credentials, so no authenticator would let it in, and the request that it asks for would
//! never be sent. A middleware responds to it with `abort(204, "")` from `on-request`, and adds the
//! `Access-Control-*` fields in `on-response`, which in this case it is asked for about its own
//! response, too. If none does, the preflight goes the way of all requests. What middlewares changed
//! in its head counts only behind the authenticators, so that none can make them believe anything.

use std::ops::ControlFlow;
use std::sync::Arc;

use http::Method;
use http::header::{ACCESS_CONTROL_REQUEST_METHOD, ORIGIN};

use super::passage::Passage;
use super::request::Request;
use super::stage::Step;
use super::trail::Trail;
use super::{Marks, Pipeline, Reply, authenticate, middleware, own};
use crate::failure::Failure;
use crate::message::{Response, Spellings};

impl Pipeline {
    /// Runs the stages before the cache: authentication, rate limits, and the middlewares, which
    /// see the response too.
    pub(super) async fn outer(
        self: &Arc<Self>,
        mut request: Request,
        passage: &Passage,
    ) -> Result<Reply, Failure> {
        let id = Arc::clone(&request.id);
        let mut trail = Trail::default();
        let watching: Vec<usize> = self
            .at(Step::Middleware)
            .filter(|(_, stage)| stage.applies(&request, passage))
            .map(|(index, _)| index)
            .collect();
        let replied = if watching.is_empty() {
            let admitted = self.admit(&mut request, passage, &mut trail).await?;
            if let ControlFlow::Break(response) = admitted {
                return Ok(response.into());
            }
            // Boxed here and below, since each place would hold all of it.
            // Most daemons have no limiters either: then the response goes out as it is.
            if trail.limit.is_none() {
                return Box::pin(self.cached(request, passage)).await;
            }
            passage
                .until_cut_off(Box::pin(self.cached(request, passage)))
                .await
        } else {
            let entering = self.enter(request, passage, &watching, &mut trail);
            // A response that comes in time is not cut off on its way out, nor is what it streams.
            passage.until_cut_off(entering).await
        };
        let mut reply = replied.unwrap_or_else(|failure| own::failure_reply(failure, &id));
        // The server may come to report a failure in the place of this response.
        passage.set_trail(&trail);
        let Reply {
            response,
            marks,
            tail,
        } = &mut reply;
        let leaving = async {
            self.respond_through_middlewares(&id, passage, &trail, response, marks)
                .await;
            Ok(())
        };
        if let Err(failure) = tail.beside(leaving).await {
            // Nothing of the response is written yet, so the client can still be told of the
            // failure.
            reply = self.report(failure, &id, passage).await;
        }
        Ok(reply)
    }

    /// The response that reports `failure`, with what middlewares and limiters make of it: for a
    /// request whose own response failed before any of it was written.
    pub async fn report(&self, failure: Failure, id: &Arc<str>, passage: &Passage) -> Reply {
        let mut reply = own::failure_reply(failure, id);
        if let Some(trail) = passage.trail() {
            let Reply {
                response, marks, ..
            } = &mut reply;
            self.respond_through_middlewares(id, passage, &trail, response, marks)
                .await;
        }
        reply
    }

    /// Takes a request past authenticators, limiters and the middlewares `watching`, and on to the
    /// cache. The trail tells afterwards which of them have to see the response.
    async fn enter(
        self: &Arc<Self>,
        mut request: Request,
        passage: &Passage,
        watching: &[usize],
        trail: &mut Trail,
    ) -> Result<Reply, Failure> {
        let mut changed = None;
        if is_preflight(&request) {
            let original = request.head.headers.clone();
            let entered = self
                .each(Step::Middleware, &mut request, passage, trail)
                .await?;
            if let ControlFlow::Break(response) = entered {
                trail.seen.extend(trail.responder);
                return Ok(response.into());
            }
            changed = Some(request.swap_headers(original));
        } else {
            trail.seen = watching.to_vec();
        }
        let admitted = self.admit(&mut request, passage, trail).await?;
        if let ControlFlow::Break(response) = admitted {
            return Ok(response.into());
        }
        match changed {
            Some(changed) => drop(request.swap_headers(changed)),
            None => {
                trail.seen.clear();
                let entered = self.each(Step::Middleware, &mut request, passage, trail);
                if let ControlFlow::Break(response) = entered.await? {
                    return Ok(response.into());
                }
            }
        }
        Box::pin(self.cached(request, passage)).await
    }

    /// Asks the authenticators and the rate limiters.
    async fn admit(
        &self,
        request: &mut Request,
        passage: &Passage,
        trail: &mut Trail,
    ) -> Result<ControlFlow<Response>, Failure> {
        let known = self
            .each(Step::Authenticate, request, passage, trail)
            .await?;
        if known.is_break() {
            return Ok(known);
        }
        let concluded = authenticate::conclude(request);
        if concluded.is_break() {
            return Ok(concluded);
        }
        let limited = self.each(Step::RateLimit, request, passage, trail).await?;
        if limited.is_break() {
            // The response tells how the client stands with the limiter that refused it.
            trail.limit = None;
        }
        Ok(limited)
    }

    /// Passes a response through the middlewares that have to see it, in reverse order, and adds
    /// how the client stands with the limiters. A middleware that fails does not end this: a
    /// response that reports the failure takes the place of the other.
    async fn respond_through_middlewares(
        &self,
        id: &Arc<str>,
        passage: &Passage,
        trail: &Trail,
        response: &mut Response,
        marks: &mut Marks,
    ) {
        for &index in trail.seen.iter().rev() {
            let stage = &self.stages[index];
            let (status, headers) = (response.status().as_u16(), response.headers());
            let spellings = Spellings::in_extensions(response.extensions());
            let running = middleware::on_response(stage, id, status, headers, spellings);
            match stage.guard(id, passage, running).await {
                Ok(Some(ControlFlow::Continue(fields))) => fields.put(response),
                Ok(Some(ControlFlow::Break(other))) => {
                    (*response, *marks) = (other, Marks::default());
                }
                Ok(None) => {}
                Err(failure) => {
                    let failed = own::failure_reply(failure, id);
                    (*response, *marks) = (failed.response, failed.marks);
                }
            }
        }
        if let Some(limit) = &trail.limit {
            limit.write_fields(response.headers_mut());
        }
    }
}

/// Whether a browser asks if it may send a request of another origin's page (the Fetch standard,
/// section 3.3.5).
fn is_preflight(request: &Request) -> bool {
    let head = &request.head;
    head.method == Method::OPTIONS
        && head.headers.contains_key(ORIGIN)
        && head.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}
