//! Response heads, written to a buffer.

use crate::headers::write_field;
use crate::status::{forbids_body, reason_phrase};
use crate::{HeaderError, Version};

/// The interim response that a client waits for which sent `Expect: 100-continue`
/// (RFC 9110, 15.2.1).
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Everything before the body of a response.
#[derive(Clone, Copy, Debug)]
pub struct ResponseHead<'a> {
    /// The version of the request. The response itself always says HTTP/1.1, which is what this
    /// side speaks (RFC 9110, 6.2); but an HTTP/1.0 client never gets chunks.
    pub version: Version,
    /// 100 to 999.
    pub status: u16,
    /// The fields to send, in order. Left out without a word are those that belong to the
    /// connection and not to the message: `connection`, `keep-alive`, `proxy-connection`, `te`,
    /// `transfer-encoding`, `upgrade` but with 426; `content-length`, which `length` rules, but
    /// under the name as it is spelled here; and `date` if the field of that name is given.
    pub headers: &'a [(&'a str, &'a [u8])],
    /// How the client is to find the end of the body.
    pub length: ResponseLength,
    /// Whether the server is willing to serve another request on the connection.
    pub keep_alive: bool,
    /// The value of the Date field, as an IMF-fixdate. `None` on a device without a clock
    /// (RFC 9110, 6.6.1).
    pub date: Option<&'a str>,
}

/// How the length of a response body is told (RFC 9112, 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ResponseLength {
    /// This many bytes follow.
    Fixed(u64),
    /// Chunks follow, from [`encode_chunk`](crate::encode_chunk) and
    /// [`encode_last_chunk`](crate::encode_last_chunk). For an HTTP/1.0 client this
    /// turns into `UntilClose`: see [`ResponseHead::framing`].
    Chunked,
    /// Bytes follow until the connection closes.
    UntilClose,
    /// No body, and no word about its length: 1xx, 204, 304, and a CONNECT that succeeded.
    None,
    /// No body, since the request was HEAD or the status is 304; the length that GET would have
    /// had, if it is known.
    HeadOf(Option<u64>),
}

