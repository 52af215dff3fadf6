//! What must hold for any bytes on a WebSocket.

use zlayer_http1::websocket::*;

/// Bytes of a message at most: little enough that short inputs reach it.
const LIMIT: usize = 40;

/// How a stream of frames ended: its messages and the bytes they took, and the error if there is one.
type Outcome = (Vec<Message>, usize, Option<ProtocolError>);

/// Checks one stream of frames, in one go, byte by byte, and in pieces of `step` bytes. True if it
/// was refused nowhere.
///
/// # Panics
///
/// If a rule is broken.
pub fn check_frames(input: &[u8], role: Role, step: usize) -> bool {
    let whole = decode(input, role, input.len().max(1));
    let bytes = decode(input, role, 1);
    let steps = decode(input, role, step.max(1));
    assert_eq!(
        (&bytes.0, bytes.2),
        (&steps.0, steps.2),
        "in steps of {step}"
    );
    assert_eq!((&whole.0, whole.2), (&bytes.0, bytes.2), "byte by byte");
    for message in &whole.0 {
        assert_eq!(message.check(), Ok(()), "{message:?}");
        assert!(message.kind.is_control() || message.data.len() <= LIMIT);
    }
    let closes = whole
        .0
        .iter()
        .position(|message| message.kind == Kind::Close);
    assert!(closes.is_none_or(|place| place + 1 == whole.0.len() && whole.2.is_none()));
    assert_eq!(
        (&whole.0, whole.2),
        (&simple(input, role).0, simple(input, role).1)
    );

    // A second trip over the wire, the other way, brings the same messages.
    let (other, mask) = match role {
        Role::Server => (Role::Client, None),
        Role::Client => (Role::Server, Some([7, 0, 255, 1])),
    };
    let mut wire = Vec::new();
    for message in &whole.0 {
        encode_message(&mut wire, message.kind, &message.data, mask);
    }
    let again = decode(&wire, other, step.max(1));
    assert_eq!(again, (whole.0, wire.len(), None));
    whole.2.is_none()
}

/// Feeds `input` as if it came in pieces of `step` bytes.
fn decode(input: &[u8], role: Role, step: usize) -> Outcome {
    let mut decoder = MessageDecoder::new(role, LIMIT);
    let (mut buffer, mut messages, mut taken) = (Vec::new(), Vec::new(), 0);
    for piece in input.chunks(step) {
        buffer.extend_from_slice(piece);
        loop {
            let mut granted = 0;
            let decoded = decoder.decode(&mut buffer, &mut |capacity| {
                assert!(capacity > granted && capacity <= LIMIT);
                granted = capacity;
                true
            });
            match decoded {
                Ok((consumed, message)) => {
                    buffer.drain(..consumed);
                    taken += consumed;
                    match message {
                        Some(message) => messages.push(message),
                        None => break,
                    }
                }
                Err(error) => {
                    let again = decoder.decode(&mut [], &mut |_| true);
                    assert_eq!(again, Err(error), "an error must stay");
                    return (messages, taken, Some(error));
                }
            }
        }
        // At most a head that is not complete is left behind.
        assert!(buffer.len() < MAX_HEAD_BYTES);
    }
    (messages, taken, None)
}

/// The protocol once more, as plainly as can be: all at hand, no state between frames but the
/// message.
fn simple(mut rest: &[u8], role: Role) -> (Vec<Message>, Option<ProtocolError>) {
    let mut messages = Vec::new();
    let mut open: Option<(Message, usize)> = None;
    loop {
        let (head, size) = match FrameHead::parse(rest, role) {
            Ok(Some(parsed)) => parsed,
            Ok(None) => return (messages, None),
            Err(error) => return (messages, Some(error)),
        };
        rest = &rest[size..];
        let failed = |messages, error| (messages, Some(error));
        if head.compressed {
            return failed(messages, ProtocolError::ReservedBits);
        }
        let control = head.opcode.kind().filter(|kind| kind.is_control());
        if control.is_none() {
            match (head.opcode.kind(), &open) {
                (Some(_), Some(_)) => return failed(messages, ProtocolError::MessageInMessage),
                (None, None) => return failed(messages, ProtocolError::NothingToContinue),
                (Some(kind), None) => {
                    let data = Vec::new();
                    open = Some((Message { kind, data }, 0));
                }
                (None, Some(_)) => {}
            }
        }
        let come = rest
            .len()
            .min(usize::try_from(head.length).unwrap_or(usize::MAX));
        let ended = come as u64 == head.length;
        let mut data = rest[..come].to_vec();
        for (index, byte) in data.iter_mut().enumerate() {
            *byte ^= head.mask.unwrap_or_default()[index % 4];
        }
        rest = &rest[come..];
        if let Some(kind) = control {
            if !ended {
                return (messages, None);
            }
            if kind == Kind::Close
                && let Err(error) = CloseReason::parse(&data)
            {
                return failed(messages, error);
            }
            messages.push(Message { kind, data });
            if kind == Kind::Close {
                return (messages, None);
            }
            continue;
        }
        let Some((message, empty)) = &mut open else {
            unreachable!("one is open or was just opened");
        };
        *empty += usize::from(head.length == 0);
        if *empty > MAX_EMPTY_FRAMES {
            return failed(messages, ProtocolError::EmptyFrames);
        }
        if message.data.len() as u64 + head.length > LIMIT as u64 {
            return failed(messages, ProtocolError::MessageTooLong);
        }
        message.data.extend_from_slice(&data);
        let whole = ended && head.fin;
        if message.kind == Kind::Text
            && let Err(error) = std::str::from_utf8(&message.data)
            && (error.error_len().is_some() || whole)
        {
            return failed(messages, ProtocolError::InvalidUtf8);
        }
        if !ended {
            return (messages, None);
        }
        if whole {
            messages.extend(open.take().map(|(message, _)| message));
        }
    }
}
