//! The compression of messages (RFC 7692, 7.2), over `miniz_oxide`.

use std::fmt;

use miniz_oxide::deflate::core::{
    CompressorOxide, TDEFLFlush, TDEFLStatus, compress_to_output, create_comp_flags_from_zip_params,
};
use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::inflate_flags::{
    TINFL_FLAG_HAS_MORE_INPUT, TINFL_FLAG_IGNORE_ADLER32, TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF,
};
use miniz_oxide::inflate::core::{DecompressorOxide, TINFL_LZ_DICT_SIZE, decompress};

use super::{Deflate, ProtocolError};

/// Bytes that a decoder holds while a compressed message comes: the window of 32 KiB and the tables
/// of codes.
pub const INFLATER_BYTES: usize = 48 << 10;

/// Bytes that a [`Compressor`] holds: window, hash chains, codes and output. It lives for one
/// message, since nothing is taken over from one to the next.
pub const COMPRESSOR_BYTES: usize = 336 << 10;

/// zlib's scale from 1 to 9. The first step is quick, and the ones after it gain little on short
/// messages.
const LEVEL: i32 = 2;

/// What a flushed stream ends with, and a message leaves out (RFC 7692, 7.2.1).
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

type Sink<'a> = &'a mut dyn FnMut(&[u8]) -> Result<(), ProtocolError>;

/// Inflates one message.
pub(super) struct Inflater {
    state: Box<DecompressorOxide>,
    /// The last 32 KiB of output, as a ring.
    window: Box<[u8]>,
    at: usize,
    /// All of the window is output of this message. Before that, the engine has to refuse what
    /// refers to bytes before the first.
    is_full: bool,
}

impl Inflater {
    /// For a message that refers to none before it.
    pub(super) fn new() -> Self {
        Self {
            state: Box::default(),
            window: vec![0; TINFL_LZ_DICT_SIZE].into_boxed_slice(),
            at: 0,
            is_full: false,
        }
    }

    /// Inflates the next piece of a message into `sink`, a part of the window at a time: `sink`
    /// stops it when there is too much.
    pub(super) fn push(&mut self, mut piece: &[u8], sink: Sink<'_>) -> Result<(), ProtocolError> {
        if piece.is_empty() {
            return Ok(());
        }
        loop {
            let mut flags = TINFL_FLAG_HAS_MORE_INPUT | TINFL_FLAG_IGNORE_ADLER32;
            if !self.is_full {
                flags |= TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
            }
            let (status, read, written) =
                decompress(&mut self.state, piece, &mut self.window, self.at, flags);
            piece = &piece[read..];
            sink(&self.window[self.at..self.at + written])?;
            self.at += written;
            if self.at == self.window.len() {
                (self.at, self.is_full) = (0, true);
            }
            match status {
                TINFLStatus::HasMoreOutput => {}
                TINFLStatus::NeedsMoreInput if piece.is_empty() => return Ok(()),
                // A final block ends a stream; another may follow in the same message and refer to
                // what came before (RFC 7692, 7.2.3.4).
                TINFLStatus::Done => {
                    self.state.init();
                    if piece.is_empty() {
                        return Ok(());
                    }
                }
                _ => return Err(ProtocolError::InvalidCompression),
            }
        }
    }

    /// The message has ended.
    pub(super) fn end(mut self, sink: Sink<'_>) -> Result<(), ProtocolError> {
        self.push(&TAIL, sink)
    }
}

impl fmt::Debug for Inflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inflater").finish_non_exhaustive()
    }
}

/// Compresses one message.
pub struct Compressor {
    state: Box<CompressorOxide>,
    /// Bytes after which everything before is forgotten, so that no reference reaches back further
    /// than the client's window.
    span: usize,
    /// Bytes since that happened.
    used: usize,
}

impl Compressor {
    /// For one message of a connection on which `agreed` holds.
    #[must_use]
    pub fn new(agreed: &Deflate) -> Self {
        // A negative number asks for a bare stream; the engine knows no other window than 2^15.
        let flags = create_comp_flags_from_zip_params(LEVEL, -15, 0);
        Self {
            state: Box::new(CompressorOxide::new(flags)),
            span: match agreed.server_window_bits() {
                15 => usize::MAX,
                bits => 1 << bits,
            },
            used: 0,
        }
    }