impl ResponseHead<'_> {
    /// Appends the head to `out`, its closing empty line included.
    ///
    /// # Errors
    ///
    /// A header name or value, a status or a length that HTTP does not allow. `out` is then as it
    /// was.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), HeaderError> {
        let start = out.len();
        let result = self.write(out);
        if result.is_err() {
            out.truncate(start);
        }
        result
    }

    /// How the body must be written: `length`, but that an HTTP/1.0 client gets `UntilClose`
    /// instead of `Chunked` (RFC 9112, 6.1).
    #[must_use]
    pub fn framing(&self) -> ResponseLength {
        match (self.length, self.version) {
            (ResponseLength::Chunked, Version::Http10) => ResponseLength::UntilClose,
            (length, _) => length,
        }
    }

    /// Whether the connection may serve another request once the body is written.
    #[must_use]
    pub fn stays_open(&self) -> bool {
        self.keep_alive && self.framing() != ResponseLength::UntilClose
    }

    fn write(&self, out: &mut Vec<u8>) -> Result<(), HeaderError> {
        if !(100..=999).contains(&self.status) {
            return Err(HeaderError::InvalidStatus {
                status: self.status,
            });
        }
        // A body behind such a status would be read as the next response (RFC 9112, 6.3 (1)). 205
        // may say that its body is empty (RFC 9110, 15.3.6).
        let announces_body = match self.length {
            ResponseLength::Fixed(length) => length > 0,
            ResponseLength::Chunked | ResponseLength::UntilClose => true,
            ResponseLength::None | ResponseLength::HeadOf(_) => false,
        };
        if announces_body && (forbids_body(self.status) || self.status == 205) {
            return Err(HeaderError::BodyForbidden {
                status: self.status,
            });
        }
        out.extend_from_slice(b"HTTP/1.1 ");
        write_decimal(out, u64::from(self.status));
        out.push(b' ');
        out.extend_from_slice(reason_phrase(self.status).as_bytes());
        out.extend_from_slice(b"\r\n");
        if let Some(date) = self.date {
            write_field(out, "Date", date.as_bytes())?;
        }
        // RFC 9110, 15.5.22: 426 has to say what the client is to upgrade to.
        let (mut names_protocol, mut length_name) = (false, None);
        for (name, value) in self.headers {
            let repeated_date = self.date.is_some() && name.eq_ignore_ascii_case("date");
            let is_protocol = self.status == 426 && name.eq_ignore_ascii_case("upgrade");
            names_protocol |= is_protocol;
            if name.eq_ignore_ascii_case(LENGTH_NAME) {
                length_name.get_or_insert(*name);
            } else if is_protocol || !is_own_field(name) && !repeated_date {
                write_field(out, name, value)?;
            }
        }
        self.write_framing(out, length_name.unwrap_or(LENGTH_NAME));
        // An interim response says nothing about how the connection goes on (RFC 9110, 15.2).
        if self.status >= 200 {
            let persistence = match (self.version, self.stays_open()) {
                (Version::Http11, true) => "",
                (Version::Http10, true) => "keep-alive",
                (_, false) => "close",
            };
            // RFC 9110, 7.8: Upgrade is for this connection alone, and Connection says so.
            let upgrade = if names_protocol { "upgrade" } else { "" };
            let options = [persistence, upgrade];
            let mut options = options.into_iter().filter(|option| !option.is_empty());
            if let Some(first) = options.next() {
                out.extend_from_slice(b"Connection: ");
                out.extend_from_slice(first.as_bytes());
                for option in options {
                    out.extend_from_slice(b", ");
                    out.extend_from_slice(option.as_bytes());
                }
                out.extend_from_slice(b"\r\n");
            }
        }
        out.extend_from_slice(b"\r\n");
        Ok(())
    }

    fn write_framing(&self, out: &mut Vec<u8>, length_name: &str) {
        // RFC 9110, 8.6 and RFC 9112, 6.1: neither field with 1xx and 204.
        if self.status < 200 || self.status == 204 {
            return;
        }
        match self.framing() {
            // RFC 9110, 8.6: on 304 the length is that of the 200, which a 0 here is not.
            ResponseLength::Fixed(_) if self.status == 304 => {}
            ResponseLength::Fixed(length) | ResponseLength::HeadOf(Some(length)) => {
                write_length(out, length_name, length);
            }
            ResponseLength::Chunked => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
            ResponseLength::UntilClose | ResponseLength::None | ResponseLength::HeadOf(None) => {}
        }
    }
}

/// Fields that frame the message or rule the connection: this module writes them, or nobody
/// (RFC 9110, 7.6.1).
pub(crate) fn is_own_field(name: &str) -> bool {
    const OWN: [&str; 7] = [
        "connection",
        "content-length",
        "keep-alive",
        "proxy-connection",
        "te",
        "transfer-encoding",
        "upgrade",
    ];
    OWN.iter().any(|own| own.eq_ignore_ascii_case(name))
}

/// The name of the field for a body's length where the caller does not spell it in another way.
pub(crate) const LENGTH_NAME: &str = "Content-Length";

/// Appends the field for a body's length under a name as somebody spelled it.
pub(crate) fn write_length(out: &mut Vec<u8>, name: &str, length: u64) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    write_decimal(out, length);
    out.extend_from_slice(b"\r\n");
}

