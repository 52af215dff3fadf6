//! Sessions over loopback sockets, with a peer at each end that speaks frames by hand.
#![expect(clippy::unwrap_used, reason = "a failed test should panic")]

mod cut;
mod held;

use std::io;
use std::net::{TcpListener, TcpStream};
use std::sync::Mutex;

use smol::Async;
use smol::channel::Sender;
use smol::io::{AsyncReadExt, AsyncWriteExt};
use zlayer_http1::websocket::{
    FrameHead, MessageDecoder, Opcode, Role, apply_mask, encode_message,
};

use super::*;

const MASK: [u8; 4] = [0x12, 0x34, 0x56, 0x78];

/// What a test's plugin does with a message.
type Call = Box<dyn Fn(Side, Message) -> Result<Option<Message>, Failure> + Send + Sync>;

/// A plugin that remembers what it was offered.
struct Plugin {
    call: Call,
    seen: Arc<Mutex<Vec<(Side, Message)>>>,
}

impl Plugin {
    fn answer(&self, side: Side, message: Message) -> HandlerFuture<'_> {
        self.seen.lock().unwrap().push((side, message.clone()));
        let answer = (self.call)(side, message);
        Box::pin(async move { answer })
    }
}

impl MessageHandler for Plugin {
    fn client_message(&self, message: Message) -> HandlerFuture<'_> {
        self.answer(Side::Client, message)
    }

    fn upstream_message(&self, message: Message) -> HandlerFuture<'_> {
        self.answer(Side::Upstream, message)
    }
}

/// One end of a session, as its peer.
struct Peer {
    socket: Arc<Async<TcpStream>>,
    decoder: MessageDecoder,
    buffer: Vec<u8>,
    mask: Option<[u8; 4]>,
}

impl Peer {
    /// A peer, and the session's end of the connection to it.
    async fn pair(side: Side) -> (Peer, Endpoint) {
        let listener = Async::<TcpListener>::bind(([127, 0, 0, 1], 0)).unwrap();
        let address = listener.get_ref().local_addr().unwrap();
        let socket = Async::<TcpStream>::connect(address).await.unwrap();
        let (other, _) = listener.accept().await.unwrap();
        let (role, mask) = match side {
            Side::Client => (Role::Client, Some(MASK)),
            Side::Upstream => (Role::Server, None),
        };
        let mut decoder = MessageDecoder::new(role, usize::MAX);
        if side == Side::Client {
            decoder.inflate();
        }
        let peer = Peer {
            socket: Arc::new(socket),
            decoder,
            buffer: Vec::new(),
            mask,
        };
        let endpoint = Endpoint::tcp(other, Vec::new());
        (peer, endpoint)
    }

    async fn send(&mut self, kind: Kind, data: &[u8]) {
        let mut wire = Vec::new();
        encode_message(&mut wire, kind, data, self.mask);
        self.raw(&wire).await;
    }

    async fn raw(&mut self, wire: &[u8]) {
        (&*self.socket).write_all(wire).await.unwrap();
    }

    /// A part of a message.
    async fn fragment(&mut self, opcode: Opcode, fin: bool, data: &[u8]) {
        let mut wire = Vec::new();
        let (mask, length) = (self.mask, data.len() as u64);
        let head = FrameHead {
            fin,
            compressed: false,
            opcode,
            mask,
            length,
        };
        head.encode(&mut wire);
        let start = wire.len();
        wire.extend_from_slice(data);
        apply_mask(&mut wire[start..], mask.unwrap_or_default(), 0);
        self.raw(&wire).await;
    }

    /// The next message; none when the stream has ended.
    async fn next(&mut self) -> Option<Message> {
        loop {
            let decoded = self.decoder.decode(&mut self.buffer, &mut |_| true);
            let (consumed, message) = decoded.unwrap();
            self.buffer.drain(..consumed);
            if message.is_some() {
                return message;
            }
            let mut piece = vec![0; 4096];
            let count = match (&*self.socket).read(&mut piece).await {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => 0,
                Err(error) => panic!("{error}"),
            };
            if count == 0 {
                return None;
            }
            self.buffer.extend_from_slice(&piece[..count]);
        }
    }

    async fn expect(&mut self, kind: Kind, data: &[u8]) {
        let message = self.next().await.unwrap();
        let data = data.to_vec();
        assert_eq!(message, Message { kind, data });
    }

