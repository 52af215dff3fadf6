//! What a stored response is found by, and which fields of a request tell clients apart.

use std::sync::Arc;

use http::HeaderMap;
use http::header::{HOST, HeaderName};

use super::original::Original;
use super::probes;
use crate::cache::{self, Fault};
use crate::failure::Failure;
use crate::message::Client;
use crate::message::fields::CREDENTIALS;
use crate::pipeline::fields;
use crate::pipeline::reach::Reached;
use crate::pipeline::request::Request;
use crate::pipeline::stage::{Stage, Step};

/// What the plugin's `cache-key` says about a request.
pub(super) struct Keys {
    /// The whole key.
    pub(super) key: Arc<str>,
    /// Whether it differs for another credential.
    pub(super) is_telling: bool,
    /// The personal fields of the request that it does not depend on.
    pub(super) personal: Vec<HeaderName>,
}

/// Asks the plugin for the key of a GET of the same target, and on which personal fields of the
/// request it depends.
pub(super) async fn ask_keys(
    stage: &Stage,
    asked: &Original,
    request: &Request,
) -> Result<Keys, Failure> {
    let uri = &request.head.uri;
    let host = asked.headers.get(HOST).and_then(|host| host.to_str().ok());
    let site = site(&request.client, host.unwrap_or_default(), request.reached);
    let mut running = stage.plugin.instance(&asked.id).await?;
    let (store, guests) = running.parts();
    let Some(guest) = &guests.caching else {
        return Err(Failure::PassThrough);
    };
    let headers = fields::to_list(&request.head.headers);
    let named = CREDENTIALS.iter().chain(&stage.placement.personal_headers);
    let personal: Vec<_> = named
        .filter(|name| asked.headers.contains_key(*name))
        .cloned()
        .collect();
    let called = async {
        let key = guest
            .call_cache_key(&mut *store, "GET", &asked.path, &headers)
            .await?;
        let key = bounded(key);
        let credential = match is_authenticated(request, asked) {
            true => credential(&asked.headers, request.claims().next().is_some()),
            false => None,
        };
        let mut is_telling = false;
        // A field that a middleware has set may be the same for all clients, so only the client's
        // own are tried.
        if let Some(name) = credential.filter(|name| request.has_brought(name)) {
            let mut other = headers.clone();
            probes::alter(&mut other, name.as_str());
            let other = guest
                .call_cache_key(&mut *store, "GET", &asked.path, &other)
                .await?;
            is_telling = bounded(other) != key;
        }
        let mut untold = Vec::new();
        for name in personal {
            if is_telling && CREDENTIALS.contains(&name) {
                continue;
            }
            let mut places = Vec::new();
            if request.has_brought(&name) && credential != Some(&name) {
                places = probes::values(&headers, &name).unwrap_or_default();
            }
            let mut depends = !places.is_empty();
            for place in places {
                let other = probes::with_other_value(&headers, place);
                let other = guest
                    .call_cache_key(&mut *store, "GET", &asked.path, &other)
                    .await?;
                depends &= bounded(other) != key;
                if !depends {
                    break;
                }
            }
            if !depends {
                untold.push(name);
            }
        }
        Ok((key, is_telling, untold))
    };
    let called = called.await;
    let (chosen, is_telling, personal) = stage.plugin.finish(running, called)?;
    // Only the plugin's part is checked, since the client chooses host and query.
    if let Some(fault) = Fault::of_key(&chosen) {
        stage.log_fault(fault);
    }
    // What a request to the deployment before still stores is not for this one.
    let plugin = format!("{} {}", stage.plugin.name(), stage.plugin.number());
    let key = cache::key(&plugin, &site, uri.query(), &chosen);
    Ok(Keys {
        key,
        is_telling,
        personal,
    })
}

/// What is kept of a key while the request is on its way: of one that is too long, as much as shows
/// that. Nothing is stored under such a key.
fn bounded(mut key: String) -> String {
    if Fault::of_key(&key).is_some() {
        key.truncate(key.ceil_char_boundary(Fault::SHORTEST_LONG_KEY));
        key.shrink_to_fit();
    }
    key
}

/// What a URL has before its path, as the client sees it: one upstream may redirect `http` to
/// `https`, and another make links of the host that a trusted proxy names. Requests that reach other services are
/// kept apart even where a client says the same host at two ports, or a middleware says so for all.
fn site(client: &Client, host: &str, reached: Reached) -> String {
    let forwarded = client.forwarded_host.as_ref();
    let forwarded = forwarded.and_then(|host| host.to_str().ok());
    // There is no blank in a host.
    let forwarded = forwarded.unwrap_or_default();
    let scheme = client.scheme.name();
    match reached.mark() {
        None => format!("{scheme}://{host} {forwarded}"),
        Some(mark) => format!("{scheme}://{host} {forwarded} {mark:x}"),
    }
}

/// Whether a response may be meant for one client alone: an authenticator knows who the client is,
/// or a handler may know it.
pub(super) fn is_authenticated(request: &Request, asked: &Original) -> bool {
    let [authorization, _, api_key] = &CREDENTIALS;
    let named = |name| asked.headers.contains_key(name);
    request.is_authenticated || named(authorization) || named(api_key)
}

/// The field that tells who the client is: `Authorization`, or else the only credential that there
/// is. A cookie also holds other things, so it counts only where claims keep the clients apart as
/// well.
fn credential(headers: &HeaderMap, has_claims: bool) -> Option<&'static HeaderName> {
    let [authorization, cookie, api_key] = &CREDENTIALS;
    let named = |name| headers.contains_key(name);
    match (named(authorization), named(api_key), named(cookie)) {
        (true, ..) => Some(authorization),
        (false, true, false) => Some(api_key),
        (false, false, true) if has_claims => Some(cookie),
        _ => None,
    }
}

/// The fields that the owner has named as personal for one of the caching plugins, beside the
/// credentials.
pub(in crate::pipeline) fn personal_headers(stages: &[Stage]) -> Vec<HeaderName> {
    let caching = stages.iter().filter(|stage| stage.step == Step::Cache);
    let mut names = Vec::new();
    for name in caching.flat_map(|stage| &stage.placement.personal_headers) {
        if !CREDENTIALS.contains(name) && !names.contains(name) {
            names.push(name.clone());
        }
    }
    names
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;

    #[test]
    fn one_credential_tells_who_asks() {
        let of = |names: &[&'static str], has_claims| {
            let mut headers = HeaderMap::new();
            for name in names {
                headers.insert(*name, "1".parse().unwrap());
            }
            credential(&headers, has_claims).map(HeaderName::as_str)
        };
        let all = ["authorization", "cookie", "x-api-key"];
        assert_eq!(of(&all, false), Some("authorization"));
        assert_eq!(of(&all[1..], true), None);
        assert_eq!(of(&all[2..], false), Some("x-api-key"));
        assert_eq!(of(&all[1..2], true), Some("cookie"));
        assert_eq!(of(&all[1..2], false), None);
        assert_eq!(of(&[], true), None);
    }
}
