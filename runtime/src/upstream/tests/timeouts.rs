//! Which time ran out.

use std::sync::mpsc;

use super::*;
use crate::upstream::UpstreamError;

#[test]
fn a_connection_that_is_not_taken_is_told_from_an_answer_that_does_not_come() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let mut to = at("127.0.0.1", address.port());
    to.request_timeout = BRIEF;
    let (client, budget) = client(Settings::default());
    // The kernel takes the connection, nobody answers.
    let ended = smol::block_on(client.send(get(), &to, "id"));
    assert!(
        matches!(ended, Err(UpstreamError::ResponseTimeout)),
        "{ended:?}"
    );
    // Its queue is cut to one, and filled: the kernel takes no more.
    to.connect_timeout = BRIEF;
    rustix::net::listen(&listener, 0).unwrap();
    let mut waiting = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, BRIEF) {
        waiting.push(stream);
    }
    let ended = smol::block_on(client.send(get(), &to, "id"));
    assert!(
        matches!(ended, Err(UpstreamError::ConnectTimeout)),
        "{ended:?}"
    );
    assert_eq!((client.counts(), budget.used()), ((0, 0), 0));
}

#[test]
fn a_body_that_stands_still_is_cut_off() {
    let (stop, stopped) = mpsc::channel::<()>();
    let (mut to, served) = upstream(move |listener| {
        let mut peer = Peer::accept(&listener);
        peer.answer("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf");
        let _ = stopped.recv();
    });
    to.stall_timeout = BRIEF;
    let (client, budget) = client(Settings::default());
    smol::block_on(async {
        let mut body = client.send(get(), &to, "id").await.unwrap().into_body();
        let first = body.frame().await.unwrap().unwrap();
        assert_eq!(first.into_data().unwrap(), "half");
        let error = body.frame().await.unwrap().unwrap_err();
        assert!(matches!(error, BodyError::UpstreamStalled), "{error:?}");
        assert_eq!((client.counts(), budget.used()), ((0, 0), 0));
    });
    drop(stop);
    served.join().unwrap();
}

#[test]
fn the_time_between_two_reads_is_the_readers_own() {
    let (ask, asked) = mpsc::channel::<()>();
    let (mut to, served) = upstream(move |listener| {
        let mut peer = Peer::accept(&listener);
        peer.answer("HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nhalf");
        asked.recv().unwrap();
        peer.send("more");
    });
    // As long as a busy machine may take to bring the second half.
    to.stall_timeout = Duration::from_secs(2);
    let (client, _) = client(Settings::default());
    smol::block_on(async {
        let mut body = client.send(get(), &to, "id").await.unwrap().into_body();
        let first = body.frame().await.unwrap().unwrap();
        assert_eq!(first.into_data().unwrap(), "half");
        // The reader's pause, longer than the upstream may stand still: it passes for its own sake.
        smol::Timer::after(to.stall_timeout * 3 / 2).await;
        // Nothing is there when it begins to wait.
        let next = body.frame();
        let (frame, ()) = futures_lite::future::zip(next, async {
            futures_lite::future::yield_now().await;
            ask.send(()).unwrap();
        })
        .await;
        let frame = frame.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), "more");
    });
    served.join().unwrap();
}

#[test]
fn a_request_that_is_slow_to_come_is_not_the_upstreams_fault() {
    let (to, served) = upstream(|listener| {
        let mut peer = Peer::accept(&listener);
        peer.read_until("0\r\n\r\n");
        peer.send(OK);
    });
    let to = Target {
        request_timeout: Duration::from_secs(2),
        ..to
    };
    let (client, _) = client(Settings::default());
    smol::block_on(async {
        let (send, receive) = smol::channel::unbounded();
        let sent = request("POST", &[("host", "h")], channel(receive));
        let slow = async {
            // The client's pause, longer than the upstream may take: it passes for its own sake.
            smol::Timer::after(Duration::from_secs(4)).await;
            send.try_send(Frame::data(Bytes::from_static(b"late")))
                .unwrap();
            drop(send);
        };
        let (answer, ()) = futures_lite::future::zip(fetch(&client, sent, &to), slow).await;
        assert_eq!(answer, (200, "ok".to_owned()));
    });
    served.join().unwrap();
}

#[test]
fn no_time_is_the_default_and_too_much_the_longest() {
    use crate::upstream::within;
    let seconds = Duration::from_secs;
    assert_eq!(within(Duration::ZERO, seconds(5), seconds(60)), seconds(5));
    assert_eq!(within(seconds(7), seconds(5), seconds(60)), seconds(7));
    assert_eq!(within(Duration::MAX, seconds(5), seconds(60)), seconds(60));
}
