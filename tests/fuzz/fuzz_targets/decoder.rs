//! Segments of any bytes: nothing may panic, what is told does not depend on how the bytes come, and is
//! not more than there was.
#![cfg_attr(fuzzing, no_main)]

use zlayer_binlog::{Decoder, Encoder, Event, Level, Record, steers};
use zlayer_fuzz::fuzz_target;

fuzz_target!(|data: &[u8]| {
    // As it stands.
    check(data, 1 + data.len() / 3);

    // Behind a whole segment's start, and with frames whose checksum is right: each stretch of the input
    // between two bytes 0xFE is a payload.
    let mut encoder = Encoder::default();
    let mut segment = Vec::new();
    let record = Record::new(1, Level::Info, "plugin fuzz", "whole");
    encoder.record(&record, &mut segment);
    segment.splice(0..0, encoder.start(1));
    for payload in data.split(|byte| *byte == 0xFE) {
        let mut sealed = payload.to_vec();
        sealed.extend(checksum(payload).to_le_bytes());
        let mut frame = vec![0; cobs::max_encoding_length(sealed.len()) + 1];
        let length = cobs::encode(&sealed, &mut frame);
        segment.extend(&frame[..length]);
        segment.push(0);
    }
    // Whatever follows, what was whole is told, and first.
    let told = check(&segment, 1 + segment.len() / 7);
    assert_eq!(told.get(1), Some(&record.to_string()));
});

/// Decodes all, as a whole, in pieces of so many bytes, and without its gaps, and answers with what is
/// told beside those.
fn check(bytes: &[u8], piece: usize) -> Vec<String> {
    let (told, whole) = decode(bytes, bytes.len().max(1));
    let in_pieces = decode(bytes, piece);
    assert!(
        in_pieces.0 == told && in_pieces.1 == whole,
        "in pieces of {piece}"
    );
    // What was skipped was nothing, and nothing else was.
    let without_gaps = decode(&whole, whole.len().max(1));
    assert!(without_gaps.0 == told && without_gaps.1 == whole);
    told
}

/// Decodes all: what is told beside gaps, and the bytes that lie in none.
fn decode(bytes: &[u8], piece: usize) -> (Vec<String>, Vec<u8>) {
    let (mut told, mut whole) = (Vec::new(), Vec::new());
    // Where the last gap ended: they lie behind one another.
    let mut reached = 0;
    let mut tell = |event: Event<'_>| {
        match event {
            // Whatever it says, it is a line, and steers no terminal.
            Event::Record(record) => {
                let line = record.to_string();
                for line in [Some(&line), record.combined().as_ref()]
                    .into_iter()
                    .flatten()
                {
                    let line = line.strip_suffix('\n');
                    assert!(line.is_some_and(|line| !line.contains(|c| steers(c) && c != '\t')));
                }
                told.push(line);
            }
            Event::Gap(gap) => {
                assert!(gap.bytes > 0 && gap.offset >= reached);
                whole.extend_from_slice(&bytes[reached as usize..gap.offset as usize]);
                reached = gap.offset + gap.bytes;
            }
            Event::Start(_) | Event::Foreign(_) => told.push(format!("{event:?}")),
        }
        Ok(())
    };
    let mut decoder = Decoder::default();
    for piece in bytes.chunks(piece) {
        let pushed = decoder.push(piece, &mut tell);
        assert!(pushed.is_ok());
    }
    assert!(decoder.finish(&mut tell).is_ok());
    whole.extend_from_slice(&bytes[reached as usize..]);
    (told, whole)
}

/// CRC-16/IBM-3740, as the format has it.
fn checksum(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0xFFFF, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte) << 8, |crc: u16, _| {
            let shifted = crc << 1;
            if crc & 0x8000 != 0 {
                shifted ^ 0x1021
            } else {
                shifted
            }
        })
    })
}
