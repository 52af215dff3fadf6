//! Frames: their content, and how they are written to a file.

use std::fmt;

use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The version of the format that this crate writes and reads.
pub const FORMAT: u8 = 1;
/// Bytes of the longest frame that is read, with its end. Those that are written are shorter.
pub const FRAME_BYTES: usize = 32 << 10;
/// How many bytes the checksum takes.
const CHECK_BYTES: usize = 2;

/// The start frame of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    /// The format's version. It stays the first field in all versions.
    pub format: u8,
    /// The segment's number in its ring; each start of the daemon begins a new one.
    pub segment: u32,
    /// The time that the segment's records count from, in microseconds since the epoch.
    pub micros: u64,
}

/// The content of a frame. The position of a variant is its number in the file, so order matters.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Frame<'a> {
    Start(Start),
    /// The number from which the numbers of requests in this segment are counted.
    Requests(u64),
    /// A string, and the number that stands for it from here on.
    Define(u16, &'a str),
    #[serde(borrow)]
    Error(Entry<'a>),
    Warn(Entry<'a>),
    Info(Entry<'a>),
    Debug(Entry<'a>),
    Trace(Entry<'a>),
}

/// A record. Its fields follow, two [`Text`]s each, until the frame ends.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry<'a> {
    /// Microseconds since the segment's start; negative when the clock was set back.
    pub(crate) micros: i64,
    #[serde(borrow)]
    pub(crate) target: Text<'a>,
    pub(crate) request: Request<'a>,
    pub(crate) message: Text<'a>,
}

/// The id of the request that a record belongs to.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Request<'a> {
    None,
    /// Sixteen hexadecimal digits, as the daemon makes them, written as the distance from the
    /// segment's first.
    Near(i64),
    Other(&'a str),
}

/// A string in full, or the number of its definition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Text<'a> {
    Full(&'a str),
    Known(u16),
}

// Written as the string's number plus one, so that the most frequent case takes one byte; or as
// zero and the string itself.
impl Serialize for Text<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Text::Full(text) => (0_u16, text).serialize(serializer),
            Text::Known(number) => serializer.serialize_u16(number.saturating_add(1)),
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pair;
        impl<'de> Visitor<'de> for Pair {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or its number")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Text<'de>, A::Error> {
                let missing = || A::Error::custom("the frame ends inside a string");
                let number: u16 = seq.next_element()?.ok_or_else(missing)?;
                match number.checked_sub(1) {
                    Some(number) => Ok(Text::Known(number)),
                    None => Ok(Text::Full(seq.next_element()?.ok_or_else(missing)?)),
                }
            }
        }
        deserializer.deserialize_tuple(2, Pair)
    }
}

/// Appends `value` to `payload`.
pub(crate) fn append_value<T: Serialize>(value: &T, payload: &mut Vec<u8>) {
    // This cannot fail: all values have a postcard form, and a vector grows as needed.
    if let Ok(longer) = postcard::to_extend(value, std::mem::take(payload)) {
        *payload = longer;
    }
}

/// Appends the frame that holds `payload` to `out`, and empties `payload`.
pub(crate) fn seal(payload: &mut Vec<u8>, out: &mut Vec<u8>) {
    payload.extend(checksum(payload).to_le_bytes());
    let at = out.len();
    // COBS adds one byte for each 254; the last one is the zero at the end.
    out.resize(at + cobs::max_encoding_length(payload.len()) + 1, 0);
    let length = cobs::encode(payload, &mut out[at..]);
    out.truncate(at + length);
    // The zero is pushed, not left over from the resize: after a last stretch of 254 bytes the
    // encoder has written a mark there.
    out.push(0);
    payload.clear();
}

/// Undoes [`seal`] in place for the bytes before a zero. Returns the payload if they are a whole
/// frame.
pub(crate) fn open(frame: &mut [u8]) -> Option<&[u8]> {
    let length = cobs::decode_in_place(frame).ok()?;
    let (payload, check) = frame.get(..length)?.split_last_chunk::<CHECK_BYTES>()?;
    (checksum(payload).to_le_bytes() == *check).then_some(payload)
}

/// CRC-16/IBM-3740 (polynomial 0x1021, starting from 0xFFFF), bit by bit: frames are short, so a
/// table would cost more space than it saves time.
fn checksum(bytes: &[u8]) -> u16 {
    let mut crc = 0xFFFF_u16;
    for byte in bytes {
        crc ^= u16::from(*byte) << 8;
        for _ in 0..8 {
            let carry = crc & 0x8000 != 0;
            crc <<= 1;
            if carry {
                crc ^= 0x1021;
            }
        }
    }
    crc
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_catalogues() {
        // The check value of CRC-16/IBM-3740 in Greg Cook's catalogue of CRC algorithms.
        assert_eq!(checksum(b"123456789"), 0x29B1);
    }

    #[test]
    fn a_frame_holds_no_zero_but_its_last_byte_and_opens_again() {
        for length in [0, 1, 2, 251, 252, 253, 254, 255, 600] {
            for byte in [0, 1, 0xFF] {
                let (mut payload, mut out) = (vec![byte; length], b"before".to_vec());
                seal(&mut payload, &mut out);
                let (end, frame) = out[6..].split_last().unwrap();
                assert!(*end == 0 && !frame.contains(&0), "{length} of {byte}");
                let opened = open(&mut frame.to_vec()).map(<[u8]>::to_vec);
                assert_eq!(opened.unwrap(), vec![byte; length]);
            }
        }
    }

    #[test]
    fn a_changed_byte_is_noticed() {
        let mut out = Vec::new();
        seal(&mut b"some\0payload".to_vec(), &mut out);
        out.pop();
        for at in 0..out.len() {
            for flip in 1..=0xFF {
                let mut frame = out.clone();
                frame[at] ^= flip;
                assert!(open(&mut frame).is_none(), "byte {at} with {flip:#x}");
            }
        }
    }

    #[test]
    fn a_known_string_takes_one_byte() {
        let mut payload = Vec::new();
        append_value(&Text::Known(5), &mut payload);
        assert_eq!(payload, [6]);
        append_value(&Text::Full("ab"), &mut payload);
        assert_eq!(payload, [6, 0, 2, b'a', b'b']);
        let (first, rest) = postcard::take_from_bytes::<Text<'_>>(&payload).unwrap();
        assert_eq!(first, Text::Known(5));
        assert_eq!(
            postcard::from_bytes::<Text<'_>>(rest).unwrap(),
            Text::Full("ab")
        );
    }
}
