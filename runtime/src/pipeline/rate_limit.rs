//! `rate-limit`: refuses clients that ask too often.
//!
//! Runs once the client is known, so that limits can be per identity. It may respond with 429.
//! Every response tells the client how it stands, in `RateLimit-*` fields. If there are several
//! limiters, the one that leaves the client the fewest requests counts.

use std::ops::ControlFlow;
use std::sync::Arc;

use http::header::RETRY_AFTER;

use super::own;
use super::request::Request;
use super::stage::Stage;
use super::standing::{RateLimit, seconds};
use crate::failure::Failure;
use crate::host::rate_limiter::RateLimitResult;
use crate::message::Response;

pub(super) async fn run(
    stage: &Stage,
    request: &mut Request,
    standing: &mut Option<RateLimit>,
) -> Result<ControlFlow<Response>, Failure> {
    // This comes before an instance is taken, which a method that the contract does not know would
    // waste.
    request.record()?;
    let mut running = stage.plugin.instance(&request.id).await?;
    let (store, guests) = running.parts();
    let Some(guest) = &guests.rate_limiter else {
        return Ok(ControlFlow::Continue(()));
    };
    let called = guest.call_check(store, &*request.record()?).await;
    Ok(match stage.plugin.finish(running, called)? {
        RateLimitResult::Allowed(info) => {
            let told = RateLimit::from(&info);
            if standing.is_none_or(|known| told.remaining < known.remaining) {
                *standing = Some(told);
            }
            ControlFlow::Continue(())
        }
        RateLimitResult::Denied(info) => {
            let mut response = own::text(429, "too many requests");
            let headers = response.headers_mut();
            RateLimit::from(&info).write_fields(headers);
            // At least one second, since a client that is told to come back at once would do so.
            let wait = seconds(info.retry_after.unwrap_or(info.reset_after)).max(1);
            headers.insert(RETRY_AFTER, wait.into());
            ControlFlow::Break(response)
        }
    })
}

/// Asks the limiter how a client stands, without counting a request.
pub(super) async fn standing(
    stage: &Stage,
    id: &Arc<str>,
    key: &str,
) -> Result<Option<RateLimit>, Failure> {
    let mut running = stage.plugin.instance(id).await?;
    let (store, guests) = running.parts();
    let Some(guest) = &guests.rate_limiter else {
        return Ok(None);
    };
    let called = guest.call_status(store, key).await;
    let info = stage.plugin.finish(running, called)?;
    Ok(info.as_ref().map(RateLimit::from))
}
