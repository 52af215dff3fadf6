//! WebSocket messages compressed as RFC 7692 says, from raw bytes and from another implementation.

/// The cases of the Autobahn suite that compress.
mod autobahn;
/// Messages that are small on the wire.
mod bombs;
/// What is agreed on, and what follows for messages.
mod messages;

use std::io::Write;

use miniz_oxide::inflate::decompress_to_vec;

use crate::support::{Client, Daemon};

const TEXT: u8 = 1;
const BINARY: u8 = 2;

/// A conversation, and the extensions that the daemon agreed to.
fn open(daemon: &Daemon, offer: Option<&str>) -> (Client, Option<String>) {
    let mut head = b"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
        .to_vec();
    if let Some(offer) = offer {
        write!(head, "Sec-WebSocket-Extensions: {offer}\r\n").unwrap();
    }
    head.extend_from_slice(b"\r\n");
    let mut client = Client::connect(daemon);
    client.send(head);
    let answer = client.read_head().unwrap();
    assert_eq!(answer.status, 101, "{answer:?}");
    let agreed = answer.header("sec-websocket-extensions");
    (client, agreed.map(str::to_owned))
}

/// A frame as a client sends it; its mask is nothing but zeros.
fn frame(fin: bool, compressed: bool, opcode: u8, payload: &[u8]) -> Vec<u8> {
    let first = u8::from(fin) << 7 | u8::from(compressed) << 6 | opcode;
    let mut wire = vec![first];
    match payload.len() {
        length @ 0..=125 => wire.push(0x80 | length as u8),
        length @ 126..=0xffff => {
            wire.push(0x80 | 126);
            wire.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            wire.push(0x80 | 127);
            wire.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    wire.extend_from_slice(&[0; 4]);
    wire.extend_from_slice(payload);
    wire
}

/// A frame of the daemon's: its first byte and its payload.
fn next(client: &mut Client) -> (u8, Vec<u8>) {
    let head = client.read_exactly(2).unwrap();
    let length = match head[1] {
        126 => {
            let bytes = client.read_exactly(2).unwrap();
            u64::from(u16::from_be_bytes(bytes.try_into().unwrap()))
        }
        127 => u64::from_be_bytes(client.read_exactly(8).unwrap().try_into().unwrap()),
        length => u64::from(length),
    };
    (head[0], client.read_exactly(length as usize).unwrap())
}

/// Expects a whole and compressed message of this kind, and answers what it was before.
fn inflated(client: &mut Client, opcode: u8) -> Vec<u8> {
    let (first, mut payload) = next(client);
    assert_eq!(first, 0xc0 | opcode, "not a whole compressed message");
    // What a message leaves out, and an empty block that is the last one.
    payload.extend_from_slice(b"\0\0\xff\xff\x01\0\0\xff\xff");
    decompress_to_vec(&payload).unwrap()
}

/// Expects a close and then the end of the stream, and answers its code.
fn closed(client: &mut Client) -> u16 {
    let (first, payload) = next(client);
    assert_eq!(first, 0x88, "not a close: {payload:?}");
    let code = u16::from_be_bytes([payload[0], payload[1]]);
    // The daemon waits for the answer, and then for the end.
    let _ = client.try_send(frame(true, false, 8, &code.to_be_bytes()));
    client.shutdown_write();
    assert!(client.is_closed());
    code
}
