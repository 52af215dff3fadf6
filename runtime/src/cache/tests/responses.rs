//! Which response serves which request, for how long, and as what.

use http::StatusCode;

use super::*;

#[test]
fn a_response_ages_and_is_gone_when_its_time_is_over() {
    let (cache, plain) = (cache(1 << 20), HeaderMap::new());
    let ask = ask("k", &plain);
    let date = "Sun, 06 Nov 1994 08:49:37 GMT";
    let fields: Fields<'_> = &[
        ("x-a", "1"),
        ("x-a", "2: 3"),
        ("connection", "x-hop"),
        ("x-hop", "1"),
        ("date", date),
        ("cache-status", "other; hit"),
    ];
    NOW.set(SECOND * 1000);
    store(&cache, &ask, policy(), fields, "hello");
    pass(SECOND * 9);
    let Found::Fresh(entry) = find(&cache, &ask) else {
        panic!()
    };
    let response = entry.to_response(&plain, cache.now());
    assert_eq!(
        (response.status(), &response.body()[..]),
        (StatusCode::OK, &b"hello"[..])
    );
    let got = |name: &str| {
        let values = response.headers().get_all(name).iter();
        values
            .map(|value| value.to_str().unwrap())
            .collect::<Vec<_>>()
            .join("|")
    };
    assert_eq!(got("x-a"), "1|2: 3");
    assert_eq!(got("x-hop") + &got("connection"), "");
    assert_eq!(got("date"), date);
    assert_eq!(got("cache-status"), "zlayer; hit; ttl=1");
    // The date is from long ago, by the wall clock.
    assert!(got("age").parse::<u64>().unwrap() > 1_000_000_000);
    pass(SECOND);
    assert!(matches!(find(&cache, &ask), Found::Miss(_)));
    let counts = cache.figures().counts;
    assert_eq!((counts.hits, counts.misses, counts.stored), (1, 2, 1));
}

#[test]
fn the_age_counts_from_the_origin_and_the_time_it_took() {
    let (cache, plain) = (cache(1 << 20), HeaderMap::new());
    let ask = ask("k", &plain);
    let fetch = miss(&cache, &ask);
    pass(SECOND * 2);
    let begun = fetch.store(&ask, &parts(200, &[("age", "5")]), Some(policy()));
    fill(begun.unwrap(), "");
    pass(SECOND * 3);
    let response = cache.peek(&ask).unwrap().to_response(&plain, cache.now());
    assert_eq!(response.headers()["age"], "10");
    // It came without a date, and got one unless this machine knows none.
    let dated = crate::wire::with_date(|date| date.is_some());
    assert_eq!(response.headers().contains_key("date"), dated);
}

#[test]
fn the_origins_word_shortens_what_the_policy_gives() {
    let (cache, plain) = (cache(1 << 20), HeaderMap::new());
    for (number, (control, seconds)) in [
        ("max-age=4", 4),
        ("max-age=60", 10),
        ("max-age=60, s-maxage=3", 3),
        ("must-revalidate", 10),
    ]
    .into_iter()
    .enumerate()
    {
        let key = number.to_string();
        let ask = ask(&key, &plain);
        store(&cache, &ask, policy(), &[("cache-control", control)], "x");
        pass(SECOND * (seconds - 1));
        assert!(cache.peek(&ask).is_some(), "{control}");
        pass(SECOND);
        assert!(cache.peek(&ask).is_none(), "{control}");
    }
    for fields in [
        &[("cache-control", "max-age=0")][..],
        &[("cache-control", "max-age=60"), ("age", "60")],
        &[("expires", "0")],
        &[("vary", "*")],
        &[("content-length", "ten")],
    ] {
        let ask = ask("none", &plain);
        let begun = miss(&cache, &ask).store(&ask, &parts(200, fields), Some(policy()));
        assert!(begun.is_err(), "{fields:?}");
    }
}

#[test]
fn a_current_copy_of_the_client_is_answered_with_the_fields_of_a_304() {
    let (cache, plain) = (cache(1 << 20), HeaderMap::new());
    let fields: Fields<'_> = &[
        ("etag", "\"one\""),
        ("cache-control", "max-age=60"),
        ("vary", "accept"),
        ("content-type", "text/plain"),
        ("set-none", "1"),
    ];
    store(&cache, &ask("k", &plain), policy(), fields, "hello");
    let asks = headers(&[("if-none-match", "W/\"one\"")]);
    let response = cache
        .peek(&ask("k", &asks))
        .unwrap()
        .to_response(&asks, cache.now());
    assert_eq!(response.status(), StatusCode::NOT_MODIFIED);
    assert!(response.body().is_empty());
    let mut names: Vec<_> = response.headers().keys().map(HeaderName::as_str).collect();
    names.retain(|name| *name != "date");
    names.sort_unstable();
    assert_eq!(
        names,
        ["age", "cache-control", "cache-status", "etag", "vary"]
    );
    let other = headers(&[("if-none-match", "\"two\"")]);
    let response = cache
        .peek(&ask("k", &other))
        .unwrap()
        .to_response(&other, cache.now());
    assert_eq!(
        (response.status(), response.body().len()),
        (StatusCode::OK, 5)
    );
    // Preconditions are for successes.
    let missing = ask("missing", &plain);
    let begun = miss(&cache, &missing).store(&missing, &parts(404, fields), Some(policy()));
    fill(begun.unwrap(), "no");
    let response = cache
        .peek(&ask("missing", &asks))
        .unwrap()
        .to_response(&asks, cache.now());
    assert_eq!(
        (response.status(), response.body().len()),
        (StatusCode::NOT_FOUND, 2)
    );
}

