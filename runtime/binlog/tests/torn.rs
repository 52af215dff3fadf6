//! Segments that a power cut, a full disk or worn flash has damaged, and the same fuzzing on every
//! run. The target in `tests/fuzz/` goes on for as long as one likes.

#![allow(
    clippy::unwrap_used,
    reason = "a failed test should panic, where it failed"
)]

use zlayer_binlog::{Decoder, Encoder, Event, Gap, Level, Record};

/// A segment of `count` records of all kinds, and where each record ends.
fn segment(number: u32, count: u64) -> (Vec<u8>, Vec<usize>, Vec<String>) {
    let (mut encoder, mut bytes) = (Encoder::default(), Vec::new());
    let (mut ends, mut lines) = (Vec::new(), Vec::new());
    for i in 0..count {
        let target = ["plugin a", "zlayer_runtime::server"][i as usize % 2];
        let message = format!("message {}", i % 7);
        let level = [Level::Info, Level::Error, Level::Trace][i as usize % 3];
        let mut record = Record::new(1_700_000_000_000_000 + i * 12_345, level, target, &message);
        record.request = match i % 4 {
            0 => None,
            1 => Some("of a client".into()),
            _ => Some(format!("{:016x}", (u64::MAX - 3).wrapping_add(i / 2)).into()),
        };
        if i % 3 == 0 {
            record.fields = vec![("status".into(), "200".into()), ("".into(), "\0\n".into())];
        }
        if i == 0 {
            encoder.record(&record, &mut bytes);
            bytes.splice(0..0, encoder.start(number));
        } else {
            encoder.record(&record, &mut bytes);
        }
        ends.push(bytes.len());
        lines.push(record.to_string());
    }
    (bytes, ends, lines)
}

/// The lines and the gaps that pieces of this size give.
fn decode(bytes: &[u8], piece: usize) -> (Vec<String>, Vec<Gap>) {
    let (mut lines, mut gaps) = (Vec::new(), Vec::new());
    let mut decoder = Decoder::default();
    let mut tell = |event: Event<'_>| {
        match event {
            Event::Record(record) => lines.push(record.to_string()),
            Event::Gap(gap) => gaps.push(gap),
            Event::Start(_) | Event::Foreign(_) => {}
        }
        Ok(())
    };
    for piece in bytes.chunks(piece) {
        decoder.push(piece, &mut tell).unwrap();
    }
    decoder.finish(&mut tell).unwrap();
    (lines, gaps)
}

#[test]
fn what_was_written_comes_back_in_pieces_of_any_size() {
    let (bytes, _, lines) = segment(1, 500);
    assert!(lines.iter().any(|line| line.contains("status=\"200\"")));
    for piece in [1, 3, 1000, bytes.len()] {
        assert_eq!(decode(&bytes, piece), (lines.clone(), Vec::new()));
    }
    // Two segments in a row, with definitions of their own each.
    let (other, _, more) = segment(2, 3);
    let (found, gaps) = decode(&[bytes, other].concat(), 4096);
    assert_eq!((found.len(), gaps.len()), (503, 0));
    assert_eq!(found[500..], more);
}

#[test]
fn a_segment_cut_anywhere_gives_every_record_before_the_cut() {
    let (bytes, ends, lines) = segment(1, 60);
    for cut in 0..bytes.len() {
        let whole = ends.iter().filter(|end| **end <= cut).count();
        let (found, gaps) = decode(&bytes[..cut], 4096);
        assert_eq!(found, lines[..whole], "cut at {cut}");
        assert!(gaps.len() <= 1, "{gaps:?}");
    }
}

#[test]
fn a_hole_costs_what_it_covers_and_the_records_behind_it_are_read() {
    let (bytes, ends, lines) = segment(1, 2000);
    let mut noise = 0x9E37_79B9_u32;
    for fill in ["zeros", "ones", "noise"] {
        let mut torn = bytes.clone();
        for byte in &mut torn[8192..12288] {
            noise ^= noise << 13;
            noise ^= noise >> 17;
            noise ^= noise << 5;
            *byte = match fill {
                "zeros" => 0,
                "ones" => 0xFF,
                _ => noise as u8,
            };
        }
        let (found, gaps) = decode(&torn, 1000);
        let before = ends.iter().filter(|end| **end <= 8192).count();
        // The first frame behind the hole may be torn, too.
        let behind = ends.iter().filter(|end| **end > 12288).count() - 1;
        assert_eq!(found[..before], lines[..before], "{fill}");
        assert_eq!(
            found[found.len() - behind..],
            lines[lines.len() - behind..],
            "{fill}"
        );
        let skipped: u64 = gaps.iter().map(|gap| gap.bytes).sum();
        assert!((4096..4400).contains(&skipped), "{fill}: {gaps:?}");
        assert!(gaps[0].offset <= 8192 && gaps[0].offset > 8000, "{gaps:?}");
    }
}

#[test]
fn a_lost_definition_shows_as_its_number_and_a_lost_start_comes_again() {
    let (bytes, ends, lines) = segment(1, 2000);
    // Without the first records, which hold the start, the requests' base and all definitions.
    let (found, _) = decode(&bytes[ends[40]..], 4096);
    assert!(found[0].contains(" ?"), "{}", found[0]);
    assert!(found[0].starts_with("(time unknown) "), "{}", found[0]);
    let (last, expected) = (found.last().unwrap(), lines.last().unwrap());
    assert_eq!(last[..29], expected[..29]);
}

#[test]
fn without_its_head_a_segment_soon_says_again_whose_records_it_has() {
    let (mut bytes, ends, lines) = segment(1, 2000);
    bytes[..512].fill(0);
    let (found, _) = decode(&bytes, 4096);
    // Once the start frame was repeated, and a record after which it can come.
    let repeated = ends.iter().filter(|end| **end > 4096 + 512).count();
    let behind = &found[found.len() - repeated..];
    let expected = &lines[lines.len() - repeated..];
    for (line, expected) in behind.iter().zip(expected) {
        let (_, target) = expected.split_at(36);
        let (target, _) = target.split_once(": ").unwrap();
        assert!(line[36..].starts_with(target), "{line} for {expected}");
        assert_eq!(line[..29], expected[..29]);
    }
    assert!(repeated > 1000 && found[0].starts_with("(time unknown) "));
}

#[test]
fn seeded_mutations_never_panic_nor_take_more_than_they_bring() {
    let (bytes, _, _) = segment(1, 300);
    let mut random = 0x2545_F491_4F6C_DD1D_u64;
    let mut below = |bound: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random % bound as u64) as usize
    };
    for _ in 0..3000 {
        let mut mutated = bytes.clone();
        for _ in 0..=below(8) {
            let at = below(mutated.len());
            match below(4) {
                0 => mutated[at] = below(256) as u8,
                1 => mutated.truncate(at + 1),
                2 => drop(mutated.drain(at..(at + 20).min(mutated.len()))),
                _ => mutated.insert(at, 0),
            }
            if mutated.is_empty() {
                mutated.push(1);
            }
        }
        let (lines, gaps) = decode(&mutated, 1 + below(5000));
        let skipped: u64 = gaps.iter().map(|gap| gap.bytes).sum();
        assert!(lines.len() <= 300 && skipped <= mutated.len() as u64);
    }
}
