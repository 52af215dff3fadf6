//! Messages out of frames.

use super::assembly::{Assembly, Room};
use super::deflate::{INFLATER_BYTES, Inflater};
use super::{
    CloseReason, FrameHead, Kind, MAX_CONTROL_BYTES, Message, Opcode, ProtocolError, Role,
    apply_mask,
};

/// Frames without payload that one message may have. Each takes six bytes to send and adds nothing,
/// so that no honest sender needs many; without an end to them a message could go on for ever.
pub const MAX_EMPTY_FRAMES: usize = 64;

/// Bytes that a compressed message may have on the wire beside twice the limit. No honest sender
/// makes a message longer by compressing it, but for a few bytes a block.
const COMPRESSED_BYTES: u64 = 64 << 10;

/// Reads what the other side of a WebSocket sends.
#[derive(Debug)]
pub struct MessageDecoder {
    role: Role,
    /// Bytes of a text or binary message at most.
    limit: usize,
    /// The frame whose payload is coming, and how much of it has come.
    frame: Option<(FrameHead, u64)>,
    /// The text or binary message that has begun.
    open: Option<Assembly>,
    /// The payload of a control frame as it comes.
    control: Vec<u8>,
    /// A close came, after which nothing counts (RFC 6455, 5.5.1).
    closed: bool,
    failed: Option<ProtocolError>,
    /// Compression was agreed on.
    inflates: bool,
    /// For the message that has begun, if it is compressed.
    pub(super) inflater: Option<Inflater>,
}

impl MessageDecoder {
    /// Reads as `role`, and takes messages of `limit` bytes at most.
    #[must_use]
    pub fn new(role: Role, limit: usize) -> Self {
        Self {
            role,
            limit,
            frame: None,
            open: None,
            control: Vec::new(),
            closed: false,
            failed: None,
            inflates: false,
            inflater: None,
        }
    }

    /// Takes compressed messages too, as was agreed. The limit counts for what a message is when it
    /// is no longer compressed.
    pub fn inflate(&mut self) {
        self.inflates = true;
    }

