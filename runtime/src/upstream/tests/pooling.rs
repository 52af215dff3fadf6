//! Connections that are kept, closed behind our back, counted and paid for.

use std::sync::mpsc;

use super::failures::{EMPTY, free_port};
use super::*;
use crate::upstream::UpstreamError;
use crate::upstream::pool::{ACTIVE_SHARE, IDLE_SHARE};

#[test]
fn a_connection_serves_one_request_after_the_other() {
    let (to, served) = upstream(|listener| {
        let mut peer = Peer::accept(&listener);
        peer.answer(OK);
        peer.answer("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n");
        peer.answer(OK);
    });
    let (client, budget) = client(Settings::default());
    smol::block_on(async {
        for _ in 0..3 {
            assert_eq!(fetch(&client, get(), &to).await, (200, "ok".to_owned()));
            assert_eq!((client.counts(), budget.used()), ((1, 1), IDLE_SHARE));
        }
    });
    served.join().unwrap();
}

#[test]
fn a_response_that_ends_the_connection_is_not_followed_by_another_request() {
    let closing = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";
    let old = "HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok";
    let too_much = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n";
    let (to, served) = upstream(move |listener| {
        for answer in [closing, old, too_much, OK] {
            Peer::accept(&listener).answer(answer);
        }
    });
    let (client, _) = client(Settings::default());
    smol::block_on(async {
        for _ in 0..4 {
            assert_eq!(fetch(&client, get(), &to).await, (200, "ok".to_owned()));
        }
    });
    served.join().unwrap();
}

#[test]
fn an_idle_connection_that_was_closed_is_noticed_whatever_the_method() {
    let (closed, wait) = mpsc::channel();
    let (to, served) = upstream(move |listener| {
        for _ in 0..3 {
            let mut peer = Peer::accept(&listener);
            peer.answer(OK);
            drop(peer);
            closed.send(()).unwrap();
        }
    });
    let (client, _) = client(Settings::default());
    smol::block_on(async {
        for method in ["GET", "POST", "POST"] {
            let sent = request(method, &[("host", "h")], empty());
            assert_eq!(fetch(&client, sent, &to).await.0, 200, "{method}");
            wait.recv().unwrap();
        }
    });
    served.join().unwrap();
}

/// Keeps a connection, then has `second` sent over it and lost. Answers how that ended, and how
/// many connections there were.
fn lost(second: http::Request<Body>) -> (Result<u16, UpstreamError>, usize) {
    let (stop, stopped) = mpsc::channel();
    let (to, served) = upstream(move |listener| {
        let mut peer = Peer::accept(&listener);
        peer.answer(OK);
        peer.read_head();
        drop(peer);
        listener.set_nonblocking(true).unwrap();
        let mut connections = 1;
        loop {
            let done = stopped.try_recv().is_ok();
            if let Ok((stream, _)) = listener.accept() {
                connections += 1;
                stream.set_nonblocking(false).unwrap();
                Peer(stream).answer(OK);
            } else if done {
                return connections;
            }
            std::thread::yield_now();
        }
    });
    let (client, _) = client(Settings::default());
    let ended = smol::block_on(async {
        fetch(&client, get(), &to).await;
        let sent = client.send(second, &to, "id").await;
        sent.map(|response| response.status().as_u16())
    });
    stop.send(()).unwrap();
    (ended, served.join().unwrap())
}

#[test]
fn a_lost_request_is_sent_again_where_that_is_safe() {
    for method in ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"] {
        let (ended, connections) = lost(request(method, &[("host", "h")], empty()));
        assert_eq!((ended.unwrap(), connections), (200, 2), "{method}");
    }
}

#[test]
fn a_lost_request_is_not_sent_again_where_it_may_have_had_effect() {
    for (method, body) in [("POST", empty()), ("PATCH", full("x")), ("PUT", full("x"))] {
        let (ended, connections) = lost(request(method, &[("host", "h")], body));
        assert!(
            matches!(ended, Err(UpstreamError::BrokeOff(_))),
            "{method}: {ended:?}"
        );
        assert_eq!(connections, 1, "{method}");
    }
}

#[test]
fn a_new_connection_that_breaks_is_no_reason_for_another() {
    let (to, served) = upstream(|listener| {
        Peer::accept(&listener).read_head();
        listener
    });
    let (client, _) = client(Settings::default());
    let ended = smol::block_on(client.send(get(), &to, "id"));
    assert!(matches!(ended, Err(UpstreamError::BrokeOff(_))));
    let listener = served.join().unwrap();
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_err(), "there was a second connection");
}

