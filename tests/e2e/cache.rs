//! The response cache: what is stored, for whom, for how long, and how it is purged.
//!
//! `stages` plays every role; its handler answers with the request's id among other things, so that an
//! answer that was made before is known by its body.

mod conformance;
mod flights;
mod personal;
mod purge;
mod refused;

use std::ffi::OsStr;

use serde_json::Value;

use crate::support::{Builder, Daemon, Response, TempDir, ask, eventually, request, zlayer};

type Fields<'a> = &'a [(&'a str, &'a str)];

/// Stored for longer than any test takes.
const KEEP: (&str, &str) = ("x-test-cache", "for 3600000");

fn serving(guest: &str, folder: &TempDir) -> Builder {
    Daemon::builder(guest)
        .data_dir(folder.path())
        .timeout("request", "10m")
}

fn get_with(daemon: &Daemon, path: &str, headers: Fields<'_>) -> Response {
    request(daemon, "GET", path, headers, b"")
}

/// A GET that goes well and says that it is to be kept.
fn kept(daemon: &Daemon, path: &str, headers: Fields<'_>) -> Response {
    let answer = get_with(daemon, path, &[headers, &[KEEP]].concat());
    assert_eq!(answer.status, 200, "{answer:?}");
    answer
}

fn is_hit(answer: &Response) -> bool {
    let told = answer.header("cache-status").unwrap_or_default();
    told.starts_with("zlayer; hit; ttl=")
}

/// A fresh answer is a hit, too: right after it was stored, however short its time is.
fn is_stale(answer: &Response) -> bool {
    let told = answer.header("cache-status").unwrap_or_default();
    told.starts_with("zlayer; hit; ttl=-")
}

fn figures(folder: &TempDir) -> Value {
    let answer = ask(folder, "/status");
    let status: Value = serde_json::from_str(&answer.text()).unwrap();
    status["cache"].clone()
}

#[test]
fn an_answer_is_served_again_with_its_age_and_its_date() {
    let folder = TempDir::new();
    let daemon = serving("stages", &folder).start();
    let first = kept(&daemon, "/a", &[]);
    assert_eq!(
        first.header("cache-status"),
        Some("zlayer; fwd=miss; stored")
    );
    assert_eq!(first.header("age"), None);
    // It is stored when its last byte has gone by.
    eventually("a hit", || is_hit(&kept(&daemon, "/a", &[])));
    // It came without a date, so its date is that of its arrival; the first one went out behind that.
    let hit = kept(&daemon, "/a", &[]);
    eventually("an answer from another second", || {
        let again = kept(&daemon, "/a", &[]);
        assert!(is_hit(&again) && again.body == first.body, "{again:?}");
        assert_eq!(again.header("date"), hit.header("date"));
        again.header("age").unwrap().parse::<u64>().unwrap() >= 1
    });
    // A HEAD is answered from it, with the length that a GET's answer has.
    let head = request(&daemon, "HEAD", "/a", &[], b"");
    assert!(is_hit(&head) && head.body.is_empty(), "{head:?}");
    let length = first.body.len().to_string();
    assert_eq!(head.header("content-length"), Some(&*length));
    // Another query and another host are other resources, whatever the plugin's key.
    assert!(!is_hit(&kept(&daemon, "/a?b", &[])));
    assert!(!is_hit(&kept(&daemon, "/a", &[("host", "other")])));
    // A client cannot have the work done anew.
    let reload = [("cache-control", "no-cache, max-age=0")];
    assert!(is_hit(&kept(&daemon, "/a", &reload)));
    // The last ones are stored when their last bytes have gone by.
    eventually("three entries", || figures(&folder)["entries"] == 3);
    let figures = figures(&folder);
    assert_eq!(
        (&figures["misses"], &figures["stored"]),
        (&3.into(), &3.into())
    );
}

#[test]
fn a_current_copy_of_the_client_is_answered_without_a_body() {
    let folder = TempDir::new();
    let daemon = serving("stages", &folder).start();
    let tagged = ("x-test-answer", "set etag=\"v1\"; set x-other=1");
    let first = get_with(&daemon, "/", &[tagged, KEEP, ("if-none-match", "\"v1\"")]);
    // What was made for it is a whole answer, which all others are answered from.
    assert!(
        first.status == 304 && first.header("etag") == Some("\"v1\""),
        "{first:?}"
    );
    assert!(first.body.is_empty() && first.header("x-other").is_none());
    eventually("a hit", || is_hit(&kept(&daemon, "/", &[tagged])));
    let first = kept(&daemon, "/", &[tagged]);
    assert!(!first.body.is_empty());
    eventually("304", || {
        let current = get_with(
            &daemon,
            "/",
            &[tagged, KEEP, ("if-none-match", "\"v0\", W/\"v1\"")],
        );
        if current.status == 304 {
            assert_eq!(current.header("etag"), Some("\"v1\""));
            assert_eq!(current.header("date"), first.header("date"));
            assert!(current.header("age").is_some() && current.header("x-other").is_none());
        }
        current.status == 304
    });
    let other = kept(&daemon, "/", &[("if-none-match", "\"v2\"")]);
    assert!(is_hit(&other) && other.body == first.body, "{other:?}");
}

