//! Turns records into frames.

use std::collections::BTreeMap;

use log::Level;

use crate::frame::{Entry, FORMAT, Frame, Request, Start, Text, append_value, seal};
use crate::record::{FIELD_OVERHEAD, FIELDS_BYTES, MESSAGE_BYTES, Record};

/// The most strings that a segment defines. Together with [`STRING_BYTES`] this bounds the table:
/// 16 KiB of text, and as much again around it.
pub const STRINGS: usize = 256;
/// Bytes of the longest string that is defined. A longer one is written in full each time.
pub const STRING_BYTES: usize = 64;
/// The start frame is repeated once this many bytes were written after it.
pub const REPEAT_BYTES: usize = 4096;
/// Definitions that only targets may use, not plugins' messages: there are few targets, and each
/// record has one.
const RESERVED: usize = 32;
/// How many targets are defined again when the start frame is repeated. If the only definition were
/// lost, nobody could tell whose the later records are.
const REPEATED: usize = 16;
/// Bytes that the frame of a definition takes beside its text.
const DEFINE_BYTES: usize = 10;
/// How many strings that came once are remembered, by fingerprint.
const SEEN: usize = 256;
/// Bytes of the longest target, and of the longest request id. Longer ones are cut.
const NAME_BYTES: usize = 256;

/// Encodes the records of one segment.
#[derive(Debug)]
pub struct Encoder {
    /// The segment's start frame, once it has one.
    start: Option<Start>,
    /// The time of the first record, which the others count from.
    micros: Option<u64>,
    /// The number of the first request, which the others count from.
    requests: Option<u64>,
    strings: BTreeMap<Box<str>, u16>,
    /// The first targets and their numbers, at most [`REPEATED`].
    targets: Vec<(u16, Box<str>)>,
    seen: Box<[u32]>,
    /// Bytes that were written after the last start frame.
    since: usize,
    payload: Vec<u8>,
}

impl Default for Encoder {
    /// An encoder for a new segment.
    fn default() -> Encoder {
        Encoder {
            start: None,
            micros: None,
            requests: None,
            strings: BTreeMap::new(),
            targets: Vec::new(),
            seen: vec![0; SEEN].into(),
            since: 0,
            payload: Vec::new(),
        }
    }
}

impl Encoder {
    /// Returns the frames that the segment with this number has to begin with. Records may be
    /// encoded before this is called: those of a time when there was no file yet.
    pub fn start(&mut self, segment: u32) -> Vec<u8> {
        let mut out = Vec::new();
        self.start = Some(Start {
            format: FORMAT,
            segment,
            micros: self.micros.unwrap_or_default(),
        });
        self.preamble(&mut out);
        out
    }

    /// Appends the frames of one record to `out`, at most [`Encoder::bound`] bytes. The message is
    /// cut to [`MESSAGE_BYTES`] and the fields to [`FIELDS_BYTES`].
    pub fn record(&mut self, record: &Record<'_>, out: &mut Vec<u8>) {
        let before = out.len();
        if self.since >= REPEAT_BYTES {
            self.preamble(out);
            for (number, text) in &self.targets {
                append_value(&Frame::Define(*number, text), &mut self.payload);
                seal(&mut self.payload, out);
            }
        }
        let base = *self.micros.get_or_insert(record.micros);
        let target = self.text(cut(&record.target, NAME_BYTES), true, out);
        let request = self.request(record.request.as_deref(), out);
        let message = self.text(cut(&record.message, MESSAGE_BYTES), false, out);
        // Definitions have to stand before the frame that uses them, so all are made first.
        let fields: Vec<_> = fields(record)
            .map(|(key, value)| (self.text(key, false, out), self.text(value, false, out)))
            .collect();
        let entry = Entry {
            // Wrapping arithmetic, here and in the decoder, is exact for any two times.
            micros: record.micros.wrapping_sub(base) as i64,
            target,
            request,
            message,
        };
        let frame = match record.level {
            Level::Error => Frame::Error(entry),
            Level::Warn => Frame::Warn(entry),
            Level::Info => Frame::Info(entry),
            Level::Debug => Frame::Debug(entry),
            Level::Trace => Frame::Trace(entry),
        };
        append_value(&frame, &mut self.payload);
        for field in &fields {
            append_value(field, &mut self.payload);
        }
        seal(&mut self.payload, out);
        self.since += out.len() - before;
    }

