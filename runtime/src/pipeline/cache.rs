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

mod keys;
mod original;
mod probes;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_lite::future::{yield_now, zip};
use http::StatusCode;
use http::header::{IF_MODIFIED_SINCE, IF_NONE_MATCH};
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
use crate::message::{Body, Response, whole};
use crate::stats::Outcome;
use crate::upstream::Personal;
pub(super) use keys::personal_headers;
use keys::{Keys, ask_keys, is_authenticated};
use original::Original;

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