    /// Compresses the next piece of the message, the last one if `last`, and appends to `out`.
    /// `out` grows by little more than `piece` at most; false, with `out` spoilt, when the engine
    /// gives up, which it has no reason to: send the message as it is then.
    #[must_use]
    pub fn push(&mut self, mut piece: &[u8], last: bool, out: &mut Vec<u8>) -> bool {
        loop {
            let (now, rest) = piece.split_at(piece.len().min(self.span - self.used));
            self.used += now.len();
            piece = rest;
            let flush = if self.used == self.span {
                self.used = 0;
                TDEFLFlush::Full
            } else if last && piece.is_empty() {
                TDEFLFlush::Sync
            } else {
                TDEFLFlush::None
            };
            let (status, _) = compress_to_output(&mut self.state, now, flush, |bytes| {
                out.extend_from_slice(bytes);
                true
            });
            if status != TDEFLStatus::Okay {
                return false;
            }
            if piece.is_empty() {
                break;
            }
        }
        if last {
            let Some(length) = out.len().checked_sub(TAIL.len()) else {
                return false;
            };
            if out[length..] != TAIL {
                return false;
            }
            out.truncate(length);
        }
        true
    }
}

/// Appends a whole message in the compressed form without compressing it: six bytes more than
/// `data`, for messages that are too short to be worth a [`Compressor`] (RFC 7692, 7.2.3.3).
pub fn store(data: &[u8], out: &mut Vec<u8>) {
    // A block holds 16 bits of length; an empty one ends the message.
    for block in data.chunks(usize::from(u16::MAX)) {
        let length = block.len() as u16;
        out.push(0);
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&(!length).to_le_bytes());
        out.extend_from_slice(block);
    }
    out.push(0);
}

