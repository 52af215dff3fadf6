//! Message bodies: a decoder that is fed bytes as they come.

use crate::chunk_extension::ChunkExtension;
use crate::headers::is_field_byte;
use crate::trailers::TrailerSection;
use crate::{BodyError, BodyLength, Limits};

/// Takes a body out of the bytes that follow its head (RFC 9112, 6 and 7).
///
/// It holds no body data: what it finds is handed on as slices of the input. How large a body may
/// be is for the caller to count. After an error it answers every call with that error.
#[derive(Clone, Debug)]
pub struct BodyDecoder {
    state: State,
    /// Bytes that the current chunk line may still take.
    line_left: usize,
    /// Bytes of extensions that the body may still bring.
    extensions_left: usize,
    chunk_line_bytes: usize,
    trailers: TrailerSection,
    /// Whether what is wrong, and can be read in one way only, is read.
    lenient: bool,
    /// Whether anything wrong was read.
    sloppy: bool,
    /// Whether a chunk size had zeros before its first digit.
    padded: bool,
}

/// What [`BodyDecoder::decode`] found at the front of its input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decoded<'i> {
    /// Nothing more to get out of the input until more bytes come.
    NeedMore {
        /// Bytes to drop from the front: all of the input.
        consumed: usize,
    },
    /// A piece of the body.
    Data {
        /// Bytes to drop from the front once `data` is used. At least 1.
        consumed: usize,
        /// Never empty. It is the tail of the consumed bytes.
        data: &'i [u8],
    },
    /// The body is over. What follows the consumed bytes is the next message.
    End {
        /// Bytes to drop from the front.
        consumed: usize,
        /// The trailer fields that may be used, in the order sent; empty when there are none.
        trailers: Vec<(String, Vec<u8>)>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Left of a body of known length. Never 0.
    Fixed(u64),
    /// At the first byte of a chunk size.
    SizeStart,
    /// Within the digits of a chunk size.
    Size(u64),
    /// In the blanks between size and extensions.
    SizeBlank(u64),
    /// Within the extensions, which are ignored.
    Extension(u64, ChunkExtension),
    /// At the LF of a chunk line.
    SizeLf(u64),
    /// Left of a chunk. Never 0.
    Data(u64),
    /// At the CR behind a chunk.
    DataCr,
    /// At the LF behind a chunk.
    DataLf,
    Trailers,
    Done,
    Failed(BodyError),
}

impl BodyDecoder {
    /// A decoder for one body. It allocates nothing before the first trailer field.
    #[must_use]
    pub fn new(length: BodyLength, limits: &Limits) -> Self {
        Self {
            state: match length {
                BodyLength::Empty | BodyLength::Fixed(0) => State::Done,
                BodyLength::Fixed(left) => State::Fixed(left),
                BodyLength::Chunked => State::SizeStart,
            },
            line_left: limits.chunk_line_bytes,
            extensions_left: limits.extension_bytes,
            chunk_line_bytes: limits.chunk_line_bytes,
            trailers: TrailerSection::new(limits),
            lenient: false,
            sloppy: false,
            padded: false,
        }
    }

    /// A decoder for a body of a response, from a server that may be sloppy: it takes LF alone for
    /// the end of a line, blanks behind a chunk's size, extensions of any form, and blanks and
    /// control bytes in trailers. For bodies of requests there is none such, since smuggling lives
    /// on what two servers read differently.
    #[must_use]
    pub fn lenient(length: BodyLength, limits: &Limits) -> Self {
        Self {
            lenient: true,
            trailers: TrailerSection::lenient(limits),
            ..Self::new(length, limits)
        }
    }

    /// Whether anything was read that breaks the rules: then the connection is better closed behind
    /// the body.
    #[must_use]
    pub fn is_sloppy(&self) -> bool {
        self.sloppy || self.trailers.is_sloppy()
    }

