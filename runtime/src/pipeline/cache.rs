//! `cache`: responds with what was stored before.
//!
//! Runs after the middlewares, so that quotas and authentication hold for stored responses too, and
//! before routes and transformers, which a response from the cache skips. The response that comes
//! back from them is shown to the plugin's `cache-policy` and stored as that says. Only the first
//! caching plugin that applies to a request is asked.
//!
//! `cache-key` and `cache-policy` see GET where a client asks with HEAD, since the response to a
//! GET serves both. For a request with credentials, cookies or other personal headers `cache-key` is
//! called again with other ones, which shows whether the key depends on them.

mod probes;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_lite::future::{yield_now, zip};
use http::header::{HOST, HeaderName, IF_MODIFIED_SINCE, IF_NONE_MATCH};
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt;

use super::passage::Passage;
use super::request::Request;
use super::stage::{Stage, Step};
use super::{Marks, Pipeline, Reply, Tail, fields, own};
use crate::cache::{self, Approval, Ask, Cache, Entry, Fault, Fetch, Found, Policy, Purpose};
use crate::config::CONNECTION_SHARE;
use crate::failure::Failure;
use crate::host::caching::{CacheDecision, CacheEntry};
use crate::memory::Reservation;
use crate::message::fields::CREDENTIALS;
use crate::message::{Body, Client, Response, whole};
use crate::stats::Outcome;
use crate::upstream::Personal;

/// What the client asked for, before later stages change the request.
struct Original {
    path: String,
    /// The headers, with the credentials that the client sent even where a middleware took them
    /// out.
    headers: HeaderMap,
    id: Arc<str>,
}

impl Pipeline {
    /// Responds from the cache, or runs the stages behind it and stores their response.
    pub(super) async fn cached(
        self: &Arc<Self>,
        mut request: Request,
        passage: &Passage,
    ) -> Result<Reply, Failure> {
        let mut stages = self.at(Step::Cache);
        let stage = stages.find(|(_, stage)| stage.applies(&request, passage));
        let (Some((index, stage)), Some(cache)) = (stage, &self.cache) else {
            return self.inner(&mut request, passage).await;
        };
        let head = &request.head;
        let purpose = Purpose::of(&head.method, &head.headers, request.has_body());
        if purpose == Purpose::None {
            return self.inner(&mut request, passage).await;
        }
        let asked = Original {
            path: request.head.uri.path().to_owned(),
            headers: request.telling_headers(),
            id: Arc::clone(&request.id),
        };
        let keys = ask_keys(stage, &asked, &request);
        let Some(keys) = stage.guard(&asked.id, passage, keys).await? else {
            return self.inner(&mut request, passage).await;
        };
        let Keys {
            key,
            is_telling,
            personal,
        } = keys;
        if purpose == Purpose::Unsafe {
            return self.invalidating(cache, &key, &mut request, passage).await;
        }
        let mut ask = match is_authenticated(&request, &asked) {
            true => Ask::by(key, &mut request.claims(), &asked.headers),
            false => Ask::new(key, &asked.headers),
        };
        ask.authenticated &= !is_telling;
        ask.personal = personal;
        if cache::Directives::of(&asked.headers).only_if_cached {
            return Ok(match cache.peek(&ask) {
                Some(entry) => from_cache(&entry, &asked, cache),
                // RFC 9111 section 5.2.1.7.
                None => own::text(504, "it is not in the cache").into(),
            });
        }
        if purpose == Purpose::Head {
            return match cache.peek(&ask) {
                Some(entry) => Ok(from_cache(&entry, &asked, cache)),
                None => self.inner(&mut request, passage).await,
            };
        }
        let patience = match request.came_round {
            // The request came through this daemon before, so it might wait for itself.
            true => Duration::ZERO,
            // The rest of the request's time is left for the work, if waiting is in vain.
            false => self.time / 3,
        };
        match cache.find(&ask, patience).await {
            Found::Fresh(entry) | Found::Stale(entry, None) => {
                Ok(from_cache(&entry, &asked, cache))
            }
            Found::Stale(entry, Some(fetch)) => {
                let mut reply = from_cache(&entry, &asked, cache);
                if let Some(room) = self.unattended() {
                    let (pipeline, services) = (Arc::clone(self), passage.services().to_vec());
                    let Ask {
                        key,
                        identity,
                        authenticated,
                        personal,
                        ..
                    } = ask;
                    // The client has its response. The server lets the work go on for as long as a
                    // request may take.
                    reply.tail = Tail::running(async move {
                        let _room = room;
                        yield_now().await;
                        let ask = Ask {
                            key,
                            identity,
                            authenticated,
                            personal,
                            headers: &asked.headers,
                        };
                        let passage = Passage::new(pipeline.time);
                        passage.set_services(services);
                        let stage = &pipeline.stages[index];
                        let fetching =
                            pipeline.fetch(stage, fetch, &ask, &asked, &mut request, &passage);
                        let ended = match fetching.await {
                            Ok(fetched) => fetched.collect().await,
                            Err(failure) => Err(failure),
                        };
                        record_refresh(ended, &asked, &passage);
                        // A failed refresh does not make this request fail.
                        Ok(())
                    });
                }
                Ok(reply)
            }
            Found::Miss(fetch) => {
                let is_whole = fetch.is_awaited();
                let fetched = self
                    .fetch(stage, fetch, &ask, &asked, &mut request, passage)
                    .await?;
                let response = &fetched.reply.response;
                let is_current = is_whole
                    && response.status() == StatusCode::OK
                    && cache::not_modified(&asked.headers, response.headers());
                let room = match is_current {
                    true => self.unattended(),
                    false => None,
                };
                let Some(room) = room else {
                    return Ok(fetched.pass_on());
                };
                let mut current = http::Response::new(whole(Bytes::new(), None));
                *current.status_mut() = StatusCode::NOT_MODIFIED;
                *current.headers_mut() = cache::only_validators(response.headers());
                let mut reply = Reply::from(current);
                reply.tail = Tail::running(async move {
                    let _room = room;
                    fetched.collect().await
                });
                Ok(reply)
            }
            Found::Full => self.inner(&mut request, passage).await,
        }
    }

