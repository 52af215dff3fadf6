//! The trailer section behind the last chunk.

use crate::headers::{
    is_field_byte, is_forbidden_trailer, is_token, is_valid_header_value, trim_blanks,
};
use crate::incoming_response::clean_value;
use crate::{BodyError, Limits, MAX_HEADERS};

/// Collects trailer fields byte by byte (RFC 9112, 7.1.2).
///
/// It holds one line and the fields so far: together never more than
/// [`Limits::trailer_bytes`] of text, in at most [`Limits::headers`] fields.
#[derive(Clone, Debug)]
pub(crate) struct TrailerSection {
    /// The current line, without its CRLF.
    line: Vec<u8>,
    after_cr: bool,
    bytes_left: usize,
    fields_left: usize,
    fields: Vec<(String, Vec<u8>)>,
    /// See [`BodyDecoder::lenient`](crate::BodyDecoder::lenient).
    lenient: bool,
    sloppy: bool,
}

impl TrailerSection {
    pub(crate) const fn new(limits: &Limits) -> Self {
        Self {
            line: Vec::new(),
            after_cr: false,
            bytes_left: limits.trailer_bytes,
            fields_left: if limits.headers < MAX_HEADERS {
                limits.headers
            } else {
                MAX_HEADERS
            },
            fields: Vec::new(),
            lenient: false,
            sloppy: false,
        }
    }

    /// One for responses, where lines may end with LF alone, blanks may stand before a colon and
    /// control bytes in a value, and what is no field is skipped.
    pub(crate) const fn lenient(limits: &Limits) -> Self {
        let mut section = Self::new(limits);
        section.lenient = true;
        section
    }

    /// Whether a lenient section had to be.
    pub(crate) fn is_sloppy(&self) -> bool {
        self.sloppy
    }

    /// Moves over one byte; true if it is the last one of the section.
    pub(crate) fn push(&mut self, byte: u8) -> Result<bool, BodyError> {
        match (self.after_cr, byte) {
            (true, b'\n') => {
                self.after_cr = false;
                if self.line.is_empty() {
                    return Ok(true);
                }
                self.end_line()?;
            }
            (false, b'\n') if self.lenient => {
                self.sloppy = true;
                if self.line.is_empty() {
                    return Ok(true);
                }
                self.end_line()?;
            }
            // RFC 9112, 2.2: neither CR nor LF stands alone.
            (true, _) | (false, b'\n') => return Err(BodyError::InvalidTrailer),
            (false, b'\r') => self.after_cr = true,
            (false, _) => {
                self.spend(1)?;
                self.line.push(byte);
            }
        }
        Ok(false)
    }

    /// The fields collected, leaving none.
    pub(crate) fn take(&mut self) -> Vec<(String, Vec<u8>)> {
        std::mem::take(&mut self.fields)
    }

    fn end_line(&mut self) -> Result<(), BodyError> {
        self.spend(2)?;
        // Dropped fields count too: reading them is work.
        self.fields_left = self
            .fields_left
            .checked_sub(1)
            .ok_or(BodyError::TrailersTooLong)?;
        let Some(colon) = self.line.iter().position(|byte| *byte == b':') else {
            return self.skip_line();
        };
        let (mut name, value) = (&self.line[..colon], trim_blanks(&self.line[colon + 1..]));
        if self.lenient {
            while let [rest @ .., b' ' | b'\t'] = name {
                (name, self.sloppy) = (rest, true);
            }
            self.sloppy |= !value.iter().all(|byte| is_field_byte(*byte));
        }
        let value = match self.lenient {
            true => clean_value(value),
            false => value.into(),
        };
        // RFC 9112, 5.1: a name is a token right up to the colon. This includes folded lines.
        if !is_token(name) {
            return self.skip_line();
        }
        if !is_valid_header_value(&value) {
            return Err(BodyError::InvalidTrailer);
        }
        let name = std::str::from_utf8(name).map_err(|_| BodyError::InvalidTrailer)?;
        // RFC 9110, 6.5.1: such fields are never merged into the header section, so they are gone.
        if !is_forbidden_trailer(name) {
            self.fields.push((name.to_owned(), value.into_owned()));
        }
        self.line.clear();
        Ok(())
    }

    /// Skips a line that is no field, where that may be: whatever it says, it cannot change where the
    /// body ends.
    fn skip_line(&mut self) -> Result<(), BodyError> {
        if !self.lenient {
            return Err(BodyError::InvalidTrailer);
        }
        self.sloppy = true;
        self.line.clear();
        Ok(())
    }

