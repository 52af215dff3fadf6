//! Turns frames, whole or torn, into records.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;

use log::Level;

use crate::encoder::{STRING_BYTES, STRINGS};
use crate::frame::{Entry, FORMAT, FRAME_BYTES, Frame, Request, Start, Text, open};
use crate::record::{FIELD_OVERHEAD, FIELDS_BYTES, Record, UNKNOWN_TIME};

/// The most fields of a record: an encoder cannot have written more.
const FIELDS: usize = FIELDS_BYTES / FIELD_OVERHEAD;

/// Something that a decoder found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event<'a> {
    /// A segment begins. Repeated start frames are not reported again.
    Start(Start),
    /// A complete record.
    Record(Record<'a>),
    /// Bytes that are not valid frames.
    Gap(Gap),
    /// A version of the format that this program does not know. Nothing that follows is reported.
    Foreign(u8),
}

/// Bytes that were skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// Where they begin, in bytes from the start of the input.
    pub offset: u64,
    /// How many bytes there are.
    pub bytes: u64,
}

/// Decodes a segment piece by piece, as it grows or as a file is read.
///
/// Its memory is bounded whatever the input: one frame, and as many strings as a segment may
/// define.
#[derive(Debug, Default)]
pub struct Decoder {
    /// The bytes of a frame whose end has not come.
    pending: Vec<u8>,
    /// How many bytes of it were too many to keep.
    dropped: u64,
    /// How many bytes of input came before `pending`.
    offset: u64,
    gap: Option<Gap>,
    state: SegmentState,
}

/// What earlier frames said that later ones depend on.
#[derive(Debug, Default)]
struct SegmentState {
    start: Option<Start>,
    requests: Option<u64>,
    strings: BTreeMap<u16, Box<str>>,
    foreign: bool,
}

