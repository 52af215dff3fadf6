use std::io::Write;
use std::sync::Barrier;
use std::thread;

use super::{Fields, ask, values};
use crate::support::{Builder, Client, Daemon, Response, brief, eventually};

/// Connections that ask at the same time, and how often each does.
const CONNECTIONS: usize = 64;
const ROUNDS: usize = 4;
/// What the limiters of the tests allow in a window.
const LIMIT: usize = 50;

fn figures(answer: &Response) -> [String; 3] {
    ["ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"].map(|name| {
        let found = values(answer, name);
        assert_eq!(found.len(), 1, "{name}: {answer:?}");
        found.concat()
    })
}

#[test]
fn an_allowed_request_is_told_how_it_stands() {
    let daemon = Daemon::start("stages");
    for (asked, told) in [
        ("allow 7 10 2000", ["10", "7", "2"]),
        ("allow 7 10 2001", ["10", "7", "3"]),
        ("allow 0 0 0", ["0", "0", "0"]),
        (
            "allow 18446744073709551615 18446744073709551615 18446744073709551615",
            [
                "18446744073709551615",
                "18446744073709551615",
                "18446744074",
            ],
        ),
    ] {
        let answer = ask(&daemon, &[("x-test-limit", asked)]);
        assert_eq!(answer.status, 200, "{asked}: {answer:?}");
        assert_eq!(figures(&answer), told, "{asked}");
        assert!(answer.header("retry-after").is_none());
    }
    // Other answers tell it, too: what failed has been counted.
    let fields = [
        ("x-test-limit", "allow 7 10 2000"),
        ("x-test-handle", "error x"),
    ];
    let answer = ask(&daemon, &fields);
    assert_eq!(
        (answer.status, figures(&answer)),
        (502, ["10", "7", "2"].map(str::to_owned))
    );
}

#[test]
fn a_denied_request_is_429_and_told_when_to_come_back() {
    let daemon = Daemon::start("stages");
    for (asked, retry, reset) in [
        ("deny 0 10 60000 1500", "2", "60"),
        ("deny 0 10 60000 2000", "2", "60"),
        ("deny 0 10 60000 2001", "3", "60"),
        // At once would be in vain.
        ("deny 0 10 60000 0", "1", "60"),
        // Without a time of its own, when the window ends.
        ("deny 0 10 61001", "62", "62"),
        ("deny 0 10 0", "1", "0"),
    ] {
        let answer = ask(&daemon, &[("x-test-limit", asked)]);
        assert_eq!(answer.status, 429, "{asked}: {answer:?}");
        assert_eq!(values(&answer, "retry-after"), [retry], "{asked}");
        assert_eq!(figures(&answer), ["10", "0", reset], "{asked}");
        assert!(!answer.text().contains("instance"), "it was handled");
    }
}

#[test]
fn of_several_limiters_the_one_that_leaves_least_is_told() {
    let daemon = Daemon::builder("stage-limiter")
        .with("stages")
        .plugin("stage-limiter:config.name=one")
        .plugin("stages:config.name=two")
        .start();
    let asked = |one, two| {
        ask(
            &daemon,
            &[("x-test-limit-one", one), ("x-test-limit-two", two)],
        )
    };
    let least = ["20", "3", "1"].map(str::to_owned);
    assert_eq!(figures(&asked("allow 3 20 1000", "allow 5 10 1000")), least);
    assert_eq!(figures(&asked("allow 5 10 1000", "allow 3 20 1000")), least);
    for (one, two) in [
        ("deny 0 10 1000", "allow 3 20 1000"),
        ("allow 3 20 1000", "deny 0 10 1000"),
    ] {
        let answer = asked(one, two);
        assert_eq!(answer.status, 429, "{one}, {two}");
        assert_eq!(figures(&answer), ["10", "0", "1"]);
    }
}

#[test]
fn a_limit_can_be_per_identity() {
    let daemon = Daemon::start("stages");
    for (who, status) in [("alice", 200), ("bob", 429)] {
        let auth = format!("authenticated sub={who}");
        let fields = [
            ("x-test-auth", auth.as_str()),
            ("x-test-limit", "expect claim.sub=alice"),
        ];
        assert_eq!(ask(&daemon, &fields).status, status, "{who}");
    }
    // Not by a field that says so.
    let fields = [
        ("claim.sub", "alice"),
        ("x-test-limit", "expect claim.sub=alice"),
    ];
    assert_eq!(ask(&daemon, &fields).status, 429);
    let fields = [("x-test-limit", "expect client_ip=127.0.0.1")];
    assert_eq!(ask(&daemon, &fields).status, 200);
}

