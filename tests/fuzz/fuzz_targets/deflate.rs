//! Any bytes as a compressed message: how they come does not matter, and nothing takes more memory
//! than was asked for. And any bytes compressed and inflated again are themselves.
#![cfg_attr(fuzzing, no_main)]

use zlayer_fuzz::fuzz_target;
use zlayer_http1::websocket::{
    Compressor, Deflate, FrameHead, INFLATER_BYTES, Message, MessageDecoder, Opcode, ProtocolError,
    Role,
};

/// Bytes of a message at most.
const LIMIT: usize = 4096;

fuzz_target!(|input: &[u8]| {
    let [step, message @ ..] = input else {
        return;
    };
    let step = usize::from(*step).max(1);
    let whole = decode(message, message.len().max(1), LIMIT);
    assert_eq!(decode(message, step, LIMIT), whole, "in steps of {step}");

    let offer = format!(
        "permessage-deflate; server_max_window_bits={}",
        8 + step % 8
    );
    let offer = [("sec-websocket-extensions", offer.as_bytes())];
    let Some(agreed) = Deflate::negotiate(&offer) else {
        panic!("the offer is valid");
    };
    let mut compressor = Compressor::new(&agreed);
    let mut wire = Vec::new();
    let mut pieces = message.chunks(step).peekable();
    let mut fits = pieces.peek().is_some() || compressor.push(&[], true, &mut wire);
    while let Some(piece) = pieces.next() {
        fits &= compressor.push(piece, pieces.peek().is_none(), &mut wire);
    }
    if fits {
        let again = decode(&wire, step, message.len());
        let data = again.ok().flatten().map(|message| message.data);
        assert_eq!(data.as_deref(), Some(message));
    }
});

/// Feeds `message` as one compressed frame in pieces of `step` bytes.
fn decode(message: &[u8], step: usize, limit: usize) -> Result<Option<Message>, ProtocolError> {
    let mut wire = Vec::new();
    let head = FrameHead {
        fin: true,
        compressed: true,
        opcode: Opcode::Binary,
        mask: None,
        length: message.len() as u64,
    };
    head.encode(&mut wire);
    wire.extend_from_slice(message);
    let mut decoder = MessageDecoder::new(Role::Client, limit);
    decoder.inflate();
    let mut buffer = Vec::new();
    for piece in wire.chunks(step) {
        buffer.extend_from_slice(piece);
        let (consumed, message) = decoder.decode(&mut buffer, &mut |bytes| {
            assert!(bytes <= limit + INFLATER_BYTES, "{bytes} bytes");
            true
        })?;
        buffer.drain(..consumed);
        if message.is_some() {
            return Ok(message);
        }
    }
    Ok(None)
}