    fn spend(&mut self, bytes: usize) -> Result<(), BodyError> {
        self.bytes_left = self
            .bytes_left
            .checked_sub(bytes)
            .ok_or(BodyError::TrailersTooLong)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Fields = Vec<(String, Vec<u8>)>;

    fn read(limits: &Limits, input: &str) -> Result<Fields, BodyError> {
        let mut section = TrailerSection::new(limits);
        for (index, byte) in input.bytes().enumerate() {
            if section.push(byte)? {
                assert_eq!(index + 1, input.len(), "the section ended early");
                return Ok(section.take());
            }
        }
        panic!("the section did not end");
    }

    #[test]
    fn fields_keep_their_order_and_lose_their_blanks() {
        let fields = read(&Limits::default(), "a: 1\r\nB:\t2 3\t\r\na:4\r\nc:\r\n\r\n");
        let expected = [("a", "1"), ("B", "2 3"), ("a", "4"), ("c", "")];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()));
        assert_eq!(fields, Ok(expected.to_vec()));
    }

    #[test]
    fn fields_that_frame_or_route_are_dropped() {
        let input = "Content-Length: 5\r\nTRANSFER-ENCODING: chunked\r\nhost: h\r\nSet-Cookie: a\r\n\
                     authorization: x\r\nx-ok: 1\r\ncache-control: y\r\n\r\n";
        assert_eq!(
            read(&Limits::default(), input),
            Ok(vec![("x-ok".to_owned(), b"1".to_vec())])
        );
    }

    #[test]
    fn servers_may_send_lines_that_are_no_fields() {
        let mut section = TrailerSection::lenient(&Limits::default());
        let mut ended = false;
        for byte in *b"a: 1\r\nabc\r\n folded: x\r\n: y\r\nx y: z\r\nb : 2\r\n\r\n" {
            ended = section.push(byte).unwrap_or_default();
        }
        let names: Vec<_> = section.take().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["a", "b"]);
        assert!(ended && section.is_sloppy());
    }

    #[test]
    fn malformed_lines_are_refused_even_in_dropped_fields() {
        for input in [
            "a\r\n",
            ":\r\n",
            ": b\r\n",
            "a : b\r\n",
            " a: b\r\n",
            "a: b\r\n c\r\n",
            "a: b\n",
            "a: \rb\r\n",
            "a: b\0\r\n",
            "a: \x7f\r\n",
            "a\0: b\r\n",
            "é: b\r\n",
            "host : x\r\n",
            "host: \0\r\n",
            "\n",
            "\r\r\n",
        ] {
            assert_eq!(
                read(&Limits::default(), input),
                Err(BodyError::InvalidTrailer),
                "{input:?}"
            );
        }
    }

    #[test]
    fn the_section_is_bounded_in_bytes() {
        let limits = Limits {
            trailer_bytes: 12,
            ..Limits::default()
        };
        assert!(read(&limits, "a:34\r\nb:34\r\n\r\n").is_ok());
        assert_eq!(
            read(&limits, "a:34\r\nb:345\r\n\r\n"),
            Err(BodyError::TrailersTooLong)
        );
        assert_eq!(
            read(&limits, "a:34567890123"),
            Err(BodyError::TrailersTooLong),
            "before a line ends"
        );
        let none = Limits {
            trailer_bytes: 0,
            ..Limits::default()
        };
        assert_eq!(read(&none, "\r\n"), Ok(Vec::new()));
        assert_eq!(read(&none, "a"), Err(BodyError::TrailersTooLong));
    }

    #[test]
    fn the_section_is_bounded_in_fields_dropped_ones_included() {
        let limits = Limits {
            headers: 2,
            ..Limits::default()
        };
        assert!(read(&limits, "a:\r\nhost:\r\n\r\n").is_ok());
        assert_eq!(
            read(&limits, "a:\r\nhost:\r\nb:\r\n\r\n"),
            Err(BodyError::TrailersTooLong)
        );
        let most = Limits {
            headers: usize::MAX,
            ..Limits::default()
        };
        assert!(read(&most, &format!("{}\r\n", "a:\r\n".repeat(MAX_HEADERS))).is_ok());
        let over = read(&most, &format!("{}\r\n", "a:\r\n".repeat(MAX_HEADERS + 1)));
        assert_eq!(over, Err(BodyError::TrailersTooLong));
    }
}
