//! Why a conversation ends.

use super::ProtocolError;

/// The payload of a close that has one (RFC 6455, 5.5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CloseReason<'a> {
    /// One that [`is_valid_close_code`] lets pass.
    pub code: u16,
    /// For people who look for a fault.
    pub text: &'a str,
}

impl<'a> CloseReason<'a> {
    /// Reads the payload of a close; `None` is an empty one, which gives no reason.
    ///
    /// # Errors
    ///
    /// Half a code, a code that must not be sent, or a text that is not UTF-8.
    pub fn parse(payload: &'a [u8]) -> Result<Option<Self>, ProtocolError> {
        let (code, text) = match payload {
            [] => return Ok(None),
            [_] => return Err(ProtocolError::InvalidClose),
            [high, low, text @ ..] => (u16::from_be_bytes([*high, *low]), text),
        };
        if !is_valid_close_code(code) {
            return Err(ProtocolError::InvalidCloseCode);
        }
        let text = std::str::from_utf8(text).map_err(|_| ProtocolError::InvalidUtf8)?;
        Ok(Some(Self { code, text }))
    }
}

/// Whether `code` may stand in a close: those of RFC 6455, 7.4.1 and IANA's registry but 1004, 1005,
/// 1006 and 1015, and those for libraries and applications from 3000 to 4999 (RFC 6455, 7.4.2).
#[must_use]
pub fn is_valid_close_code(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_that_mean_something_to_a_peer_pass() {
        for code in [
            1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999,
            4000, 4999,
        ] {
            assert!(is_valid_close_code(code), "{code}");
        }
        for code in [
            0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535,
        ] {
            assert!(!is_valid_close_code(code), "{code}");
        }
    }

    #[test]
    fn payloads_are_read() {
        let reason = |code, text| Ok(Some(CloseReason { code, text }));
        assert_eq!(CloseReason::parse(b""), Ok(None));
        assert_eq!(CloseReason::parse(b"\x03\xe8"), reason(1000, ""));
        assert_eq!(CloseReason::parse(b"\x0b\xb8bye"), reason(3000, "bye"));
        for (payload, error) in [
            (&b"\x03"[..], ProtocolError::InvalidClose),
            (b"\x03\xed", ProtocolError::InvalidCloseCode),
            (b"\x00\x00", ProtocolError::InvalidCloseCode),
            (b"\x03\xe8\xce", ProtocolError::InvalidUtf8),
        ] {
            assert_eq!(CloseReason::parse(payload), Err(error));
        }
    }
}
