//! Upstreams that get it wrong in a way that leaves no doubt.

use super::*;
use crate::upstream::UpstreamError;

#[test]
fn what_means_one_thing_is_read_and_the_connection_closed() {
    for answer in [
        "HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\ncontent-length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nX-A : b\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nX-A: a\x01\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nX-A: a\r\n b\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2 \r\nok\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\nok\n0\n\n",
        "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    ] {
        let (to, served) = upstream(move |listener| {
            let mut peer = Peer::accept(&listener);
            peer.answer(answer);
            // The client closes, not this end.
            assert_eq!(peer.0.read(&mut [0]).unwrap(), 0, "{answer:?}");
            Peer::accept(&listener).answer(OK);
        });
        let (client, _) = client(Settings::default());
        smol::block_on(async {
            let got = fetch(&client, get(), &to).await;
            assert_eq!(got, (200, "ok".to_owned()), "{answer:?}");
            assert_eq!(client.counts(), (0, 0), "{answer:?}");
            assert_eq!(fetch(&client, get(), &to).await.0, 200);
        });
        served.join().unwrap();
    }
}

#[test]
fn what_follows_the_last_chunk_may_be_missing_at_the_end_of_the_connection() {
    for (body, whole) in [
        ("2\r\nok\r\n0\r\n", true),
        ("2\r\nok\r\n0", true),
        ("2\r\nok\r\n0\r\nX-Sum: 1", true),
        ("2\r\nok\r\n", false),
        ("2\r\nok", false),
        ("0002\r\nok\r\n0", false),
    ] {
        let (to, _served) = upstream(move |listener| {
            let mut peer = Peer::accept(&listener);
            peer.answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
            peer.send(body);
        });
        let (client, _) = client(Settings::default());
        let read = smol::block_on(async {
            let response = client.send(get(), &to, "id").await.unwrap();
            response.into_body().collect().await
        });
        match read {
            Ok(read) => assert!(whole && read.to_bytes() == "ok", "{body:?}"),
            Err(error) => assert!(!whole && error == BodyError::UpstreamClosed, "{body:?}"),
        }
    }
}

#[test]
fn an_empty_length_is_none_and_a_repeated_one_is_told_once() {
    for (fields, told) in [
        ("Content-Length:\r\n", None),
        ("Content-Length: 2\r\nContent-Length: 2\r\n", Some("2")),
        ("Content-Length: 2,2\r\n", Some("2")),
    ] {
        let (to, _served) = upstream(move |listener| {
            let mut peer = Peer::accept(&listener);
            peer.answer(&format!("HTTP/1.1 200 OK\r\n{fields}\r\nok"));
        });
        let (client, _) = client(Settings::default());
        smol::block_on(async {
            let response = client.send(get(), &to, "id").await.unwrap();
            let lengths: Vec<_> = response
                .headers()
                .get_all("content-length")
                .iter()
                .map(|value| value.to_str().unwrap().to_owned())
                .collect();
            assert_eq!(
                lengths,
                Vec::from_iter(told.map(str::to_owned)),
                "{fields:?}"
            );
            assert_eq!(text(response).await, "ok", "{fields:?}");
        });
    }
}

#[test]
fn control_bytes_go_no_further() {
    let (to, _served) = upstream(|listener| {
        let mut peer = Peer::accept(&listener);
        peer.answer("HTTP/1.1 200 OK\r\nX-A: \x01a\0b\rc\x7f\r\nContent-Length: 0\r\n\r\n");
    });
    let (client, _) = client(Settings::default());
    let response = smol::block_on(client.send(get(), &to, "id")).unwrap();
    assert_eq!(response.headers()["x-a"], "a b c");
}

#[test]
fn a_hundred_headers_and_more_are_read() {
    let head = |count: usize| {
        let fields: String = (0..count).map(|n| format!("X-{n}: {n}\r\n")).collect();
        format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: 0\r\n\r\n")
    };
    for (count, read) in [(98, true), (255, true), (256, false)] {
        let (to, _served) = upstream(move |listener| {
            Peer::accept(&listener).answer(&head(count));
        });
        let (client, _) = client(Settings::default());
        match smol::block_on(client.send(get(), &to, "id")) {
            Ok(response) => assert!(read && response.headers().len() == count + 1),
            Err(error) => {
                assert!(!read, "{count}: {error}");
                assert!(
                    error.to_string().contains("more than 256 headers"),
                    "{error}"
                );
            }
        }
    }
}

#[test]
fn what_is_refused_is_named() {
    for (fields, named) in [
        (
            "Content-Length: 1\r\nContent-Length: 2\r\n",
            "\"Content-Length\"",
        ),
        ("Content-Length: five\r\n", "\"Content-Length\""),
        ("Content Length: 2\r\n", "\"Content Length\""),
        ("Content-Length\u{e9}: 2\r\n", "\"Content-Length\u{e9}\""),
        ("Transfer-Encoding\r\n", "\"Transfer-Encoding\""),
        ("Transfer-Encoding: gzip\r\n", "\"transfer-encoding\""),
    ] {
        let (to, _served) = upstream(move |listener| {
            let head = format!("HTTP/1.1 200 OK\r\n{fields}\r\n");
            Peer::accept(&listener).answer(&head);
        });
        let (client, _) = client(Settings::default());
        let error = smol::block_on(client.send(get(), &to, "id")).unwrap_err();
        assert!(matches!(error, UpstreamError::Malformed(_)), "{error}");
        assert!(error.to_string().contains(named), "{error}");
    }
}
