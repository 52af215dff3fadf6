use super::{ask, context, described, lines, values};
use crate::support::{Daemon, brief, get, request};

#[test]
fn redirects_keep_to_the_statuses_that_are_redirects() {
    let daemon = Daemon::start("stages");
    for status in 0..=1000u16 {
        // All that could be meant, and the edges of the others.
        let is_near = (295..=312).contains(&status);
        if !is_near && ![0, 99, 100, 199, 200, 399, 400, 599, 600, 1000].contains(&status) {
            continue;
        }
        for verb in ["redirect", "redirect-preserve"] {
            let asked = format!("{verb} {status} https://example.com/a?b=c#d");
            let answer = ask(&daemon, &[("x-test-route", &asked)]);
            if matches!(status, 301 | 302 | 303 | 307 | 308) {
                assert_eq!(answer.status, status, "{answer:?}");
                assert_eq!(values(&answer, "location"), ["https://example.com/a?b=c#d"]);
            } else {
                assert_eq!(answer.status, 502, "{asked}: {answer:?}");
                assert!(answer.header("location").is_none(), "{answer:?}");
            }
            assert!(!answer.text().contains("instance"), "it was handled");
        }
    }
}

#[test]
fn a_location_that_is_no_field_value_is_a_bad_gateway() {
    let daemon = Daemon::start("stages");
    for location in [
        "",
        "/\\r\\nset-cookie: a=b",
        "/\\n",
        "/\\r",
        "/\\0",
        "/a b",
        "/\u{e9}",
    ] {
        let asked = format!("redirect 302 {location}");
        let answer = ask(&daemon, &[("x-test-route", &asked)]);
        assert_eq!(answer.status, 502, "{location:?}: {answer:?}");
        assert!(answer.header("set-cookie").is_none() && answer.header("location").is_none());
    }
    // What browsers send as it is may go back to them.
    let answer = ask(&daemon, &[("x-test-route", "redirect 302 /?a=b|{c}")]);
    assert_eq!(values(&answer, "location"), ["/?a=b|{c}"], "{answer:?}");
    daemon.wait_for_log("route by plugin stages: the plugin's answer is not valid HTTP: location");
}

#[test]
fn a_router_can_answer_itself() {
    let daemon = Daemon::start("stages");
    let answer = ask(
        &daemon,
        &[("x-test-route", "immediate 418 short and stout")],
    );
    assert_eq!(
        (answer.status, answer.text().as_str()),
        (418, "short and stout")
    );
    let fields = [(
        "x-test-route",
        "immediate-with add x-a=1;add x-a=2;add content-type=text/x",
    )];
    let answer = ask(&daemon, &fields);
    assert_eq!((answer.status, answer.text().as_str()), (200, "immediate"));
    assert_eq!(values(&answer, "x-a"), ["1", "2"]);
    assert_eq!(values(&answer, "content-type"), ["text/x"]);
    // Its length is what it is, whatever the plugin says, and it frames nothing.
    for step in [
        "add content-length=3",
        "add content-length=300",
        "add transfer-encoding=chunked",
        "add connection=close",
        "add upgrade=h2c",
    ] {
        let asked = format!("immediate-with {step}");
        let fields = [
            ("x-test-route", asked.as_str()),
            ("connection", "keep-alive"),
        ];
        let answer = ask(&daemon, &fields);
        assert_eq!(
            (answer.status, answer.text().as_str()),
            (200, "immediate"),
            "{step}"
        );
        assert!(
            answer.keep_alive && answer.header("upgrade").is_none(),
            "{step}: {answer:?}"
        );
    }
    for asked in [
        "immediate 99 x",
        "immediate 100 x",
        "immediate 199 x",
        "immediate 600 x",
        "immediate-with add x-bad=a\\r\\nx-injected: yes",
        "immediate-with add x bad=1",
        "immediate-with add =1",
        "immediate-with many 24575",
        "immediate-with many 40000",
        "immediate-with big 40000",
    ] {
        let answer = ask(&daemon, &[("x-test-route", asked)]);
        assert_eq!(answer.status, 502, "{asked}: {answer:?}");
        assert!(answer.header("x-injected").is_none(), "{answer:?}");
    }
}

#[test]
fn a_router_sees_the_request_and_where_it_came_from() {
    let daemon = Daemon::start("stages");
    let fields = [
        ("x-test-auth", "authenticated sub=alice"),
        ("x-test-route", "seen"),
        ("host", "device.local"),
    ];
    let answer = request(&daemon, "POST", "/a/b?c=d", &fields, b"hello");
    assert_eq!(lines(&answer, "method "), ["POST"]);
    assert_eq!(lines(&answer, "path "), ["/a/b"]);
    assert_eq!(lines(&answer, "query "), ["c=d"]);
    assert_eq!(lines(&answer, "body "), [described(b"hello")]);
    assert_eq!(context(&answer, "claim.sub"), ["alice"]);
    // What middlewares changed is what it sees.
    let seen = lines(&answer, "header x-trace: ");
    assert_eq!(seen, ["stages on-request"], "{}", answer.text());
    let metadata = lines(&answer, "metadata ").concat();
    for word in ["127.0.0.1", "device.local", "Http11", "None"] {
        assert!(metadata.contains(word), "{metadata}");
    }
}

#[test]
fn the_first_router_that_decides_is_followed() {
    let daemon = Daemon::builder("stage-router")
        .with("stages")
        .plugin("stage-router:config.name=one")
        .plugin("stages:config.name=two")
        .start();
    for (one, two, status) in [
        ("continue", "continue", 200),
        ("continue", "redirect 302 /two", 302),
        ("redirect 301 /one", "redirect 302 /two", 301),
        ("immediate 418 x", "trap", 418),
        ("trap", "immediate 418 x", 503),
    ] {
        let fields = [("x-test-route-one", one), ("x-test-route-two", two)];
        let answer = ask(&daemon, &fields);
        assert_eq!(answer.status, status, "{one}, {two}: {answer:?}");
    }
}

#[test]
fn a_router_that_fails_closes_the_way_unless_told_otherwise() {
    let daemon = Daemon::builder("stages")
        .timeout("request", brief())
        .start();
    for asked in ["trap", "spin", "wait 600000 continue"] {
        let answer = ask(&daemon, &[("x-test-route", asked)]);
        assert_eq!(answer.status, 503, "{asked}: {answer:?}");
    }
    let daemon = Daemon::builder("stage-router")
        .with("stages")
        .plugin("stage-router:config.name=one")
        .plugin("stage-router:on-failure=open")
        .start();
    for asked in [
        "trap",
        "redirect 200 /",
        "redirect 302 a\\nb",
        "immediate 99 x",
    ] {
        let answer = ask(&daemon, &[("x-test-route-one", asked)]);
        assert_eq!(answer.status, 200, "{asked}: {answer:?}");
        assert!(answer.text().contains("instance"), "it was not handled");
    }
}

#[test]
fn the_guides_router_redirects_and_lets_through() {
    let daemon = Daemon::builder("router").with("hello").start();
    let answer = get(&daemon, "/old-endpoint");
    assert_eq!(answer.status, 308);
    assert_eq!(values(&answer, "location"), ["/api/v2/new-endpoint"]);
    assert_eq!(get(&daemon, "/elsewhere").status, 200);
}
