//! Bodies in both directions: framing, streaming, back-pressure, ends that are none.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;

use http::HeaderMap;
use http_body::Body as _;

use super::*;
use crate::upstream::UpstreamError;

/// The bytes that the upstream sees of a request with `body`, up to `end`.
fn seen(
    method: &'static str,
    fields: &[(&'static str, &str)],
    body: Body,
    end: &'static str,
) -> String {
    let (to, served) = upstream(move |listener| {
        let mut peer = Peer::accept(&listener);
        let seen = peer.read_until(end);
        peer.send(OK);
        seen
    });
    let (client, _) = client(Settings::default());
    let mut all = vec![("host", "h")];
    all.extend_from_slice(fields);
    let answered = smol::block_on(fetch(&client, request(method, &all, body), &to));
    assert_eq!(answered, (200, "ok".to_owned()));
    served.join().unwrap()
}

/// A body of these frames, without a length.
fn frames(frames: Vec<Frame<Bytes>>) -> Body {
    let (send, receive) = smol::channel::unbounded();
    for frame in frames {
        send.try_send(frame).unwrap();
    }
    channel(receive)
}

fn data(text: &'static str) -> Frame<Bytes> {
    Frame::data(Bytes::from_static(text.as_bytes()))
}

#[test]
fn a_known_length_is_told_and_an_unknown_one_is_chunked() {
    let start = "POST /p?q HTTP/1.1\r\nHost: h\r\n";
    let seen_full = seen("POST", &[], full("hello"), "hello");
    assert_eq!(seen_full, format!("{start}Content-Length: 5\r\n\r\nhello"));
    assert_eq!(
        seen("POST", &[], empty(), "\r\n\r\n"),
        format!("{start}Content-Length: 0\r\n\r\n")
    );
    let one = vec![data("hel"), data(""), data("lo")];
    let announced = seen("POST", &[("content-length", "5")], frames(one), "hello");
    assert_eq!(announced, format!("{start}Content-Length: 5\r\n\r\nhello"));
    let one = vec![data("hel"), data(""), data("lo")];
    let chunked = seen("POST", &[], frames(one), "\r\n0\r\n\r\n");
    let wire = "Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n";
    assert_eq!(chunked, format!("{start}{wire}"));
}

#[test]
fn trailers_pass_both_ways() {
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", "1".parse().unwrap());
    let (to, served) = upstream(|listener| {
        let mut peer = Peer::accept(&listener);
        let seen = peer.read_until("\r\n\r\n1\r\na\r\n0\r\nx-sum: 1\r\n\r\n");
        peer.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nb\r\n0\r\nX-Sum: 2\r\nhost: x\r\n\r\n");
        seen
    });
    let (client, _) = client(Settings::default());
    let sent = request(
        "PUT",
        &[("host", "h")],
        frames(vec![data("a"), Frame::trailers(trailers)]),
    );
    smol::block_on(async {
        let response = client.send(sent, &to, "id").await.unwrap();
        let whole = response.into_body().collect().await.unwrap();
        let trailers = whole.trailers().unwrap();
        assert_eq!(
            (trailers.len(), &trailers["x-sum"]),
            (1, &"2".parse().unwrap())
        );
        assert_eq!(
            (whole.to_bytes(), client.counts()),
            (Bytes::from_static(b"b"), (1, 1))
        );
    });
    served.join().unwrap();
}

#[test]
fn an_answer_may_begin_before_the_request_has_ended() {
    let (to, served) = upstream(|listener| {
        let mut peer = Peer::accept(&listener);
        peer.read_until("\r\n\r\n3\r\none\r\n");
        peer.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n");
        let rest = peer.read_until("0\r\n\r\n");
        peer.send("6\r\nsecond\r\n0\r\n\r\n");
        rest
    });
    let (client, _) = client(Settings::default());
    smol::block_on(EXECUTOR.run(async {
        let (send, receive) = smol::channel::unbounded();
        send.try_send(data("one")).unwrap();
        let sent = request("POST", &[("host", "h")], channel(receive));
        let response = client.send(sent, &to, "id").await.unwrap();
        let mut body = response.into_body();
        let first = body.frame().await.unwrap().unwrap();
        assert_eq!(first.into_data().unwrap(), "first");
        send.try_send(data("two")).unwrap();
        drop(send);
        let rest = body.collect().await.unwrap();
        assert_eq!(rest.to_bytes(), "second");
    }));
    assert_eq!(served.join().unwrap(), "3\r\ntwo\r\n0\r\n\r\n");
}

#[test]
fn an_upload_goes_on_while_nobody_reads_the_answer() {
    const BYTES: u64 = 8 << 20;
    let (all_read, read) = smol::channel::bounded(1);
    let (to, served) = upstream(move |listener| {
        let mut peer = Peer::accept(&listener);
        peer.answer("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n");
        let mut seen = 0;
        while seen < BYTES {
            seen += peer.0.read(&mut [0; 64 << 10]).unwrap() as u64;
        }
        all_read.send_blocking(()).unwrap();
        peer.send("done");
    });
    let (client, _) = client(Settings::default());
    let body = Long {
        left: BYTES,
        given: Arc::default(),
    };
    smol::block_on(EXECUTOR.run(async {
        let fields = [("host", "h"), ("content-length", "8388608")];
        let sent = request("PUT", &fields, body.boxed_unsync());
        let response = client.send(sent, &to, "id").await.unwrap();
        read.recv().await.unwrap();
        assert_eq!(text(response).await, "done");
    }));
    served.join().unwrap();
}

#[test]
fn an_answer_that_does_not_wait_for_the_request_ends_the_connection() {
    let (to, served) = upstream(|listener| {
        let mut peer = Peer::accept(&listener);
        peer.answer("HTTP/1.1 413 Content Too Large\r\ncontent-length: 3\r\n\r\nbig");
        peer.0.read(&mut [0])
    });
    let (client, budget) = client(Settings::default());
    smol::block_on(async {
        let (_send, receive) = smol::channel::unbounded();
        let sent = request("POST", &[("host", "h")], channel(receive));
        assert_eq!(fetch(&client, sent, &to).await, (413, "big".to_owned()));
        assert_eq!((client.counts(), budget.used()), ((0, 0), 0));
    });
    assert_eq!(served.join().unwrap().unwrap(), 0);
}

#[test]
fn an_answer_to_a_request_that_the_upstream_stopped_reading_still_arrives() {
    let (to, served) = upstream(|listener| {
        let mut peer = Peer::accept(&listener);
        peer.read_head();
        // Reads no more, and says so: what is sent from here on fails once it stands in the way.
        peer.0.shutdown(std::net::Shutdown::Read).unwrap();
        peer.send("HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno");
    });
    let (client, _) = client(Settings::default());
    smol::block_on(async {
        let (_send, receive) = smol::channel::unbounded();
        let sent = request("POST", &[("host", "h")], channel(receive));
        assert_eq!(fetch(&client, sent, &to).await, (403, "no".to_owned()));
    });
    served.join().unwrap();
}

#[test]
fn an_answer_that_breaks_off_is_not_one_that_ended() {
    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n0;",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\nx\r\n",
    ] {
        let (to, served) = upstream(move |listener| drop(Peer::accept(&listener).answer(answer)));
        let (client, budget) = client(Settings::default());
        smol::block_on(async {
            let mut body = client.send(get(), &to, "id").await.unwrap().into_body();
            let first = body.frame().await.unwrap().unwrap();
            assert_eq!(first.into_data().unwrap(), "half");
            assert!(body.frame().await.unwrap().is_err(), "{answer:?}");
            assert!(body.frame().await.is_none() && body.is_end_stream());
            assert_eq!((client.counts(), budget.used()), ((0, 0), 0));
        });
        served.join().unwrap();
    }
}

#[test]
fn without_a_length_the_body_ends_with_the_connection() {
    let (to, served) =
        upstream(|listener| drop(Peer::accept(&listener).answer("HTTP/1.0 200 OK\r\n\r\nall")));
    let (client, _) = client(Settings::default());
    assert_eq!(
        smol::block_on(fetch(&client, get(), &to)),
        (200, "all".to_owned())
    );
    assert_eq!(client.counts(), (0, 0));
    served.join().unwrap();
}

#[test]
fn a_request_body_of_another_length_is_not_passed_on_as_whole() {
    for (announced, frame) in [("5", "half"), ("3", "half")] {
        let (to, served) = upstream(|listener| {
            let mut peer = Peer::accept(&listener);
            peer.read_head();
            let mut rest = Vec::new();
            // The end of the connection, or its reset.
            let _ = peer.0.read_to_end(&mut rest);
            rest.len()
        });
        let (client, budget) = client(Settings::default());
        let fields = [("host", "h"), ("content-length", announced)];
        let sent = request("POST", &fields, frames(vec![data(frame)]));
        let ended = smol::block_on(client.send(sent, &to, "id"));
        assert!(
            matches!(ended, Err(UpstreamError::RequestBody(_))),
            "{ended:?}"
        );
        assert!(served.join().unwrap() <= 4);
        assert_eq!((client.counts(), budget.used()), ((0, 0), 0));
    }
}

/// A body of `left` bytes that tells how many it has handed out.
struct Long {
    left: u64,
    given: Arc<AtomicU64>,
}

impl http_body::Body for Long {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        static PIECE: [u8; 40_000] = [b'x'; 40_000];
        let length = self.left.min(PIECE.len() as u64);
        self.left -= length;
        self.given.fetch_add(length, Ordering::Relaxed);
        let data = Bytes::from_static(&PIECE[..length as usize]);
        Poll::Ready((length > 0).then_some(Ok(Frame::data(data))))
    }
}

