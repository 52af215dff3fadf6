//! Frames: heads, masks (RFC 6455, 5).

use super::{Kind, ProtocolError, Role};

/// Bytes of payload that a control frame has at most (RFC 6455, 5.5).
pub const MAX_CONTROL_BYTES: usize = 125;

/// Bytes of a frame's head at most: two, eight of length, four of mask.
pub const MAX_HEAD_BYTES: usize = 14;

/// What a frame carries (RFC 6455, 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Opcode {
    /// The next fragment of a message.
    Continuation,
    /// A text, or its first fragment.
    Text,
    /// A binary message, or its first fragment.
    Binary,
    /// See [`Kind::Close`].
    Close,
    /// See [`Kind::Ping`].
    Ping,
    /// See [`Kind::Pong`].
    Pong,
}

impl Opcode {
    fn read(bits: u8) -> Option<Self> {
        Some(match bits {
            0 => Self::Continuation,
            1 => Self::Text,
            2 => Self::Binary,
            8 => Self::Close,
            9 => Self::Ping,
            10 => Self::Pong,
            _ => return None,
        })
    }

    fn bits(self) -> u8 {
        match self {
            Self::Continuation => 0,
            Self::Text => 1,
            Self::Binary => 2,
            Self::Close => 8,
            Self::Ping => 9,
            Self::Pong => 10,
        }
    }

    /// The kind of the message that a frame of this opcode begins; none for a continuation.
    #[must_use]
    pub fn kind(self) -> Option<Kind> {
        Some(match self {
            Self::Continuation => return None,
            Self::Text => Kind::Text,
            Self::Binary => Kind::Binary,
            Self::Close => Kind::Close,
            Self::Ping => Kind::Ping,
            Self::Pong => Kind::Pong,
        })
    }
}

impl From<Kind> for Opcode {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Text => Self::Text,
            Kind::Binary => Self::Binary,
            Kind::Ping => Self::Ping,
            Kind::Pong => Self::Pong,
            Kind::Close => Self::Close,
        }
    }
}

/// Everything before the payload of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHead {
    /// It ends its message.
    pub fin: bool,
    /// The first reserved bit: it begins a compressed message (RFC 7692, 6).
    pub compressed: bool,
    /// What it carries.
    pub opcode: Opcode,
    /// What the payload is masked with, if it is.
    pub mask: Option<[u8; 4]>,
    /// Bytes of payload, below 2^63.
    pub length: u64,
}

impl FrameHead {
    /// Reads the head at the front of `buf`, and says how many bytes it takes. `None` means that
    /// more bytes are wanted. Whether the frame fits those before it, and whether it may be
    /// `compressed`, is for [`MessageDecoder`](super::MessageDecoder) to say.
    ///
    /// # Errors
    ///
    /// As soon as the bytes at hand are no head that the other side of `role` may send.
    pub fn parse(buf: &[u8], role: Role) -> Result<Option<(Self, usize)>, ProtocolError> {
        let [first, second, rest @ ..] = buf else {
            return Ok(None);
        };
        if first & 0x30 != 0 {
            return Err(ProtocolError::ReservedBits);
        }
        let opcode = Opcode::read(first & 15).ok_or(ProtocolError::UnknownOpcode)?;
        let masked = second & 0x80 != 0;
        match (role, masked) {
            (Role::Server, false) => return Err(ProtocolError::NotMasked),
            (Role::Client, true) => return Err(ProtocolError::Masked),
            _ => {}
        }
        let fin = first & 0x80 != 0;
        let length = second & 0x7f;
        if opcode.kind().is_some_and(Kind::is_control) {
            if !fin {
                return Err(ProtocolError::FragmentedControl);
            }
            if length > 125 {
                return Err(ProtocolError::ControlTooLong);
            }
        }
        // RFC 6455, 5.2: the shortest of the three forms, and at most 63 bits.
        let (length, rest) = match length {
            126 => {
                let Some((bytes, rest)) = rest.split_first_chunk() else {
                    return Ok(None);
                };
                (checked(u16::from_be_bytes(*bytes).into(), 126)?, rest)
            }
            127 => {
                let Some((bytes, rest)) = rest.split_first_chunk() else {
                    return Ok(None);
                };
                (checked(u64::from_be_bytes(*bytes), 1 << 16)?, rest)
            }
            length => (length.into(), rest),
        };
        let (mask, rest) = match (masked, rest.split_first_chunk()) {
            (false, _) => (None, rest),
            (true, Some((mask, rest))) => (Some(*mask), rest),
            (true, None) => return Ok(None),
        };
        let head = Self {
            fin,
            compressed: first & 0x40 != 0,
            opcode,
            mask,
            length,
        };
        Ok(Some((head, buf.len() - rest.len())))
    }

    /// Appends the head to `out`: [`MAX_HEAD_BYTES`] at most.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let bit = |set: bool, bit: u8| if set { bit } else { 0 };
        let masked = bit(self.mask.is_some(), 0x80);
        out.push(bit(self.fin, 0x80) | bit(self.compressed, 0x40) | self.opcode.bits());
        if self.length < 126 {
            out.push(masked | self.length as u8);
        } else if let Ok(length) = u16::try_from(self.length) {
            out.push(masked | 126);
            out.extend_from_slice(&length.to_be_bytes());
        } else {
            out.push(masked | 127);
            out.extend_from_slice(&self.length.to_be_bytes());
        }
        if let Some(mask) = self.mask {
            out.extend_from_slice(&mask);
        }
    }
}