#[test]
fn connections_are_bounded_and_idle_ones_make_room() {
    let serve = |listener: TcpListener| {
        let mut peer = Peer::accept(&listener);
        peer.answer(OK);
        peer
    };
    let (first, _first) = upstream(serve);
    let (second, _second) = upstream(serve);
    let (third, _third) = upstream(|listener| listener);
    let (client, budget) = client(Settings {
        connections: 2,
        per_upstream: 1,
        ..Settings::default()
    });
    smol::block_on(async {
        let held = client.send(get(), &first, "id").await.unwrap();
        let again = client.send(get(), &first, "id").await;
        assert!(matches!(again, Err(UpstreamError::Full(1))));
        fetch(&client, get(), &second).await;
        assert_eq!(client.counts(), (2, 1));
        // The idle one goes; the other one is in use.
        let refused = at(EMPTY, free_port());
        assert!(client.send(get(), &refused, "id").await.is_err());
        assert_eq!(client.counts(), (1, 0));
        let place = client.reserve_place(&Arc::new(third.key())).unwrap();
        let full = client.send(get(), &second, "id").await;
        assert!(matches!(full, Err(UpstreamError::Full(2))));
        assert_eq!(budget.used(), 2 * ACTIVE_SHARE);
        drop(place);
        assert_eq!(text(held).await, "ok");
        assert_eq!((client.counts(), budget.used()), ((1, 1), IDLE_SHARE));
    });
}

#[test]
fn without_memory_there_is_no_connection_but_idle_ones_give_theirs_back() {
    let (to, served) = upstream(|listener| {
        let mut peer = Peer::accept(&listener);
        peer.answer(OK);
        Peer::accept(&listener).answer(OK);
    });
    let budget = Budget::new(ACTIVE_SHARE);
    let client = Upstreams::new(Settings::default(), Arc::clone(&budget), &EXECUTOR);
    smol::block_on(async {
        fetch(&client, get(), &to).await;
        assert_eq!(budget.used(), IDLE_SHARE);
        let mut localhost = to.clone();
        localhost.host = "localhost".to_owned();
        // It does not fit beside the idle one.
        assert_eq!(fetch(&client, get(), &localhost).await.0, 200);
        let other = budget.reserve(ACTIVE_SHARE - IDLE_SHARE).unwrap();
        let none = client.send(get(), &to, "id").await;
        assert!(matches!(none, Err(UpstreamError::NoMemory)));
        drop(other);
        assert_eq!((client.counts(), budget.used()), ((0, 0), 0));
    });
    served.join().unwrap();
}

/// Answers one request, and tells how many bytes came before the end of the connection.
fn answer_and_wait(listener: TcpListener) -> usize {
    let mut peer = Peer::accept(&listener);
    peer.answer(OK);
    peer.0.read(&mut [0]).unwrap()
}

#[test]
fn only_so_many_stay_idle() {
    let (first, first_ended) = upstream(answer_and_wait);
    let (second, _second) = upstream(|listener| {
        let mut peer = Peer::accept(&listener);
        peer.answer(OK);
        peer
    });
    let (client, budget) = client(Settings {
        idle: 1,
        idle_time: PATIENCE,
        ..Settings::default()
    });
    smol::block_on(async {
        fetch(&client, get(), &first).await;
        fetch(&client, get(), &second).await;
    });
    assert_eq!((client.counts(), budget.used()), ((1, 1), IDLE_SHARE));
    // The older one has made room.
    assert_eq!(first_ended.join().unwrap(), 0);
}

#[test]
fn an_idle_connection_stays_only_for_so_long() {
    let (to, ended) = upstream(answer_and_wait);
    let (client, budget) = client(Settings {
        idle_time: BRIEF,
        ..Settings::default()
    });
    smol::block_on(EXECUTOR.run(async {
        fetch(&client, get(), &to).await;
        // The other side sees the end, by which all of it has gone here, too.
        let ended = smol::unblock(move || ended.join());
        assert_eq!(ended.await.unwrap(), 0);
        let gone = async {
            while client.counts() != (0, 0) {
                futures_lite::future::yield_now().await;
            }
            true
        };
        let late = async {
            smol::Timer::after(PATIENCE).await;
            false
        };
        assert!(futures_lite::future::or(gone, late).await, "still counted");
        assert_eq!(budget.used(), 0);
    }));
}

#[test]
fn one_plugin_does_not_take_the_connections_of_another() {
    let (to, served) = upstream(|listener| {
        let mut first = Peer::accept(&listener);
        first.answer(OK);
        let others = [(); 2].map(|()| {
            let mut peer = Peer::accept(&listener);
            peer.answer(OK);
            peer
        });
        first.answer(OK);
        drop(others);
    });
    let (client, _) = client(Settings {
        per_plugin: 2,
        ..Settings::default()
    });
    let of = |share| Target {
        share: Some(share),
        ..to.clone()
    };
    let (greedy, modest) = (of(client.share()), of(client.share()));
    let used = |target: &Target| target.share.as_ref().unwrap().used();
    smol::block_on(async {
        // A response that was not read to its end has its connection.
        let first = client.send(get(), &greedy, "id").await;
        let second = client.send(get(), &greedy, "id").await;
        let third = client.send(get(), &modest, "id").await;
        let full = client.send(get(), &greedy, "id").await;
        assert!(matches!(full, Err(UpstreamError::Share(2))));
        assert_eq!((used(&greedy), used(&modest)), (2, 1));
        // What is done with gives its part back, be the connection kept or not.
        drop(second);
        assert_eq!(text(first.unwrap()).await, "ok");
        assert_eq!(used(&greedy), 0);
        assert_eq!(fetch(&client, get(), &greedy).await.0, 200);
        drop(third);
        assert_eq!((used(&greedy), used(&modest)), (0, 0));
    });
    served.join().unwrap();
}
