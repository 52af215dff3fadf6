#![expect(clippy::unwrap_used, reason = "a failed test should panic")]

use http::header::COOKIE;
use http_body::Body as _;

use super::*;
use crate::memory::Budget;

fn request(method: &str) -> Request {
    let (head, ()) = http::Request::builder()
        .method(method)
        .uri("/a/b?c=d")
        .header("host", "device.local:8080")
        .body(())
        .unwrap()
        .into_parts();
    let client = "[::ffff:192.0.2.7]:4000"
        .parse::<std::net::SocketAddr>()
        .unwrap();
    Request::new(head, IncomingBody::default(), client, "1".into())
}

#[test]
fn the_record_follows_what_stages_change() {
    let mut request = request("PUT");
    let record = request.record().unwrap();
    assert_eq!(
        (record.path.as_str(), record.query.as_deref()),
        ("/a/b", Some("c=d"))
    );
    assert_eq!(record.context[0].value, "192.0.2.7");
    drop(record);
    request.set_context("claim.sub", "alice");
    request.set_context("claim.sub", "bob");
    let mut headers = request.head.headers.clone();
    headers.insert("x-new", "1".parse().unwrap());
    request.set_headers(headers);
    request.set_body(b"hello".to_vec(), None);
    request.mend_length();
    let record = request.record().unwrap();
    let told = |key: &str| -> Vec<_> {
        let same = record.context.iter().filter(|pair| pair.key == key);
        same.map(|pair| pair.value.as_str()).collect()
    };
    assert_eq!(told("client_ip"), ["192.0.2.7"]);
    assert_eq!(told("clock"), [clock::state().name()]);
    assert_eq!(told("claim.sub"), ["bob"]);
    assert_eq!(record.headers.len(), 3);
    assert_eq!(record.body, b"hello");
    drop(record);
    assert_eq!(request.head.headers[CONTENT_LENGTH], "5");
    assert_eq!(request.stream().size_hint().exact(), Some(5));
}

#[test]
fn a_hidden_body_is_there_again_for_the_next_stage() {
    let share = Budget::new(1 << 20).reserve(256 << 10).unwrap();
    let bodies = WholeBodies::new(share, 100 << 10);
    let mut request = request("PUT");
    request.set_body(b"hello".to_vec(), None);
    let expected = [
        (BodyAccess::None, "", "streamed"),
        (BodyAccess::None, "", "streamed"),
        (BodyAccess::Auto, "hello", "whole"),
        (BodyAccess::None, "", "streamed"),
        (BodyAccess::Whole, "hello", "whole"),
    ];
    for (access, body, told) in expected {
        smol::block_on(request.prepare(&bodies, access)).unwrap();
        let record = request.record().unwrap();
        assert_eq!(record.body, body.as_bytes());
        let mut context = record.context.iter();
        assert_eq!(context.find(|pair| pair.key == "body").unwrap().value, told);
        drop(record);
        // A later stage can have the body in any case.
        assert_eq!(request.whole_body().unwrap(), b"hello");
    }
    smol::block_on(request.prepare(&bodies, BodyAccess::None)).unwrap();
    assert_eq!(request.stream().size_hint().exact(), Some(5));
    assert!(!request.has_body() && request.whole_body().is_none());
}

#[test]
fn what_the_client_brought_tells_who_it_is_whatever_stages_change() {
    let head = http::Request::builder()
        .header("authorization", "Bearer ada")
        .header("cookie", "a=b")
        .header("x-other", "1");
    let (head, ()) = head.body(()).unwrap().into_parts();
    let client = "192.0.2.7:4000".parse::<std::net::SocketAddr>().unwrap();
    let mut request = Request::new(head, IncomingBody::default(), client, "1".into());
    assert_eq!(request.telling_headers(), request.head.headers);
    assert!(request.has_brought(&COOKIE) && !request.has_brought(&CREDENTIALS[2]));
    let mut headers = HeaderMap::new();
    headers.insert("cookie", "c=d".parse().unwrap());
    request.set_headers(headers);
    let telling = request.telling_headers();
    assert_eq!(telling["authorization"], "Bearer ada");
    assert!(!request.has_brought(&CREDENTIALS[0]) && !request.has_brought(&COOKIE));
    let cookies: Vec<_> = telling.get_all("cookie").iter().collect();
    assert_eq!(cookies, ["c=d", "a=b"]);
}

#[test]
fn methods_without_a_case_are_refused_each_time() {
    let mut request = request("BREW");
    for _ in 0..2 {
        assert!(matches!(request.record(), Err(Failure::Method(name)) if name == "BREW"));
    }
}

#[test]
fn the_server_name_has_no_port() {
    assert_eq!(
        request("GET").metadata().server_name.unwrap(),
        "device.local"
    );
    assert_eq!(without_port("[::1]"), "[::1]");
    assert_eq!(without_port("[::1]:80"), "[::1]");
    assert_eq!(without_port("a"), "a");
}
