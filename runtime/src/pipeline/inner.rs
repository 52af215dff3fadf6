//! The stages behind the cache: routes, WebSocket, transformers and the handler.

use std::ops::ControlFlow;
use std::pin::Pin;

use http_body_util::BodyExt;
use zlayer_bundle::Role;

use super::passage::Passage;
use super::request::Request;
use super::stage::Step;
use super::trail::Trail;
use super::{Marks, Pipeline, Reply, handle, transform};
use crate::failure::Failure;
use crate::message::{Response, whole};
use crate::stats::Outcome;
use crate::upstream::{self, Forwarded};

impl Pipeline {
    /// Runs the stages behind the cache: routes, WebSocket, transformers and the handler. Boxed, since
    /// the cache waits for it in many places, each of which would hold all of it.
    pub(super) fn inner<'a>(
        &'a self,
        request: &'a mut Request,
        passage: &'a Passage,
    ) -> Pin<Box<impl Future<Output = Result<Reply, Failure>> + 'a>> {
        Box::pin(self.behind_the_cache(request, passage))
    }

    async fn behind_the_cache(
        &self,
        request: &mut Request,
        passage: &Passage,
    ) -> Result<Reply, Failure> {
        let mut trail = Trail::default();
        let flow = self.each(Step::Route, request, passage, &mut trail);
        if let ControlFlow::Break(response) = flow.await? {
            return Ok(response.into());
        }
        if let ControlFlow::Break(reply) = self.converse(request, passage).await? {
            return Ok(reply);
        }
        let flow = self.each(Step::Transform, request, passage, &mut trail);
        if let ControlFlow::Break(response) = flow.await? {
            return Ok(response.into());
        }
        let mut seeing = trail.seen.iter().map(|&index| &self.stages[index]);
        if seeing.any(|stage| stage.bodies.response) {
            transform::ask_for_plain(request);
        }
        let mut reply = self.handle(request, passage).await?;
        if !trail.seen.is_empty() {
            let Reply {
                response,
                marks,
                tail,
            } = &mut reply;
            let upstream = marks.upstream.as_deref();
            let transforming =
                self.respond_through_transformers(request, passage, &trail, response, upstream);
            tail.beside(transforming).await?;
        }
        Ok(reply)
    }

    /// Forwards the request to the upstream that a router chose, or else asks the handlers in order
    /// until one responds.
    async fn handle(&self, request: &mut Request, passage: &Passage) -> Result<Reply, Failure> {
        if let Some(mut to) = request.upstream.take() {
            to.client = request.for_client.clone();
            to.client.expects_continue = request.expects_continue();
            let (head, body) = (request.head.clone(), request.stream().boxed_unsync());
            let (client, id) = (&request.client, &request.id);
            let sent = upstream::forward(&self.upstreams, head, body, client, &to, id);
            let Forwarded { response, upstream } = sent.await?;
            let marks = Marks {
                upstream,
                ..Marks::default()
            };
            return Ok(Reply::marked(response, marks));
        }
        for plugin in passage.services() {
            passage.set_at_work(Some(plugin));
            if plugin.plays(Role::Handler)
                && let Some(response) = handle::typed(plugin, request, &self.bodies).await?
            {
                return Ok(response.into());
            }
            if plugin.plays(Role::HttpHandler) {
                return handle::wasi_http(plugin, request).await;
            }
            plugin.host().stats.count_request(Outcome::NotHandled);
            passage.set_at_work(None);
        }
        if let Some(response) = self.malformed_upgrade(request, passage) {
            return Ok(response.into());
        }
        Err(Failure::PassThrough)
    }

    /// Passes a response through the transformers that have seen its request, in reverse order.
    async fn respond_through_transformers(
        &self,
        request: &Request,
        passage: &Passage,
        trail: &Trail,
        response: &mut Response,
        upstream: Option<&str>,
    ) -> Result<(), Failure> {
        let (id, method, bodies) = (&request.id, &request.head.method, &self.bodies);
        for &index in trail.seen.iter().rev() {
            let stage = &self.stages[index];
            let time = passage.before_deadline();
            let reading = transform::read(stage, bodies, method, response, upstream, time);
            let mut read = reading.await?;
            let running = transform::on_response(stage, id, bodies, method, response, &mut read);
            stage.guard(id, passage, running).await?;
            if let Some((body, held)) = read {
                *response.body_mut() = whole(body, held);
            }
        }
        Ok(())
    }
}