#[test]
fn what_a_response_varies_by_chooses_among_those_of_a_key() {
    let cache = cache(1 << 20);
    let [en, de, none] = [
        &[("accept-language", "en"), ("x-b", "1")][..],
        &[("accept-language", "DE")],
        &[],
    ]
    .map(headers);
    let by = |names: &[&str]| Policy {
        vary: names.iter().map(|&name| name.to_owned()).collect(),
        ..policy()
    };
    store(
        &cache,
        &ask("k", &en),
        by(&["Accept-Language"]),
        &[],
        "hello",
    );
    assert_eq!(body(&cache, &ask("k", &de)), None);
    store(
        &cache,
        &ask("k", &de),
        policy(),
        &[("vary", "accept-language")],
        "hallo",
    );
    store(&cache, &ask("k", &none), by(&["accept-language"]), &[], "?");
    assert_eq!(body(&cache, &ask("k", &en)).unwrap(), "hello");
    assert_eq!(body(&cache, &ask("k", &de)).unwrap(), "hallo");
    assert_eq!(body(&cache, &ask("k", &none)).unwrap(), "?");
    assert_eq!(body(&cache, &ask("other", &none)), None);
    // The newest that matches is taken, and an equal one is replaced.
    cache.invalidate("k");
    store(&cache, &ask("k", &en), by(&["x-b"]), &[], "by b");
    pass(SECOND * 10);
    store(&cache, &ask("k", &en), by(&["x-b"]), &[], "by b anew");
    assert_eq!(cache.figures().entries, 1);
    assert_eq!(body(&cache, &ask("k", &en)).unwrap(), "by b anew");
}

#[test]
fn a_key_has_a_bounded_number_of_variants() {
    let cache = cache(1 << 20);
    let by = Policy {
        vary: vec!["x-a".to_owned()],
        ..policy()
    };
    for number in 0..VARIANTS + 3 {
        let fields = headers(&[("x-a", &number.to_string())]);
        store(&cache, &ask("k", &fields), by.clone(), &[], "x");
    }
    let figures = cache.figures();
    assert_eq!((figures.entries, figures.counts.evicted), (VARIANTS, 3));
    let [first, last] = ["0", "3"].map(|value| headers(&[("x-a", value)]));
    assert_eq!(body(&cache, &ask("k", &first)), None);
    assert!(body(&cache, &ask("k", &last)).is_some());
}

#[test]
fn answers_to_one_user_go_to_no_other() {
    let cache = cache(1 << 20);
    let by = Policy {
        vary: vec!["cookie".to_owned()],
        ..policy()
    };
    // Whatever the cookie is worth, the authenticate stage says who it is.
    let cookie = headers(&[("cookie", "session=1")]);
    let of = |user| ask_of(user, &cookie);
    store(&cache, &of("ada"), by, &[], "ada's");
    assert_eq!(body(&cache, &of("ada")).unwrap(), "ada's");
    assert_eq!(body(&cache, &of("bob")), None);
    assert_eq!(body(&cache, &ask("k", &cookie)), None);
    let begun = miss(&cache, &of("bob")).store(&of("bob"), &parts(200, &[]), Some(policy()));
    assert!(begun.unwrap_err().contains("authenticated"));
}

#[test]
fn purges_take_what_they_name_and_what_is_on_its_way() {
    let (cache, plain) = (cache(1 << 20), HeaderMap::new());
    let tagged = |tags: &[&str]| Policy {
        tags: tags.iter().map(|&tag| tag.to_owned()).collect(),
        ..policy()
    };
    for (key, tags) in [
        ("a", &["x"][..]),
        ("b", &["x", "y"]),
        ("c", &["z"]),
        ("d", &[]),
    ] {
        store(&cache, &ask(key, &plain), tagged(tags), &[], key);
    }
    assert_eq!(cache.purge_tags(&["nobody's"]), 0);
    assert_eq!(cache.purge_tags(&["y", "z"]), 2);
    assert_eq!(cache.invalidate("nobody's"), 0);
    assert_eq!(cache.invalidate("a"), 1);
    assert_eq!(body(&cache, &ask("d", &plain)).unwrap(), "d");
    assert_eq!((cache.purge_all(), cache.figures().entries), (1, 0));
    assert_eq!(cache.figures().counts.purged, 4);

    let fetched = |key, purge: &dyn Fn() -> usize| {
        let ask = ask(key, &plain);
        let begun = miss(&cache, &ask).store(&ask, &parts(200, &[]), Some(policy()));
        purge();
        fill(begun.unwrap(), "old");
        body(&cache, &ask).is_some()
    };
    assert!(!fetched("e", &|| cache.purge_tags(&["t"])));
    assert!(!fetched("f", &|| cache.invalidate("f")));
    assert!(fetched("g", &|| cache.invalidate("f")));
}

#[test]
fn what_cannot_be_purged_or_found_again_is_not_stored() {
    let (cache, plain) = (cache(1 << 20), HeaderMap::new());
    let refused = |policy: Policy, fields: Fields<'_>| {
        let ask = ask("k", &plain);
        let begun = miss(&cache, &ask).store(&ask, &parts(200, fields), Some(policy));
        begun.is_err()
    };
    let tags = |count, length| Policy {
        tags: vec!["t".repeat(length); count],
        ..policy()
    };
    assert!(refused(tags(TAGS + 1, 1), &[]));
    assert!(refused(tags(1, TAG_BYTES + 1), &[]));
    assert!(!refused(tags(TAGS, TAG_BYTES), &[]));
    let long = "k".repeat(KEY_BYTES + 1);
    assert!(matches!(find(&cache, &ask(&long, &plain)), Found::Full));
    assert!(refused(policy(), &[("x-long", &"x".repeat(200_000))]));
}
