//! `route`: decides where a request goes.
//!
//! Runs after the middlewares. The verdict of the first router that has one counts: an upstream, a
//! redirect, or a response of its own. If no router has one, the request goes to the handlers.

use std::ops::ControlFlow;
use std::sync::Arc;

use http::header::LOCATION;

use super::bodies::WholeBodies;
use super::request::Request;
use super::stage::Stage;
use super::{fields, own};
use crate::failure::Failure;
use crate::host::http_types::{ImmediateResponse, RedirectInfo, RoutingDecision, Upstream};
use crate::message::{Response, final_status};
use crate::plugin::SHOWN_BYTES;
use crate::redact::cut;
use crate::upstream::{Sender, Target};

/// The longest host of an upstream, in bytes: the longest name (RFC 1035 section 2.3.4) several
/// times.
const HOST_BYTES: usize = 1 << 10;

pub(super) async fn run(
    stage: &Stage,
    request: &mut Request,
    bodies: &WholeBodies,
) -> Result<ControlFlow<Response>, Failure> {
    if request.upstream.is_some() {
        return Ok(ControlFlow::Continue(()));
    }
    let metadata = request.metadata();
    // This comes before an instance is taken, which a method that the contract does not know would
    // waste.
    request.record()?;
    let mut running = stage.plugin.instance(&request.id).await?;
    let (store, guests) = running.parts();
    let Some(guest) = &guests.router else {
        return Ok(ControlFlow::Continue(()));
    };
    let called = guest
        .call_route(store, &*request.record()?, &metadata)
        .await;
    match stage.plugin.finish(running, called)? {
        RoutingDecision::ContinueProcessing => Ok(ControlFlow::Continue(())),
        RoutingDecision::Forward(upstream) => {
            let host = stage.plugin.host();
            let mut to = target(&upstream, &host.sender)?;
            to.share = Some(Arc::clone(&host.share));
            request.upstream = Some(to);
            Ok(ControlFlow::Continue(()))
        }
        RoutingDecision::Redirect(to) => redirected(&to).map(ControlFlow::Break),
        RoutingDecision::RespondImmediate(immediate) => {
            to_response(immediate, bodies).await.map(ControlFlow::Break)
        }
    }
}

/// Makes a redirect. `preserve-body` is not read, because the status already says it: 307 and 308
/// keep method and body (RFC 9110 section 15.4).
fn redirected(to: &RedirectInfo) -> Result<Response, Failure> {
    if !matches!(to.status, 301 | 302 | 303 | 307 | 308) {
        return Err(Failure::BadResponse(format!(
            "redirect with status {}",
            to.status
        )));
    }
    let location = fields::value("location", &to.location)?;
    // The same characters are allowed as in a request's target: browsers send `|`, `{` and the like
    // as they are, and a router that keeps the query sends them back.
    if !to.location.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Failure::BadResponse(format!(
            "location {:?}: blanks and what is not ASCII have to be percent-encoded",
            cut(&to.location, SHOWN_BYTES)
        )));
    }
    let mut response = own::text(to.status, &to.location);
    response.headers_mut().insert(LOCATION, location);
    Ok(response)
}

async fn to_response(
    immediate: ImmediateResponse,
    bodies: &WholeBodies,
) -> Result<Response, Failure> {
    let status = final_status(immediate.status)?;
    // Before the body, which may have to wait for memory.
    let fields = fields::from_list(immediate.headers)?;
    let mut response = http::Response::new(bodies.response_body(immediate.body).await?);
    *response.status_mut() = status;
    fields.put(&mut response);
    Ok(response)
}

/// Converts the upstream that a router, the `sender`, named. The request keeps it until it is
/// forwarded, and may have to wait for its body or for other stages before that.
///
/// # Errors
///
/// The host's name is longer than any that there is.
fn target(upstream: &Upstream, sender: &Arc<Sender>) -> Result<Target, Failure> {
    if upstream.host.len() > HOST_BYTES {
        return Err(Failure::BadResponse(format!(
            "an upstream whose host has {} bytes; at most {HOST_BYTES}: {:?}",
            upstream.host.len(),
            cut(&upstream.host, SHOWN_BYTES)
        )));
    }
    let (connect, request) = (upstream.connect_timeout, upstream.request_timeout);
    Ok(Target::new(
        &upstream.host,
        upstream.port,
        upstream.tls,
        connect,
        request,
        sender,
    ))
}