    /// Expects a close with `code`, answers it, and expects the end of the stream.
    async fn expect_close(&mut self, code: u16) {
        let message = self.next().await.unwrap();
        assert_eq!(message.kind, Kind::Close, "{message:?}");
        assert_eq!(message.data[..2], code.to_be_bytes(), "{message:?}");
        self.send(Kind::Close, &code.to_be_bytes()).await;
        assert_eq!(self.next().await, None);
    }
}

/// A session that runs.
struct Running {
    client: Peer,
    seen: Arc<Mutex<Vec<(Side, Message)>>>,
    stop: Sender<()>,
    cut: Sender<()>,
    budget: Arc<Budget>,
    task: smol::Task<()>,
}

impl Running {
    /// What the plugin was offered, as a line a message.
    fn seen(&self) -> Vec<(Side, Kind, Vec<u8>)> {
        let seen = self.seen.lock().unwrap();
        let all = seen
            .iter()
            .map(|(side, message)| (*side, message.kind, message.data.clone()));
        all.collect()
    }
}

fn limits() -> (Limits, Timeouts) {
    let limits = Limits {
        websocket_message: 200_000,
        ..Limits::default()
    };
    (limits, Timeouts::default())
}

fn start(
    client: (Peer, Endpoint),
    upstream: Option<Endpoint>,
    call: Option<Call>,
    bounds: (Limits, Timeouts),
) -> Running {
    let seen = Arc::default();
    let handler = call.map(|call| {
        let seen = Arc::clone(&seen);
        Box::new(Plugin { call, seen }) as Box<dyn MessageHandler>
    });
    Running {
        seen,
        ..start_with(client, upstream, handler, bounds)
    }
}

fn start_with(
    (client, endpoint): (Peer, Endpoint),
    upstream: Option<Endpoint>,
    handler: Option<Box<dyn MessageHandler>>,
    (limits, timeouts): (Limits, Timeouts),
) -> Running {
    let ((stop, stopped), (cut, cutting)) = (bounded(1), bounded(1));
    let budget = Budget::new(1 << 20);
    let session = WebSocketSession {
        label: "test".to_owned(),
        client: endpoint,
        upstream,
        handler,
        deflate: agreed(),
        budget: Arc::clone(&budget),
        stops: [stopped.clone(), stopped],
        cut: cutting,
    };
    Running {
        client,
        seen: Arc::default(),
        stop,
        cut,
        budget,
        task: smol::spawn(async move { session.run(&limits, &timeouts).await }),
    }
}

/// A session without an upstream.
async fn alone(call: Call) -> Running {
    start(Peer::pair(Side::Client).await, None, Some(call), limits())
}

/// A session with one.
async fn between(call: Option<Call>) -> (Running, Peer) {
    let (peer, endpoint) = Peer::pair(Side::Upstream).await;
    let client = Peer::pair(Side::Client).await;
    (start(client, Some(endpoint), call, limits()), peer)
}

/// A plugin written as the guide writes it: what comes goes on, and it answers pings itself.
fn guide() -> Call {
    Box::new(|_, message| {
        Ok(Some(match message.kind {
            Kind::Ping => Message {
                kind: Kind::Pong,
                data: message.data,
            },
            _ => message,
        }))
    })
}

fn drops_all() -> Call {
    Box::new(|_, _| Ok(None))
}

/// A plugin that always answers the same.
fn answers(kind: Kind, data: &[u8]) -> Call {
    let data = data.to_vec();
    Box::new(move |_, _| {
        Ok(Some(Message {
            kind,
            data: data.clone(),
        }))
    })
}

#[test]
fn without_an_upstream_the_answer_goes_back() {
    smol::block_on(async {
        let mut session = alone(guide()).await;
        session.client.send(Kind::Text, b"hello").await;
        session.client.expect(Kind::Text, b"hello").await;
        let large: Vec<u8> = (0..200_000u32).map(|n| (n % 251) as u8).collect();
        session.client.send(Kind::Binary, &large).await;
        session.client.expect(Kind::Binary, &large).await;
        session.client.send(Kind::Ping, b"there?").await;
        session.client.expect(Kind::Pong, b"there?").await;
        session.client.send(Kind::Close, b"\x0b\xb8bye").await;
        session.client.expect(Kind::Close, b"\x0b\xb8bye").await;
        assert_eq!(session.client.next().await, None);
        let kinds: Vec<_> = session.seen().iter().map(|(_, kind, _)| *kind).collect();
        assert_eq!(kinds, [Kind::Text, Kind::Binary, Kind::Ping, Kind::Close]);
        drop(session.client);
        session.task.await;
        assert_eq!(session.budget.used(), 0);
    });
}