    /// Runs the stages behind the cache, and begins to store the response if it may be stored.
    async fn fetch(
        &self,
        stage: &Stage,
        fetch: Fetch,
        ask: &Ask<'_>,
        asked: &Original,
        request: &mut Request,
        passage: &Passage,
    ) -> Result<Fetched, Failure> {
        if fetch.is_awaited() {
            // Other requests wait for this response, so it has to be a complete one and not a 304.
            let mut headers = request.head.headers.clone();
            headers.remove(IF_NONE_MATCH);
            headers.remove(IF_MODIFIED_SINCE);
            request.set_headers(headers);
        }
        let Reply {
            response,
            marks,
            mut tail,
        } = self.inner(request, passage).await?;
        let storing = show_and_store(stage, fetch, ask, asked, passage, response);
        match tail.during(storing).await {
            Ok((response, approval)) => {
                let reply = Reply {
                    response,
                    marks,
                    tail,
                };
                Ok(Fetched { reply, approval })
            }
            Err(failure) => {
                // The plugin that has responded is not stopped because another one failed.
                let _ = tail.await;
                Err(failure)
            }
        }
    }

    /// Reserves room for work that goes on after the client has its response, so that the amount of
    /// such work is bounded however many responses there are.
    fn unattended(&self) -> Option<(Reservation, Reservation)> {
        let one = self.cache.as_ref()?.refreshing()?;
        Some((one, self.budget.reserve(CONNECTION_SHARE)?))
    }

    /// Runs the stages behind the cache for an unsafe request. If it succeeded, the stored
    /// responses of its target are dropped before the client gets the response (RFC 9111 section
    /// 4.4).
    async fn invalidating(
        &self,
        cache: &Arc<Cache>,
        key: &str,
        request: &mut Request,
        passage: &Passage,
    ) -> Result<Reply, Failure> {
        let reply = self.inner(request, passage).await?;
        let status = reply.response.status();
        if status.is_success() || status.is_redirection() {
            cache.invalidate(key);
        }
        Ok(reply)
    }
}

/// A response from behind the cache, which is stored while it is read if it may be stored.
struct Fetched {
    reply: Reply,
    /// Decides whether the response is stored in the end. None where it is not to be stored.
    approval: Option<Approval<Body>>,
}

impl Fetched {
    /// Passes the response on to the client. It is read ahead for the store, so that others who
    /// wait for it need not wait for a client that reads slowly.
    fn pass_on(self) -> Reply {
        let Fetched {
            mut reply,
            approval,
        } = self;
        if let Some(approval) = approval {
            let tail = reply.tail;
            reply.tail = Tail::running(async move {
                let (ended, ()) = zip(tail, approval.read_ahead()).await;
                decide(approval, &ended);
                ended
            });
        }
        reply
    }

    /// Reads the response for the store alone. A response that breaks off is not stored.
    async fn collect(self) -> Result<(), Failure> {
        let Reply { response, tail, .. } = self.reply;
        let mut body = response.into_body();
        let reading = async move { while let Some(Ok(_)) = body.frame().await {} };
        let (ended, ()) = zip(tail, reading).await;
        if let Some(approval) = self.approval {
            decide(approval, &ended);
        }
        ended
    }
}

/// Has the response stored if its tail has ended well, and dropped otherwise.
fn decide(approval: Approval<Body>, ended: &Result<(), Failure>) {
    match ended {
        Ok(()) => approval.approve(),
        Err(_) => approval.refuse(),
    }
}

