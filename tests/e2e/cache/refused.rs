//! What is not stored, whatever the plugin says; and how much is.

use super::*;
use crate::support::{Client, get};

#[test]
fn answers_that_forbid_it_or_are_no_whole_success_are_not_stored() {
    let folder = TempDir::new();
    let daemon = serving("stages", &folder).start();
    let answer = |steps: &'static str| ("x-test-answer", steps);
    let handle = |what: &'static str| ("x-test-handle", what);
    for (number, fields) in [
        &[answer("set cache-control=no-store")][..],
        &[answer("set cache-control=private")],
        &[answer("set cache-control=max-age=0")],
        &[answer("set expires=0")],
        &[answer("set vary=*")],
        &[answer("set set-cookie=session=1")],
        &[handle("respond 500 failed")],
        &[handle("respond 206 part")],
        &[("cache-control", "no-store")],
        &[("range", "bytes=0-1")],
        // Whoever asks, the answer is the same for all by its key.
        &[("authorization", "Bearer x")],
        &[("x-test-auth", "authenticated sub=ada")],
        &[
            ("x-test-auth", "authenticated sub=ada"),
            ("cookie", "session=1"),
        ],
    ]
    .into_iter()
    .enumerate()
    {
        let path = format!("/{number}");
        for _ in 0..3 {
            let answer = get_with(&daemon, &path, &[fields, &[KEEP]].concat());
            assert!(!is_hit(&answer), "{fields:?} {answer:?}");
        }
    }
    let figures = figures(&folder);
    assert_eq!(
        (&figures["stored"], &figures["bytes"]),
        (&0.into(), &0.into())
    );
}

#[test]
fn what_is_for_one_user_goes_to_no_other() {
    let folder = TempDir::new();
    let daemon = serving("stages", &folder).start();
    let by = ("x-test-cache", "entry 3600000 vary=cookie");
    let cookie = ("cookie", "session=1");
    let of = |claims: &str| {
        let fields = [("x-test-auth", claims), cookie, by];
        get_with(&daemon, "/", &fields)
    };
    let [ada, bob] = ["authenticated sub=ada", "authenticated sub=bob"];
    let first = of(ada);
    eventually("a hit", || is_hit(&of(ada)));
    assert_eq!(of(ada).body, first.body);
    // The same cookie, and another user by what the authenticator says.
    let other = of(bob);
    assert!(
        !is_hit(&other) && other.text().contains("context claim.sub: bob"),
        "{other:?}"
    );
    let nobody = get_with(&daemon, "/", &[cookie, by]);
    assert!(!is_hit(&nobody), "{nobody:?}");
    // A cookie that is set goes back to whoever brought it that far.
    let sets = ("x-test-answer", "set set-cookie=a=b");
    let get = |fields: Fields<'_>| get_with(&daemon, "/set", &[fields, &[by, sets]].concat());
    eventually("a hit", || is_hit(&get(&[cookie])));
    assert!(!is_hit(&get(&[("cookie", "session=2")])));
    for _ in 0..3 {
        assert!(!is_hit(&get(&[])));
    }
}

#[test]
fn what_a_middleware_makes_of_a_token_is_for_the_one_who_brought_it() {
    let daemon = Daemon::start("stages");
    for middleware in ["drop authorization", "set authorization=service"] {
        let middleware = ("x-test-middleware", middleware);
        let of = |token: &str, by: &str| {
            let fields = [("authorization", token), ("x-test-cache", by), middleware];
            get_with(&daemon, &format!("/{}", middleware.1.len()), &fields)
        };
        for token in ["ada", "bob", "ada"] {
            assert!(!is_hit(&of(token, "for 3600000")), "{middleware:?}");
        }
        let by = "entry 3600000 vary=authorization";
        eventually("a hit", || is_hit(&of("ada", by)));
        assert!(!is_hit(&of("bob", by)), "{middleware:?}");
    }
}

#[test]
fn a_client_can_ask_for_what_is_stored_or_nothing() {
    let daemon = Daemon::start("stages");
    let only = ("cache-control", "only-if-cached");
    assert_eq!(get_with(&daemon, "/", &[only]).status, 504);
    kept(&daemon, "/", &[]);
    eventually("a hit", || get_with(&daemon, "/", &[only]).status == 200);
}

#[test]
fn nobody_has_the_work_done_anew_by_asking_for_another_protocol() {
    let daemon = Daemon::start("stages");
    let other = [("connection", "upgrade"), ("upgrade", "h2c")];
    let first = kept(&daemon, "/", &other);
    // The handler does not know that it was asked for, so the answer is as good for all.
    assert!(!first.text().contains("header upgrade"), "{first:?}");
    eventually("a hit", || is_hit(&kept(&daemon, "/", &other)));
    assert!(is_hit(&kept(&daemon, "/", &[])));
}

#[test]
fn answers_that_break_off_are_not_stored() {
    let folder = TempDir::new();
    let daemon = serving("stage-cache", &folder)
        .with("hostile")
        .args(["--config", "test.cache=for 3600000"])
        .start();
    for path in ["/short-body", "/no-finish", "/trap-after-head", "/trap"] {
        for _ in 0..2 {
            let mut client = Client::connect(&daemon);
            client.send(format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n"));
            client.shutdown_write();
            assert!(!String::from_utf8_lossy(&client.read_to_end()).contains("hit; ttl"));
        }
    }
    assert_eq!(figures(&folder)["stored"], 0);
    // What is whole is stored, with a length and without.
    drop(daemon);
    let daemon = serving("stage-cache", &folder)
        .with("http-echo-headers")
        .args(["--config", "test.cache=for 3600000"])
        .start();
    for path in [
        "/?count=a",
        "/?count=b&chunked",
        "/?count=c&status=204",
        "/?count=d&bytes=100000",
    ] {
        let first = get(&daemon, path);
        eventually("a hit", || is_hit(&get(&daemon, path)));
        let again = get(&daemon, path);
        assert_eq!((again.status, &again.body), (first.status, &first.body));
        assert_eq!(again.header("x-calls"), Some("1"), "{path}");
    }
}

#[test]
fn a_small_cache_holds_what_fits_and_serves_the_rest() {
    let folder = TempDir::new();
    let daemon = serving("stages", &folder)
        .args(["--cache-max", "256Ki"])
        .start();
    let work = ("x-test-handle", "bytes 16000");
    let favourite = |_| is_hit(&kept(&daemon, "/favourite", &[work]));
    for number in 0..60 {
        let answer = kept(&daemon, &format!("/{number}"), &[work]);
        assert_eq!(answer.body.len(), 16_000);
        favourite(number);
    }
    // What is asked for all the time has stayed through all of that.
    assert!(favourite(60));
    let long = [("x-test-handle", "bytes 100000")];
    for _ in 0..2 {
        let answer = kept(&daemon, "/long", &long);
        assert!(!is_hit(&answer) && answer.body.len() == 100_000);
    }
    let figures = figures(&folder);
    let [entries, bytes, limit, evicted] =
        ["entries", "bytes", "limit_bytes", "evicted"].map(|name| figures[name].as_u64().unwrap());
    assert_eq!(limit, 256 << 10);
    assert!(entries > 8 && entries < 17 && bytes <= limit, "{figures}");
    assert!(evicted >= 61 - entries, "{figures}");
}
