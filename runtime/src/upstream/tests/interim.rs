//! Interim responses, and what upstreams say to `Expect: 100-continue`.

use std::sync::mpsc;

use super::*;
use crate::message::Interims;
use crate::upstream::UpstreamError;

const HINT: &str =
    "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nX-More: 1\r\nConnection: x-hop\r\nx-hop: 1\r\n\r\n";

/// The interim responses that have come.
async fn came(interims: &Interims) -> Vec<http::response::Parts> {
    let mut all = Vec::new();
    while let Some(head) = futures_lite::future::poll_once(interims.next()).await {
        all.push(head);
    }
    all
}

#[test]
fn early_hints_come_before_the_response() {
    for (only_links, left) in [(false, &["link", "x-more"][..]), (true, &["link"])] {
        let (to, _served) = upstream(|listener| {
            let mut peer = Peer::accept(&listener);
            peer.answer(&format!("HTTP/1.1 100 Continue\r\n\r\n{HINT}{OK}"))
        });
        let (client, _) = client(Settings::default());
        let interims = Interims::default();
        let mut to = to.clone();
        to.client.interims = Some(interims.clone());
        to.client.only_links = only_links;
        smol::block_on(async {
            let response = client.send(get(), &to, "id").await.unwrap();
            assert!(response.status() == 200 && !response.headers().contains_key("link"));
            assert_eq!(text(response).await, "ok");
            let came = came(&interims).await;
            assert_eq!(came.len(), 1);
            assert_eq!(came[0].status, 103);
            let names: Vec<_> = came[0].headers.keys().map(|name| name.as_str()).collect();
            assert_eq!(names, left);
        });
    }
}

#[test]
fn interim_responses_are_bounded_and_nobody_has_to_take_them() {
    for (count, taken) in [(1, true), (20, true), (20, false)] {
        let (to, _served) = upstream(move |listener| {
            let answer = format!("{}{OK}", HINT.repeat(count));
            Peer::accept(&listener).answer(&answer)
        });
        let (client, _) = client(Settings::default());
        let interims = Interims::default();
        let mut to = to.clone();
        to.client.interims = taken.then(|| interims.clone());
        smol::block_on(async {
            assert_eq!(fetch(&client, get(), &to).await, (200, "ok".to_owned()));
            let expected = if taken { count.min(8) } else { 0 };
            assert_eq!(came(&interims).await.len(), expected);
        });
    }
    let (to, _served) = upstream(|listener| {
        let mut peer = Peer::accept(&listener);
        peer.read_head();
        while peer.0.write_all(HINT.as_bytes()).is_ok() {}
    });
    let (client, _) = client(Settings::default());
    let ended = smol::block_on(client.send(get(), &to, "id"));
    assert!(matches!(ended, Err(UpstreamError::Malformed(_))));
}

/// A client that waits for `100 Continue`, and whether its body was asked for.
fn expecting(to: &Target) -> (Target, http::Request<Body>, mpsc::Receiver<()>) {
    let (asked, is_asked) = mpsc::channel();
    let body = http_body_util::StreamBody::new(futures_lite::stream::once_future(async move {
        let _ = asked.send(());
        Ok(Frame::data(Bytes::from_static(b"body")))
    }));
    let fields = [
        ("host", "h"),
        ("content-length", "4"),
        ("expect", "100-continue"),
    ];
    let mut to = to.clone();
    to.client.expects_continue = true;
    (to, request("POST", &fields, body.boxed_unsync()), is_asked)
}

#[test]
fn a_body_waits_for_the_upstream_to_want_it() {
    let (to, served) = upstream(|listener| {
        let mut peer = Peer::accept(&listener);
        let head = peer.answer("HTTP/1.1 100 Continue\r\n\r\n");
        assert_eq!(peer.read_until("body"), "body");
        peer.send(OK);
        peer.answer(OK);
        head
    });
    let (client, _) = client(Settings::default());
    let (to, request, asked) = expecting(&to);
    smol::block_on(async {
        assert_eq!(fetch(&client, request, &to).await, (200, "ok".to_owned()));
        assert!(asked.try_recv().is_ok());
        // The connection is as good as any other.
        assert_eq!(fetch(&client, get(), &to).await.0, 200);
    });
    let head = served.join().unwrap();
    assert!(head.contains("\r\nExpect: 100-continue\r\n"), "{head}");
}

#[test]
fn a_response_that_does_not_want_the_body_comes_without_it() {
    let (to, served) = upstream(|listener| {
        let mut peer = Peer::accept(&listener);
        peer.answer("HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno");
        // Nothing of the body, and no other request.
        assert_eq!(peer.0.read(&mut [0]).unwrap(), 0);
    });
    let (client, _) = client(Settings::default());
    let (to, request, asked) = expecting(&to);
    smol::block_on(async {
        assert_eq!(fetch(&client, request, &to).await, (401, "no".to_owned()));
    });
    assert!(asked.try_recv().is_err());
    assert_eq!(client.counts(), (0, 0));
    served.join().unwrap();
}

#[test]
fn a_response_that_streams_what_comes_does_not_come_before_the_body_is_asked_for() {
    for (continuing, count) in [("", 0), ("HTTP/1.1 100 Continue\r\n\r\n", 1)] {
        let (to, served) = upstream(move |listener| {
            let mut peer = Peer::accept(&listener);
            // Both in one piece.
            let head = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n";
            peer.answer(&format!("{continuing}{head}"));
            assert_eq!(peer.read_until("body"), "body");
            peer.send("ok");
        });
        let (client, _) = client(Settings::default());
        let (to, request, asked) = expecting(&to);
        smol::block_on(async {
            let response = client.send(request, &to, "id").await.unwrap();
            assert!(asked.try_recv().is_ok(), "{count} interim responses");
            assert_eq!(text(response).await, "ok");
        });
        served.join().unwrap();
    }
}

#[test]
fn an_upstream_that_does_not_know_the_field_gets_the_body_all_the_same() {
    let (to, served) = upstream(|listener| {
        let mut peer = Peer::accept(&listener);
        peer.read_head();
        assert_eq!(peer.read_until("body"), "body");
        peer.send(OK);
    });
    let (client, _) = client(Settings::default());
    let (to, request, _asked) = expecting(&to);
    let got = smol::block_on(fetch(&client, request, &to));
    assert_eq!(got, (200, "ok".to_owned()));
    served.join().unwrap();
}

#[test]
fn one_that_refuses_the_field_is_asked_without_it() {
    let (to, served) = upstream(|listener| {
        let mut first = Peer::accept(&listener);
        first.answer("HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n");
        let mut second = Peer::accept(&listener);
        let head = second.read_head();
        assert_eq!(second.read_until("body"), "body");
        second.send(OK);
        head
    });
    let (client, _) = client(Settings::default());
    let (to, request, _asked) = expecting(&to);
    let got = smol::block_on(fetch(&client, request, &to));
    assert_eq!(got, (200, "ok".to_owned()));
    let head = served.join().unwrap();
    assert!(!head.to_lowercase().contains("expect"), "{head}");
}
