//! Commands, which change something or call plugins. They work over the Unix socket alone, which
//! only the daemon's own user may use.

use std::sync::Arc;

use super::json::Json;
use super::message::{Request, Response};
use super::query::pairs;
use super::view::View;
use crate::failure::Failure;
use crate::reactor;
use crate::redact;

/// The request id in log records that plugins write during a command.
const ID: &str = "admin";

/// Runs the command that `request` asks for.
pub(super) async fn run(view: &View, request: &Request) -> Response {
    let query = request.query.as_deref().unwrap_or_default();
    match request.path.as_str() {
        "/cache/purge" => purge(view, query),
        "/validate-token" => reactor::enter(validate(view, &request.body)).await,
        _ => reactor::enter(rate_limit(view, query)).await,
    }
}

/// Asks the authenticators about the token in the request's body.
async fn validate(view: &View, body: &[u8]) -> Response {
    let token = match std::str::from_utf8(body) {
        Ok(token) if !token.trim().is_empty() => token.trim(),
        _ => return Response::text(400, "the body has to be a token, as text"),
    };
    match view.pipeline().validate_token(&Arc::from(ID), token).await {
        Err(failure) => failed(&failure),
        Ok(None) => Response::text(404, "no plugin has the authenticator role"),
        Ok(Some(known)) => {
            let mut json = Json::object();
            json.truth("valid", known.is_ok());
            match known {
                // A list and not an object, because nobody has checked the names of claims.
                Ok(claims) => json.nest("claims", '[', &mut |json| {
                    for claim in &claims {
                        json.nest("", '{', &mut |json| {
                            json.text("name", &claim.key);
                            json.text("value", &claim.value);
                        });
                    }
                }),
                Err(refused) => {
                    json.text("code", &refused.code);
                    json.text("message", &refused.message);
                }
            }
            Response::json(json)
        }
    }
}

/// Asks the limiters for the limits of a client.
async fn rate_limit(view: &View, query: &str) -> Response {
    let mut pairs = pairs(query);
    let (Some((name, key)), None) = (pairs.next(), pairs.next()) else {
        return Response::text(400, "say whose limits by key=KEY");
    };
    if name != "key" {
        return Response::text(400, "say whose limits by key=KEY");
    }
    match view.pipeline().rate_limits(&Arc::from(ID), &key).await {
        Err(failure) => failed(&failure),
        Ok(limits) => {
            let mut json = Json::object();
            json.nest("limits", '[', &mut |json| {
                for (plugin, limit) in &limits {
                    json.nest("", '{', &mut |json| {
                        json.text("plugin", plugin);
                        json.number("limit", limit.limit);
                        json.number("remaining", limit.remaining);
                        json.number("reset_seconds", limit.reset);
                    });
                }
            });
            Response::json(json)
        }
    }
}

fn failed(failure: &Failure) -> Response {
    Response::text(failure.status(), &redact::scrub(&failure.to_string()))
}

fn purge(view: &View, query: &str) -> Response {
    let pipeline = view.pipeline();
    let Some(cache) = pipeline.cache() else {
        return Response::text(404, "no plugin has the caching role");
    };
    let (mut tags, mut all) = (Vec::new(), false);
    for (name, value) in pairs(query) {
        match (&*name, &*value) {
            ("tag", tag) if !tag.is_empty() => tags.push(tag.to_owned()),
            ("all", "true") => all = true,
            _ => return Response::text(400, "what to purge is said by tag=TAG or by all=true"),
        }
    }
    let purged = match (all, tags.is_empty()) {
        (true, true) => cache.purge_all(),
        (false, false) => {
            let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
            cache.purge_tags(&tags)
        }
        _ => {
            return Response::text(
                400,
                "say either tag=TAG, which may be repeated, or all=true",
            );
        }
    };
    log::info!("admin interface: {purged} responses were purged");
    let mut json = Json::object();
    json.number("purged", purged as u64);
    Response::json(json)
}