impl Decoder {
    /// Decodes more bytes. Those after the last zero are kept until the end of their frame comes.
    ///
    /// # Errors
    ///
    /// Those of `found`, which is called with each event in order.
    pub fn push(
        &mut self,
        mut bytes: &[u8],
        found: &mut dyn FnMut(Event<'_>) -> io::Result<()>,
    ) -> io::Result<()> {
        while let Some(end) = bytes.iter().position(|byte| *byte == 0) {
            self.keep_pending(&bytes[..end]);
            bytes = &bytes[end + 1..];
            self.end_frame(found)?;
        }
        self.keep_pending(bytes);
        Ok(())
    }

    /// Ends the input: a frame that is not complete is torn.
    ///
    /// # Errors
    ///
    /// Those of `found`.
    pub fn finish(&mut self, found: &mut dyn FnMut(Event<'_>) -> io::Result<()>) -> io::Result<()> {
        let torn = self.pending.len() as u64 + std::mem::take(&mut self.dropped);
        self.pending.clear();
        self.skip(torn);
        match self.gap.take() {
            Some(gap) => found(Event::Gap(gap)),
            None => Ok(()),
        }
    }

    fn keep_pending(&mut self, bytes: &[u8]) {
        let kept = bytes.len().min(FRAME_BYTES - self.pending.len());
        self.pending.extend_from_slice(&bytes[..kept]);
        self.dropped += (bytes.len() - kept) as u64;
    }

    /// Ends the frame in `pending`, behind which the zero has come.
    fn end_frame(&mut self, found: &mut dyn FnMut(Event<'_>) -> io::Result<()>) -> io::Result<()> {
        let mut frame = std::mem::take(&mut self.pending);
        let dropped = std::mem::take(&mut self.dropped);
        let length = frame.len() as u64 + dropped + 1;
        let payload = (dropped == 0).then(|| open(&mut frame)).flatten();
        match payload.and_then(|payload| self.state.read(payload)) {
            None => self.skip(length),
            Some(event) => {
                self.offset += length;
                if let Some(gap) = self.gap.take() {
                    found(Event::Gap(gap))?;
                }
                if let Some(event) = event {
                    found(event)?;
                }
            }
        }
        // The memory is used again for the next frame.
        frame.clear();
        self.pending = frame;
        Ok(())
    }

    fn skip(&mut self, bytes: u64) {
        // In a format that is not known, nothing can be called torn.
        if bytes > 0 && !self.state.foreign {
            let gap = self.gap.get_or_insert(Gap {
                offset: self.offset,
                bytes: 0,
            });
            gap.bytes += bytes;
        }
        self.offset += bytes;
    }
}

impl SegmentState {
    /// Reads a frame. Returns `None` if it is not valid, `Some(None)` if there is nothing to
    /// report.
    fn read<'a>(&'a mut self, payload: &'a [u8]) -> Option<Option<Event<'a>>> {
        // A later format may change all but this: a start frame is a zero and the version.
        if let [0, format, ..] = *payload
            && format != FORMAT
        {
            let known = std::mem::replace(&mut self.foreign, true);
            return Some((!known).then_some(Event::Foreign(format)));
        }
        if self.foreign && payload.first() != Some(&0) {
            return Some(None);
        }
        let (frame, rest) = postcard::take_from_bytes::<Frame<'_>>(payload).ok()?;
        let (level, entry) = match frame {
            Frame::Error(entry) => (Level::Error, entry),
            Frame::Warn(entry) => (Level::Warn, entry),
            Frame::Info(entry) => (Level::Info, entry),
            Frame::Debug(entry) => (Level::Debug, entry),
            Frame::Trace(entry) => (Level::Trace, entry),
            // Nothing may follow the content of these frames.
            _ if !rest.is_empty() => return None,
            Frame::Start(start) => return Some(self.start(start)),
            Frame::Requests(number) => {
                self.requests = Some(number);
                return Some(None);
            }
            Frame::Define(number, text) => {
                if usize::from(number) >= STRINGS || text.len() > STRING_BYTES {
                    return None;
                }
                self.strings.insert(number, text.into());
                return Some(None);
            }
        };
        Some(Some(Event::Record(self.record(level, &entry, rest)?)))
    }

    fn start<'a>(&mut self, start: Start) -> Option<Event<'a>> {
        match self.start {
            Some(known) if known == start => return None,
            // The input holds several segments: the definitions of the one before do not apply
            // here.
            Some(_) => *self = SegmentState::default(),
            // The first start frame was lost, and what came before this one belongs to the same
            // segment.
            None => self.foreign = false,
        }
        self.start = Some(start);
        Some(Event::Start(start))
    }

    fn record<'a>(
        &'a self,
        level: Level,
        entry: &Entry<'a>,
        mut rest: &'a [u8],
    ) -> Option<Record<'a>> {
        let mut fields = Vec::new();
        while !rest.is_empty() {
            let (pair, behind) = postcard::take_from_bytes::<(Text<'_>, Text<'_>)>(rest).ok()?;
            if fields.len() == FIELDS {
                return None;
            }
            fields.push((self.text(pair.0), self.text(pair.1)));
            rest = behind;
        }
        let request = match entry.request {
            Request::None => None,
            Request::Other(id) => Some(Cow::Borrowed(id)),
            Request::Near(distance) => Some(Cow::Owned(match self.requests {
                Some(first) => format!("{:016x}", first.wrapping_add(distance as u64)),
                None => format!("?{distance}"),
            })),
        };
        let micros = match self.start {
            Some(start) => start.micros.wrapping_add(entry.micros as u64),
            None => UNKNOWN_TIME,
        };
        Some(Record {
            micros,
            level,
            target: self.text(entry.target),
            request,
            message: self.text(entry.message),
            fields,
        })
    }

    fn text<'a>(&'a self, text: Text<'a>) -> Cow<'a, str> {
        match text {
            Text::Full(text) => Cow::Borrowed(text),
            Text::Known(number) => match self.strings.get(&number) {
                Some(text) => Cow::Borrowed(text),
                // The definition was lost.
                None => Cow::Owned(format!("?{number}")),
            },
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;

    #[test]
    fn a_later_format_is_named_and_not_guessed_at() {
        let (mut frame, mut bytes) = (vec![0, FORMAT + 1, 7, 7, 7], Vec::new());
        crate::frame::seal(&mut frame, &mut bytes);
        crate::frame::seal(&mut vec![1, 2, 3], &mut bytes);
        bytes.extend(b"whatever\0");
        let mut events = Vec::new();
        let mut decoder = Decoder::default();
        let mut found = |event: Event<'_>| {
            events.push(format!("{event:?}"));
            Ok(())
        };
        decoder.push(&bytes, &mut found).unwrap();
        decoder.finish(&mut found).unwrap();
        assert_eq!(events, [format!("Foreign({})", FORMAT + 1)]);
    }

    #[test]
    fn whatever_stands_in_a_frame_is_no_trouble() {
        let mut random = 0x2545_F491_4F6C_DD1D_u64;
        let mut below = |bound: usize| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            (random % bound as u64) as usize
        };
        // Their checksums are right.
        for _ in 0..20_000 {
            let mut payload: Vec<u8> = (0..below(40)).map(|_| below(256) as u8).collect();
            if let Some(first) = payload.first_mut() {
                *first %= 9;
            }
            let mut frame = Vec::new();
            crate::frame::seal(&mut payload, &mut frame);
            let mut events = 0;
            let mut found = |event: Event<'_>| {
                events += 1;
                if let Event::Record(record) = event {
                    assert!(record.to_string().ends_with('\n'));
                }
                Ok(())
            };
            let mut decoder = Decoder::default();
            decoder.push(&frame, &mut found).unwrap();
            decoder.finish(&mut found).unwrap();
            assert!(events <= 1);
        }
    }

    #[test]
    fn a_frame_without_an_end_is_not_kept() {
        let mut decoder = Decoder::default();
        let mut gaps = Vec::new();
        let mut found = |event: Event<'_>| {
            if let Event::Gap(gap) = event {
                gaps.push(gap);
            }
            Ok(())
        };
        for _ in 0..1000 {
            decoder.push(&[1; 4096], &mut found).unwrap();
        }
        assert!(decoder.pending.capacity() <= 2 * FRAME_BYTES);
        decoder.finish(&mut found).unwrap();
        let bytes = 1000 * 4096;
        assert_eq!(gaps, [Gap { offset: 0, bytes }]);
    }
}
