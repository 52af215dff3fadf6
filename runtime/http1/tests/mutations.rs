//! Fuzzing for every day: seeded mutations of a small corpus, the same on every run.
//!
//! The targets in `tests/fuzz/` check the same rules for as long as one likes.

mod properties;

use properties::handshake::check_handshake;
use properties::outgoing::check_outgoing;
use properties::proxies::check_proxies;
use properties::websocket::check_frames;
use properties::{LIMITS, check_body, check_head, check_lenient, check_response};
use zlayer_http1::websocket::Role;
use zlayer_http1::{BodyLength, Limits};

/// Together with [`BODY_ROUNDS`], a few seconds without optimisation.
const HEAD_ROUNDS: u32 = 100_000;
const BODY_ROUNDS: u32 = 100_000;
const FRAME_ROUNDS: u32 = 100_000;
const HANDSHAKE_ROUNDS: u32 = 100_000;
const PROXY_ROUNDS: u32 = 100_000;

const HEADS: [&[u8]; 10] = [
    b"GET / HTTP/1.1\r\nHost: h\r\n\r\n",
    b"\r\nGET /a/b?c=d HTTP/1.1\r\nHost: example.com:80\r\nAccept: */*\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n0123456789",
    b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"PUT / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n",
    b"GET / HTTP/1.0\r\nConnection: keep-alive, x\r\n\r\n",
    b"GET http://[::1]:80/p?q HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost:\r\n\r\n",
    b"CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: h\r\na:\r\nb:\r\nc:\r\nd:\r\ne:\r\nf:\r\ng:\r\nh:\r\ni:\r\nj:\r\n\r\n",
];

const RESPONSES: [&[u8]; 9] = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"HTTP/1.0 404 Not Found\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200\r\nContent-Length: 1\r\n\r\nx",
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    b"HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\nConnection: close, x\r\n\r\n",
    b"HTTP/1.1 500 \xe9\r\na:\r\n\r\nuntil the end",
    b"HTTP/1.1 200 OK\r\na:\r\nb:\r\nc:\r\nd:\r\ne:\r\nf:\r\ng:\r\nh:\r\ni:\r\n\r\n",
];

const BODIES: [&[u8]; 7] = [
    b"0\r\n\r\n",
    b"3\r\nabc\r\n0\r\n\r\n",
    b"3;a=\"b\"\r\nabc\r\n10\r\n0123456789abcdef\r\n0\r\n\r\nGET",
    b"1\r\nx\r\n0\r\nX-Sum: 1 \r\nHost: h\r\nb:\r\n\r\n",
    b"2 ;x\r\n\r\n\r\n1;y\r\nz\r\n0;z\r\n\r\n",
    b"00000000000000000001\r\nx\r\n000\r\n\r\n",
    b"ffffffffffffffff\r\nabc",
];

/// A method and the fields of a request, and those of a response: see `check_handshake`.
const HANDSHAKES: [&[u8]; 3] = [
    b"GET\nhost: h\nupgrade: websocket\nconnection: Upgrade\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\n\
      sec-websocket-version: 13\n\nupgrade: websocket\nconnection: upgrade\n\
      sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\nset-cookie: a=b",
    b"GET\nhost: h\nupgrade: h2c, WebSocket\nconnection: keep-alive, upgrade\ncontent-length: 0\n\
      sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\nsec-websocket-version: 13\nsec-websocket-protocol: chat, x\n\n\
      sec-websocket-protocol: chat",
    b"GET\nhost: h\nupgrade: websocket\nconnection: upgrade\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\n\
      sec-websocket-version: 13\nsec-websocket-extensions: x, permessage-deflate; server_max_window_bits=10; \
      client_max_window_bits\n\nconnection: close",
];

/// What malformed handshakes are made of.
const HANDSHAKE_TOKENS: [&[u8]; 14] = [
    b"\n",
    b"\n\n",
    b":",
    b",",
    b";",
    b"=",
    b"\"",
    b" ",
    b"\xff",
    b"13",
    b"websocket",
    b"upgrade",
    b"permessage-deflate",
    b"content-length: 1\n",
];

/// Unmasked, as a client reads them.
const FRAMES: [&[u8]; 8] = [
    b"\x81\x05Hello\x82\x02\x00\xff",
    b"\x01\x03Hel\x89\x01?\x80\x02lo\x8a\x00",
    b"\x01\x01\xc3\x00\x00\x80\x03\x9f\xe2\x82\x81\x01a",
    b"\x82\x7e\x00\x20abcdefghijklmnopqrstuvwxyz012345",
    b"\x88\x05\x03\xe8bye\x81\x01a",
    b"\x88\x00",
    b"\x02\x00\x00\x00\x00\x00\x80\x00",
    b"\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00abc",
];