    /// Takes bytes off the front of `buf`, and says how many: they are done with. What is left of
    /// them stays in `buf` for the next call. Without a message more bytes are wanted behind them.
    ///
    /// `room` is asked before the memory of a message grows to so many bytes in all. It starts at
    /// nothing for each text or binary message; the message takes its buffer along. While one that is
    /// compressed comes, [`INFLATER_BYTES`](super::INFLATER_BYTES) of it are for inflating.
    ///
    /// # Errors
    ///
    /// As soon as what came breaks a rule, or `room` answers false. An error stays.
    pub fn decode(
        &mut self,
        buf: &mut [u8],
        room: Room<'_>,
    ) -> Result<(usize, Option<Message>), ProtocolError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let decoded = self.advance(buf, room);
        if let Err(error) = decoded {
            self.failed = Some(error);
            self.open = None;
            self.inflater = None;
        }
        decoded
    }

    /// Whether a message or a frame has begun and not ended.
    #[must_use]
    pub fn is_within_message(&self) -> bool {
        self.frame.is_some() || self.open.is_some()
    }

    /// Whether a close came: nothing that follows it is looked at.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    fn advance(
        &mut self,
        buf: &mut [u8],
        room: Room<'_>,
    ) -> Result<(usize, Option<Message>), ProtocolError> {
        let mut at = 0;
        loop {
            if self.closed {
                return Ok((buf.len(), None));
            }
            let (head, come) = match self.frame {
                Some(frame) => frame,
                None => match FrameHead::parse(&buf[at..], self.role)? {
                    Some((head, length)) => {
                        self.begin(&head, room)?;
                        at += length;
                        (head, 0)
                    }
                    None => return Ok((at, None)),
                },
            };
            let waiting = buf.len() - at;
            let take =
                usize::try_from(head.length - come).map_or(waiting, |left| left.min(waiting));
            let piece = &mut buf[at..at + take];
            at += take;
            if let Some(mask) = head.mask {
                apply_mask(piece, mask, come);
            }
            self.payload(&head, piece, room)?;
            let come = come + take as u64;
            if come < head.length {
                self.frame = Some((head, come));
                return Ok((at, None));
            }
            self.frame = None;
            let message = self.end(&head, room)?;
            if message.is_some() {
                return Ok((at, message));
            }
        }
    }

    /// Checks a frame against those before it.
    fn begin(&mut self, head: &FrameHead, room: Room<'_>) -> Result<(), ProtocolError> {
        if head.compressed && !self.may_be_compressed(head.opcode) {
            return Err(ProtocolError::ReservedBits);
        }
        let open = match head.opcode.kind() {
            Some(kind) if kind.is_control() => return Ok(()),
            Some(_) if self.open.is_some() => return Err(ProtocolError::MessageInMessage),
            Some(kind) => {
                if head.compressed {
                    if !room(INFLATER_BYTES) {
                        return Err(ProtocolError::NoRoom);
                    }
                    self.inflater = Some(Inflater::new());
                }
                self.open.insert(Assembly::new(kind))
            }
            None => self.open.as_mut().ok_or(ProtocolError::NothingToContinue)?,
        };
        if head.length == 0 {
            open.empty_frames += 1;
            if open.empty_frames > MAX_EMPTY_FRAMES {
                return Err(ProtocolError::EmptyFrames);
            }
        }
        // A message that cannot fit need not come first. A compressed one is as long as it will be; but
        // blocks of nothing must not go on for ever.
        open.on_the_wire = open.on_the_wire.saturating_add(head.length);
        let fits = match self.inflater.is_some() {
            true => {
                let twice = (self.limit as u64).saturating_mul(2);
                open.on_the_wire <= twice.saturating_add(COMPRESSED_BYTES)
            }
            false => open.fits(head.length, self.limit),
        };
        if !fits {
            return Err(ProtocolError::MessageTooLong);
        }
        Ok(())
    }

    fn payload(
        &mut self,
        head: &FrameHead,
        piece: &[u8],
        room: Room<'_>,
    ) -> Result<(), ProtocolError> {
        if head.opcode.kind().is_some_and(Kind::is_control) {
            debug_assert!(self.control.len() + piece.len() <= MAX_CONTROL_BYTES);
            self.control.extend_from_slice(piece);
            return Ok(());
        }
        let Some(open) = &mut self.open else {
            return Err(ProtocolError::NothingToContinue);
        };
        let Some(inflater) = &mut self.inflater else {
            return open.push(piece, self.limit, room);
        };
        let room = &mut |capacity| room(INFLATER_BYTES + capacity);
        inflater.push(piece, &mut |data| open.push(data, self.limit, room))
    }

    /// A frame has ended; answers the message that has ended with it.
    fn end(&mut self, head: &FrameHead, room: Room<'_>) -> Result<Option<Message>, ProtocolError> {
        if let Some(kind) = head.opcode.kind().filter(|kind| kind.is_control()) {
            let data = std::mem::take(&mut self.control);
            if kind == Kind::Close {
                CloseReason::parse(&data)?;
                self.closed = true;
                self.open = None;
                self.inflater = None;
            }
            return Ok(Some(Message { kind, data }));
        }
        if !head.fin {
            return Ok(None);
        }
        let Some(mut open) = self.open.take() else {
            return Err(ProtocolError::NothingToContinue);
        };
        if let Some(inflater) = self.inflater.take() {
            let room = &mut |capacity| room(INFLATER_BYTES + capacity);
            inflater.end(&mut |data| open.push(data, self.limit, room))?;
        }
        open.end().map(Some)
    }

    /// RFC 7692, 6: the bit stands on the first frame of a message, if it was agreed on.
    fn may_be_compressed(&self, opcode: Opcode) -> bool {
        self.inflates && matches!(opcode, Opcode::Text | Opcode::Binary)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;

    const LIMIT: usize = 1000;

    /// What comes of unmasked `wire`, whole and byte by byte: messages, and an error at the end.
    fn read(wire: &[u8]) -> (Vec<(Kind, Vec<u8>)>, Option<ProtocolError>) {
        let outcomes = [wire.len().max(1), 1].map(|step| {
            let mut decoder = MessageDecoder::new(Role::Client, LIMIT);
            let (mut messages, mut buffer) = (Vec::new(), Vec::new());
            for piece in wire.chunks(step) {
                buffer.extend_from_slice(piece);
                loop {
                    match decoder.decode(&mut buffer, &mut |capacity| capacity <= LIMIT) {
                        Ok((consumed, message)) => {
                            buffer.drain(..consumed);
                            let Some(message) = message else { break };
                            messages.push((message.kind, message.data));
                        }
                        Err(error) => return (messages, Some(error)),
                    }
                }
            }
            (messages, None)
        });
        assert_eq!(outcomes[0], outcomes[1], "{wire:x?}");
        outcomes.into_iter().next().unwrap()
    }

    fn text(data: &str) -> (Kind, Vec<u8>) {
        (Kind::Text, data.into())
    }

    #[test]
    fn fragments_make_a_message_and_control_frames_come_between() {
        let wire = b"\x01\x03Hel\x89\x01?\x00\x00\x80\x02lo\x8a\x00\x82\x01\xff";
        let (messages, error) = read(wire);
        let expected = [
            (Kind::Ping, b"?".to_vec()),
            text("Hello"),
            (Kind::Pong, Vec::new()),
            (Kind::Binary, b"\xff".to_vec()),
        ];
        assert_eq!((&messages[..], error), (&expected[..], None));
    }

    #[test]
    fn frames_out_of_order_are_refused() {
        use ProtocolError::*;
        for (wire, error) in [
            (&b"\x80\x00"[..], NothingToContinue),
            (b"\x00\x01a", NothingToContinue),
            (b"\x81\x01a\x80\x01b", NothingToContinue),
            (b"\x01\x01a\x81\x01b", MessageInMessage),
            (b"\x01\x01a\x02\x01b", MessageInMessage),
            (b"\xc1\x01a", ReservedBits),
            (b"\xc9\x01a", ReservedBits),
            (b"\x88\x01\x03", InvalidClose),
            (b"\x88\x02\x03\xed", InvalidCloseCode),
            (b"\x88\x03\x03\xe8\xff", InvalidUtf8),
            (b"\x81\x81", Masked),
        ] {
            assert_eq!(read(wire).1, Some(error), "{wire:x?}");
        }
    }

    #[test]
    fn text_is_refused_at_its_first_wrong_byte() {
        // Ten bytes are announced; the third to come is wrong.
        let (messages, error) = read(b"\x81\x0aab\xff");
        assert_eq!(
            (messages, error),
            (vec![], Some(ProtocolError::InvalidUtf8))
        );
        // A character over a fragment's end is right, an open one at the message's end is not.
        assert_eq!(read(b"\x01\x01\xc3\x80\x01\x9f").0, [text("ß")]);
        let error = Some(ProtocolError::InvalidUtf8);
        assert_eq!(read(b"\x01\x01\xc3\x80\x00").1, error);
        assert_eq!(read(b"\x81\x01\xc3").1, error);
        assert_eq!(read(b"\x82\x01\xc3").1, None);
    }

    #[test]
    fn nothing_counts_after_a_close() {
        let (messages, error) = read(b"\x01\x01a\x88\x02\x03\xe8\xff\xff\xff");
        let expected = [(Kind::Close, b"\x03\xe8".to_vec())];
        assert_eq!((&messages[..], error), (&expected[..], None));
    }

    #[test]
    fn a_message_is_as_long_as_the_limit_and_no_longer() {
        let frame = |first: u8, length: usize| {
            let mut wire = vec![first, 126];
            wire.extend_from_slice(&(length as u16).to_be_bytes());
            wire.extend(std::iter::repeat_n(b'x', length));
            wire
        };
        assert_eq!(read(&frame(0x82, LIMIT)).0[0].1.len(), LIMIT);
        // Known by the head alone.
        let error = Some(ProtocolError::MessageTooLong);
        assert_eq!(read(&frame(0x82, LIMIT + 1)[..4]).1, error);
        let halves = [frame(2, 600), frame(0, 200), frame(0x80, 200)].concat();
        assert_eq!(read(&halves).0[0].1.len(), LIMIT);
        let halves = [frame(2, 600), frame(0x80, 401)].concat();
        assert_eq!(read(&halves).1, error);
        assert_eq!(read(b"\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xff").1, error);
    }

    #[test]
    fn a_flood_of_empty_frames_ends() {
        let flood = |count: usize| {
            let mut wire = vec![1, 0];
            wire.extend([0, 0].repeat(count - 2));
            wire.extend([0x80, 0]);
            read(&wire)
        };
        assert_eq!(flood(MAX_EMPTY_FRAMES).0, [text("")]);
        let error = Some(ProtocolError::EmptyFrames);
        assert_eq!(flood(MAX_EMPTY_FRAMES + 1).1, error);
        // In messages of their own they are as good as any.
        assert_eq!(read(&[0x82, 0].repeat(1000)).0.len(), 1000);
    }

    #[test]
    fn a_message_grows_with_what_comes_and_only_where_there_is_room() {
        let mut decoder = MessageDecoder::new(Role::Client, 1 << 20);
        let mut asked = Vec::new();
        let mut head = b"\x82\x7f\0\0\0\0\0\x10\0\0".to_vec();
        let room = &mut |capacity| {
            asked.push(capacity);
            capacity < 4000
        };
        assert_eq!(decoder.decode(&mut head, room), Ok((10, None)));
        assert_eq!(decoder.decode(&mut [0; 1000], room), Ok((1000, None)));
        assert!(decoder.is_within_message());
        assert_eq!(decoder.decode(&mut [0; 1001], room), Ok((1001, None)));
        let error = Err(ProtocolError::NoRoom);
        assert_eq!(decoder.decode(&mut [0; 2000], room), error);
        assert_eq!(decoder.decode(&mut [0; 1], room), error, "an error stays");
        assert_eq!(asked, [1000, 2001, 4002]);
    }
}
