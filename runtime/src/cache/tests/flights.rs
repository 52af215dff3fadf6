//! Who fetches, who waits, and who is served what is stale.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use super::*;

type Finding<'a> = Pin<Box<dyn Future<Output = Found> + 'a>>;

/// What they find that do not wait.
fn polled<'a>(waiting: &mut Vec<Finding<'a>>) -> Vec<Found> {
    let mut found = Vec::new();
    waiting.retain_mut(|finding| {
        let mut context = Context::from_waker(Waker::noop());
        match finding.as_mut().poll(&mut context) {
            Poll::Ready(one) => {
                found.push(one);
                false
            }
            Poll::Pending => true,
        }
    });
    found
}

fn finders<'a>(cache: &'a Arc<Cache>, ask: &'a Ask<'a>, count: usize) -> Vec<Finding<'a>> {
    (0..count)
        .map(|_| Box::pin(cache.find(ask, NEVER)) as Finding<'_>)
        .collect()
}

fn fetches(found: Vec<Found>) -> Vec<Fetch> {
    let fetches = found.into_iter().map(|one| match one {
        Found::Miss(fetch) => fetch,
        other => panic!("{other:?}"),
    });
    fetches.collect()
}

#[test]
fn all_wait_for_the_one_that_fetches_and_get_what_it_stores() {
    let (cache, plain) = (cache(1 << 20), HeaderMap::new());
    let ask = ask("k", &plain);
    let mut waiting = finders(&cache, &ask, 50);
    let mut leaders = fetches(polled(&mut waiting));
    assert_eq!((leaders.len(), waiting.len()), (1, 49));
    let begun = leaders
        .remove(0)
        .store(&ask, &parts(200, &[]), Some(policy()));
    assert!(polled(&mut waiting).is_empty());
    fill(begun.unwrap(), "one");
    let found = polled(&mut waiting);
    let fresh = found.iter().filter(|one| matches!(one, Found::Fresh(_)));
    assert_eq!((fresh.count(), waiting.len()), (49, 0));
    let counts = cache.figures().counts;
    assert_eq!((counts.hits, counts.misses), (49, 1));
}

#[test]
fn what_cannot_be_stored_is_waited_for_by_nobody_for_a_while() {
    let (cache, plain) = (cache(1 << 20), HeaderMap::new());
    let ask = ask("k", &plain);
    let mut waiting = finders(&cache, &ask, 50);
    let leader = fetches(polled(&mut waiting)).remove(0);
    assert!(leader.store(&ask, &parts(200, &[]), None).is_err());
    assert_eq!(fetches(polled(&mut waiting)).len(), 49);
    // New ones do not wait either, until it is tried again.
    let mut later = finders(&cache, &ask, 3);
    assert_eq!(fetches(polled(&mut later)).len(), 3);
    pass(PASS_FOR);
    let mut later = finders(&cache, &ask, 3);
    let leader = fetches(polled(&mut later));
    assert_eq!((leader.len(), later.len()), (1, 2));
}

#[test]
fn what_can_be_stored_after_all_is_waited_for_again() {
    let (cache, plain) = (cache(1 << 20), HeaderMap::new());
    let ask = ask("k", &plain);
    assert!(
        miss(&cache, &ask)
            .store(&ask, &parts(200, &[]), None)
            .is_err()
    );
    store(&cache, &ask, policy(), &[], "now");
    pass(SECOND * 10);
    let mut waiting = finders(&cache, &ask, 2);
    assert_eq!(fetches(polled(&mut waiting)).len(), 1);
}

#[test]
fn a_leader_that_goes_away_has_one_successor_and_then_all_go_alone() {
    let (cache, plain) = (cache(1 << 20), HeaderMap::new());
    let ask = ask("k", &plain);
    let mut waiting = finders(&cache, &ask, 10);
    drop(fetches(polled(&mut waiting)));
    let second = fetches(polled(&mut waiting));
    assert_eq!((second.len(), waiting.len()), (1, 8));
    drop(second);
    assert_eq!(fetches(polled(&mut waiting)).len(), 8);
    assert_eq!(cache.figures().bytes, 0);
}