#[test]
fn a_ping_is_answered_whatever_the_plugin_does() {
    smol::block_on(async {
        let mut session = alone(drops_all()).await;
        session.client.send(Kind::Text, b"lost").await;
        session.client.send(Kind::Ping, b"1").await;
        session.client.expect(Kind::Pong, b"1").await;
        let mut session = alone(answers(Kind::Text, b"other")).await;
        session.client.send(Kind::Ping, b"2").await;
        session.client.expect(Kind::Pong, b"2").await;
        session.client.expect(Kind::Text, b"other").await;
        // A close cannot be dropped either.
        session.client.send(Kind::Close, b"").await;
        session.client.expect(Kind::Text, b"other").await;
        session.client.expect(Kind::Close, b"").await;
        assert_eq!(session.client.next().await, None);
    });
}

#[test]
fn pings_between_fragments_and_bytes_behind_the_handshake() {
    smol::block_on(async {
        let (client, mut endpoint) = Peer::pair(Side::Client).await;
        encode_message(&mut endpoint.received, Kind::Text, b"early", Some(MASK));
        let mut session = start((client, endpoint), None, Some(guide()), limits());
        session.client.expect(Kind::Text, b"early").await;
        session.client.fragment(Opcode::Text, false, b"one, ").await;
        session.client.send(Kind::Ping, b"?").await;
        session.client.expect(Kind::Pong, b"?").await;
        session
            .client
            .fragment(Opcode::Continuation, true, b"two")
            .await;
        session.client.expect(Kind::Text, b"one, two").await;
    });
}

#[test]
fn with_an_upstream_answers_go_on() {
    smol::block_on(async {
        let call: Call = Box::new(|side, mut message| {
            if message.kind == Kind::Text {
                message.data.push(b"<>"[usize::from(side == Side::Client)]);
            }
            Ok(Some(message))
        });
        let (mut session, mut upstream) = between(Some(call)).await;
        session.client.send(Kind::Text, b"up").await;
        upstream.expect(Kind::Text, b"up>").await;
        upstream.send(Kind::Text, b"down").await;
        session.client.expect(Kind::Text, b"down<").await;
        // A ping that goes on is answered from there.
        session.client.send(Kind::Ping, b"far").await;
        upstream.expect(Kind::Ping, b"far").await;
        upstream.send(Kind::Pong, b"far").await;
        session.client.expect(Kind::Pong, b"far").await;
        upstream.send(Kind::Close, b"\x03\xe8done").await;
        session.client.expect(Kind::Close, b"\x03\xe8done").await;
        upstream.expect(Kind::Close, b"\x03\xe8done").await;
        session.client.send(Kind::Close, b"\x03\xe8").await;
        assert_eq!(session.client.next().await, None);
        assert_eq!(upstream.next().await, None);
    });
}

#[test]
fn with_an_upstream_a_pong_goes_back_to_who_asked() {
    smol::block_on(async {
        let (mut session, mut upstream) = between(Some(guide())).await;
        session.client.send(Kind::Ping, b"near").await;
        session.client.expect(Kind::Pong, b"near").await;
        upstream.send(Kind::Ping, b"too").await;
        upstream.expect(Kind::Pong, b"too").await;
        let (mut session, mut upstream) = between(Some(drops_all())).await;
        upstream.send(Kind::Ping, b"1").await;
        upstream.expect(Kind::Pong, b"1").await;
        session.client.send(Kind::Ping, b"2").await;
        session.client.expect(Kind::Pong, b"2").await;
    });
}

#[test]
fn without_a_plugin_all_goes_through() {
    smol::block_on(async {
        let (mut session, mut upstream) = between(None).await;
        for (kind, data) in [(Kind::Text, "a"), (Kind::Ping, "b"), (Kind::Pong, "c")] {
            session.client.send(kind, data.as_bytes()).await;
            upstream.expect(kind, data.as_bytes()).await;
            upstream.send(kind, data.as_bytes()).await;
            session.client.expect(kind, data.as_bytes()).await;
        }
        drop(session.client);
        upstream.expect_close(1001).await;
        drop(upstream);
        session.task.await;
    });
}

#[test]
fn an_upstream_that_breaks_off_closes_the_client() {
    smol::block_on(async {
        let (mut session, upstream) = between(Some(guide())).await;
        drop(upstream);
        session.client.expect_close(1011).await;
        let (mut session, mut upstream) = between(Some(guide())).await;
        // A server masks nothing.
        upstream.raw(b"\x81\x81\0\0\0\0a").await;
        session.client.expect_close(1011).await;
        upstream.expect_close(1002).await;
    });
}