    /// Tells a lenient decoder that the connection has ended in an orderly way. Returns whether the
    /// body is whole all the same, because only what follows the last chunk is missing; the next
    /// call of [`BodyDecoder::decode`] then returns its end.
    pub fn end_of_input(&mut self) -> bool {
        let whole = match self.state {
            State::Done => return true,
            State::Trailers | State::SizeLf(0) => true,
            // Just `0`: where sizes have a fixed number of digits, others may have followed.
            State::Size(0) => !self.padded,
            _ => false,
        };
        if !(self.lenient && whole) {
            return false;
        }
        self.sloppy = true;
        self.state = State::Done;
        true
    }

    /// Takes what it can from the front of `input`. The caller drops the consumed bytes and calls
    /// again: at once after [`Decoded::Data`], with more bytes after [`Decoded::NeedMore`], and no
    /// more after [`Decoded::End`].
    ///
    /// Every call consumes something, or returns `NeedMore` for an empty input, or `End`. How the
    /// bytes were split over calls changes nothing but the size of the pieces.
    ///
    /// # Errors
    ///
    /// The first byte that breaks the chunked coding or a limit.
    pub fn decode<'i>(&mut self, input: &'i [u8]) -> Result<Decoded<'i>, BodyError> {
        let mut consumed = 0;
        loop {
            let rest = &input[consumed..];
            match self.state {
                State::Failed(error) => return Err(error),
                State::Done => {
                    let trailers = self.trailers.take();
                    return Ok(Decoded::End { consumed, trailers });
                }
                _ => {}
            }
            let Some(byte) = rest.first() else {
                return Ok(Decoded::NeedMore { consumed });
            };
            if let State::Fixed(left) | State::Data(left) = self.state {
                // On a 32-bit machine `left` may be more than a slice can be.
                let length = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
                let left = left - length as u64;
                self.state = match (self.state, left) {
                    (State::Fixed(_), 0) => State::Done,
                    (State::Fixed(_), _) => State::Fixed(left),
                    (_, 0) => State::DataCr,
                    (_, _) => State::Data(left),
                };
                let consumed = consumed + length;
                return Ok(Decoded::Data {
                    consumed,
                    data: &rest[..length],
                });
            }
            self.state = match self.step(*byte) {
                Ok(state) => state,
                Err(error) => State::Failed(error),
            };
            consumed += 1;
        }
    }

    /// Whether the whole body, its trailers included, has been read. It turns true with the last
    /// byte, so for a body of known length already with the last [`Decoded::Data`].
    ///
    /// A connection that ends before is a truncated body (RFC 9112, 8).
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Moves over one byte of chunk framing or of the trailer section.
    fn step(&mut self, byte: u8) -> Result<State, BodyError> {
        match self.state {
            State::SizeStart => {
                self.line_left = self.chunk_line_bytes;
                self.spend_line()?;
                // RFC 9112, 7.1: no sign, no 0x, no blank. A size has one digit at least.
                let digit = hex_digit(byte).ok_or(BodyError::InvalidChunkSize)?;
                Ok(State::Size(digit))
            }
            State::Size(size) => {
                self.spend_line()?;
                match (byte, hex_digit(byte)) {
                    (_, Some(digit)) => {
                        self.padded |= size == 0;
                        // RFC 9112, 7.1: a recipient must guard against overflow here.
                        let shifted = size.checked_mul(16).ok_or(BodyError::ChunkSizeOverflow)?;
                        Ok(State::Size(shifted | digit))
                    }
                    (b'\r', _) => Ok(State::SizeLf(size)),
                    (b'\n', _) if self.lenient => Ok(self.end_size_line(size)),
                    (b';', _) => self.extension(size, ChunkExtension::Start),
                    (b' ' | b'\t', _) => Ok(State::SizeBlank(size)),
                    _ => Err(BodyError::InvalidChunkSize),
                }
            }
            State::SizeBlank(size) => {
                self.spend_line()?;
                // RFC 9112, 7.1.1: bad whitespace may stand before an extension, and only there.
                match byte {
                    b' ' | b'\t' => Ok(State::SizeBlank(size)),
                    b';' => self.extension(size, ChunkExtension::Start),
                    b'\r' if self.lenient => {
                        self.sloppy = true;
                        Ok(State::SizeLf(size))
                    }
                    b'\n' if self.lenient => Ok(self.end_size_line(size)),
                    _ => Err(BodyError::InvalidChunkSize),
                }
            }
            State::Extension(size, at) => {
                self.spend_line()?;
                match byte {
                    b'\r' if self.lenient => Ok(State::SizeLf(size)),
                    b'\n' if self.lenient => Ok(self.end_size_line(size)),
                    _ if byte != b'\r' && !is_field_byte(byte) => Err(BodyError::InvalidChunkLine),
                    _ if self.lenient => self.extension(size, at),
                    _ => match at.step(byte)? {
                        None => Ok(State::SizeLf(size)),
                        Some(next) => self.extension(size, next),
                    },
                }
            }
            State::SizeLf(size) => {
                self.spend_line()?;
                match (byte, size) {
                    (b'\n', 0) => Ok(State::Trailers),
                    (b'\n', _) => Ok(State::Data(size)),
                    _ => Err(BodyError::InvalidChunkLine),
                }
            }
            State::DataCr if byte == b'\r' => Ok(State::DataLf),
            State::DataLf if byte == b'\n' => Ok(State::SizeStart),
            State::DataCr if byte == b'\n' && self.lenient => {
                self.sloppy = true;
                Ok(State::SizeStart)
            }
            State::DataCr | State::DataLf => Err(BodyError::MissingChunkEnd),
            State::Trailers => {
                let ended = self.trailers.push(byte)?;
                Ok(if ended { State::Done } else { State::Trailers })
            }
            // `decode` deals with these before it gets here.
            State::Fixed(_) | State::Data(_) | State::Done | State::Failed(_) => Ok(self.state),
        }
    }

    /// Ends a size line with LF alone.
    fn end_size_line(&mut self, size: u64) -> State {
        self.sloppy = true;
        match size {
            0 => State::Trailers,
            size => State::Data(size),
        }
    }

    fn spend_line(&mut self) -> Result<(), BodyError> {
        self.line_left = self
            .line_left
            .checked_sub(1)
            .ok_or(BodyError::ChunkLineTooLong)?;
        Ok(())
    }

    fn extension(&mut self, size: u64, at: ChunkExtension) -> Result<State, BodyError> {
        self.extensions_left = self
            .extensions_left
            .checked_sub(1)
            .ok_or(BodyError::ChunkLineTooLong)?;
        Ok(State::Extension(size, at))
    }
}