impl fmt::Debug for Compressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compressor").finish_non_exhaustive()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;
    use crate::websocket::{FrameHead, Kind, MessageDecoder, Opcode, Role};

    fn agreed(parameters: &str) -> Deflate {
        let offer = format!("permessage-deflate{parameters}");
        Deflate::negotiate(&[("sec-websocket-extensions", offer.as_bytes())]).unwrap()
    }

    fn inflate(message: &[u8]) -> Result<Vec<u8>, ProtocolError> {
        let mut inflater = Inflater::new();
        let mut out = Vec::new();
        let mut sink = |data: &[u8]| {
            out.extend_from_slice(data);
            Ok(())
        };
        for piece in message.chunks(7) {
            inflater.push(piece, &mut sink)?;
        }
        inflater.end(&mut sink)?;
        Ok(out)
    }

    #[test]
    fn the_examples_of_rfc_7692() {
        // 7.2.3.1. The example of 7.2.3.2 refers to it, which is not agreed on. 7.2.3.3: no
        // compression; 7.2.3.4: a final block; 7.2.3.5: two blocks.
        for message in [
            &b"\xf2\x48\xcd\xc9\xc9\x07\x00"[..],
            b"\x00\x05\x00\xfa\xffHello\x00",
            b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00",
            b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00",
        ] {
            assert_eq!(inflate(message).unwrap(), b"Hello");
        }
        // 7.2.3.6: an empty message.
        assert_eq!(inflate(b"\x00").unwrap(), b"");
    }

    #[test]
    fn what_is_compressed_inflates_to_itself_with_any_window() {
        let mut random = 1u32;
        let body: Vec<u8> = (0..100_000u32)
            .map(|index| {
                random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                match index % 3000 {
                    0..2000 => (index % 97) as u8,
                    _ => (random >> 24) as u8,
                }
            })
            .collect();
        for bits in 8..=15 {
            let agreed = agreed(&format!("; server_max_window_bits={bits}"));
            for length in [0, 1, 255, 256, 257, 512, 5000, 32_768, 100_000] {
                let mut compressor = Compressor::new(&agreed);
                let mut wire = Vec::new();
                for piece in body[..length].chunks(10_000) {
                    assert!(compressor.push(piece, false, &mut wire));
                }
                assert!(compressor.push(&[], true, &mut wire));
                let data = inflate(&wire).unwrap();
                assert!(data == body[..length], "{bits} bits, {length} bytes");
                if length == 100_000 {
                    assert!(wire.len() < length * 2 / 3, "{bits} bits: {}", wire.len());
                }
            }
        }
    }

    #[test]
    fn what_is_stored_inflates_to_itself() {
        let mut wire = Vec::new();
        store(b"Hello", &mut wire);
        assert_eq!(wire, b"\x00\x05\x00\xfa\xffHello\x00");
        for length in [0, 1, 63, 65_535, 65_536, 200_000] {
            let data: Vec<u8> = (0..length).map(|index| (index % 251) as u8).collect();
            let mut wire = Vec::new();
            store(&data, &mut wire);
            assert!(inflate(&wire).unwrap() == data, "{length}");
        }
    }

    #[test]
    fn a_message_cannot_reach_what_was_before() {
        // 7.2.3.2: an "H", and four bytes from before the first.
        let again = inflate(b"\xf2\x00\x11\x00\x00");
        assert_eq!(again, Err(ProtocolError::InvalidCompression));
    }

    #[test]
    fn damaged_data_is_refused() {
        for wire in [
            &b"\xff\xff\xff\xff"[..],
            b"\x00\x05\x00\x00\x00Hello",
            b"\x06\x06\x06",
        ] {
            let refused = inflate(wire);
            assert_eq!(refused, Err(ProtocolError::InvalidCompression), "{wire:x?}");
        }
    }

    /// A frame of a server, compressed by its first bit that says so.
    fn frame(fin: bool, opcode: Opcode, data: &[u8]) -> Vec<u8> {
        let mut wire = Vec::new();
        let head = FrameHead {
            fin,
            compressed: opcode != Opcode::Continuation,
            opcode,
            mask: None,
            length: data.len() as u64,
        };
        head.encode(&mut wire);
        wire.extend_from_slice(data);
        wire
    }

    #[test]
    fn the_limit_is_that_of_the_message_not_of_its_compressed_form() {
        let data = [7; 1000];
        let mut stored = Vec::new();
        store(&data, &mut stored);
        assert!(stored.len() > data.len());
        let mut decoder = MessageDecoder::new(Role::Client, data.len());
        decoder.inflate();
        let mut wire = frame(true, Opcode::Binary, &stored);
        let (_, message) = decoder.decode(&mut wire, &mut |_| true).unwrap();
        assert_eq!(message.unwrap().data, data);
    }

    #[test]
    fn a_message_of_blocks_that_hold_nothing_ends() {
        let nothing = [0, 0, 0, 0xff, 0xff].repeat(1000);
        let mut decoder = MessageDecoder::new(Role::Client, 1000);
        decoder.inflate();
        let mut opcode = Opcode::Binary;
        let mut sent = 0;
        let error = loop {
            sent += nothing.len();
            assert!(sent < 100_000, "it goes on for ever");
            let mut wire = frame(false, opcode, &nothing);
            opcode = Opcode::Continuation;
            if let Err(error) = decoder.decode(&mut wire, &mut |_| true) {
                break error;
            }
        };
        assert_eq!(error, ProtocolError::MessageTooLong);
    }

    #[test]
    fn a_bomb_ends_at_the_limit() {
        let agreed = agreed("");
        let mut compressor = Compressor::new(&agreed);
        let mut bomb = Vec::new();
        for _ in 0..64 {
            assert!(compressor.push(&[0; 64 << 10], false, &mut bomb));
        }
        assert!(compressor.push(&[], true, &mut bomb));
        assert!(bomb.len() < 64 << 10, "4 MiB in {} bytes", bomb.len());
        let mut wire = Vec::new();
        let head = FrameHead {
            fin: true,
            compressed: true,
            opcode: Opcode::Binary,
            mask: None,
            length: bomb.len() as u64,
        };
        head.encode(&mut wire);
        wire.extend_from_slice(&bomb);
        let mut most = 0;
        let mut decoder = MessageDecoder::new(Role::Client, 100_000);
        decoder.inflate();
        let decoded = decoder.decode(&mut wire.clone(), &mut |capacity| {
            most = most.max(capacity);
            true
        });
        assert_eq!(decoded, Err(ProtocolError::MessageTooLong));
        assert!(most <= 100_000 + INFLATER_BYTES);
        let mut decoder = MessageDecoder::new(Role::Client, 4 << 20);
        decoder.inflate();
        let (consumed, message) = decoder.decode(&mut wire, &mut |_| true).unwrap();
        assert_eq!(consumed, wire.len());
        let message = message.unwrap();
        assert_eq!((message.kind, message.data.len()), (Kind::Binary, 4 << 20));
    }

    #[test]
    fn memory_is_held_from_the_first_byte_of_a_compressed_message_to_its_last() {
        let mut decoder = MessageDecoder::new(Role::Client, 1000);
        decoder.inflate();
        let hello = b"\xf2\x48\xcd\xc9\xc9\x07\x00";
        let mut asked = Vec::new();
        let mut room = |bytes| {
            asked.push(bytes);
            true
        };
        for _ in 0..2 {
            let mut wire = frame(true, Opcode::Text, hello);
            assert_eq!(decoder.decode(&mut wire[..3], &mut room), Ok((3, None)));
            assert!(decoder.inflater.is_some());
            let (_, message) = decoder.decode(&mut wire[3..], &mut room).unwrap();
            assert_eq!(message.unwrap().data, b"Hello");
            assert!(decoder.inflater.is_none());
        }
        let first = INFLATER_BYTES;
        assert_eq!(asked, [first, first + 256, first, first + 256]);
        let mut wire = frame(true, Opcode::Text, hello);
        let refused = decoder.decode(&mut wire, &mut |_| false);
        assert_eq!(refused, Err(ProtocolError::NoRoom));
        assert!(decoder.inflater.is_none());
    }
}