#[test]
fn a_close_from_the_plugin_closes_both_sides() {
    smol::block_on(async {
        let (mut session, mut upstream) = between(Some(answers(Kind::Close, b"\x0f\xa0"))).await;
        session.client.send(Kind::Text, b"out").await;
        session.client.expect_close(4000).await;
        upstream.expect_close(4000).await;
    });
}

#[test]
fn invalid_answers_and_failures_close_with_1011() {
    smol::block_on(async {
        let trap: Call = Box::new(|_, _| Err(Failure::Trap("unreachable".to_owned())));
        for call in [
            trap,
            Box::new(|_, _| Err(Failure::Deadline)),
            answers(Kind::Text, b"\xff"),
            answers(Kind::Ping, &[0; 126]),
            answers(Kind::Close, b"\x03\xed"),
            answers(Kind::Close, b"\x03"),
            answers(Kind::Binary, &[0; 200_001]),
        ] {
            let mut session = alone(call).await;
            session.client.send(Kind::Text, b"go").await;
            session.client.expect_close(1011).await;
            drop(session.client);
            session.task.await;
        }
    });
}

#[test]
fn a_client_that_breaks_the_protocol_is_told_how() {
    smol::block_on(async {
        for (wire, code) in [
            (&b"\x81\x01a"[..], 1002),
            (b"\x83\x80", 1002),
            (b"\x81\x84\0\0\0\0ab\xffd", 1007),
            (b"\x82\xff\0\0\0\0\0\x03\x0d\x41\0\0\0\0", 1009),
        ] {
            let mut session = alone(guide()).await;
            session.client.raw(wire).await;
            session.client.expect_close(code).await;
            assert_eq!(session.seen(), []);
        }
    });
}

#[test]
fn a_spent_budget_ends_the_session_not_the_process() {
    smol::block_on(async {
        let mut session = alone(guide()).await;
        // It has taken what it needs for itself when it answers.
        session.client.send(Kind::Ping, b"").await;
        session.client.expect(Kind::Pong, b"").await;
        let free = session.budget.limit() - session.budget.used();
        let held = session.budget.reserve(free - 1000).unwrap();
        session.client.send(Kind::Binary, &[1; 900]).await;
        session.client.expect(Kind::Binary, &[1; 900]).await;
        session
            .client
            .fragment(Opcode::Binary, false, &[1; 3000])
            .await;
        session.client.expect_close(1013).await;
        drop((session.client, held));
        session.task.await;
        assert_eq!(session.budget.used(), 0);
    });
}

#[test]
fn a_draining_daemon_says_that_it_goes() {
    smol::block_on(async {
        let (mut session, mut upstream) = between(Some(guide())).await;
        session.client.send(Kind::Text, b"last").await;
        upstream.expect(Kind::Text, b"last").await;
        session.stop.close();
        session.client.expect_close(1001).await;
        upstream.expect_close(1001).await;
        drop((session.client, upstream));
        session.task.await;
    });
}

/// Short pings, everything else as by default. A peer on a busy machine has to have answered one in
/// as long.
fn impatient() -> (Limits, Timeouts) {
    let (limits, mut timeouts) = limits();
    timeouts.websocket_ping = Duration::from_secs(1);
    (limits, timeouts)
}

#[test]
fn a_silent_client_is_asked_and_stays_as_long_as_it_answers() {
    smol::block_on(async {
        let client = Peer::pair(Side::Client).await;
        let mut session = start(client, None, Some(guide()), impatient());
        for _ in 0..2 {
            let ping = session.client.next().await.unwrap();
            assert_eq!(ping.kind, Kind::Ping);
            session.client.send(Kind::Pong, &ping.data).await;
        }
        // Then it does not answer, and is told.
        assert_eq!(session.client.next().await.unwrap().kind, Kind::Ping);
        session.client.expect_close(1011).await;
        assert_eq!(
            session.seen(),
            [],
            "pings of our own are no news to the plugin"
        );
    });
}

#[test]
fn a_message_that_does_not_get_on_ends_the_session() {
    smol::block_on(async {
        let client = Peer::pair(Side::Client).await;
        let (limits, mut timeouts) = limits();
        timeouts.stall = Duration::from_millis(100);
        let mut session = start(client, None, Some(guide()), (limits, timeouts));
        session.client.fragment(Opcode::Text, false, b"well").await;
        session.client.expect_close(1008).await;
    });
}

