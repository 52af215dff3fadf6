use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;

use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, HandshakeKind, ProtocolVersion};

use super::client::{any_version, begin, config, connect, get, read_response};
use super::{Files, start};
use crate::support::{Daemon, PATIENCE};

/// Suites that nobody should speak any more, by their numbers: RC4, 3DES, CBC with SHA-1, keys that are sent
/// encrypted instead of agreed on, no encryption, no authentication.
const WEAK: &[u16] = &[
    0x0005, 0x0004, 0x000a, 0xc012, 0x002f, 0x0035, 0xc013, 0xc014, 0xc009, 0xc00a, 0xc027, 0x009c,
    0x009d, 0x003c, 0x0002, 0x0001, 0x0034, 0xc018, 0x0016,
];

fn socket(daemon: &Daemon) -> TcpStream {
    let socket = TcpStream::connect(daemon.https()).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// A greeting as clients of this version send it (RFC 5246 section 7.4.1.2), without any extension.
fn greeting(version: u16, suites: &[u16]) -> Vec<u8> {
    let mut hello = version.to_be_bytes().to_vec();
    hello.extend([7; 32]);
    hello.push(0);
    hello.extend((2 * suites.len() as u16).to_be_bytes());
    hello.extend(suites.iter().flat_map(|suite| suite.to_be_bytes()));
    hello.extend([1, 0]);
    let mut extensions = Vec::new();
    // Groups X25519 and P-256, and what signatures the client knows: those of today.
    for (kind, list) in [
        (10u16, &[0x1du16, 0x17][..]),
        (13, &[0x0403, 0x0503, 0x0804, 0x0401]),
    ] {
        extensions.extend(kind.to_be_bytes());
        extensions.extend((2 * list.len() as u16 + 2).to_be_bytes());
        extensions.extend((2 * list.len() as u16).to_be_bytes());
        extensions.extend(list.iter().flat_map(|one| one.to_be_bytes()));
    }
    extensions.extend([0, 11, 0, 2, 1, 0]);
    hello.extend((extensions.len() as u16).to_be_bytes());
    hello.extend(extensions);
    let mut message = vec![1, 0];
    message.extend((hello.len() as u16).to_be_bytes());
    message.extend(hello);
    record(&message)
}

fn record(message: &[u8]) -> Vec<u8> {
    let mut record = vec![0x16, 3, 1];
    record.extend((message.len() as u16).to_be_bytes());
    record.extend(message);
    record
}

/// All that comes until the daemon closes.
fn rest(socket: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    // It may close with a reset, if more came than it wanted to read.
    let _ = socket.read_to_end(&mut bytes);
    bytes
}

/// The alert with which a greeting is refused: its number (RFC 8446 section 6).
fn alert(daemon: &Daemon, greeting: &[u8]) -> u8 {
    let mut socket = socket(daemon);
    socket.write_all(greeting).unwrap();
    let bytes = rest(&mut socket);
    // A record of type 21 with a fatal alert, and nothing else.
    let [0x15, 3, _, 0, 2, 2, number] = bytes[..] else {
        panic!("no alert: {bytes:?}");
    };
    number
}

#[test]
fn only_versions_and_ciphers_of_today_are_spoken() {
    let (daemon, _files) = start("hello");
    const GOOD: &[u16] = &[0xc02b, 0xc02c, 0xcca9];
    let mut all = WEAK.to_vec();
    all.extend(GOOD);
    // SSL 3.0, TLS 1.0 and 1.1: `protocol_version`, whatever they offer.
    for version in [0x0300, 0x0301, 0x0302] {
        assert_eq!(alert(&daemon, &greeting(version, &all)), 70, "{version:#x}");
    }
    // `handshake_failure` for each that is weak, and for all together.
    for suite in WEAK {
        assert_eq!(
            alert(&daemon, &greeting(0x0303, &[*suite])),
            40,
            "{suite:#x}"
        );
    }
    assert_eq!(alert(&daemon, &greeting(0x0303, WEAK)), 40);
    // With one that is good among them that one is chosen: the daemon's greeting names it.
    let mut socket = socket(&daemon);
    socket.write_all(&greeting(0x0303, &all)).unwrap();
    let mut answer = [0; 128];
    socket.read_exact(&mut answer).unwrap();
    let session = usize::from(answer[43]);
    let chosen = u16::from_be_bytes([answer[44 + session], answer[45 + session]]);
    assert!(answer[0] == 0x16 && GOOD.contains(&chosen), "{answer:?}");
}

#[test]
fn both_versions_are_spoken_and_sessions_are_resumed() {
    let (daemon, _files) = start("hello");
    for (version, number) in [
        (&TLS12, ProtocolVersion::TLSv1_2),
        (&TLS13, ProtocolVersion::TLSv1_3),
    ] {
        let config = config(&[version]);
        for kind in [
            HandshakeKind::Full,
            HandshakeKind::Resumed,
            HandshakeKind::Resumed,
        ] {
            let mut stream = connect(&daemon, "localhost", &config).unwrap();
            stream
                .write_all(b"GET / HTTP/1.1\r\nhost: h\r\n\r\n")
                .unwrap();
            assert_eq!(read_response(&mut stream).status, 200);
            assert_eq!(stream.conn.protocol_version(), Some(number));
            assert_eq!(stream.conn.handshake_kind(), Some(kind), "{number:?}");
        }
    }
}

#[test]
fn the_name_that_is_asked_for_chooses_the_certificate() {
    let files = Files::new();
    let daemon = files
        .serve(Daemon::builder("hello"), &["first", "second", "rsa"])
        .start();
    let config = any_version();
    // rustls checks each of them.
    for name in [
        "localhost",
        "second.test",
        "a.wild.test",
        "rsa.test",
        "127.0.0.1",
    ] {
        assert!(connect(&daemon, name, &config).is_ok(), "{name}");
    }
    let refused = connect(&daemon, "elsewhere.test", &config).err().unwrap();
    assert!(refused.contains("not valid for name"), "{refused}");
}

#[test]
fn http_1_1_is_agreed_on_and_clients_of_http_2_alone_are_refused() {
    let (daemon, _files) = start("hello");
    let with = |protocols: &[&[u8]]| {
        let mut config = ClientConfig::clone(&any_version());
        config.alpn_protocols = protocols.iter().map(|one| one.to_vec()).collect();
        connect(&daemon, "localhost", &Arc::new(config))
    };
    let stream = with(&[b"h2", b"http/1.1"]).unwrap();
    assert_eq!(stream.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
    assert!(with(&[]).unwrap().conn.alpn_protocol().is_none());
    let refused = with(&[b"h2"]).err().unwrap();
    assert!(refused.contains("NoApplicationProtocol"), "{refused}");
}

#[test]
fn whoever_speaks_http_to_the_port_of_tls_is_told() {
    let (daemon, _files) = start("hello");
    for request in ["GET / HTTP/1.1\r\nhost: h\r\n\r\n", "x", "\r\n"] {
        let mut socket = socket(&daemon);
        socket.write_all(request.as_bytes()).unwrap();
        socket.shutdown(Shutdown::Write).unwrap();
        let told = String::from_utf8(rest(&mut socket)).unwrap();
        assert!(
            told.starts_with("HTTP/1.1 400 ")
                && told
                    .to_ascii_lowercase()
                    .contains("\r\nconnection: close\r\n"),
            "{told}"
        );
        assert!(
            told.ends_with("this port speaks HTTPS; ask for https:// instead of http://\n"),
            "{told}"
        );
    }
}

#[test]
fn handshakes_that_are_cut_off_malformed_or_too_long_cost_nobody_anything() {
    let (daemon, _files) = start("hello");
    let whole = greeting(0x0303, &[0xc02b]);
    // Cut off anywhere, it just ends.
    for end in 0..whole.len() {
        let mut socket = socket(&daemon);
        socket.write_all(&whole[..end]).unwrap();
        socket.shutdown(Shutdown::Write).unwrap();
        assert!(rest(&mut socket).is_empty(), "{end}");
    }
    // Noise that begins like TLS is refused by an alert.
    let mut noise = 0x9e37_79b9_7f4a_7c15u64;
    for _ in 0..200 {
        let mut bytes = vec![0x16];
        for _ in 0..40 {
            noise ^= noise << 13;
            noise ^= noise >> 7;
            noise ^= noise << 17;
            bytes.extend(noise.to_be_bytes());
        }
        let mut socket = socket(&daemon);
        // The daemon may have closed before it has all.
        let _ = socket.write_all(&bytes);
        let _ = socket.shutdown(Shutdown::Write);
        let told = rest(&mut socket);
        assert!(told.is_empty() || told[0] == 0x15, "{bytes:?}: {told:?}");
    }
    // A greeting of 60,000 bytes in pieces: it is not kept until it is whole.
    let mut socket = socket(&daemon);
    let mut pieces = vec![1, 0, 0xea, 0x60];
    pieces.resize(40_000, 0);
    for piece in pieces.chunks(8_000) {
        let _ = socket.write_all(&record(piece));
    }
    assert!(rest(&mut socket).len() < 100);
    assert_eq!(get(&daemon, "/").status, 200);
}

#[test]
fn a_slow_handshake_has_the_time_of_a_head_and_makes_room_for_others() {
    let files = Files::new();
    let slow = |seconds: &str, places: &str| {
        let daemon = files.serve(Daemon::builder("hello"), &["first"]);
        daemon
            .timeout("head", seconds)
            .args(["--max-connections", places])
            .start()
    };
    // Silent ones, and one that has begun, are closed.
    let daemon = slow("1s", "8");
    for bytes in [&b""[..], &greeting(0x0303, &[0xc02b])[..20]] {
        let mut socket = socket(&daemon);
        socket.write_all(bytes).unwrap();
        assert!(rest(&mut socket).is_empty());
    }
    // Where all places are taken by such, somebody else gets one all the same.
    let daemon = slow("600s", "2");
    let mut silent: Vec<_> = (0..2).map(|_| socket(&daemon)).collect();
    let half = greeting(0x0303, &[0xc02b]);
    silent[1].write_all(&half[..20]).unwrap();
    assert_eq!(get(&daemon, "/").status, 200);
    assert!(rest(&mut silent[0]).is_empty());
}

#[test]
fn nothing_is_shaken_twice_on_one_connection() {
    let (daemon, _files) = start("hello");
    // In TLS 1.2 a client may ask for it; rustls cannot, so openssl does, where it is.
    let mut command = std::process::Command::new("openssl");
    command.args([
        "s_client",
        "-tls1_2",
        "-connect",
        &daemon.https().to_string(),
    ]);
    command.stdin(std::process::Stdio::piped());
    command
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    let Ok(mut child) = command.spawn() else {
        return crate::support::skipped("openssl is not installed");
    };
    child.stdin.as_mut().unwrap().write_all(b"R\n").unwrap();
    // It ends by itself when it is refused.
    let output = child.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned()
        + &String::from_utf8_lossy(&output.stdout);
    assert!(
        told.contains("RENEGOTIATING") && told.contains("no renegotiation"),
        "{told}"
    );
    assert_eq!(get(&daemon, "/").status, 200);
    // A connection goes on beside that.
    assert!(
        begin(
            TcpStream::connect(daemon.https()).unwrap(),
            "localhost",
            &any_version()
        )
        .is_ok()
    );
}
