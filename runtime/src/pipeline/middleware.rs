//! `middleware`: looks at the heads of requests, and of their responses on the way back.
//!
//! Runs in the declared order for requests that were let in, and in reverse order for their
//! responses, including those that report a failure. A middleware may replace the list of headers,
//! or respond itself.

use std::ops::ControlFlow;
use std::sync::Arc;

use http::HeaderMap;

use super::fields::Fields;
use super::request::Request;
use super::stage::Stage;
use super::{fields, own};
use crate::failure::Failure;
use crate::host::middleware::MiddlewareAction;
use crate::message::{Response, Spellings};

pub(super) async fn run(
    stage: &Stage,
    request: &mut Request,
) -> Result<ControlFlow<Response>, Failure> {
    let mut running = stage.plugin.instance(&request.id).await?;
    let (store, guests) = running.parts();
    let Some(guest) = &guests.middleware else {
        return Ok(ControlFlow::Continue(()));
    };
    let head = &request.head;
    let headers = fields::to_list(&head.headers);
    let (method, path) = (head.method.as_str(), head.uri.path());
    let called = guest
        .call_on_request(store, method, path, &headers, &request.metadata())
        .await;
    match stage.plugin.finish(running, called)? {
        MiddlewareAction::ContinueWith(list) => {
            let fields = fields::replace_request(&request.head, list)?;
            request.set_fields(fields);
            Ok(ControlFlow::Continue(()))
        }
        MiddlewareAction::Abort((status, text)) => {
            own::refusal(status, &text).map(ControlFlow::Break)
        }
    }
}

/// Shows the middleware a response. The response goes on with the headers that it returns, or the
/// middleware's own response takes its place.
pub(super) async fn on_response(
    stage: &Stage,
    id: &Arc<str>,
    status: u16,
    headers: &HeaderMap,
    spellings: Spellings,
) -> Result<ControlFlow<Response, Fields>, Failure> {
    let mut running = stage.plugin.instance(id).await?;
    let (store, guests) = running.parts();
    let Some(guest) = &guests.middleware else {
        return Ok(ControlFlow::Continue(Fields {
            headers: headers.clone(),
            spellings,
        }));
    };
    let list = fields::to_list(headers);
    let called = guest.call_on_response(store, status, &list).await;
    match stage.plugin.finish(running, called)? {
        MiddlewareAction::ContinueWith(list) => {
            fields::replace(headers, &spellings, list).map(ControlFlow::Continue)
        }
        MiddlewareAction::Abort((status, text)) => {
            own::refusal(status, &text).map(ControlFlow::Break)
        }
    }
}
