//! UTF-8 that comes in pieces.

use std::str::from_utf8;

use super::ProtocolError;

/// Checks text piece by piece, and refuses it at the first byte that cannot be right.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Utf8Check {
    /// The first bytes of a character whose rest has not come.
    open: [u8; 4],
    length: usize,
}

impl Utf8Check {
    /// Takes the next piece.
    pub(super) fn push(&mut self, mut piece: &[u8]) -> Result<(), ProtocolError> {
        while self.length > 0 {
            let [byte, rest @ ..] = piece else {
                return Ok(());
            };
            // At most three bytes are ever open.
            self.open[self.length] = *byte;
            self.length += 1;
            piece = rest;
            match from_utf8(&self.open[..self.length]) {
                Ok(_) => self.length = 0,
                Err(error) if error.error_len().is_none() => {}
                Err(_) => return Err(ProtocolError::InvalidUtf8),
            }
        }
        match from_utf8(piece) {
            Ok(_) => Ok(()),
            Err(error) if error.error_len().is_none() => {
                let open = &piece[error.valid_up_to()..];
                self.open[..open.len()].copy_from_slice(open);
                self.length = open.len();
                Ok(())
            }
            Err(_) => Err(ProtocolError::InvalidUtf8),
        }
    }

    /// The text has ended: no character may be open.
    pub(super) fn end(&mut self) -> Result<(), ProtocolError> {
        match std::mem::take(&mut self.length) {
            0 => Ok(()),
            _ => Err(ProtocolError::InvalidUtf8),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many bytes of `text` pass, one at a time.
    fn passes(text: &[u8]) -> usize {
        let mut check = Utf8Check::default();
        text.iter()
            .take_while(|byte| check.push(std::slice::from_ref(byte)).is_ok())
            .count()
    }

    #[test]
    fn whole_and_in_pieces_the_outcome_is_the_same() {
        let text = "a\u{7f}\u{80}ß\u{7ff}\u{800}€\u{ffff}\u{10000}😀\u{10ffff}z".as_bytes();
        for cut in 0..text.len() {
            let mut check = Utf8Check::default();
            assert_eq!(check.push(&text[..cut]), Ok(()));
            let whole = from_utf8(&text[..cut]).is_ok();
            assert_eq!(check.end().is_ok(), whole, "{cut}");
            let mut check = Utf8Check::default();
            for piece in [&text[..cut], b"", &text[cut..]] {
                assert_eq!(check.push(piece), Ok(()), "{cut}");
            }
            assert_eq!(check.end(), Ok(()));
        }
    }

    #[test]
    fn the_first_wrong_byte_is_refused() {
        for (text, good) in [
            (&b"abc\xff"[..], 3),
            (b"\x80", 0),
            (b"\xc0\x80", 0),
            (b"\xe0\x9f\xbf", 1),
            (b"\xed\xa0\x80", 1),
            (b"\xf4\x90\x80\x80", 1),
            (b"\xf5\x80\x80\x80", 0),
            (b"\xf0\x9f\x98\x41", 3),
            (b"\xc3\xc3", 1),
        ] {
            assert_eq!(passes(text), good, "{text:x?}");
            assert!(Utf8Check::default().push(text).is_err(), "{text:x?}");
        }
    }
}
