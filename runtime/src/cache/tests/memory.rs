//! What is collected, and that there is never more than there may be.

use std::pin::Pin;
use std::task::{Context, Poll};

use http_body::{Body, Frame};
use zlayer_bundle::CACHE_MIN;

use super::*;

/// A body of pieces, with an end of its own.
struct Pieces(Vec<Result<Frame<Bytes>, &'static str>>);

impl Body for Pieces {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
        Poll::Ready((!self.0.is_empty()).then(|| self.0.remove(0)))
    }
}

fn piece(data: &'static str) -> Result<Frame<Bytes>, &'static str> {
    Ok(Frame::data(Bytes::from_static(data.as_bytes())))
}

#[test]
fn only_a_whole_body_of_approved_work_is_stored() {
    let (cache, plain) = (cache(1 << 20), HeaderMap::new());
    let ask = ask("k", &plain);
    let trailers = || Ok(Frame::trailers(HeaderMap::new()));
    let (unknown, five): (Fields<'_>, Fields<'_>) = (&[], &[("content-length", "5")]);
    type Made = fn() -> Vec<Result<Frame<Bytes>, &'static str>>;
    let whole: Made = || vec![piece("hel"), piece("lo")];
    let cases: [(Fields<'_>, Made, bool, bool); 9] = [
        (unknown, whole, true, true),
        (unknown, whole, false, false),
        (five, whole, true, true),
        // All that was announced is there, whatever happens to the work later.
        (five, whole, false, true),
        (five, || vec![piece("hel")], true, false),
        (five, || vec![piece("hello"), piece("!")], true, false),
        (unknown, || vec![piece("hello"), Err("broken")], true, false),
        (five, || vec![piece("hello"), Err("broken")], true, false),
        (unknown, Vec::new, true, true),
    ];
    for (number, (fields, pieces, approved, stored)) in cases.into_iter().enumerate() {
        let begun = miss(&cache, &ask).store(&ask, &parts(200, fields), Some(policy()));
        let (mut tee, approval) = begun.unwrap().tee(Pieces(pieces()));
        while let Some(frame) = block_on(tee.frame()) {
            if frame.is_err() {
                break;
            }
        }
        if approved {
            approval.approve();
        } else {
            drop(approval);
        }
        drop(tee);
        assert_eq!(body(&cache, &ask).is_some(), stored, "case {number}");
        cache.purge_all();
        assert_eq!(cache.figures().bytes, 0, "case {number}");
    }
    let begun = miss(&cache, &ask).store(&ask, &parts(200, &[]), Some(policy()));
    let (tee, approval) = begun.unwrap().tee(Pieces(vec![piece("x"), trailers()]));
    approval.approve();
    let all = block_on(tee.collect()).unwrap();
    assert!(all.trailers().is_some() && body(&cache, &ask).is_none());
}

#[test]
fn an_answer_that_has_no_body_is_stored_without_anybody_reading_it() {
    let (cache, plain) = (cache(1 << 20), HeaderMap::new());
    let ask = ask("k", &plain);
    let begun = miss(&cache, &ask).store(&ask, &parts(204, &[]), Some(policy()));
    let (tee, approval) = begun.unwrap().tee(Pieces(Vec::new()));
    drop(tee);
    approval.approve();
    assert_eq!(cache.peek(&ask).unwrap().status, 204);
}

#[test]
fn a_client_that_goes_away_leaves_nothing_behind() {
    let (cache, plain) = (cache(1 << 20), HeaderMap::new());
    let ask = ask("k", &plain);
    let begun = miss(&cache, &ask).store(&ask, &parts(200, &[]), Some(policy()));
    let (mut tee, approval) = begun.unwrap().tee(Pieces(vec![piece("hel"), piece("lo")]));
    block_on(tee.frame()).unwrap().unwrap();
    assert!(cache.figures().bytes > OVERHEAD);
    drop(tee);
    assert_eq!(cache.figures().bytes, 0);
    approval.approve();
    // The next one fetches, and is waited for.
    let _leader = miss(&cache, &ask);
    assert!(block_on(poll_once(cache.find(&ask, NEVER))).is_none());
}

/// A body that somebody is still to make.
struct Unmade {
    _maker: Arc<()>,
}

impl Body for Unmade {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
        Poll::Pending
    }
}

#[test]
fn whoever_makes_a_body_learns_at_once_that_nobody_wants_it() {
    let (cache, plain) = (cache(1 << 20), HeaderMap::new());
    let ask = ask("k", &plain);
    // The second one has no body that anybody would read.
    for status in [200, 204] {
        let begun = miss(&cache, &ask).store(&ask, &parts(status, &[]), Some(policy()));
        let maker = Arc::new(());
        let (tee, approval) = begun.unwrap().tee(Unmade {
            _maker: Arc::clone(&maker),
        });
        assert_eq!(Arc::strong_count(&maker), 2);
        drop(tee);
        assert_eq!(Arc::strong_count(&maker), 1, "{status}");
        block_on(approval.read_ahead());
        drop(approval);
    }
}

#[test]
fn a_client_that_reads_nothing_does_not_hold_back_what_others_wait_for() {
    let (cache, plain) = (cache(1 << 20), HeaderMap::new());
    let ask = ask("k", &plain);
    let begun = miss(&cache, &ask).store(&ask, &parts(200, &[]), Some(policy()));
    let frames = [piece("hel"), piece("lo"), piece(" world")].into();
    let (mut tee, approval) = begun.unwrap().tee(Pieces(frames));
    // It has a piece, and then stands still.
    let data = block_on(tee.frame()).unwrap().unwrap().into_data().unwrap();
    assert_eq!(data, "hel");
    block_on(approval.read_ahead());
    assert!(tee.size_hint().lower() == 8 && tee.size_hint().exact().is_none());
    assert!(!tee.is_end_stream() && body(&cache, &ask).is_none());
    approval.approve();
    assert_eq!(body(&cache, &ask).unwrap(), "hello world");
    // What was purged meanwhile is still the client's, and charged until it has it.
    assert_eq!(cache.purge_all(), 1);
    assert!(cache.figures().bytes > OVERHEAD);
    assert_eq!(block_on(tee.collect()).unwrap().to_bytes(), "lo world");
    assert_eq!(cache.figures().bytes, 0);
}

#[test]
fn what_was_read_ahead_and_is_not_stored_reaches_the_client_in_its_order() {
    let limit = CACHE_MIN / ENTRY_SHARE;
    let long = Bytes::from((0..limit * 2 / 3).map(|n| n as u8).collect::<Vec<_>>());
    let pieces = || (0..3).map(|_| Ok(Frame::data(long.clone())));
    let last = |what| match what {
        "trailers" => Some(Ok(Frame::trailers(HeaderMap::new()))),
        "error" => Some(Err("broken")),
        _ => None,
    };
    for what in ["too long", "trailers", "error"] {
        for failed in [false, true] {
            let (cache, plain) = (cache(CACHE_MIN), HeaderMap::new());
            let ask = ask("k", &plain);
            // Too long from the second piece on; or one that is not, and then its end.
            let take = if what == "too long" { 3 } else { 1 };
            let frames = pieces().take(take).chain(last(what));
            let begun = miss(&cache, &ask).store(&ask, &parts(200, &[]), Some(policy()));
            let (mut tee, approval) = begun.unwrap().tee(Pieces(frames.collect()));
            block_on(approval.read_ahead());
            match failed {
                true => approval.refuse(),
                false => approval.approve(),
            }
            let (mut data, mut end) = (Vec::new(), None);
            while let Some(frame) = block_on(tee.frame()) {
                match frame.map(Frame::into_data) {
                    Ok(Ok(piece)) => data.extend_from_slice(&piece),
                    Ok(Err(_)) => end = Some(true),
                    Err(_) => end = Some(false),
                }
            }
            assert_eq!(data, long.repeat(take));
            assert_eq!(end, last(what).map(|last| last.is_ok()), "{what}");
            drop(tee);
            assert!(body(&cache, &ask).is_none());
            assert_eq!(cache.figures().bytes, 0);
        }
    }
}

#[test]
fn a_body_that_is_too_long_reaches_the_client_and_nobody_else() {
    let (cache, plain) = (cache(CACHE_MIN), HeaderMap::new());
    let ask = ask("k", &plain);
    let limit = CACHE_MIN / ENTRY_SHARE;
    let long = Bytes::from(vec![b'x'; limit / 2]);
    let begun = miss(&cache, &ask).store(&ask, &parts(200, &[]), Some(policy()));
    let frames = (0..4).map(|_| Ok(Frame::data(long.clone())));
    let (tee, approval) = begun.unwrap().tee(Pieces(frames.collect()));
    approval.approve();
    assert_eq!(block_on(tee.collect()).unwrap().to_bytes().len(), 2 * limit);
    assert_eq!((cache.figures().entries, cache.figures().bytes), (0, 0));
    // One that says so is not even begun, and nobody waits for the next.
    let length = limit.to_string();
    let fields: Fields<'_> = &[("content-length", &length)];
    let _held = miss(&cache, &ask);
    assert!(
        miss(&cache, &ask)
            .store(&ask, &parts(200, fields), Some(policy()))
            .is_err()
    );
}

#[test]
fn what_is_asked_for_stays_and_what_is_over_goes_first() {
    let (cache, plain) = (cache(CACHE_MIN), HeaderMap::new());
    let body_of = |length| "x".repeat(length);
    let big = body_of(CACHE_MIN / ENTRY_SHARE / 2);
    let of = |seconds| Policy {
        ttl: SECOND * seconds,
        ..Policy::default()
    };
    for number in 0..12 {
        let seconds = if number == 5 { 10 } else { 100 };
        store(
            &cache,
            &ask(&number.to_string(), &plain),
            of(seconds),
            &[],
            &big,
        );
    }
    assert_eq!(cache.figures().counts.evicted, 0);
    for number in [0, 1] {
        assert!(body(&cache, &ask(&number.to_string(), &plain)).is_some());
    }
    pass(SECOND * 10);
    for number in 12..20 {
        store(
            &cache,
            &ask(&number.to_string(), &plain),
            of(100),
            &[],
            &big,
        );
    }
    // The one whose time is over made room without being counted.
    let figures = cache.figures();
    assert_eq!(figures.entries as u64 + figures.counts.evicted + 1, 20);
    assert!(figures.counts.evicted > 0 && figures.bytes <= figures.limit);
    let held: Vec<_> = (0..20)
        .filter(|number| body(&cache, &ask(&number.to_string(), &plain)).is_some())
        .collect();
    assert!(
        held.starts_with(&[0, 1]) && !held.contains(&2) && held.contains(&19),
        "{held:?}"
    );
}

#[test]
fn bytes_on_their_way_to_a_client_stay_charged() {
    let (cache, plain) = (cache(CACHE_MIN), HeaderMap::new());
    let big = "x".repeat(CACHE_MIN / ENTRY_SHARE / 2);
    store(&cache, &ask("k", &plain), policy(), &[], &big);
    let held = cache.figures().bytes;
    let entry = cache.peek(&ask("k", &plain)).unwrap();
    let response = entry.to_response(&plain, cache.now());
    drop(entry);
    assert_eq!(cache.purge_all(), 1);
    assert_eq!(cache.figures().bytes, held);
    assert_eq!(response.body(), &big.as_bytes());
    drop(response);
    assert_eq!(cache.figures().bytes, 0);
}

#[test]
fn a_cache_whose_bytes_are_all_in_use_says_so() {
    let (cache, plain) = (cache(CACHE_MIN), HeaderMap::new());
    let big = "x".repeat(CACHE_MIN / ENTRY_SHARE / 2);
    let mut responses = Vec::new();
    let full = loop {
        let key = responses.len().to_string();
        let ask = ask(&key, &plain);
        let Found::Miss(fetch) = find(&cache, &ask) else {
            break true;
        };
        let Ok(begun) = fetch.store(&ask, &parts(200, &[]), Some(policy())) else {
            break true;
        };
        fill(begun, big.clone());
        match cache.peek(&ask) {
            Some(entry) => responses.push(entry.to_response(&plain, cache.now())),
            None => break responses.len() > 8,
        }
    };
    assert!(full && cache.figures().bytes <= CACHE_MIN);
    responses.clear();
    store(&cache, &ask("k", &plain), policy(), &[], &big);
    assert!(body(&cache, &ask("k", &plain)).is_some());
}

#[test]
fn whatever_happens_the_bytes_stay_within_the_limit() {
    let cache = cache(CACHE_MIN);
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut below = move |end: u64| {
        // xorshift64
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed % end
    };
    let mut held = Vec::new();
    for _ in 0..20_000 {
        let key = format!("key {}", below(300));
        let request = headers(&[("x-a", &below(4).to_string())]);
        let ask = ask(&key, &request);
        match below(20) {
            0 => drop(cache.invalidate(&key)),
            1 => drop(cache.purge_tags(&[&below(9).to_string()])),
            2 => pass(SECOND * u32::try_from(below(4)).unwrap()),
            3 => held.clear(),
            _ => {}
        }
        let Some(found) = block_on(poll_once(cache.find(&ask, NEVER))) else {
            continue;
        };
        let fetch = match found {
            Found::Fresh(entry) | Found::Stale(entry, None) => {
                assert_eq!(&*entry.key, key);
                if below(4) == 0 {
                    held.push(entry);
                }
                continue;
            }
            Found::Stale(_, Some(fetch)) | Found::Miss(fetch) => fetch,
            Found::Full => continue,
        };
        let policy = (below(9) > 0).then(|| Policy {
            ttl: SECOND * u32::try_from(below(9)).unwrap(),
            stale: SECOND * u32::try_from(below(9)).unwrap(),
            tags: vec![below(9).to_string()],
            vary: vec!["x-a".to_owned(); usize::from(below(2) == 0)],
        });
        if let Ok(begun) = fetch.store(&ask, &parts(200, &[]), policy) {
            let length = usize::try_from(below(40_000)).unwrap();
            fill(begun, vec![b'x'; length]);
        }
        let figures = cache.figures();
        assert!(figures.bytes <= figures.limit && figures.entries <= ENTRIES);
    }
    let counts = cache.figures().counts;
    let all = [
        counts.hits,
        counts.stale,
        counts.misses,
        counts.evicted,
        counts.purged,
    ];
    assert!(all.iter().all(|&count| count > 50), "{counts:?}");
    held.clear();
    cache.purge_all();
    assert_eq!((cache.figures().entries, cache.figures().bytes), (0, 0));
}