#[test]
fn a_long_body_goes_there_and_back_and_is_never_whole_anywhere() {
    const BYTES: u64 = 10 << 20;
    let (to, served) = upstream(|listener| {
        let mut peer = Peer::accept(&listener);
        peer.read_head();
        peer.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
        let (mut seen, mut piece) = (Vec::new(), vec![0; 64 << 10]);
        // Chunks come back as they came.
        while !seen.ends_with(b"\r\n0\r\n\r\n") {
            let count = peer.0.read(&mut piece).unwrap();
            peer.0.write_all(&piece[..count]).unwrap();
            seen.extend_from_slice(&piece[..count]);
            seen.drain(..seen.len().saturating_sub(7));
        }
    });
    let (client, budget) = client(Settings::default());
    let body = Long {
        left: BYTES,
        given: Arc::default(),
    };
    smol::block_on(EXECUTOR.run(async {
        let sent = request("POST", &[("host", "h")], body.boxed_unsync());
        let mut body = client.send(sent, &to, "id").await.unwrap().into_body();
        let mut back = 0;
        while let Some(frame) = body.frame().await {
            let data = frame.unwrap().into_data().unwrap();
            assert!(data.len() <= 16 << 10 && budget.used() <= 64 << 10);
            back += data.len() as u64;
        }
        assert_eq!(back, BYTES);
    }));
    served.join().unwrap();
}

#[test]
fn an_upstream_that_does_not_read_holds_the_sender_back() {
    // More than the sockets' buffers between them can hold.
    const BYTES: u64 = 256 << 20;
    let (stop, stopped) = mpsc::channel::<()>();
    let (to, served) = upstream(move |listener| {
        let mut peer = Peer::accept(&listener);
        peer.answer("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nstart");
        // Holds the connection, reads nothing.
        let _ = stopped.recv();
    });
    let (client, _) = client(Settings::default());
    let given = Arc::new(AtomicU64::new(0));
    let body = Long {
        left: BYTES,
        given: Arc::clone(&given),
    };
    smol::block_on(EXECUTOR.run(async {
        let target = Target {
            stall_timeout: BRIEF,
            ..to
        };
        let sent = request("POST", &[("host", "h")], body.boxed_unsync());
        let body = client.send(sent, &target, "id").await.unwrap().into_body();
        // It ends because nothing moves any more.
        assert!(body.collect().await.is_err());
        assert!(given.load(Ordering::Relaxed) < BYTES, "all of it was taken");
    }));
    drop(stop);
    served.join().unwrap();
}
