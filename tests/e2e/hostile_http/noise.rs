//! Other protocols, random bytes, and requests altered at random places.

use super::one_refusal;
use crate::support::{Client, Daemon, get, under_qemu};

#[test]
fn other_protocols_are_refused() {
    let daemon = Daemon::start("hello");
    // The beginning of a TLS 1.2 ClientHello: record and handshake headers, version, random.
    let mut tls = vec![0x16, 3, 1, 0, 0xa5, 1, 0, 0, 0xa1, 3, 3];
    tls.extend((0..200u8).map(|byte| byte.wrapping_mul(37)));
    for (name, wire, status) in [
        ("TLS", tls.as_slice(), Some(400)),
        ("SSH", b"SSH-2.0-OpenSSH_9.6\r\n", Some(400)),
        ("SMTP", b"EHLO example.com\r\n", Some(400)),
        ("Redis", b"*1\r\n$4\r\nPING\r\n", Some(400)),
        ("SOCKS 5", b"\x05\x01\x00", Some(400)),
        (
            "PROXY",
            b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
            Some(400),
        ),
        ("zeros", &[0; 100], Some(400)),
        ("ones", &[0xff; 100], Some(400)),
    ] {
        let mut client = Client::connect(&daemon);
        client.send(wire);
        client.shutdown_write();
        let refusal = one_refusal(client, wire);
        let told = refusal.as_ref().map(|response| response.status);
        assert_eq!(told, status, "{name}: {refusal:?}");
        assert_eq!(get(&daemon, "/good").status, 200, "after {name}");
    }
}

#[test]
fn random_bytes_bring_nothing_but_well_formed_refusals() {
    let daemon = Daemon::start("hello");
    let mut random = Random(0x5eed_0001);
    for round in 0..if under_qemu() { 60 } else { 400 } {
        let length = random.below(300) + 1;
        let wire: Vec<u8> = (0..length).map(|_| random.below(256) as u8).collect();
        let mut client = Client::connect(&daemon);
        client.send(&wire);
        client.shutdown_write();
        // They are the same in each run, and none of them is as much as a request line.
        let response = one_refusal(client, &wire);
        let status = response.as_ref().map(|response| response.status);
        assert_eq!(status, Some(400), "round {round}: {response:?}");
    }
    assert_eq!(get(&daemon, "/good").status, 200);
}

#[test]
fn altered_requests_bring_nothing_but_well_formed_answers() {
    let daemon = Daemon::start("echo");
    let corpus: [&[u8]; 3] = [
        b"GET /download?bytes=5 HTTP/1.1\r\nHost: localhost\r\nX-Field: value\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello",
        b"POST /count HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5;e=1\r\nhello\r\n3\r\nbye\r\n0\r\nX-Sum: 1\r\n\r\n",
    ];
    let special = b"\r\n\0 \t:;,/\\\"0a-+\x7f\xff";
    let mut random = Random(0x5eed_0002);
    for round in 0..if under_qemu() { 60 } else { 400 } {
        let mut wire = corpus[round % corpus.len()].to_vec();
        for _ in 0..=random.below(3) {
            let at = random.below(wire.len());
            let byte = special[random.below(special.len())];
            match random.below(4) {
                0 => wire[at] = byte,
                1 => wire.insert(at, byte),
                2 => drop(wire.remove(at)),
                _ => wire.truncate(at + 1),
            }
        }
        let mut client = Client::connect(&daemon);
        client.send(&wire);
        client.shutdown_write();
        // Whole answers up to the end of the stream, or up to one that is cut off with it.
        loop {
            match client.try_read_response() {
                Ok(response) => assert!(
                    (200..600).contains(&response.status),
                    "{round}: {response:?}"
                ),
                Err(error)
                    if error.contains("the end of the stream came") || error.contains("reset") =>
                {
                    break;
                }
                Err(error) => panic!("{round}: {error} for {:?}", String::from_utf8_lossy(&wire)),
            }
        }
    }
    assert_eq!(get(&daemon, "/download?bytes=1").body, [0]);
}

/// A sequence that looks random and is the same in every run (xorshift, George Marsaglia).
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }
}
