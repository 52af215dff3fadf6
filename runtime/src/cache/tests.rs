//! The cache as a whole, on a clock that tests set.

#![expect(clippy::unwrap_used, reason = "a failed test should panic")]

mod flights;
mod memory;
mod responses;

use std::cell::Cell;
use std::time::UNIX_EPOCH;

use bytes::Bytes;
use futures_lite::future::{block_on, poll_once};
use http_body_util::{BodyExt, Full};

use super::*;

thread_local! {
    static NOW: Cell<Duration> = const { Cell::new(Duration::from_secs(1000)) };
}

const SECOND: Duration = Duration::from_secs(1);
const NEVER: Duration = Duration::from_secs(3600);

fn pass(time: Duration) {
    NOW.set(NOW.get() + time);
}

fn cache(bytes: usize) -> Arc<Cache> {
    let clock = Clock {
        now: || NOW.get(),
        wall: || Some(UNIX_EPOCH + Duration::from_secs(2_000_000_000) + NOW.get()),
    };
    Cache::with(bytes, None, clock)
}

type Fields<'a> = &'a [(&'static str, &'a str)];

fn headers(fields: Fields<'_>) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in fields {
        map.append(*name, value.parse().unwrap());
    }
    map
}

fn ask<'a>(key: &str, headers: &'a HeaderMap) -> Ask<'a> {
    match headers.contains_key("authorization") {
        true => Ask::by(key.into(), &mut std::iter::empty(), headers),
        false => Ask::new(key.into(), headers),
    }
}

fn ask_of<'a>(user: &str, headers: &'a HeaderMap) -> Ask<'a> {
    Ask::by("k".into(), &mut std::iter::once(("sub", user)), headers)
}

/// Ten seconds fresh.
fn policy() -> Policy {
    Policy {
        ttl: SECOND * 10,
        ..Policy::default()
    }
}

fn parts(status: u16, fields: Fields<'_>) -> http::response::Parts {
    let mut response = http::Response::new(());
    *response.status_mut() = status.try_into().unwrap();
    *response.headers_mut() = headers(fields);
    response.into_parts().0
}

fn find(cache: &Arc<Cache>, ask: &Ask<'_>) -> Found {
    block_on(poll_once(cache.find(ask, NEVER))).expect("it should not have to wait")
}

fn miss(cache: &Arc<Cache>, ask: &Ask<'_>) -> Fetch {
    match find(cache, ask) {
        Found::Miss(fetch) => fetch,
        other => panic!("{other:?}"),
    }
}

/// Lets a body go by.
fn fill(fill: Fill, body: impl Into<Bytes>) {
    let (tee, approval) = fill.tee(Full::new(body.into()));
    approval.approve();
    block_on(tee.collect()).unwrap();
}

fn store(cache: &Arc<Cache>, ask: &Ask<'_>, policy: Policy, fields: Fields<'_>, body: &str) {
    let begun = miss(cache, ask).store(ask, &parts(200, fields), Some(policy));
    fill(begun.unwrap(), body.to_owned());
}

/// What a request gets from the cache.
fn body(cache: &Arc<Cache>, ask: &Ask<'_>) -> Option<String> {
    let entry = cache.peek(ask)?;
    let response = entry.to_response(ask.headers, cache.now());
    Some(String::from_utf8(response.into_body().to_vec()).unwrap())
}