    /// The most bytes that [`Encoder::record`] appends for this record.
    pub fn bound(&self, record: &Record<'_>) -> usize {
        // A string takes a frame for its definition and its number, or it is written in full with
        // its length.
        let text = |text: &str| match text.len() {
            length @ 2..=STRING_BYTES => length + DEFINE_BYTES,
            length => length + 4,
        };
        let request = record
            .request
            .as_deref()
            .map_or(0, |id| id.len().min(NAME_BYTES));
        let content = text(cut(&record.target, NAME_BYTES))
            + text(cut(&record.message, MESSAGE_BYTES))
            + fields(record)
                .map(|(key, value)| text(key) + text(value))
                .sum::<usize>()
            + request;
        let repeated = match self.since >= REPEAT_BYTES {
            true => self
                .targets
                .iter()
                .map(|(_, text)| text.len() + DEFINE_BYTES)
                .sum(),
            false => 0,
        };
        // The start, the first request and the record's own numbers; and one byte of COBS for each
        // 254.
        128 + repeated + content + content / 128
    }

    /// Appends the start frame, and what else a reader needs who begins in the middle.
    fn preamble(&mut self, out: &mut Vec<u8>) {
        self.since = 0;
        if let Some(start) = self.start {
            append_value(&Frame::Start(start), &mut self.payload);
            seal(&mut self.payload, out);
            if let Some(number) = self.requests {
                append_value(&Frame::Requests(number), &mut self.payload);
                seal(&mut self.payload, out);
            }
        }
    }

    fn request<'a>(&mut self, id: Option<&'a str>, out: &mut Vec<u8>) -> Request<'a> {
        let Some(id) = id else { return Request::None };
        let Some(number) = request_number(id) else {
            return Request::Other(cut(id, NAME_BYTES));
        };
        let base = *self.requests.get_or_insert_with(|| {
            append_value(&Frame::Requests(number), &mut self.payload);
            seal(&mut self.payload, out);
            number
        });
        Request::Near(number.wrapping_sub(base) as i64)
    }

    /// Returns the string's number, after defining it if that is worth while: `always`, or when it
    /// comes a second time.
    fn text<'a>(&mut self, text: &'a str, always: bool, out: &mut Vec<u8>) -> Text<'a> {
        // A single character in full is as short as a number.
        if text.len() < 2 || text.len() > STRING_BYTES {
            return Text::Full(text);
        }
        if let Some(number) = self.strings.get(text) {
            return Text::Known(*number);
        }
        let places = if always { STRINGS } else { STRINGS - RESERVED };
        if self.strings.len() >= places || !(always || self.came_before(text)) {
            return Text::Full(text);
        }
        // It is less than STRINGS, so it fits.
        let number = self.strings.len() as u16;
        append_value(&Frame::Define(number, text), &mut self.payload);
        seal(&mut self.payload, out);
        self.strings.insert(text.into(), number);
        if always && self.targets.len() < REPEATED {
            self.targets.push((number, text.into()));
        }
        Text::Known(number)
    }

    /// Whether the string came a short while ago. Remembers it.
    fn came_before(&mut self, text: &str) -> bool {
        // FNV-1a. If two strings have the same fingerprint, one of them is defined too early, which
        // does no harm.
        let hash = text.bytes().fold(0x811C_9DC5_u32, |hash, byte| {
            (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
        });
        let place = &mut self.seen[hash as usize % SEEN];
        std::mem::replace(place, hash) == hash
    }
}

/// The number in a request id, if the daemon made the id.
fn request_number(id: &str) -> Option<u64> {
    let digits = id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    (id.len() == 16 && digits)
        .then(|| u64::from_str_radix(id, 16).ok())
        .flatten()
}