#[test]
fn headers_that_an_answer_varies_by_choose_it() {
    let folder = TempDir::new();
    let daemon = serving("stages", &folder).start();
    let by = ("x-test-cache", "entry 3600000 vary=X-Kind");
    let get = |fields: Fields<'_>| get_with(&daemon, "/", &[fields, &[by]].concat());
    let [one, two, none] = [&[("x-kind", "1")][..], &[("x-kind", "2")], &[]];
    let answers = [one, two, none].map(|fields| get(fields).body);
    for (fields, body) in [one, two, none].into_iter().zip(&answers) {
        eventually("a hit", || is_hit(&get(fields)));
        assert_eq!(get(fields).body, *body);
    }
    assert_eq!(figures(&folder)["entries"], 3);
    // The answer's own word counts as well.
    let vary = ("x-test-answer", "set vary=x-other");
    for value in ["1", "2"] {
        assert!(!is_hit(&kept(&daemon, "/own", &[vary, ("x-other", value)])));
    }
    eventually("both", || figures(&folder)["entries"] == 5);
}

#[test]
fn what_one_site_says_is_not_told_by_another() {
    let daemon = Daemon::builder("stages")
        .args(["--trusted-proxy", "127.0.0.1"])
        .start();
    let sites: [Fields<'_>; 4] = [
        &[("host", "a")],
        &[("host", "b")],
        &[("host", "a"), ("x-forwarded-proto", "https")],
        &[("host", "a"), ("x-forwarded-host", "b")],
    ];
    let get = |fields: Fields<'_>| kept(&daemon, "/", fields);
    for (number, fields) in sites.into_iter().enumerate() {
        assert!(!is_hit(&get(fields)), "{fields:?}");
        for known in &sites[..=number] {
            eventually("a hit", || is_hit(&get(known)));
        }
    }
}

#[test]
fn the_guides_plugin_caches_as_the_guide_says() {
    let folder = TempDir::new();
    let daemon = serving("smart-cache", &folder)
        .with("http-echo-headers")
        .start();
    let get = |path: &str, headers: Fields<'_>| get_with(&daemon, path, headers);
    for path in ["/api/users/7?count=a", "/static/logo?count=b"] {
        assert_eq!(get(path, &[]).header("x-calls"), Some("1"), "{path}");
        eventually("a hit", || is_hit(&get(path, &[])));
        assert_eq!(get(path, &[]).header("x-calls"), Some("1"), "{path}");
    }
    // Another path, another status, and what forbids it.
    for (path, times) in [
        ("/other?count=c", 3),
        ("/api/x?count=d&status=404", 3),
        ("/api/y?count=e&h.cache-control=private", 3),
        ("/static/z?count=f&h.cache-control=no-store", 3),
    ] {
        for call in 1..=times {
            let call = call.to_string();
            let answer = get(path, &[]);
            assert_eq!(answer.header("x-calls"), Some(&*call), "{path}");
        }
    }
    // The key has Accept in it, and the entry varies by it and by Authorization.
    let accept: Fields<'_> = &[("accept", "text/html")];
    assert_eq!(
        get("/api/users/7?count=a", accept).header("x-calls"),
        Some("2")
    );
    let [ada, bob] = ["Bearer ada", "Bearer bob"].map(|token| [("authorization", token)]);
    assert_eq!(
        get("/api/users/7?count=a", &ada).header("x-calls"),
        Some("3")
    );
    assert_eq!(
        get("/api/users/7?count=a", &bob).header("x-calls"),
        Some("4")
    );
    eventually("ada's own", || is_hit(&get("/api/users/7?count=a", &ada)));
    let text = get("/api/users/7?count=a", &ada).text();
    assert!(text.contains("authorization: Bearer ada"), "{text}");
    // What is below /static/ varies by nothing, so an answer to somebody is for nobody else.
    for call in ["1", "2"] {
        let answer = get("/static/mine?count=g", &ada);
        assert_eq!(answer.header("x-calls"), Some(call));
    }
    let purged = zlayer([
        OsStr::new("purge"),
        OsStr::new("--data-dir"),
        folder.path().as_os_str(),
        OsStr::new("api:api/users"),
    ]);
    assert_eq!((purged.code, &*purged.stdout), (0, "4 responses purged\n"));
    assert_eq!(figures(&folder)["entries"], 1);
}
