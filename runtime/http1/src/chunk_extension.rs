//! The grammar of chunk extensions.

use crate::BodyError;
use crate::headers::{is_field_byte, is_token};

/// Where in the extensions of a chunk a reader is (RFC 9112, 7.1.1):
///
/// ```text
/// chunk-ext = *( BWS ";" BWS chunk-ext-name [ BWS "=" BWS chunk-ext-val ] )
/// chunk-ext-val = token / quoted-string
/// ```
///
/// Extensions are ignored, but a reader that finds the end of their line elsewhere than this one
/// finds another body behind it, and such disagreements are what requests are smuggled with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChunkExtension {
    /// Behind `;` and blanks, where a name has to come.
    Start,
    /// Within a name.
    Name,
    /// In the blanks behind a name.
    NameEnd,
    /// Behind `=` and blanks, where a value has to come.
    ValueStart,
    /// Within a value without quotes.
    Value,
    /// Within a quoted value.
    Quoted,
    /// Behind a backslash in a quoted value.
    Escaped,
    /// Behind the closing quote.
    QuotedEnd,
    /// In the blanks behind a value, where only another extension can come.
    ValueEnd,
}

impl ChunkExtension {
    /// Moves over one byte. `None` means that it was the CR at the end of the line.
    ///
    /// # Errors
    ///
    /// The grammar has no such byte there.
    pub(crate) fn step(self, byte: u8) -> Result<Option<Self>, BodyError> {
        let is_token = is_token(&[byte]);
        let next = match (self, byte) {
            (Self::Quoted, b'"') => Self::QuotedEnd,
            (Self::Quoted, b'\\') => Self::Escaped,
            (Self::Quoted | Self::Escaped, _) if is_field_byte(byte) => Self::Quoted,
            (Self::Start | Self::ValueStart, b' ' | b'\t') => self,
            (Self::ValueStart, b'"') => Self::Quoted,
            (Self::Start | Self::Name, _) if is_token => Self::Name,
            (Self::ValueStart | Self::Value, _) if is_token => Self::Value,
            (Self::Name | Self::NameEnd, b' ' | b'\t') => Self::NameEnd,
            (Self::Name | Self::NameEnd, b'=') => Self::ValueStart,
            (Self::Value | Self::QuotedEnd | Self::ValueEnd, b' ' | b'\t') => Self::ValueEnd,
            (Self::Name | Self::NameEnd | Self::Value | Self::QuotedEnd | Self::ValueEnd, b';') => {
                Self::Start
            }
            (Self::Name | Self::Value | Self::QuotedEnd, b'\r') => return Ok(None),
            _ => return Err(BodyError::InvalidChunkExtension),
        };
        Ok(Some(next))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(extensions: &str) -> Result<(), BodyError> {
        let mut state = ChunkExtension::Start;
        for byte in extensions.bytes() {
            match state.step(byte)? {
                Some(next) => state = next,
                None => return Ok(()),
            }
        }
        Err(BodyError::InvalidChunkExtension)
    }

    #[test]
    fn well_formed_extensions_are_read() {
        for extensions in [
            "a\r",
            " a\r",
            "a=b\r",
            "a = b\r",
            "a=\"\"\r",
            "a=\"b;c=d,\\\" \u{e9}\"\r",
            "a=b ; c ;\td=\"e\";f\r",
            "!#$%&'*+-.^_`|~=1\r",
        ] {
            assert_eq!(read(extensions), Ok(()), "{extensions:?}");
        }
    }

    #[test]
    fn malformed_extensions_are_refused() {
        for extensions in [
            "\r",
            " \r",
            ";\r",
            ";;\r",
            "=b\r",
            "a=\r",
            "a= \r",
            "a=\"b\r",
            "a=\"b\\\r",
            "a=\"b\"c\r",
            "a b\r",
            "a=b c\r",
            "a=b=c\r",
            "a\"b\"\r",
            "a=b\"\r",
            "a \r",
            "a=b \r",
            "a=\"b\" \r",
            "a/b\r",
            "\u{e9}\r",
            "a=\"\n\"\r",
            "a=\"\\\n\"\r",
            "a\n",
            "a;\r",
        ] {
            assert_eq!(
                read(extensions),
                Err(BodyError::InvalidChunkExtension),
                "{extensions:?}"
            );
        }
    }
}