#[test]
fn nobody_waits_again_for_a_body_that_breaks_off_or_has_trailers() {
    use http_body::Frame;
    use http_body_util::StreamBody;
    let end = |what: &str| match what {
        "trailers" => Ok(Frame::trailers(HeaderMap::new())),
        "error" => Err("broken"),
        _ => Ok(Frame::data(Bytes::from_static(b"x"))),
    };
    for what in ["trailers", "error", "too short", "failed work"] {
        let (cache, plain) = (cache(1 << 20), HeaderMap::new());
        let ask = ask("k", &plain);
        let announced: Fields<'_> = match what {
            "too short" => &[("content-length", "5")],
            _ => &[],
        };
        let begun = miss(&cache, &ask).store(&ask, &parts(200, announced), Some(policy()));
        let frames = futures_lite::stream::iter([end(what)]);
        let (tee, approval) = begun.unwrap().tee(StreamBody::new(frames));
        let _ = block_on(tee.collect());
        approval.refuse();
        let mut later = finders(&cache, &ask, 3);
        assert_eq!(fetches(polled(&mut later)).len(), 3, "{what}");
    }
    // A client that goes away says nothing of the response.
    let (cache, plain) = (cache(1 << 20), HeaderMap::new());
    let ask = ask("k", &plain);
    let begun = miss(&cache, &ask).store(&ask, &parts(200, &[]), Some(policy()));
    let gone = begun.unwrap().tee(Full::new(Bytes::from_static(b"x")));
    drop(gone);
    let mut later = finders(&cache, &ask, 3);
    assert_eq!(fetches(polled(&mut later)).len(), 1);
}

#[test]
fn nobody_waits_longer_than_their_patience() {
    let (cache, plain) = (cache(1 << 20), HeaderMap::new());
    let ask = ask("k", &plain);
    let leader = miss(&cache, &ask);
    let found = block_on(cache.find(&ask, Duration::from_millis(1)));
    let alone = fetches(vec![found]).remove(0);
    // Whoever is first to store it serves those who still wait.
    let mut waiting = finders(&cache, &ask, 1);
    assert!(polled(&mut waiting).is_empty());
    fill(
        alone.store(&ask, &parts(200, &[]), Some(policy())).unwrap(),
        "x",
    );
    drop(leader);
    assert!(matches!(polled(&mut waiting)[..], [Found::Fresh(_)]));
}

#[test]
fn requests_that_cannot_share_an_answer_do_not_wait_for_each_other() {
    let cache = cache(1 << 20);
    let (plain, token) = (HeaderMap::new(), headers(&[("authorization", "x")]));
    let (anonymous, user) = (ask("k", &plain), ask("k", &token));
    let claims = ask_of("a", &plain);
    let held = [&anonymous, &user, &claims].map(|ask| miss(&cache, ask));
    drop(held);
    // What the last response varied by is known of the next.
    let [one, two] = ["1", "2"].map(|value| headers(&[("x-a", value)]));
    let by = Policy {
        vary: vec!["x-a".to_owned()],
        ..policy()
    };
    store(&cache, &ask("v", &plain), by, &[], "");
    let _held = [&one, &two].map(|headers| miss(&cache, &ask("v", headers)));
    let third = ask("v", &one);
    assert!(polled(&mut finders(&cache, &third, 1)).is_empty());
}

fn stale_policy() -> Policy {
    Policy {
        stale: SECOND * 20,
        ..policy()
    }
}

/// How many of so many requests got the duty to refresh.
fn duties(cache: &Arc<Cache>, ask: &Ask<'_>, count: usize) -> Vec<Fetch> {
    let found = (0..count).map(|_| find(cache, ask));
    let duties = found.filter_map(|one| match one {
        Found::Stale(_, duty) => duty,
        other => panic!("{other:?}"),
    });
    duties.collect()
}

