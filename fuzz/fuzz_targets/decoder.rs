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

/// Decodes all, as a whole and in pieces of so many bytes, and answers with what is told.
fn check(bytes: &[u8], piece: usize) -> Vec<String> {
    let told = decode(bytes, bytes.len().max(1));
    assert_eq!(decode(bytes, piece), told, "in pieces of {piece}");
    told
}

/// Decodes all and shows it.
fn decode(bytes: &[u8], piece: usize) -> Vec<String> {
    let mut told = Vec::new();
    // Where the last gap ended: they lie behind one another, within the input.
    let mut reached = 0;
    let mut tell = |event: Event<'_>| {
        told.push(match event {
            // Whatever it says, it is a line, and steers no terminal.
            Event::Record(record) => {
                let line = record.to_string();
                for line in [Some(line.clone()), record.combined()]
                    .into_iter()
                    .flatten()
                {
                    let line = line.strip_suffix('\n');
                    assert!(line.is_some_and(|line| !line.contains(|c| steers(c) && c != '\t')));
                }
                line
            }
            Event::Gap(gap) => {
                assert!(gap.bytes > 0 && gap.offset >= reached);
                reached = gap.offset + gap.bytes;
                format!("{gap:?}")
            }
            Event::Start(_) | Event::Foreign(_) => format!("{event:?}"),
        });
        Ok(())
    };
    let mut decoder = Decoder::default();
    for piece in bytes.chunks(piece) {
        let pushed = decoder.push(piece, &mut tell);
        assert!(pushed.is_ok());
    }
    assert!(decoder.finish(&mut tell).is_ok());
    assert!(reached <= bytes.len() as u64);
    told
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