/// Counts a refresh, and logs it if it failed.
fn record_refresh(ended: Result<(), Failure>, asked: &Original, passage: &Passage) {
    let outcome = match ended {
        Ok(()) => Outcome::Answered,
        Err(failure) => {
            log::error!("[{}] refresh failed: {failure}", asked.id);
            failure.outcome()
        }
    };
    if let Some(plugin) = passage.plugin() {
        plugin.host().stats.count_request(outcome);
    }
}

/// What the plugin's `cache-key` says about a request.
struct Keys {
    /// The whole key.
    key: Arc<str>,
    /// Whether it differs for another credential.
    is_telling: bool,
    /// The personal fields of the request that it does not depend on.
    personal: Vec<HeaderName>,
}

/// Asks the plugin for the key of a GET of the same target, and on which personal fields of the
/// request it depends.
async fn ask_keys(stage: &Stage, asked: &Original, request: &Request) -> Result<Keys, Failure> {
    let uri = &request.head.uri;
    let host = asked.headers.get(HOST).and_then(|host| host.to_str().ok());
    let site = site(&request.client, host.unwrap_or_default());
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
            is_telling = other != key;
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
                depends &= other != key;
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
    let key = cache::key(stage.plugin.name(), &site, uri.query(), &chosen);
    Ok(Keys {
        key,
        is_telling,
        personal,
    })
}

/// What a URL has before its path, as the client sees it: one upstream may redirect `http` to
/// `https`, and another make links of the host that a trusted proxy names.
fn site(client: &Client, host: &str) -> String {
    let forwarded = client.forwarded_host.as_ref();
    let forwarded = forwarded.and_then(|host| host.to_str().ok());
    // There is no blank in a host.
    let forwarded = forwarded.unwrap_or_default();
    format!("{}://{host} {forwarded}", client.scheme.name())
}

/// Shows a response to the plugin, and begins to store it if it may be stored.
async fn show_and_store(
    stage: &Stage,
    fetch: Fetch,
    ask: &Ask<'_>,
    asked: &Original,
    passage: &Passage,
    response: Response,
) -> Result<(Response, Option<Approval<Body>>), Failure> {
    let (mut head, body) = response.into_parts();
    let deciding = ask_policy(stage, asked, &head);
    let policy = match stage.guard(&asked.id, passage, deciding).await {
        Ok(policy) => policy.flatten(),
        Err(failure) => {
            fetch.refuse();
            return Err(failure);
        }
    };
    if let Some(fault) = policy.as_ref().and_then(Fault::of_policy) {
        stage.log_fault(fault);
    }
    // The request of a client that is known by its connection looks like anybody's.
    let policy = policy.filter(|_| head.extensions.get::<Personal>().is_none());
    match fetch.store(ask, &head, policy) {
        Ok(fill) => {
            cache::add_cache_status(&mut head.headers, "fwd=miss; stored");
            let (tee, approval) = fill.tee(body);
            Ok((
                http::Response::from_parts(head, tee.boxed_unsync()),
                Some(approval),
            ))
        }
        Err(reason) => {
            log::debug!("[{}] not stored: {reason}", asked.id);
            cache::add_cache_status(&mut head.headers, "fwd=miss");
            Ok((http::Response::from_parts(head, body), None))
        }
    }
}

/// Asks the plugin for its verdict on a response. Returns none if it is not to be stored.
async fn ask_policy(
    stage: &Stage,
    asked: &Original,
    head: &http::response::Parts,
) -> Result<Option<Policy>, Failure> {
    let mut running = stage.plugin.instance(&asked.id).await?;
    let (store, guests) = running.parts();
    let Some(guest) = &guests.caching else {
        return Ok(None);
    };
    let headers = fields::to_list(&head.headers);
    let status = head.status.as_u16();
    let called = guest
        .call_cache_policy(store, "GET", &asked.path, status, &headers)
        .await;
    Ok(match stage.plugin.finish(running, called)? {
        CacheDecision::NoCache => None,
        CacheDecision::CacheFor(ttl) => Some(Policy {
            ttl: Duration::from_nanos(ttl),
            ..Policy::default()
        }),
        CacheDecision::CacheWithTags(CacheEntry {
            ttl,
            tags,
            vary,
            stale_while_revalidate,
        }) => Some(Policy {
            ttl: Duration::from_nanos(ttl),
            tags,
            vary,
            stale: Duration::from_nanos(stale_while_revalidate.unwrap_or(0)),
        }),
    })
}

fn from_cache(entry: &Arc<Entry>, asked: &Original, cache: &Cache) -> Reply {
    let response = entry.to_response(&asked.headers, cache.now());
    let marks = Marks {
        is_stored: true,
        ..Marks::default()
    };
    Reply::marked(response.map(|data| whole(data, None)), marks)
}

/// Whether a response may be meant for one client alone: an authenticator knows who the client is,
/// or a handler may know it.
fn is_authenticated(request: &Request, asked: &Original) -> bool {
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
pub(super) fn personal_headers(stages: &[Stage]) -> Vec<HeaderName> {
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