#[test]
fn a_message_of_many_bytes_earns_no_long_silence() {
    smol::block_on(async {
        let client = Peer::pair(Side::Client).await;
        let (limits, mut timeouts) = impatient();
        timeouts.stall = Duration::from_millis(2500);
        let mut session = start(client, None, Some(guide()), (limits, timeouts));
        let many = [1; 100_000];
        session.client.fragment(Opcode::Binary, false, &many).await;
        // Nor do answers to pings earn it any.
        let end = loop {
            let message = session.client.next().await.unwrap();
            if message.kind != Kind::Ping {
                break message;
            }
            session.client.send(Kind::Pong, &message.data).await;
        };
        assert_eq!((end.kind, &end.data[..2]), (Kind::Close, &[3, 240][..]));
    });
}

#[test]
fn a_client_that_reads_nothing_slows_the_upstream_and_is_given_up() {
    smol::block_on(async {
        let (upstream, endpoint) = Peer::pair(Side::Upstream).await;
        let client = Peer::pair(Side::Client).await;
        let (limits, mut timeouts) = limits();
        timeouts.stall = Duration::from_millis(500);
        let mut session = start(client, Some(endpoint), Some(guide()), (limits, timeouts));
        let mut wire = Vec::new();
        // Noise, which no compression makes less of.
        let mut state = 1u32;
        let noise: Vec<u8> = (0..100_000)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8
            })
            .collect();
        encode_message(&mut wire, Kind::Binary, &noise, None);
        // More than all buffers between here and there hold: it ends because the session does.
        let mut sent = 0;
        while sent < 1 << 30 && (&*upstream.socket).write_all(&wire).await.is_ok() {
            sent += wire.len();
        }
        assert!(sent < 1 << 30, "the session took it all");
        (&mut session.task).await;
        assert!(session.seen().len() < 1000);
        assert_eq!(session.budget.used(), 0);
    });
}

#[test]
fn both_directions_full_do_not_block_each_other() {
    smol::block_on(async {
        let (session, upstream) = between(Some(guide())).await;
        let count = 300;
        let flow = |mut peer: Peer| async move {
            let mut wire = Vec::new();
            encode_message(&mut wire, Kind::Binary, &vec![7; 50_000], peer.mask);
            encode_message(&mut wire, Kind::Ping, b"?", peer.mask);
            let other = Arc::clone(&peer.socket);
            let sending = smol::spawn(async move {
                for _ in 0..count {
                    (&*other).write_all(&wire).await.unwrap();
                }
            });
            let mut messages = 0;
            while messages < count {
                let message = peer.next().await.unwrap();
                messages += usize::from(message.kind == Kind::Binary);
            }
            sending.await;
            peer
        };
        let peers = zip(flow(session.client), flow(upstream)).await;
        drop(peers);
        session.task.await;
    });
}

/// Compression without asking for anything: messages may come compressed or not.
fn agreed() -> Option<Deflate> {
    Deflate::negotiate(&[("sec-websocket-extensions", b"permessage-deflate")])
}

#[test]
fn compressed_messages_are_offered_as_they_were_before() {
    smol::block_on(async {
        let mut session = alone(guide()).await;
        // RFC 7692 section 7.2.3.1.
        let payload = b"\xf2\x48\xcd\xc9\xc9\x07\x00";
        for _ in 0..2 {
            let mut wire = Vec::new();
            let head = FrameHead {
                fin: true,
                compressed: true,
                opcode: Opcode::Text,
                mask: Some(MASK),
                length: payload.len() as u64,
            };
            head.encode(&mut wire);
            let start = wire.len();
            wire.extend_from_slice(payload);
            apply_mask(&mut wire[start..], MASK, 0);
            session.client.raw(&wire).await;
            session.client.expect(Kind::Text, b"Hello").await;
        }
        assert_eq!(session.seen()[1].2, b"Hello");
        let long = b"again and again ".repeat(5000);
        session.client.send(Kind::Text, &long).await;
        session.client.expect(Kind::Text, &long).await;
        // The next message is looked at when the last one is done with. Between them nothing is held.
        // An empty ping takes nothing itself.
        session.client.send(Kind::Ping, b"").await;
        session.client.expect(Kind::Pong, b"").await;
        assert_eq!(session.budget.used(), 0);
        drop(session.client);
        session.task.await;
        assert_eq!(session.budget.used(), 0);
    });
}
