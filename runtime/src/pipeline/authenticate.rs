//! `authenticate`: finds out who the client is.
//!
//! A browser cannot set headers on a request for a WebSocket. Such a request is authenticated by
//! the token in its subprotocol or query, which goes to `validate-token`.
//!
//! Runs first, for every request; once an authenticator knows the client, those behind it are not
//! asked. It may respond with 401 or 403. The claims that it returns reach later stages as
//! `claim.NAME` in the context, which a client's headers cannot change.

use std::ops::ControlFlow;
use std::sync::Arc;

use http::header::{HeaderValue, WWW_AUTHENTICATE};

use super::request::Request;
use super::stage::Stage;
use super::upgrade_token;
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
    if let Some(token) = upgrade_token(&request.head) {
        return Ok(match validate(stage, &request.id, &token).await? {
            Ok(claims) => {
                accept(claims, request)?;
                ControlFlow::Continue(())
            }
            Err(refused) => ControlFlow::Break(unknown(&refused.message)),
        });
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
    Ok(match stage.plugin.finish(running, called)? {
        AuthResult::Authenticated(claims) => {
            accept(claims, request)?;
            ControlFlow::Continue(())
        }
        AuthResult::Skip => ControlFlow::Continue(()),
        AuthResult::Denied(reason) => ControlFlow::Break(denied(&reason, request)),
        AuthResult::Challenge(challenge) => ControlFlow::Break(challenged(&challenge)?),
    })
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

/// Puts claims into the request's context.
fn accept(claims: Vec<KeyValue>, request: &mut Request) -> Result<(), Failure> {
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
    for KeyValue { key, value } in claims {
        request.set_context(&format!("claim.{key}"), &value);
    }
    request.is_authenticated = true;
    Ok(())
}

/// Makes the response to a denied client. Without any credentials it is 401, as the client may try
/// again with some (RFC 9110 section 15.5.2); else it is 403.
fn denied(reason: &str, request: &Request) -> Response {
    let headers = &request.head.headers;
    let reason = cut(reason, REASON_BYTES);
    if CREDENTIALS.iter().any(|name| headers.contains_key(name)) {
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
