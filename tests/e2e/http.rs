//! Well-formed exchanges: keep-alive, pipelining, versions, methods, targets, expectations.

use crate::support::{Client, Daemon, Response, get, request};

/// What `hello` answers for a request.
fn hello(method: &str, path: &str) -> String {
    format!("{{\"method\":\"{method}\",\"path\":\"{path}\"}}")
}

fn assert_hello(response: &Response, method: &str, path: &str) {
    assert_eq!(response.status, 200, "{response:?}");
    assert_eq!(response.text(), hello(method, path));
    assert_eq!(response.header("content-type"), Some("application/json"));
}

#[test]
fn an_answer_carries_status_date_and_the_plugins_headers() {
    let daemon = Daemon::start("hello");
    let response = get(&daemon, "/a/b?c=d&e=%20f");
    assert_hello(&response, "GET", "/a/b?c=d&e=%20f");
    let date = response.header("date").unwrap();
    assert!(date.ends_with(" GMT") && date.len() == 29, "{date}");
}

#[test]
fn a_connection_carries_many_requests() {
    let daemon = Daemon::start("hello");
    let mut client = Client::connect(&daemon);
    for number in 0..50 {
        client.send(format!("GET /{number} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        let response = client.read_response();
        assert_hello(&response, "GET", &format!("/{number}"));
        assert!(response.keep_alive);
    }
}

#[test]
fn a_client_that_wants_to_close_is_told_so_and_closed() {
    let daemon = Daemon::start("hello");
    for options in ["close", "Close", "keep-alive, close", "foo , CLOSE"] {
        let mut client = Client::connect(&daemon);
        client.send(format!(
            "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: {options}\r\n\r\n\
             GET /again HTTP/1.1\r\nHost: localhost\r\n\r\n"
        ));
        let response = client.read_response();
        assert_hello(&response, "GET", "/");
        assert_eq!(response.header("connection"), Some("close"), "{options}");
        assert!(
            client.is_closed(),
            "answered past its last request: {options}"
        );
    }
}

#[test]
fn ten_requests_in_one_write_are_answered_in_order() {
    let daemon = Daemon::start("hello");
    let mut client = Client::connect(&daemon);
    let requests: String = (0..10)
        .map(|number| format!("GET /{number} HTTP/1.1\r\nHost: localhost\r\n\r\n"))
        .collect();
    client.send(requests);
    for number in 0..10 {
        assert_hello(&client.read_response(), "GET", &format!("/{number}"));
    }
}

#[test]
fn pipelined_bodies_end_where_they_say() {
    let daemon = Daemon::start("echo");
    let mut client = Client::connect(&daemon);
    client.send(
        "POST /1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nfirst\
         POST /2 HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nsec\r\n3\r\nond\r\n0\r\n\r\n\
         POST /3 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n\
         POST /4 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 6\r\n\r\nfourth",
    );
    for body in ["first", "second", "", "fourth"] {
        let response = client.read_response();
        assert_eq!((response.status, response.text().as_str()), (200, body));
    }
}

#[test]
fn requests_that_come_byte_by_byte_are_answered_in_order() {
    let daemon = Daemon::start("echo");
    let mut client = Client::connect(&daemon);
    let wire = "POST /1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nfirst\
                POST /2 HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nsecond\r\n0\r\nX-Sum: 1\r\n\r\n\
                GET /download?bytes=3 HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for byte in wire.bytes() {
        // Without Nagle's algorithm each is a packet of its own.
        client.send([byte]);
    }
    for body in [&b"first"[..], b"second", &[0, 1, 2]] {
        let response = client.read_response();
        assert_eq!((response.status, response.body.as_slice()), (200, body));
    }
}

#[test]
fn http_1_0_closes_unless_asked_to_stay() {
    let daemon = Daemon::start("echo");
    let mut client = Client::connect(&daemon);
    client.send("GET /download?bytes=3 HTTP/1.0\r\n\r\n");
    let response = client.read_response();
    assert_eq!(response.header("connection"), Some("close"));
    assert_eq!((response.status, response.body), (200, vec![0, 1, 2]));
    assert!(client.is_closed());

    // To stay takes an answer whose end is known.
    let mut client = Client::connect(&daemon);
    for _ in 0..2 {
        client.send("GET /download?bytes=3 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        let response = client.read_response();
        assert_eq!(response.header("connection"), Some("keep-alive"));
        assert_eq!(response.body, [0, 1, 2]);
    }
}

#[test]
fn http_1_0_never_gets_chunks() {
    let daemon = Daemon::start("echo");
    let mut client = Client::connect(&daemon);
    // Asks to stay, which a body of unknown length does not allow.
    client.send("POST / HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 8\r\n\r\nhalf");
    let response = client.read_head().unwrap();
    assert_eq!(response.header("transfer-encoding"), None);
    assert_eq!(response.header("content-length"), None);
    assert_eq!(response.header("connection"), Some("close"));
    client.send("half");
    assert_eq!(client.read_to_end(), b"halfhalf");
}

#[test]
fn head_gets_the_headers_of_get_and_no_body() {
    let daemon = Daemon::start("echo");
    let mut client = Client::connect(&daemon);
    for _ in 0..3 {
        client.send("HEAD /download?bytes=1000 HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let response = client.read_head().unwrap();
        assert_eq!(response.status, 200);
        assert_eq!(response.header("content-length"), Some("1000"));
        // What follows is the next answer, not a body.
        client.send("GET /download?bytes=5 HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert_eq!(client.read_response().body, [0, 1, 2, 3, 4]);
    }
}

#[test]
fn any_method_reaches_the_plugin() {
    let daemon = Daemon::start("hello");
    for method in [
        "GET", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "PURGE", "get",
    ] {
        assert_hello(&request(&daemon, method, "/m", &[], b""), method, "/m");
    }
}

#[test]
fn an_absolute_target_is_its_path_to_the_plugin() {
    let daemon = Daemon::start("hello");
    for (target, path) in [
        ("http://example.com/a?b=c", "/a?b=c"),
        ("http://example.com", "/"),
        ("HTTP://EXAMPLE.COM:80/x", "/x"),
        ("https://[::1]:8443/y", "/y"),
    ] {
        assert_hello(&request(&daemon, "GET", target, &[], b""), "GET", path);
    }
}

#[test]
fn options_for_the_whole_server_is_answered() {
    let daemon = Daemon::start("hello");
    let response = request(&daemon, "OPTIONS", "*", &[], b"");
    assert_hello(&response, "OPTIONS", "*");
}

#[test]
fn connect_is_refused_for_this_is_no_proxy() {
    let daemon = Daemon::start("hello");
    let mut client = Client::connect(&daemon);
    client.send("CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n");
    assert_eq!(client.read_response().status, 501);
    assert!(client.is_closed());
}

#[test]
fn heads_up_to_the_limits_are_taken() {
    let daemon = Daemon::start("hello");
    let fields: String = (0..95).map(|number| format!("X-{number}: v\r\n")).collect();
    let path = format!("/{}", "p".repeat(8191));
    let value = "v".repeat(15 << 10);
    for (head, path) in [
        (
            format!("GET /many HTTP/1.1\r\nHost: h\r\n{fields}\r\n"),
            "/many",
        ),
        (format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n"), &path),
        (
            format!("GET /large HTTP/1.1\r\nHost: h\r\nX: {value}\r\n\r\n"),
            "/large",
        ),
        (
            "\r\n\r\nGET /lines HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(),
            "/lines",
        ),
        (
            "GET /ows HTTP/1.1\r\nHost:\t h \r\nX:\r\n\r\n".to_owned(),
            "/ows",
        ),
    ] {
        let mut client = Client::connect(&daemon);
        client.send(head);
        assert_hello(&client.read_response(), "GET", path);
    }
}

#[test]
fn a_client_that_expects_is_told_to_go_on_when_the_plugin_reads() {
    let daemon = Daemon::start("echo");
    let mut client = Client::connect(&daemon);
    for _ in 0..3 {
        client.send(
            "POST /count HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nExpect: 100-Continue\r\n\r\n",
        );
        let response = client.read_response();
        assert_eq!((response.status, response.headers.len()), (100, 0));
        client.send("hello");
        let response = client.read_response();
        assert!(response.text().starts_with("{\"bytes\":5,"), "{response:?}");
        assert!(response.keep_alive);
    }
}

#[test]
fn a_client_that_expects_may_send_its_body_at_once() {
    let daemon = Daemon::start("echo");
    let mut client = Client::connect(&daemon);
    for _ in 0..3 {
        client.send(
            "POST /count HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\nhello",
        );
        // It is told to go on all the same: the daemon does not look whether it did.
        assert_eq!(client.read_response().status, 100);
        let response = client.read_response();
        assert!(response.text().starts_with("{\"bytes\":5,"), "{response:?}");
    }
}

#[test]
fn a_client_that_expects_gets_the_answer_of_a_plugin_that_does_not_read() {
    let daemon = Daemon::start("hello");
    let mut client = Client::connect(&daemon);
    client.send(
        "POST /early HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n",
    );
    // No 100 before it, and no next request: whether the body still comes is not known.
    let response = client.read_response();
    assert_hello(&response, "POST", "/early");
    assert!(!response.keep_alive);
    client.send("hello");
    assert!(client.is_closed());
}

#[test]
fn a_client_that_expects_can_stream_through_a_plugin_that_answers_first() {
    let daemon = Daemon::start("echo");
    let mut client = Client::connect(&daemon);
    client.send(
        "POST /greet HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n",
    );
    // Its answer has begun when it asks for the body: no 100 can come between.
    let response = client.read_head().unwrap();
    assert_eq!(response.status, 200);
    assert_eq!(response.header("transfer-encoding"), Some("chunked"));
    client.read_greeting();
    for piece in ["there", "again"] {
        client.send(piece);
        assert_eq!(
            client.read_chunk().unwrap().as_deref(),
            Some(piece.as_bytes())
        );
    }
    assert_eq!(client.read_chunk().unwrap(), None);
}

#[test]
fn an_expectation_without_a_body_or_in_http_1_0_is_no_reason_to_wait() {
    let daemon = Daemon::start("echo");
    let mut client = Client::connect(&daemon);
    client.send("POST /count HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(client.read_response().status, 200);
    client.send("POST /count HTTP/1.0\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\nok");
    let response = client.read_response();
    assert!(response.text().starts_with("{\"bytes\":2,"), "{response:?}");
}

#[test]
fn many_connections_are_served_side_by_side() {
    let daemon = Daemon::start("hello");
    std::thread::scope(|scope| {
        for client in 0..16 {
            let daemon = &daemon;
            scope.spawn(move || {
                let mut connection = Client::connect(daemon);
                for number in 0..10 {
                    let path = format!("/{client}/{number}");
                    connection.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
                    assert_hello(&connection.read_response(), "GET", &path);
                }
            });
        }
    });
}