/// What malformed frames are made of.
const FRAME_TOKENS: [&[u8]; 16] = [
    b"\x81\x00",
    b"\x01\x01a",
    b"\x00\x00",
    b"\x00\x01b",
    b"\x80\x01c",
    b"\x80\x00",
    b"\x89\x01d",
    b"\x8a\x7e",
    b"\x88\x02\x03\xe8",
    b"\x7e\x00\x7e",
    b"\x7f",
    b"\xf0\x9f\x98",
    b"\x80",
    b"\xff",
    b"\xc1\x01a",
    b"\x82\x28",
];

/// Headers of the PROXY protocol, and what stands in the fields of proxies.
const PROXIES: [&[u8]; 7] = [
    include_bytes!("../../../tests/fuzz/seeds/proxies/v1"),
    include_bytes!("../../../tests/fuzz/seeds/proxies/v1_v6"),
    include_bytes!("../../../tests/fuzz/seeds/proxies/v2_tls"),
    include_bytes!("../../../tests/fuzz/seeds/proxies/v2_v6"),
    include_bytes!("../../../tests/fuzz/seeds/proxies/forwarded"),
    include_bytes!("../../../tests/fuzz/seeds/proxies/nodes"),
    include_bytes!("../../../tests/fuzz/seeds/proxies/via"),
];

/// What malformed messages are made of.
const TOKENS: [&[u8]; 24] = [
    b"\r",
    b"\n",
    b"\r\n",
    b"\r\n\r\n",
    b" ",
    b"\t",
    b"\0",
    b":",
    b",",
    b";",
    b"#",
    b"?",
    b"@",
    b"\xff",
    b"0",
    b"f",
    b"-",
    b"http://",
    b"HTTP/1.0",
    b"Host: h\r\n",
    b"Content-Length: 3\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Connection: close\r\n",
    b"Expect: 100-continue\r\n",
];

/// Xorshift64: random enough to mutate with, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    fn pick<'a>(&mut self, from: &[&'a [u8]]) -> &'a [u8] {
        from[self.below(from.len())]
    }
}

/// One to four small changes to a member of the corpus.
fn mutate(random: &mut Random, corpus: &[&[u8]], tokens: &[&[u8]]) -> Vec<u8> {
    let mut bytes = random.pick(corpus).to_vec();
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len() + 1);
        let end = (at + random.below(8)).min(bytes.len());
        match random.below(7) {
            0 => drop(bytes.drain(at..end)),
            1 => drop(bytes.splice(at..at, random.pick(tokens).iter().copied())),
            2 => drop(bytes.splice(at..end, random.pick(tokens).iter().copied())),
            3 => bytes
                .iter_mut()
                .skip(at)
                .take(1)
                .for_each(|byte| *byte ^= 1 << (random.next() % 8)),
            4 => bytes
                .iter_mut()
                .skip(at)
                .take(1)
                .for_each(|byte| *byte = random.next() as u8),
            5 => {
                let copy = bytes[at..end].to_vec();
                bytes.splice(at..at, copy);
            }
            _ => {
                let other = random.pick(corpus);
                bytes.truncate(at);
                bytes.extend_from_slice(&other[random.below(other.len())..]);
            }
        }
    }
    bytes
}

#[test]
fn mutated_heads_keep_the_rules() {
    let mut random = Random(0x5eed_0001);
    let mut accepted = 0;
    for round in 0..HEAD_ROUNDS {
        let input = mutate(&mut random, &HEADS, &TOKENS);
        let limits = if round % 2 == 0 {
            Limits::default()
        } else {
            LIMITS
        };
        accepted += u32::from(check_head(&input, &limits));
    }
    // Mutations that never, or always, pass would test one side only.
    let share = accepted * 100 / HEAD_ROUNDS;
    assert!(
        (10..90).contains(&share),
        "{share}% of the heads were accepted"
    );
}

#[test]
fn mutated_responses_keep_the_rules() {
    let mut random = Random(0x5eed_0003);
    let mut accepted = 0;
    for round in 0..HEAD_ROUNDS {
        let input = mutate(&mut random, &RESPONSES, &TOKENS);
        let limits = if round % 2 == 0 {
            Limits::default()
        } else {
            LIMITS
        };
        let method = ["GET", "HEAD", "POST", "head"][random.below(4)];
        accepted += u32::from(check_response(&input, method, &limits));
    }
    let share = accepted * 100 / HEAD_ROUNDS;
    assert!(
        (10..90).contains(&share),
        "{share}% of the responses were accepted"
    );
}