#[test]
fn one_request_refreshes_what_all_are_served_stale() {
    let (cache, plain) = (cache(1 << 20), HeaderMap::new());
    let ask = ask("k", &plain);
    store(&cache, &ask, stale_policy(), &[], "old");
    pass(SECOND * 12);
    let mut duty = duties(&cache, &ask, 20);
    assert_eq!(duty.len(), 1);
    let entry = cache.peek(&ask).unwrap();
    let response = entry.to_response(&plain, cache.now());
    assert_eq!(response.headers()["cache-status"], "zlayer; hit; ttl=-2");
    assert_eq!(response.headers()["age"], "12");
    let begun = duty
        .remove(0)
        .store(&ask, &parts(200, &[]), Some(stale_policy()));
    assert_eq!(duties(&cache, &ask, 5).len(), 0);
    fill(begun.unwrap(), "new");
    assert!(matches!(find(&cache, &ask), Found::Fresh(_)));
    assert_eq!(body(&cache, &ask).unwrap(), "new");
    assert_eq!(cache.figures().entries, 1);
    // When the window is over, nothing is left.
    pass(SECOND * 30);
    assert!(matches!(find(&cache, &ask), Found::Miss(_)));
    assert_eq!(cache.figures().counts.stale, 26);
}

#[test]
fn refreshes_at_once_are_bounded() {
    let cache = cache(1 << 20);
    let all: Vec<_> = (0..2 * REFRESHES)
        .map_while(|_| cache.refreshing())
        .collect();
    assert_eq!(all.len(), REFRESHES);
    drop(all);
    assert!(cache.refreshing().is_some());
}

#[test]
fn a_refresh_that_fails_is_tried_again_after_a_pause() {
    let (cache, plain) = (cache(1 << 20), HeaderMap::new());
    let ask = ask("k", &plain);
    store(&cache, &ask, stale_policy(), &[], "old");
    pass(SECOND * 10);
    drop(duties(&cache, &ask, 1));
    assert_eq!(duties(&cache, &ask, 3).len(), 0);
    pass(REFRESH_PAUSE);
    // A server's failure leaves what there is.
    let duty = duties(&cache, &ask, 3).remove(0);
    assert!(duty.store(&ask, &parts(503, &[]), Some(policy())).is_err());
    assert_eq!(duties(&cache, &ask, 3).len(), 0);
    pass(REFRESH_PAUSE);
    // Any other response is its successor, stored or not.
    let duty = duties(&cache, &ask, 3).remove(0);
    assert!(duty.store(&ask, &parts(200, &[]), None).is_err());
    assert_eq!(cache.figures().entries, 0);
}

#[test]
fn a_purge_during_a_refresh_leaves_nothing_behind() {
    let (cache, plain) = (cache(1 << 20), HeaderMap::new());
    let ask = ask("k", &plain);
    store(&cache, &ask, stale_policy(), &[], "old");
    pass(SECOND * 10);
    let duty = duties(&cache, &ask, 1).remove(0);
    cache.purge_all();
    fill(
        duty.store(&ask, &parts(200, &[]), Some(policy())).unwrap(),
        "old, too",
    );
    assert_eq!((cache.figures().entries, cache.figures().bytes), (0, 0));
}

#[test]
fn a_purge_of_something_else_during_a_refresh_has_it_done_again() {
    let (cache, plain) = (cache(1 << 20), HeaderMap::new());
    let ask = ask("k", &plain);
    store(&cache, &ask, stale_policy(), &[], "old");
    pass(SECOND * 10);
    let duty = duties(&cache, &ask, 1).remove(0);
    cache.purge_tags(&["other"]);
    let begun = duty.store(&ask, &parts(200, &[]), Some(policy()));
    fill(begun.unwrap(), "who knows");
    assert_eq!(body(&cache, &ask).unwrap(), "old");
    assert_eq!(duties(&cache, &ask, 3).len(), 0);
    pass(REFRESH_PAUSE);
    assert_eq!(duties(&cache, &ask, 3).len(), 1);
}

#[test]
fn what_forbids_to_be_served_stale_is_not() {
    let (cache, plain) = (cache(1 << 20), HeaderMap::new());
    for control in ["must-revalidate", "proxy-revalidate", "s-maxage=60"] {
        let ask = ask(control, &plain);
        store(
            &cache,
            &ask,
            stale_policy(),
            &[("cache-control", control)],
            "x",
        );
        pass(SECOND * 10);
        assert!(matches!(find(&cache, &ask), Found::Miss(_)), "{control}");
    }
}