/// Appends a whole message in one frame, masked if `mask` is given. A client takes a new and
/// unpredictable mask for each (RFC 6455, 5.3 and 10.3).
pub fn encode_message(out: &mut Vec<u8>, kind: Kind, data: &[u8], mask: Option<[u8; 4]>) {
    let head = FrameHead {
        fin: true,
        compressed: false,
        opcode: kind.into(),
        mask,
        length: data.len() as u64,
    };
    head.encode(out);
    let start = out.len();
    out.extend_from_slice(data);
    if let Some(mask) = mask {
        apply_mask(&mut out[start..], mask, 0);
    }
}

/// Masks `data`, or takes its mask off, which is the same (RFC 6455, 5.3). `offset` tells how many
/// bytes of the payload stand before it.
pub fn apply_mask(data: &mut [u8], mut mask: [u8; 4], offset: u64) {
    mask.rotate_left((offset % 4) as usize);
    let half = u64::from(u32::from_ne_bytes(mask));
    let whole = half << 32 | half;
    let (words, rest) = data.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ whole).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask.into_iter().cycle()) {
        *byte ^= mask;
    }
}

fn checked(length: u64, least: u64) -> Result<u64, ProtocolError> {
    let fits = (least..1 << 63).contains(&length);
    fits.then_some(length).ok_or(ProtocolError::InvalidLength)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_come_back_as_they_were_and_ask_for_what_they_lack() {
        for length in [0, 1, 125, 126, 127, 65_535, 65_536, (1 << 63) - 1] {
            for mask in [None, Some([1, 2, 3, 4])] {
                let head = FrameHead {
                    fin: length % 2 == 0,
                    compressed: length % 3 == 0,
                    opcode: Opcode::Binary,
                    mask,
                    length,
                };
                let mut wire = Vec::new();
                head.encode(&mut wire);
                assert!(wire.len() <= MAX_HEAD_BYTES);
                let role = mask.map_or(Role::Client, |_| Role::Server);
                for end in 0..wire.len() {
                    assert_eq!(FrameHead::parse(&wire[..end], role), Ok(None));
                }
                let size = wire.len();
                wire.extend_from_slice(b"payload");
                assert_eq!(FrameHead::parse(&wire, role), Ok(Some((head, size))));
            }
        }
    }

    #[test]
    fn wrong_heads_are_refused_by_their_first_bytes() {
        use ProtocolError::*;
        let masked: [(&[u8], ProtocolError); 12] = [
            (b"\xa1\x80", ReservedBits),
            (b"\x91\x80", ReservedBits),
            (b"\x83\x80", UnknownOpcode),
            (b"\x8b\x80", UnknownOpcode),
            (b"\x81\x00", NotMasked),
            (b"\x09\x80", FragmentedControl),
            (b"\x89\xfe", ControlTooLong),
            (b"\x88\xff", ControlTooLong),
            (b"\x82\xfe\x00\x7d", InvalidLength),
            (b"\x82\xff\0\0\0\0\0\0\xff\xff", InvalidLength),
            (b"\x82\xff\x80\0\0\0\0\0\0\0", InvalidLength),
            (b"\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff", InvalidLength),
        ];
        for (wire, error) in masked {
            assert_eq!(
                FrameHead::parse(wire, Role::Server),
                Err(error),
                "{wire:x?}"
            );
        }
        assert_eq!(FrameHead::parse(b"\x81\x80", Role::Client), Err(Masked));
    }

    #[test]
    fn masking_twice_is_nothing_and_may_be_done_in_pieces() {
        let data: Vec<u8> = (0..100).collect();
        let mask = [0x11, 0x22, 0x44, 0x88];
        let mut whole = data.clone();
        apply_mask(&mut whole, mask, 0);
        for (index, byte) in whole.iter().enumerate() {
            assert_eq!(*byte, data[index] ^ mask[index % 4]);
        }
        for cut in 0..data.len() {
            let (first, second) = whole.split_at_mut(cut);
            apply_mask(first, mask, 0);
            apply_mask(second, mask, cut as u64);
            assert_eq!(whole, data);
            apply_mask(&mut whole, mask, 0);
        }
    }

    #[test]
    fn messages_are_written_as_in_the_rfc() {
        let mut out = Vec::new();
        encode_message(&mut out, Kind::Text, b"Hello", None);
        assert_eq!(out, b"\x81\x05Hello");
        out.clear();
        let mask = Some([0x37, 0xfa, 0x21, 0x3d]);
        encode_message(&mut out, Kind::Text, b"Hello", mask);
        assert_eq!(out, b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58");
        out.clear();
        encode_message(&mut out, Kind::Binary, &[0; 256], None);
        assert!(out.starts_with(b"\x82\x7e\x01\x00") && out.len() == 260);
    }
}
