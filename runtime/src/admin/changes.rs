//! Commands that change which deployment is served, or whom the daemon trusts.

use std::future::ready;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use super::deployments::{Changed, Changing, Trial, Uploaded};
use super::message::{Request, Response};
use super::query::pairs;
use super::reading::{INSTALL, TRUST};
use super::upload::Pieces;
use super::view::View;
use crate::error::{Error, Result};
use crate::redact;

/// What stands in front of the settings that do not hold yet.
pub const AT_NEXT_START: &str = "what it says of these holds from the daemon's next start: ";

/// Begins the change that `request` asks for; `pieces` reads what it uploads.
pub(super) fn begin(
    view: &View,
    request: &Request,
    pieces: Pieces,
) -> Pin<Box<dyn Future<Output = Response> + Send>> {
    let deployments = Arc::clone(&view.deployments);
    let changing: Changing = match request.path.as_str() {
        INSTALL => deployments.install(uploaded(request, "the bundle", pieces)),
        TRUST => {
            let telling = deployments.trust(uploaded(request, "the trust list", pieces));
            return Box::pin(async move {
                match telling.await {
                    Ok(told) => Response::text(200, &told),
                    Err(error) => refused(&error),
                }
            });
        }
        "/rollback" => match wanted(request.query.as_deref().unwrap_or_default()) {
            Ok(to) => deployments.roll_back(to),
            Err(error) => Box::pin(ready(Err(error))),
        },
        _ => deployments.uninstall(),
    };
    Box::pin(async move { respond(changing.await) })
}

/// What `request` sends, under the name that it says, or else under this one.
fn uploaded(request: &Request, usual: &str, pieces: Pieces) -> Uploaded {
    let mut said = pairs(request.query.as_deref().unwrap_or_default());
    let name = said.find(|(key, name)| key == "name" && !name.is_empty());
    let name = name.map_or_else(|| usual.to_owned(), |(_, name)| name.into_owned());
    Uploaded {
        name: PathBuf::from(name),
        from: Box::new(pieces),
    }
}

/// The number of the generation that is to be served.
fn wanted(query: &str) -> Result<Option<u64>> {
    let mut pairs = pairs(query);
    let to = match pairs.next() {
        None => return Ok(None),
        Some((name, number)) if name == "to" => number.parse().ok(),
        Some(_) => None,
    };
    match (to, pairs.next()) {
        (Some(number), None) => Ok(Some(number)),
        _ => Err(Error::Usage(
            "say which generation by to=NUMBER, or nothing for the one before".to_owned(),
        )),
    }
}

fn refused(error: &Error) -> Response {
    let status = match error {
        Error::Device { .. } => 500,
        Error::Usage(_) | Error::Unknown(_) => 400,
        _ => 422,
    };
    Response {
        exit_code: Some(error.exit_code()),
        ..Response::text(status, &redact::scrub(&error.to_string()))
    }
}

fn respond(changed: Result<Changed>) -> Response {
    let Changed {
        deployed,
        is_served,
        trial,
        at_next_start,
    } = match changed {
        Ok(changed) => changed,
        Err(error) => return refused(&error),
    };
    let mut told = deployed.told();
    match trial {
        None if !is_served => {}
        None => told.push_str("; it is served now, and has proved itself here before"),
        Some(Trial { time, back }) => {
            let back = match back {
                Some(back) => format!(
                    "until then the device goes back to generation {back} if it fails or the device restarts"
                ),
                None => "there is no good generation to go back to yet".to_owned(),
            };
            told.push_str(&format!(
                "; it is served now, and on trial for {time:?}: {back}"
            ));
        }
    }
    if !at_next_start.is_empty() {
        told.push_str(&format!("; {AT_NEXT_START}{}", at_next_start.join(", ")));
    }
    Response::text(200, &told)
}
