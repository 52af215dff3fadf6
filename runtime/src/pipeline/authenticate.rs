//! `authenticate`: finds out who the client is.
//!
//! Runs first, for every request; once an authenticator knows the client, those behind it are not
//! asked. It may respond with 401 or 403. The claims that it returns reach later stages as
//! `claim.NAME` in the context, which a client's headers cannot change.
//!
//! A browser cannot set headers on a request for a WebSocket, and puts its token into subprotocol
//! or query instead. Each authenticator is asked about that token first (`validate-token`). The
//! one that finds it valid takes it: it is then asked about the request as about any other, with
//! the token in `authorization`, and may still refuse it; the claims of both count. One that does
//! not know the token may refuse the request too, but cannot let it in: whoever brings a token
//! that nobody takes gets 401.

use std::ops::ControlFlow;
use std::sync::Arc;

use http::header::{HeaderValue, WWW_AUTHENTICATE};

use super::request::Request;
use super::stage::Stage;
use super::{fields, own};
use crate::failure::{Failure, REASON_BYTES};
use crate::host::authenticator::AuthResult;
use crate::host::common::{Error as Refused, KeyValue};
use crate::message::Response;
use crate::message::fields::CREDENTIALS;
use crate::redact::cut;

/// The most bytes of names and values that a request's claims may have.
const CLAIM_BYTES: usize = 16 << 10;
/// The most claims that a request may have.
const CLAIMS: usize = 128;

pub(super) async fn run(
    stage: &Stage,
    request: &mut Request,
) -> Result<ControlFlow<Response>, Failure> {
    if request.is_authenticated {
        return Ok(ControlFlow::Continue(()));
    }
    request.show_token(false);
    let token = request.token.as_ref().map(|token| token.text().to_owned());
    let (mut claims, mut refused) = (None, None);
    if let Some(token) = token {
        match validate(stage, &request.id, &token).await? {
            Ok(found) => {
                check(&found)?;
                claims = Some(found);
                request.show_token(true);
            }
            // The rest is not kept: the request may have to wait for the next call.
            Err(error) => refused = Some(cut(&error.message, REASON_BYTES).into_owned()),
        }
    }
    // This comes before an instance is taken, which a method that the contract does not know would
    // waste.
    request.record()?;
    let mut running = stage.plugin.instance(&request.id).await?;
    let (store, guests) = running.parts();
    let Some(guest) = &guests.authenticator else {
        return Ok(ControlFlow::Continue(()));
    };
    let called = guest.call_authenticate(store, &*request.record()?).await;
    let verdict = stage.plugin.finish(running, called)?;
    let has_token = claims.is_some();
    match (verdict, &refused) {
        (AuthResult::Authenticated(more), None) => {
            check(&more)?;
            // In this order the later ones replace those of the same name.
            claims.get_or_insert_default().extend(more);
        }
        (AuthResult::Authenticated(_), Some(_)) | (AuthResult::Skip, _) => {}
        (AuthResult::Denied(_) | AuthResult::Challenge(_), Some(reason)) => {
            return Ok(ControlFlow::Break(unknown(reason)));
        }
        (AuthResult::Denied(reason), None) => {
            return Ok(ControlFlow::Break(denied(&reason, request, has_token)));
        }
        (AuthResult::Challenge(challenge), None) => {
            return Ok(ControlFlow::Break(challenged(&challenge)?));
        }
    }
    match (claims, refused) {
        (Some(claims), _) => accept(claims, request),
        (None, Some(reason)) => {
            if let Some(token) = &mut request.token {
                token.refuse(reason);
            }
        }
        (None, None) => {}
    }
    Ok(ControlFlow::Continue(()))
}

/// Ends the stage once all authenticators were asked: a token that was refused and that nobody has
/// taken is 401.
pub(super) fn conclude(request: &mut Request) -> ControlFlow<Response> {
    match request.settle_token() {
        Ok(()) => ControlFlow::Continue(()),
        Err(reason) => ControlFlow::Break(unknown(&reason)),
    }
}

/// Asks the authenticator for its verdict on a bare token.
pub(super) async fn validate(
    stage: &Stage,
    id: &Arc<str>,
    token: &str,
) -> Result<Result<Vec<KeyValue>, Refused>, Failure> {
    let mut running = stage.plugin.instance(id).await?;
    let (store, guests) = running.parts();
    let Some(guest) = &guests.authenticator else {
        return Err(Failure::PassThrough);
    };
    let called = guest.call_validate_token(store, token).await;
    stage.plugin.finish(running, called)
}

/// Checks that claims are within their bounds.
fn check(claims: &[KeyValue]) -> Result<(), Failure> {
    let bytes: usize = claims
        .iter()
        .map(|claim| claim.key.len() + claim.value.len())
        .sum();
    if claims.len() > CLAIMS || bytes > CLAIM_BYTES {
        return Err(Failure::BadResponse(format!(
            "{} claims of {bytes} bytes; at most {CLAIMS} and {CLAIM_BYTES}",
            claims.len()
        )));
    }
    Ok(())
}

/// Puts claims into the request's context.
fn accept(claims: Vec<KeyValue>, request: &mut Request) {
    for KeyValue { key, value } in claims {
        request.set_context(&format!("claim.{key}"), &value);
    }
    request.is_authenticated = true;
    if let Some(token) = &mut request.token {
        token.take();
    }
}

/// Makes the response to a denied client. Without any credentials it is 401, as the client may try
/// again with some (RFC 9110 section 15.5.2); else it is 403.
fn denied(reason: &str, request: &Request, has_token: bool) -> Response {
    let headers = &request.head.headers;
    let reason = cut(reason, REASON_BYTES);
    if has_token || CREDENTIALS.iter().any(|name| headers.contains_key(name)) {
        return own::text(403, &reason);
    }
    let mut response = own::text(401, &reason);
    let challenge = HeaderValue::from_static("Bearer");
    response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    response
}

/// Makes the response to a token that is not valid (RFC 6750 section 3.1).
fn unknown(reason: &str) -> Response {
    let mut response = own::text(401, &cut(reason, REASON_BYTES));
    let challenge = HeaderValue::from_static("Bearer error=\"invalid_token\"");
    response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    response
}

fn challenged(challenge: &str) -> Result<Response, Failure> {
    // The field holds at least one challenge (RFC 9110 section 11.6.1).
    let value = fields::value("challenge", challenge)?;
    let mut response = own::text(401, "this needs credentials");
    response.headers_mut().insert(WWW_AUTHENTICATE, value);
    Ok(response)
}
