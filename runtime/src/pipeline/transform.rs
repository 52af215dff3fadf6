//! `transform`: changes what the handler sees of a request, and what it returns.
//!
//! Runs after the route is chosen, since it cannot change the path. Bodies that it is called with
//! are held whole, up to a limit. A deployment can switch that off (`wasm.bodies`), since it is not
//! known beforehand whether a transformer would change the body at all.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ACCEPT_ENCODING, CONTENT_LENGTH, HeaderValue, IF_RANGE, RANGE, TRANSFER_ENCODING,
};
use http::{HeaderMap, Method};
use http_body::Body as _;
use zlayer_http1::forbids_body;

use super::bodies::{WholeBodies, content_coding};
use super::fields;
use super::request::Request;
use super::stage::Stage;
use crate::failure::Failure;
use crate::memory::Reservation;
use crate::message::{Response, Spellings, endless, whole};

pub(super) async fn run(
    stage: &Stage,
    request: &mut Request,
    bodies: &WholeBodies,
) -> Result<ControlFlow<Response>, Failure> {
    let mut running = stage.plugin.instance(&request.id).await?;
    let (store, guests) = running.parts();
    let Some(guest) = &guests.transformer else {
        return Ok(ControlFlow::Continue(()));
    };
    let headers = fields::to_list(&request.head.headers);
    // A request without a body has none to be transformed.
    let wanted = stage.bodies.request;
    let body = request
        .whole_body()
        .filter(|body| wanted && !body.is_empty());
    let called = async {
        let headers = guest
            .call_transform_request_headers(&mut *store, &headers)
            .await?;
        // The list is not kept as it is during the next call, which may take long.
        let fields = fields::replace_request(&request.head, headers);
        let body = match body.filter(|_| fields.is_ok()) {
            Some(body) => Some(guest.call_transform_request_body(&mut *store, body).await?),
            None => None,
        };
        Ok((fields, body))
    };
    let called = called.await;
    let (fields, body) = stage.plugin.finish(running, called)?;
    let fields = fields?;
    if let Some(body) = body {
        request.replace_body(body, bodies)?;
    }
    request.set_fields(fields);
    request.mend_length();
    Ok(ControlFlow::Continue(()))
}

/// A response's body, and the memory that it is charged to.
pub(super) type Read = (Bytes, Option<Reservation>);

/// Why the body of a response can be shown to no transformer, as far as its head tells.
fn unshowable(headers: &HeaderMap) -> Option<String> {
    if let Some(reason) = endless(headers) {
        return Some(format!("streams without end ({reason})"));
    }
    let coding = content_coding(headers)?;
    Some(format!(
        "is encoded ({coding}), though nobody asked for that"
    ))
}

/// Asks those who respond for what a transformer can be shown: a body that is not compressed, and
/// the whole of it, since in a part nobody finds what is cut in two.
pub(super) fn ask_for_plain(request: &mut Request) {
    let mut headers = request.head.headers.clone();
    if request.upstream.is_some() || headers.contains_key(ACCEPT_ENCODING) {
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    }
    headers.remove(RANGE);
    headers.remove(IF_RANGE);
    request.set_headers(headers);
}

/// Reads a response's body, if this stage is to see it. How long the responder takes, and what it
/// does wrong, is not counted as the stage's: this happens outside of the stage's guard.
pub(super) async fn read(
    stage: &Stage,
    bodies: &WholeBodies,
    method: &Method,
    response: &mut Response,
    upstream: Option<&str>,
    time: Duration,
) -> Result<Option<Read>, Failure> {
    let has_body = *method != Method::HEAD
        && !forbids_body(response.status().as_u16())
        && !response.body().is_end_stream();
    if !has_body || !stage.bodies.response {
        return Ok(None);
    }
    let read = match unshowable(response.headers()) {
        Some(reason) => Err(Failure::Unshowable(reason)),
        None => bodies.read_response(response.body_mut(), time).await,
    };
    let (body, held) = read.map_err(|cause| match upstream {
        _ if matches!(cause, Failure::Unshowable(_)) => {
            let whose = upstream.map_or(String::new(), |name| format!(" of upstream {name}"));
            let spared = match stage.bodies.request {
                true => "request",
                false => "none",
            };
            stage.unshown(Failure::Unshowable(format!(
                "the response's body{whose} {cause}, and a transformer is shown it whole or not at all; \
                 `wasm.bodies: {spared}` in the service {} lets it pass unseen",
                stage.plugin.name()
            )))
        }
        Some(name) if matches!(cause, Failure::BadResponse(_)) => cause.of_upstream(name),
        _ => stage.unshown(cause),
    })?;
    Ok(Some((body.into(), held)))
}

/// Has the stage change a response: its headers, then its body if it was read. If that fails, the
/// response is as it was.
pub(super) async fn on_response(
    stage: &Stage,
    id: &Arc<str>,
    bodies: &WholeBodies,
    method: &Method,
    response: &mut Response,
    read: &mut Option<Read>,
) -> Result<(), Failure> {
    let mut running = stage.plugin.instance(id).await?;
    let (store, guests) = running.parts();
    let Some(guest) = &guests.transformer else {
        return Ok(());
    };
    let old = response.headers();
    let headers = fields::to_list(old);
    let spellings = Spellings::in_extensions(response.extensions());
    let called = async {
        let headers = guest
            .call_transform_response_headers(&mut *store, &headers)
            .await?;
        let fields = fields::replace(old, &spellings, headers);
        let body = match read.as_ref().filter(|_| fields.is_ok()) {
            Some((body, _)) => Some(
                guest
                    .call_transform_response_body(&mut *store, body)
                    .await?,
            ),
            None => None,
        };
        Ok((fields, body))
    };
    let called = called.await;
    let (fields, new_body) = stage.plugin.finish(running, called)?;
    let fields = fields?;
    if let Some((new_body, (body, held))) = new_body.zip(read.as_mut()) {
        bodies.recharge_response(held, new_body.len())?;
        *body = new_body.into();
    }
    fields.put(response);
    if let Some((body, _)) = read {
        let headers = response.headers_mut();
        headers.remove(TRANSFER_ENCODING);
        headers.insert(CONTENT_LENGTH, body.len().into());
    } else if stage.bodies.response && *method == Method::HEAD {
        // It is not known how long the transformed body would be.
        response.headers_mut().remove(CONTENT_LENGTH);
        *response.body_mut() = whole("", None);
    }
    Ok(())
}
