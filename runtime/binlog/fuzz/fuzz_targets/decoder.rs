//! Segments of any bytes: nothing may panic, and what is told of may not be more than there was.

#![no_main]

use libfuzzer_sys::fuzz_target;
use zlayer_binlog::{Decoder, Encoder, Event, Level, Record, steers};

fuzz_target!(|data: &[u8]| {
    // As it stands.
    let skipped = decode(data, 1 + data.len() / 3);
    assert!(skipped <= data.len() as u64);

    // Behind a whole segment's start, and with frames whose checksum is right: each stretch of the input
    // between two zeros is a payload.
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
    assert!(decode(&segment, 4096) <= segment.len() as u64);
});

/// Decodes all and shows it; answers how much was skipped.
fn decode(bytes: &[u8], piece: usize) -> u64 {
    let mut skipped = 0;
    let mut tell = |event: Event<'_>| {
        match event {
            // Whatever it says, it is a line, and steers no terminal.
            Event::Record(record) => {
                for line in [Some(record.to_string()), record.combined()]
                    .into_iter()
                    .flatten()
                {
                    let line = line.strip_suffix('\n');
                    assert!(line.is_some_and(|line| !line.contains(|c| steers(c) && c != '\t')));
                }
            }
            Event::Gap(gap) => skipped += gap.bytes,
            Event::Start(_) | Event::Foreign(_) => {}
        }
        Ok(())
    };
    let mut decoder = Decoder::default();
    for piece in bytes.chunks(piece) {
        let told = decoder.push(piece, &mut tell);
        assert!(told.is_ok());
    }
    assert!(decoder.finish(&mut tell).is_ok());
    skipped
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