pub(crate) fn write_decimal(out: &mut Vec<u8>, mut number: u64) {
    // u64::MAX has 20 digits.
    let mut digits = [0; 20];
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[start..]);
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;

    const OK: ResponseHead<'static> = ResponseHead {
        version: Version::Http11,
        status: 200,
        headers: &[],
        length: ResponseLength::Fixed(5),
        keep_alive: true,
        date: None,
    };

    fn text(head: &ResponseHead<'_>) -> String {
        let mut out = b"before".to_vec();
        head.encode(&mut out).unwrap();
        String::from_utf8(out)
            .unwrap()
            .strip_prefix("before")
            .unwrap()
            .to_owned()
    }

    fn refused(head: &ResponseHead<'_>) -> HeaderError {
        let mut out = b"before".to_vec();
        let error = head.encode(&mut out).unwrap_err();
        assert_eq!(out, b"before", "out must not change");
        error
    }

    #[test]
    fn a_plain_response() {
        assert_eq!(text(&OK), "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n");
        let headers: [(&str, &[u8]); 2] = [("Content-Type", b"text/plain"), ("x-a", b" b\t")];
        let head = ResponseHead {
            headers: &headers,
            date: Some("Sun, 06 Nov 1994 08:49:37 GMT"),
            ..OK
        };
        assert_eq!(
            text(&head),
            "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Type: text/plain\r\n\
             x-a: b\r\nContent-Length: 5\r\n\r\n"
        );
    }

    #[test]
    fn an_unknown_status_has_an_empty_reason() {
        assert_eq!(
            text(&ResponseHead { status: 299, ..OK }),
            "HTTP/1.1 299 \r\nContent-Length: 5\r\n\r\n"
        );
        for status in [0, 1, 99, 1000, u16::MAX] {
            let error = refused(&ResponseHead { status, ..OK });
            assert_eq!(error, HeaderError::InvalidStatus { status });
        }
    }

    #[test]
    fn fields_of_the_connection_are_dropped() {
        let headers: [(&str, &[u8]); 10] = [
            ("Connection", b"upgrade"),
            ("Keep-Alive", b"timeout=5"),
            ("Proxy-Connection", b"close"),
            ("Transfer-Encoding", b"gzip"),
            ("Upgrade", b"h2c"),
            ("TE", b"trailers"),
            ("Content-Length", b"99"),
            ("content-length", b"\r\nx: y"),
            ("Trailer", b"x-sum"),
            ("Date", b"today"),
        ];
        let head = ResponseHead {
            headers: &headers,
            ..OK
        };
        assert_eq!(
            text(&head),
            "HTTP/1.1 200 OK\r\nTrailer: x-sum\r\nDate: today\r\nContent-Length: 5\r\n\r\n"
        );
        let head = ResponseHead {
            date: Some("now"),
            ..head
        };
        assert_eq!(
            text(&head),
            "HTTP/1.1 200 OK\r\nDate: now\r\nTrailer: x-sum\r\nContent-Length: 5\r\n\r\n"
        );
    }

    #[test]
    fn response_splitting_is_refused() {
        for name in ["", "a b", "a:", "a\r\nb", "a\n", "é", "a\0"] {
            let headers: [(&str, &[u8]); 2] = [("x", b"y"), (name, b"v")];
            let error = refused(&ResponseHead {
                headers: &headers,
                ..OK
            });
            assert_eq!(error, HeaderError::InvalidName { name: name.into() });
        }
        for value in [&b"a\r\nb: c"[..], b"a\n", b"\r", b"\0", b"\x7f", b"\r\n"] {
            let headers: [(&str, &[u8]); 2] = [("x", b"y"), ("Name", value)];
            let error = refused(&ResponseHead {
                headers: &headers,
                ..OK
            });
            assert_eq!(
                error,
                HeaderError::InvalidValue {
                    name: "Name".into()
                }
            );
        }
        let error = refused(&ResponseHead {
            date: Some("a\r\nb: c"),
            ..OK
        });
        assert_eq!(
            error,
            HeaderError::InvalidValue {
                name: "Date".into()
            }
        );
    }

    #[test]
    fn every_length_has_its_framing() {
        for (length, framing) in [
            (ResponseLength::Fixed(0), "Content-Length: 0\r\n"),
            (
                ResponseLength::Fixed(u64::MAX),
                "Content-Length: 18446744073709551615\r\n",
            ),
            (ResponseLength::Chunked, "Transfer-Encoding: chunked\r\n"),
            (ResponseLength::UntilClose, "Connection: close\r\n"),
            (ResponseLength::None, ""),
            (ResponseLength::HeadOf(Some(7)), "Content-Length: 7\r\n"),
            (ResponseLength::HeadOf(None), ""),
        ] {
            assert_eq!(
                text(&ResponseHead { length, ..OK }),
                format!("HTTP/1.1 200 OK\r\n{framing}\r\n")
            );
        }
    }

    #[test]
    fn a_status_without_a_body_never_announces_one() {
        for (status, line) in [(103, "103 Early Hints"), (204, "204 No Content")] {
            for length in [
                ResponseLength::None,
                ResponseLength::Fixed(0),
                ResponseLength::HeadOf(Some(3)),
            ] {
                let head = ResponseHead {
                    status,
                    length,
                    ..OK
                };
                assert_eq!(
                    text(&head),
                    format!("HTTP/1.1 {line}\r\n\r\n"),
                    "{length:?}"
                );
            }
        }
        let not_modified = ResponseHead {
            status: 304,
            length: ResponseLength::HeadOf(Some(3)),
            ..OK
        };
        assert_eq!(
            text(&not_modified),
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n\r\n"
        );
        let not_modified = ResponseHead {
            length: ResponseLength::Fixed(0),
            ..not_modified
        };
        assert_eq!(text(&not_modified), "HTTP/1.1 304 Not Modified\r\n\r\n");
        let reset = ResponseHead {
            status: 205,
            length: ResponseLength::Fixed(0),
            ..OK
        };
        assert_eq!(
            text(&reset),
            "HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n"
        );
        for status in [100, 101, 199, 204, 205, 304] {
            for length in [
                ResponseLength::Fixed(1),
                ResponseLength::Chunked,
                ResponseLength::UntilClose,
            ] {
                let error = refused(&ResponseHead {
                    status,
                    length,
                    ..OK
                });
                assert_eq!(error, HeaderError::BodyForbidden { status });
            }
        }
    }

    #[test]
    fn http10_clients_never_get_chunks() {
        let old = ResponseHead {
            version: Version::Http10,
            length: ResponseLength::Chunked,
            ..OK
        };
        assert_eq!(old.framing(), ResponseLength::UntilClose);
        assert!(!old.stays_open());
        assert_eq!(text(&old), "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
    }

    #[test]
    fn the_connection_field_says_what_the_version_does_not() {
        let old = ResponseHead {
            version: Version::Http10,
            ..OK
        };
        assert!(old.stays_open());
        assert_eq!(
            text(&old),
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\n"
        );
        for version in [Version::Http10, Version::Http11] {
            let last = ResponseHead {
                version,
                keep_alive: false,
                ..OK
            };
            assert!(!last.stays_open());
            assert_eq!(
                text(&last),
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\n"
            );
        }
        let interim = ResponseHead {
            status: 103,
            length: ResponseLength::None,
            keep_alive: false,
            ..OK
        };
        assert_eq!(text(&interim), "HTTP/1.1 103 Early Hints\r\n\r\n");
    }

    #[test]
    fn numbers_are_written_as_the_standard_library_does() {
        for number in [
            0,
            1,
            9,
            10,
            99,
            100,
            255,
            u64::from(u32::MAX),
            u64::MAX - 1,
            u64::MAX,
        ] {
            let mut out = Vec::new();
            write_decimal(&mut out, number);
            assert_eq!(out, number.to_string().as_bytes());
        }
    }

    #[test]
    fn only_426_names_a_protocol_to_upgrade_to() {
        let mut head = ResponseHead {
            version: Version::Http11,
            status: 426,
            headers: &[("upgrade", b"websocket"), ("connection", b"x")],
            length: ResponseLength::Fixed(0),
            keep_alive: true,
            date: None,
        };
        let mut encoded = |status, keep_alive| {
            (head.status, head.keep_alive) = (status, keep_alive);
            let mut out = Vec::new();
            head.encode(&mut out).unwrap();
            String::from_utf8(out).unwrap()
        };
        let told = "upgrade: websocket\r\nContent-Length: 0\r\nConnection: upgrade\r\n\r\n";
        assert!(encoded(426, true).ends_with(told));
        assert!(encoded(426, false).ends_with("\r\nConnection: close, upgrade\r\n\r\n"));
        assert!(!encoded(200, true).contains("upgrade"));
        assert!(!encoded(200, true).contains("Connection"));
    }
}
