//! What a head says on its way out, and on its way back.

use super::*;
use crate::upstream::UpstreamError;

/// Has `request` answered with `answer`; the head that the upstream saw, and the response.
fn exchange(request: http::Request<Body>, answer: &'static str) -> (String, http::Response<Body>) {
    let (to, served) = upstream(move |listener| Peer::accept(&listener).answer(answer));
    let (client, _) = client(Settings::default());
    let response = smol::block_on(client.send(request, &to, "id")).unwrap();
    (served.join().unwrap(), response)
}

#[test]
fn a_head_goes_out_without_what_was_for_the_connection_it_came_by() {
    let fields = [
        ("host", "example.com"),
        // The client's went when the request came; what a stage or the proxy set since stays.
        ("connection", "keep-alive, x-forwarded-for"),
        ("x-forwarded-for", "192.0.2.7"),
        ("keep-alive", "timeout=5"),
        ("proxy-authorization", "Basic eA=="),
        ("expect", "100-continue"),
        ("upgrade", "h2c"),
        ("te", "trailers, gzip"),
        ("accept", "*/*"),
        ("cookie", "a=b"),
    ];
    let (head, _) = exchange(request("GET", &fields, empty()), OK);
    let expected = "GET /p?q HTTP/1.1\r\nHost: example.com\r\nX-Forwarded-For: 192.0.2.7\r\n\
                    Accept: */*\r\nCookie: a=b\r\n\
                    TE: trailers\r\nConnection: TE\r\n\r\n";
    assert_eq!(head, expected);
}

#[test]
fn a_request_without_a_host_gets_the_targets() {
    let (to, served) = upstream(|listener| Peer::accept(&listener).answer(OK));
    let (client, _) = client(Settings::default());
    smol::block_on(fetch(&client, request("GET", &[], empty()), &to));
    let expected = format!("GET /p?q HTTP/1.1\r\nHost: 127.0.0.1:{}\r\n\r\n", to.port);
    assert_eq!(served.join().unwrap(), expected);
    let key = at("[::1]", 80).key();
    assert_eq!(
        (key.host.as_str(), key.to_string()),
        ("::1", "[::1]:80".to_owned())
    );
}

#[test]
fn a_target_without_a_path_gets_one() {
    for (uri, target) in [
        ("http://h?q", "/?q"),
        ("http://h", "/"),
        ("http://h/a?b", "/a?b"),
    ] {
        let mut sent = get();
        *sent.uri_mut() = uri.parse().unwrap();
        let (head, _) = exchange(sent, OK);
        assert_eq!(head.split(' ').nth(1), Some(target), "{uri}");
    }
}

#[test]
fn a_head_comes_back_without_what_was_for_the_connection() {
    let answer = "HTTP/1.1 418 Teapot\r\nConnection: x-hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\n\
                  Proxy-Authenticate: Basic\r\nUpgrade: h2c\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n\
                  Trailer: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    let (_, response) = exchange(get(), answer);
    assert_eq!(response.status(), 418);
    let fields: Vec<_> = response
        .headers()
        .iter()
        .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
        .collect();
    assert_eq!(
        fields,
        [("set-cookie", "a"), ("set-cookie", "b"), ("trailer", "x")]
    );
}

#[test]
fn responses_without_a_body_leave_the_connection_to_the_next_request() {
    let (to, served) = upstream(|listener| {
        let mut peer = Peer::accept(&listener);
        peer.answer("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n");
        peer.answer("HTTP/1.1 204 No Content\r\n\r\n");
        peer.answer("HTTP/1.1 304 Not Modified\r\ncontent-length: 1000\r\netag: \"x\"\r\n\r\n");
        peer.answer(OK);
    });
    let (client, _) = client(Settings::default());
    smol::block_on(async {
        let head = request("HEAD", &[("host", "h")], empty());
        let response = client.send(head, &to, "id").await.unwrap();
        assert_eq!(response.headers()["content-length"], "1000");
        assert_eq!(text(response).await, "");
        assert_eq!(fetch(&client, get(), &to).await, (204, String::new()));
        let response = client.send(get(), &to, "id").await.unwrap();
        assert_eq!(
            (
                response.status().as_u16(),
                &response.headers()["content-length"]
            ),
            (304, &"1000".parse().unwrap())
        );
        drop(response);
        assert_eq!(fetch(&client, get(), &to).await, (200, "ok".to_owned()));
    });
    served.join().unwrap();
}

#[test]
fn answers_that_are_not_http_are_refused() {
    for answer in [
        "220 mail\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nok",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\nok",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\nok",
        "HTTP/1.1 200 OK\r\ncontent length: 2\r\n\r\n",
    ] {
        let (to, _served) = upstream(move |listener| Peer::accept(&listener).answer(answer));
        let (client, budget) = client(Settings::default());
        let ended = smol::block_on(client.send(get(), &to, "id"));
        assert!(
            matches!(ended, Err(UpstreamError::Malformed(_))),
            "{answer:?}"
        );
        assert_eq!((client.counts(), budget.used()), ((0, 0), 0));
    }
    let (to, _served) = upstream(|listener| {
        let switching =
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n";
        Peer::accept(&listener).answer(switching)
    });
    let (client, _) = client(Settings::default());
    let ended = smol::block_on(client.send(get(), &to, "id"));
    assert!(matches!(ended, Err(UpstreamError::Switched)));
}

#[test]
fn requests_that_are_not_http_are_not_sent() {
    let (client, budget) = client(Settings::default());
    let to = at("127.0.0.1", 1);
    for request in [
        request("GET", &[("host", "a b")], empty()),
        request("GET", &[("host", "a"), ("host", "b")], empty()),
        request(
            "POST",
            &[("host", "a"), ("content-length", "x")],
            channel(smol::channel::bounded(1).1),
        ),
    ] {
        let ended = smol::block_on(client.send(request, &to, "id"));
        assert!(matches!(ended, Err(UpstreamError::Request(_))), "{ended:?}");
    }
    assert_eq!(budget.used(), 0);
}