fn hex_digit(byte: u8) -> Option<u64> {
    char::from(byte).to_digit(16).map(u64::from)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;

    type Trailers = Vec<(String, Vec<u8>)>;

    /// Feeds `pieces` one after the other; returns data, trailers and the bytes behind the body.
    fn decode(
        length: BodyLength,
        limits: &Limits,
        pieces: &[&[u8]],
    ) -> Result<Option<(Vec<u8>, Trailers, usize)>, BodyError> {
        let mut decoder = BodyDecoder::new(length, limits);
        let mut data = Vec::new();
        let mut offset = 0;
        let all = pieces.concat();
        for end in pieces.iter().scan(0, |sum, piece| {
            *sum += piece.len();
            Some(*sum)
        }) {
            loop {
                match decoder.decode(&all[offset..end])? {
                    Decoded::NeedMore { consumed } => {
                        offset += consumed;
                        assert_eq!(offset, end);
                        assert!(!decoder.is_done());
                        break;
                    }
                    Decoded::Data {
                        consumed,
                        data: piece,
                    } => {
                        assert!(!piece.is_empty());
                        offset += consumed;
                        assert_eq!(piece, &all[offset - piece.len()..offset]);
                        data.extend_from_slice(piece);
                    }
                    Decoded::End { consumed, trailers } => {
                        assert!(decoder.is_done());
                        return Ok(Some((data, trailers, all.len() - offset - consumed)));
                    }
                }
            }
        }
        Ok(None)
    }

    fn chunked(input: &[u8]) -> Result<Option<(Vec<u8>, Trailers, usize)>, BodyError> {
        decode(BodyLength::Chunked, &Limits::default(), &[input])
    }

    #[test]
    fn a_body_of_known_length_ends_with_its_last_byte() {
        let limits = Limits::default();
        let mut decoder = BodyDecoder::new(BodyLength::Fixed(3), &limits);
        assert_eq!(
            decoder.decode(b"").unwrap(),
            Decoded::NeedMore { consumed: 0 }
        );
        assert_eq!(
            decoder.decode(b"ab").unwrap(),
            Decoded::Data {
                consumed: 2,
                data: b"ab"
            }
        );
        assert!(!decoder.is_done());
        assert_eq!(
            decoder.decode(b"cGET").unwrap(),
            Decoded::Data {
                consumed: 1,
                data: b"c"
            }
        );
        assert!(decoder.is_done());
        let end = Decoded::End {
            consumed: 0,
            trailers: Vec::new(),
        };
        assert_eq!(decoder.decode(b"GET").unwrap(), end);
        assert_eq!(decoder.decode(b"").unwrap(), end);
    }

    #[test]
    fn no_body_is_over_at_once() {
        for length in [BodyLength::Empty, BodyLength::Fixed(0)] {
            let decoded = decode(length, &Limits::default(), &[b"GET"]);
            assert_eq!(decoded, Ok(Some((Vec::new(), Vec::new(), 3))));
            assert!(BodyDecoder::new(length, &Limits::default()).is_done());
        }
    }

    #[test]
    fn a_body_larger_than_memory_is_passed_on() {
        let mut decoder = BodyDecoder::new(BodyLength::Fixed(u64::MAX), &Limits::default());
        assert_eq!(
            decoder.decode(b"ab").unwrap(),
            Decoded::Data {
                consumed: 2,
                data: b"ab"
            }
        );
        let mut decoder = BodyDecoder::new(BodyLength::Chunked, &Limits::default());
        let decoded = decoder.decode(b"ffffffffffffffff\r\nab").unwrap();
        assert_eq!(
            decoded,
            Decoded::Data {
                consumed: 20,
                data: b"ab"
            }
        );
    }

    #[test]
    fn well_formed_chunks_are_joined() {
        for (input, data, behind) in [
            (&b"0\r\n\r\n"[..], &b""[..], 0),
            (b"0\r\n\r\nGET", b"", 3),
            (b"3\r\nabc\r\n0\r\n\r\n", b"abc", 0),
            (b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", b"abcde", 0),
            (b"A\r\n0123456789\r\n0\r\n\r\n", b"0123456789", 0),
            (b"a\r\n0123456789\r\n0\r\n\r\n", b"0123456789", 0),
            (b"0003\r\nabc\r\n000\r\n\r\n", b"abc", 0),
            (b"00000000000000000000003\r\nabc\r\n0\r\n\r\n", b"abc", 0),
            (b"2\r\n\r\n\r\n0\r\n\r\n", b"\r\n", 0),
            (b"3;a\r\nabc\r\n0;b=c\r\n\r\n", b"abc", 0),
            (b"3 \t;a=\"b c\"\r\nabc\r\n0\r\n\r\n", b"abc", 0),
            (b"3;a=\"\xff\";b\r\nabc\r\n0\r\n\r\n", b"abc", 0),
        ] {
            let expected = Ok(Some((data.to_vec(), Vec::new(), behind)));
            assert_eq!(chunked(input), expected, "{}", input.escape_ascii());
        }
    }

    #[test]
    fn malformed_chunks_are_refused() {
        for (input, error) in [
            (&b"\r\n"[..], BodyError::InvalidChunkSize),
            (b";a\r\n", BodyError::InvalidChunkSize),
            (b"\n", BodyError::InvalidChunkSize),
            (b" 3\r\n", BodyError::InvalidChunkSize),
            (b"\t3\r\n", BodyError::InvalidChunkSize),
            (b"+3\r\n", BodyError::InvalidChunkSize),
            (b"-3\r\n", BodyError::InvalidChunkSize),
            (b"0x3\r\n", BodyError::InvalidChunkSize),
            (b"g\r\n", BodyError::InvalidChunkSize),
            (b"3g\r\n", BodyError::InvalidChunkSize),
            (b"3_0\r\n", BodyError::InvalidChunkSize),
            (b"3 \r\n", BodyError::InvalidChunkSize),
            (b"3 3\r\n", BodyError::InvalidChunkSize),
            (b"3\n", BodyError::InvalidChunkSize),
            (b"3\0\r\n", BodyError::InvalidChunkSize),
            (b"3\xb2\r\n", BodyError::InvalidChunkSize),
            (b"3,3\r\n", BodyError::InvalidChunkSize),
            (b"10000000000000000\r\n", BodyError::ChunkSizeOverflow),
            (b"fffffffffffffffff\r\n", BodyError::ChunkSizeOverflow),
            (b"3\rabc", BodyError::InvalidChunkLine),
            (b"3\r\r\n", BodyError::InvalidChunkLine),
            (b"3;a\nabc", BodyError::InvalidChunkLine),
            (b"3;a\rb\r\n", BodyError::InvalidChunkLine),
            (b"3;a\0\r\n", BodyError::InvalidChunkLine),
            (b"3;a\x7f\r\n", BodyError::InvalidChunkLine),
            (b"3\r\nabcd\r\n", BodyError::MissingChunkEnd),
            (b"3\r\nabc\n0\r\n", BodyError::MissingChunkEnd),
            (b"3\r\nabc\r0\r\n", BodyError::MissingChunkEnd),
            (b"3\r\nabc0\r\n\r\n", BodyError::MissingChunkEnd),
            (b"0\r\na\r\n\r\n", BodyError::InvalidTrailer),
            (b"0\r\nabc: d\n\r\n", BodyError::InvalidTrailer),
            (b"0\r\n\n", BodyError::InvalidTrailer),
            (b"0\r\n\rx", BodyError::InvalidTrailer),
        ] {
            assert_eq!(chunked(input), Err(error), "{}", input.escape_ascii());
        }
    }

    #[test]
    fn malformed_extensions_are_refused_in_requests_and_passed_over_in_responses() {
        for line in [
            "5;", "5;;", "5;=b", "5;a=\"b", "5;\u{e9}", "5 ;", "5;a b", "5;a=",
        ] {
            let input = format!("{line}\r\nhello\r\n0\r\n\r\n");
            let refused = chunked(input.as_bytes());
            assert_eq!(refused, Err(BodyError::InvalidChunkExtension), "{line}");
            let limits = Limits::default();
            let mut decoder = BodyDecoder::lenient(BodyLength::Chunked, &limits);
            let first = decoder.decode(input.as_bytes());
            assert!(
                matches!(first, Ok(Decoded::Data { data: b"hello", .. })),
                "{line}"
            );
        }
        for line in ["5;a\0", "5;a\rb"] {
            let mut decoder = BodyDecoder::lenient(BodyLength::Chunked, &Limits::default());
            let refused = decoder.decode(line.as_bytes());
            assert_eq!(refused, Err(BodyError::InvalidChunkLine), "{line:?}");
        }
    }

    #[test]
    fn an_error_stays() {
        let mut decoder = BodyDecoder::new(BodyLength::Chunked, &Limits::default());
        for input in [&b"x"[..], b"", b"3\r\nabc"] {
            assert_eq!(decoder.decode(input), Err(BodyError::InvalidChunkSize));
            assert!(!decoder.is_done());
        }
    }

    #[test]
    fn endless_chunk_lines_hit_their_limit() {
        let limits = Limits {
            chunk_line_bytes: 8,
            ..Limits::default()
        };
        let run =
            |input: &[u8]| decode(BodyLength::Chunked, &limits, &[input]).map(|end| end.is_some());
        assert_eq!(
            run(b"1;4567\r\na\r\n0\r\n\r\n"),
            Ok(true),
            "8 bytes with the CRLF pass"
        );
        assert_eq!(
            run(b"1;45678\r\na\r\n0\r\n\r\n"),
            Err(BodyError::ChunkLineTooLong)
        );
        assert_eq!(
            run(b"000000001"),
            Err(BodyError::ChunkLineTooLong),
            "before the line ends"
        );
        assert_eq!(run(b"1        ;"), Err(BodyError::ChunkLineTooLong));
    }

    #[test]
    fn many_small_extensions_hit_the_limit_of_the_body() {
        let limits = Limits {
            extension_bytes: 4,
            ..Limits::default()
        };
        let run =
            |input: &[u8]| decode(BodyLength::Chunked, &limits, &[input]).map(|end| end.is_some());
        assert_eq!(run(b"1;a\r\nx\r\n1;b\r\nx\r\n0\r\n\r\n"), Ok(true));
        assert_eq!(
            run(b"1;a\r\nx\r\n1;b\r\nx\r\n0;\r\n\r\n"),
            Err(BodyError::ChunkLineTooLong)
        );
    }

    #[test]
    fn trailers_come_with_the_end() {
        let input = b"1\r\nx\r\n0\r\nX-Sum:  1 2 \r\nHost: evil\r\nempty:\r\n\r\nGET";
        let trailers = vec![
            ("X-Sum".into(), b"1 2".to_vec()),
            ("empty".into(), Vec::new()),
        ];
        assert_eq!(chunked(input), Ok(Some((b"x".to_vec(), trailers, 3))));
    }

    #[test]
    fn every_split_decodes_alike() {
        let inputs: [&[u8]; 5] = [
            b"3\r\nabc\r\n10 ;ext=\"v\"\r\n0123456789abcdef\r\n0;x\r\nA: b\r\nC:  d \r\n\r\nGET / ",
            b"2\r\n\r\n\r\n0\r\n\r\n",
            b"3\r\nabc\r\nx",
            b"3\r\nabc\r\n0\r\nHost: x\r\n bad: y\r\n\r\n",
            b"5\r\nabc",
        ];
        let limits = Limits::default();
        for input in inputs {
            let whole = decode(BodyLength::Chunked, &limits, &[input]);
            let bytes: Vec<_> = input.chunks(1).collect();
            let by_byte = decode(BodyLength::Chunked, &limits, &bytes);
            // Bytes behind the body are not fed one by one once it has ended.
            assert_eq!(by_byte, whole);
            for first in 0..=input.len() {
                for second in first..=input.len() {
                    let pieces = [&input[..first], &input[first..second], &input[second..]];
                    assert_eq!(
                        decode(BodyLength::Chunked, &limits, &pieces),
                        whole,
                        "{first} {second}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_lenient_decoder_reads_what_means_one_thing() {
        for (input, data) in [
            (&b"3 \r\nabc\r\n0\r\n\r\n"[..], &b"abc"[..]),
            (b"3\t \nabc\n0\n\n", b"abc"),
            (b"3\nabc\n0\n\n", b"abc"),
            (b"3;a\nabc\r\n0\r\n\r\n", b"abc"),
            (b"3\r\nabc\n0\r\n\r\n", b"abc"),
            (b"3\r\nabc\r\n0\r\nx : \x01y\n\n", b"abc"),
        ] {
            let shown = input.escape_ascii();
            for step in [1, input.len()] {
                let mut decoder = BodyDecoder::lenient(BodyLength::Chunked, &Limits::default());
                let (read, trailers) = read_all(&mut decoder, input, step).unwrap();
                assert_eq!(read, data, "{shown}");
                assert!(decoder.is_sloppy(), "{shown}");
                if let Some((name, value)) = trailers.first() {
                    assert_eq!((name.as_str(), &value[..]), ("x", &b"y"[..]), "{shown}");
                }
            }
            assert!(chunked(input).is_err(), "{shown}");
        }
        for input in [
            &b" 3\r\n"[..],
            b"3 4\r\n",
            b"0x3\r\n",
            b"3\rabc",
            b"3\r\nabcd",
        ] {
            let mut decoder = BodyDecoder::lenient(BodyLength::Chunked, &Limits::default());
            assert!(
                read_all(&mut decoder, input, 1).is_err(),
                "{}",
                input.escape_ascii()
            );
        }
        let mut decoder = BodyDecoder::lenient(BodyLength::Chunked, &Limits::default());
        let clean = read_all(&mut decoder, b"3;a=b\r\nabc\r\n0\r\nx: y\r\n\r\n", 1);
        assert!(clean.is_ok() && !decoder.is_sloppy());
    }

    #[test]
    fn only_what_follows_the_last_chunk_may_be_missing() {
        for (input, whole) in [
            (&b"3\r\nabc\r\n0\r\n"[..], true),
            (b"3\r\nabc\r\n0\r", true),
            (b"3\r\nabc\r\n0", true),
            (b"3\r\nabc\r\n0\r\nx: y\r\nz: ", true),
            (b"3\r\nabc\r\n0\r\n\r\n", true),
            (b"0003\r\nabc\r\n0", false),
            (b"3\r\nabc\r\n00", false),
            (b"3\r\nabc\r\n", false),
            (b"3\r\nabc", false),
            (b"3\r\nab", false),
            (b"3\r\nabc\r\n0;", false),
        ] {
            let shown = input.escape_ascii();
            let mut decoder = BodyDecoder::lenient(BodyLength::Chunked, &Limits::default());
            let _ = read_all(&mut decoder, input, 1);
            assert_eq!(decoder.end_of_input(), whole, "{shown}");
            let ended = matches!(decoder.decode(b""), Ok(Decoded::End { consumed: 0, .. }));
            assert_eq!((ended, decoder.is_done()), (whole, whole), "{shown}");
            let mut strict = BodyDecoder::new(BodyLength::Chunked, &Limits::default());
            let _ = read_all(&mut strict, input, 1);
            assert_eq!(
                strict.end_of_input(),
                input.ends_with(b"0\r\n\r\n"),
                "{shown}"
            );
        }
        let mut fixed = BodyDecoder::lenient(BodyLength::Fixed(3), &Limits::default());
        let _ = read_all(&mut fixed, b"ab", 1);
        assert!(!fixed.end_of_input());
    }

    /// Feeds `input` in pieces of `step` bytes; what was read, and the trailers if it ended.
    fn read_all(
        decoder: &mut BodyDecoder,
        input: &[u8],
        step: usize,
    ) -> Result<(Vec<u8>, Trailers), BodyError> {
        let mut read = Vec::new();
        for mut piece in input.chunks(step) {
            loop {
                match decoder.decode(piece)? {
                    Decoded::NeedMore { .. } => break,
                    Decoded::Data { consumed, data } => {
                        read.extend_from_slice(data);
                        piece = &piece[consumed..];
                    }
                    Decoded::End { trailers, .. } if !trailers.is_empty() => {
                        return Ok((read, trailers));
                    }
                    Decoded::End { .. } => break,
                }
            }
        }
        Ok((read, Vec::new()))
    }
}