#[test]
fn whatever_a_request_is_made_of_it_is_read_as_it_was_meant() {
    const METHODS: [&[u8]; 4] = [b"GET", b"OPTIONS", b"POST", b"x-y"];
    const TARGETS: [&[u8]; 5] = [b"/", b"/a/b?c=d", b"*", b"http://h:80/p", b"/?x[]=\"|"];
    const NAMES: [&[u8]; 6] = [
        b"accept",
        b"x-a",
        b"host",
        b"TE",
        b"content-length",
        b"upgrade",
    ];
    const VALUES: [&[u8]; 4] = [b"", b"a b", b"\xff\t", b"x: y"];
    let mut random = Random(0x5eed_0004);
    let mut encoded = 0;
    for _ in 0..HEAD_ROUNDS {
        let mut texts = [&METHODS[..], &TARGETS, &NAMES].map(|corpus| {
            let bytes = match random.below(3) {
                0 => mutate(&mut random, corpus, &TOKENS),
                _ => random.pick(corpus).to_vec(),
            };
            String::from_utf8_lossy(&bytes).into_owned()
        });
        let value = mutate(&mut random, &VALUES, &TOKENS);
        let [method, target, name] = &mut texts;
        encoded += u32::from(check_outgoing(method, target, name, &value));
    }
    let share = encoded * 100 / HEAD_ROUNDS;
    assert!(
        (10..90).contains(&share),
        "{share}% of the requests were encoded"
    );
}

#[test]
fn mutated_bodies_keep_the_rules() {
    let mut random = Random(0x5eed_0002);
    let (mut ended, mut lenient) = (0, 0);
    for round in 0..BODY_ROUNDS {
        let input = mutate(&mut random, &BODIES, &TOKENS);
        let length = match round % 16 {
            0 => BodyLength::Empty,
            1 => BodyLength::Fixed(random.next() % 40),
            _ => BodyLength::Chunked,
        };
        let limits = if round % 2 == 0 {
            Limits::default()
        } else {
            LIMITS
        };
        ended += u32::from(check_body(&input, length, random.below(9), &limits));
        lenient += u32::from(check_lenient(&input, length, random.below(9), &limits));
    }
    assert!(
        lenient > ended,
        "{lenient} of the bodies were read leniently"
    );
    let share = ended * 100 / BODY_ROUNDS;
    assert!(
        (10..90).contains(&share),
        "{share}% of the bodies ended well"
    );
}

#[test]
fn mutated_frames_keep_the_rules() {
    let mut random = Random(0x5eed_0003);
    let mut accepted = 0;
    for round in 0..FRAME_ROUNDS {
        let mut input = mutate(&mut random, &FRAMES, &FRAME_TOKENS);
        let role = match round % 4 {
            0 => {
                // With the mask bit, and four of the bytes behind it as the mask.
                input
                    .iter_mut()
                    .skip(1)
                    .take(1)
                    .for_each(|byte| *byte |= 0x80);
                Role::Server
            }
            _ => Role::Client,
        };
        accepted += u32::from(check_frames(&input, role, random.below(9)));
    }
    let share = accepted * 100 / FRAME_ROUNDS;
    assert!(
        (10..90).contains(&share),
        "{share}% of the streams were accepted"
    );
}

#[test]
fn mutated_handshakes_keep_the_rules() {
    let mut random = Random(0x5eed_0005);
    let mut accepted = 0;
    for _ in 0..HANDSHAKE_ROUNDS {
        accepted += u32::from(check_handshake(&mutate(
            &mut random,
            &HANDSHAKES,
            &HANDSHAKE_TOKENS,
        )));
    }
    let share = accepted * 100 / HANDSHAKE_ROUNDS;
    assert!(
        (10..90).contains(&share),
        "{share}% of the handshakes were accepted"
    );
}

#[test]
fn whatever_proxies_say_keeps_the_rules() {
    let mut random = Random(0x5eed_0006);
    let mut accepted = 0;
    for _ in 0..PROXY_ROUNDS {
        accepted += u32::from(check_proxies(&mutate(&mut random, &PROXIES, &TOKENS)));
    }
    let share = accepted * 100 / PROXY_ROUNDS;
    assert!(
        (5..90).contains(&share),
        "{share}% of the headers were accepted"
    );
}