#[test]
fn a_limiter_that_fails_lets_requests_pass_unless_told_otherwise() {
    // A request that a spinning limiter holds up still has to be handled in the time left.
    let daemon = Daemon::builder("stages")
        .timeout("request", brief())
        .start();
    for asked in ["trap", "spin"] {
        let answer = ask(&daemon, &[("x-test-limit", asked)]);
        assert_eq!(answer.status, 200, "{asked}: {answer:?}");
        assert!(answer.header("ratelimit-limit").is_none(), "{answer:?}");
    }
    daemon.wait_for_log("goes on without its stage: rate-limit by plugin stages: trap");
    let daemon = Daemon::builder("stages")
        .plugin("stages:on-failure=closed")
        .timeout("request", brief())
        .start();
    for asked in ["trap", "spin"] {
        let answer = ask(&daemon, &[("x-test-limit", asked)]);
        assert_eq!(answer.status, 503, "{asked}: {answer:?}");
    }
    assert_eq!(ask(&daemon, &[]).status, 200);
}

/// Asks from all connections at the same time and answers how many requests were let through. All
/// others have to be 429.
fn let_through(daemon: &Daemon, key: &str) -> usize {
    let start = Barrier::new(CONNECTIONS);
    let ask = || {
        let mut client = Client::connect(daemon);
        let request = format!("GET / HTTP/1.1\r\nhost: a\r\nx-api-key: {key}\r\n\r\n");
        start.wait();
        let statuses = (0..ROUNDS).map(|_| {
            client.send(&request);
            let answer = client.read_response();
            assert!(matches!(answer.status, 200 | 429), "{answer:?}");
            assert_eq!(figures(&answer)[0], LIMIT.to_string());
            answer.status
        });
        statuses.filter(|status| *status == 200).count()
    };
    thread::scope(|scope| {
        let all: Vec<_> = (0..CONNECTIONS).map(|_| scope.spawn(ask)).collect();
        all.into_iter().map(|one| one.join().unwrap()).sum()
    })
}

/// A limiter in front of a handler. The guide's counts by `x-api-key` itself, the other one by the client
/// whom an authenticator knows from it.
fn before_hello(limiter: &str) -> Builder {
    let builder = match limiter {
        "per-client-limiter" => Daemon::builder("api-key-authenticator")
            .with(limiter)
            .args(["--secret", "api_key.a=a", "--secret", "api_key.b=b"])
            .plugin("api-key-authenticator:secrets=api_key.*"),
        _ => Daemon::builder(limiter),
    };
    builder.with("hello")
}

/// The same with one window that lasts.
fn limited(limiter: &str) -> Daemon {
    let key = |key: &str| format!("rate_limits.{key}={LIMIT}");
    before_hello(limiter)
        .args(["--config", "window_ms=1000000000000000"])
        .args(["--config", &key("a"), "--config", &key("b")])
        // Many wait for few instances.
        .timeout("request", "10m")
        .start()
}

#[test]
fn a_limiter_that_only_increments_is_exact_under_64_connections() {
    let daemon = limited("per-client-limiter");
    for key in ["a", "b"] {
        assert_eq!(let_through(&daemon, key), LIMIT, "{key}");
    }
}

#[test]
fn the_guides_limiter_limits_under_64_connections_and_its_own_race_is_told() {
    let daemon = limited("sliding-window-limiter");
    for key in ["a", "b"] {
        let passed = let_through(&daemon, key);
        // What others count between its increment and its set is lost: never more than they
        // asked at that moment, and never fewer than the limit.
        assert!(passed >= LIMIT, "{passed}");
        assert!(passed < LIMIT + CONNECTIONS, "{passed}");
        let name = thread::current().name().unwrap_or_default().to_owned();
        let _ = writeln!(
            std::io::stderr(),
            "{name}: {} of {} requests slipped through beyond a limit of {LIMIT}",
            passed - LIMIT,
            CONNECTIONS * ROUNDS
        );
    }
    let again = [("x-api-key", "a")];
    assert_eq!(ask(&daemon, &again).status, 429);
}

#[test]
fn a_window_really_ends() {
    for limiter in ["sliding-window-limiter", "per-client-limiter"] {
        let daemon = before_hello(limiter)
            .args(["--config", "window_ms=2000", "--config", "rate_limits.a=2"])
            .start();
        let key: Fields = &[("x-api-key", "a")];
        let status = || ask(&daemon, key).status;
        // Requests that come all the time do not keep a window from ending.
        for _ in 0..2 {
            eventually("a full window", || status() == 429);
            eventually("a new window", || status() == 200);
        }
        // Others have windows of their own.
        assert_eq!(ask(&daemon, &[("x-api-key", "b")]).status, 200, "{limiter}");
    }
}