/// A record's fields, cut to [`FIELDS_BYTES`].
fn fields<'a>(record: &'a Record<'_>) -> impl Iterator<Item = (&'a str, &'a str)> {
    let mut room = FIELDS_BYTES;
    record.fields.iter().map_while(move |(key, value)| {
        room = room.checked_sub(FIELD_OVERHEAD)?;
        let key = cut(key, room);
        room -= key.len();
        let value = cut(value, room);
        room -= value.len();
        Some((key, value))
    })
}

fn cut(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record<'a>(message: &'a str, fields: &[(&'a str, &'a str)]) -> Record<'a> {
        let mut record = Record::new(1_700_000_000_000_000, Level::Info, "plugin p", message);
        record.request = Some("00000000000000ff".into());
        let owned = fields
            .iter()
            .map(|(key, value)| ((*key).into(), (*value).into()));
        record.fields = owned.collect();
        record
    }

    #[test]
    fn what_comes_again_is_written_once() {
        let mut encoder = Encoder::default();
        let record = record(
            "a message of some length",
            &[("status", "200"), ("path", "/a/b")],
        );
        let sizes: Vec<usize> = (0..4)
            .map(|_| {
                let mut out = Vec::new();
                encoder.record(&record, &mut out);
                out.len()
            })
            .collect();
        // First in full, then with definitions, then by numbers alone.
        assert!(sizes[0] > 50 && sizes[1] > sizes[2], "{sizes:?}");
        assert_eq!(sizes[2..], [14, 14], "{sizes:?}");
    }

    #[test]
    fn no_record_takes_more_than_its_bound_and_no_segment_more_strings_than_it_may() {
        let mut encoder = Encoder::default();
        let long = "é".repeat(50_000);
        let many: Vec<(String, String)> = (0..3000)
            .map(|i| (format!("key {i}"), "v".repeat(i % 70)))
            .collect();
        let many: Vec<(&str, &str)> = many.iter().map(|(k, v)| (&**k, &**v)).collect();
        for round in 0..3 {
            for record in [
                record("", &[]),
                record(&long, &[(&long, &long)]),
                record(&"x".repeat(64), &[("", ""); 5000]),
                record("many", &many[round * 1000..]),
            ] {
                let mut out = Vec::new();
                let bound = encoder.bound(&record);
                encoder.record(&record, &mut out);
                assert!(out.len() <= bound, "{} over {bound}", out.len());
                assert!(out.len() < crate::FRAME_BYTES, "{}", out.len());
            }
        }
        assert!(encoder.strings.len() <= STRINGS - RESERVED + 1);
    }

    /// `cargo test -p zlayer-binlog -- --nocapture figure` prints it.
    #[test]
    fn figure_of_bytes_per_record_against_text() {
        let paths = [
            "/",
            "/api/items",
            "/api/items/17",
            "/login",
            "/static/app.js",
        ];
        let (mut encoder, mut frames, mut text) = (Encoder::default(), Vec::new(), String::new());
        let records = 5000;
        for i in 0..records {
            let request = format!("{:016x}", 0x5eed_0000_1234_5678_u64 + i / 3);
            let (path, took) = (
                paths[i as usize * 7 % 5],
                format!("{}.{} ms", i % 40, i % 10),
            );
            let message = format!("GET {path}");
            let fields = [("status", "200"), ("path", path), ("took", &took)];
            let failure =
                format!("GET {path}: plugin gate: failed: after {i} requests: unreachable");
            let mut record = match i % 10 {
                // One that never comes again, one of a few words, one of the daemon; most have
                // fields.
                0 => record("cache miss", &[("key", &request)]),
                1 | 2 => record("upstream answered late, tried again", &[]),
                3 => record(&failure, &[]),
                _ => record(&message, &fields),
            };
            if i % 10 == 3 {
                record.level = Level::Error;
                record.target = "zlayer_runtime::server::exchange".into();
            }
            record.micros += i * 130_017;
            record.request = Some(request.as_str().into());
            encoder.record(&record, &mut frames);
            text += &record.to_string();
        }
        frames.splice(0..0, encoder.start(1));
        let (binary, text) = (frames.len() as u64 / records, text.len() as u64 / records);
        println!("{binary} bytes a record against {text} as text");
        assert!(binary * 3 < text, "{binary} against {text}");
    }
}
