//! Request heads of the client's side, written to a buffer.

use crate::headers::{is_field_byte, is_token, write_field};
use crate::response::{LENGTH_NAME, is_own_field, write_length};
use crate::target::{Authority, Target};
use crate::{HeaderError, MAX_METHOD_BYTES};

/// Everything before the body of a request that this side sends.
#[derive(Clone, Copy, Debug)]
pub struct OutgoingRequest<'a> {
    /// A token (RFC 9110, 9.1).
    pub method: &'a str,
    /// The request target, in a form that fits the method (RFC 9112, 3.2).
    pub target: &'a str,
    /// The fields to send, in order. Exactly one of them is `host`. Left out without a word are
    /// those that belong to the connection and not to the message: `connection`, `keep-alive`,
    /// `proxy-connection`, `te`, `transfer-encoding`, `upgrade`; and `content-length`, which
    /// `length` rules, but under the name as it is spelled here.
    pub headers: &'a [(&'a str, &'a [u8])],
    /// How the server is to find the end of the body.
    pub length: RequestLength,
    /// Whether trailer fields in the response are welcome (RFC 9110, 10.1.4).
    pub accepts_trailers: bool,
    /// What the connection goes on with.
    pub connection: ConnectionUse<'a>,
}

/// How the length of a request body is told (RFC 9112, 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RequestLength {
    /// There is no body. Methods that usually have one say `content-length: 0` (RFC 9110, 8.6).
    None,
    /// This many bytes follow.
    Fixed(u64),
    /// Chunks follow, from [`encode_chunk`](crate::encode_chunk) and
    /// [`encode_last_chunk`](crate::encode_last_chunk).
    Chunked,
}

/// What becomes of a connection after an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConnectionUse<'a> {
    /// It is kept for another request.
    Keep,
    /// It is closed (RFC 9112, 9.6).
    Close,
    /// It turns to this protocol, if the server agrees (RFC 9110, 7.8).
    Upgrade(&'a str),
}

impl OutgoingRequest<'_> {
    /// Appends the head to `out`, its closing empty line included.
    ///
    /// # Errors
    ///
    /// A method, target, host, header name or value that HTTP does not allow. `out` is then as it
    /// was.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), HeaderError> {
        let start = out.len();
        let result = self.write(out);
        if result.is_err() {
            out.truncate(start);
        }
        result
    }

    fn write(&self, out: &mut Vec<u8>) -> Result<(), HeaderError> {
        if !is_token(self.method.as_bytes()) || self.method.len() > MAX_METHOD_BYTES {
            return Err(HeaderError::InvalidMethod);
        }
        // What would end the request line early must not get there (RFC 9112, 3.2).
        // Nor does anything go out that the next server would have to encode.
        if !self.target.is_ascii() || Target::parse(self.method, self.target.as_bytes()).is_err() {
            return Err(HeaderError::InvalidTarget);
        }
        out.extend_from_slice(self.method.as_bytes());
        out.push(b' ');
        out.extend_from_slice(self.target.as_bytes());
        out.extend_from_slice(b" HTTP/1.1\r\n");
        let mut hosts = 0;
        let mut length_name = None;
        for (name, value) in self.headers {
            if name.eq_ignore_ascii_case("host") {
                hosts += 1;
                // RFC 9112, 3.2: one, and a valid one; it may be empty.
                if hosts > 1 || Authority::parse(value).is_none() {
                    return Err(HeaderError::InvalidHost);
                }
            }
            if name.eq_ignore_ascii_case(LENGTH_NAME) {
                length_name.get_or_insert(*name);
            } else if !is_own_field(name) {
                write_field(out, name, value)?;
            }
        }
        if hosts != 1 {
            return Err(HeaderError::InvalidHost);
        }
        let length_name = length_name.unwrap_or(LENGTH_NAME);
        match self.length {
            RequestLength::Fixed(length) => write_length(out, length_name, length),
            RequestLength::Chunked => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
            RequestLength::None if matches!(self.method, "POST" | "PUT" | "PATCH") => {
                write_length(out, length_name, 0);
            }
            RequestLength::None => {}
        }
        self.write_connection(out)?;
        out.extend_from_slice(b"\r\n");
        Ok(())
    }

    fn write_connection(&self, out: &mut Vec<u8>) -> Result<(), HeaderError> {
        if self.accepts_trailers {
            out.extend_from_slice(b"TE: trailers\r\n");
        }
        let te = if self.accepts_trailers { "TE" } else { "" };
        let option = match self.connection {
            ConnectionUse::Keep => "",
            ConnectionUse::Close => "close",
            ConnectionUse::Upgrade(protocol) => {
                if protocol.is_empty() || !protocol.bytes().all(is_field_byte) {
                    return Err(HeaderError::invalid_value("upgrade"));
                }
                write_field(out, "Upgrade", protocol.as_bytes())?;
                "upgrade"
            }
        };
        // RFC 9110, 7.6.1: what is for this hop alone is named. 1.1 persists by itself.
        if !(te.is_empty() && option.is_empty()) {
            out.extend_from_slice(b"Connection: ");
            out.extend_from_slice(te.as_bytes());
            if !te.is_empty() && !option.is_empty() {
                out.extend_from_slice(b", ");
            }
            out.extend_from_slice(option.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        Ok(())
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;

    const PLAIN: OutgoingRequest<'_> = OutgoingRequest {
        method: "GET",
        target: "/a?b",
        headers: &[("host", b"h:1")],
        length: RequestLength::None,
        accepts_trailers: false,
        connection: ConnectionUse::Keep,
    };

    fn encoded(request: &OutgoingRequest<'_>) -> String {
        let mut out = b"before".to_vec();
        request.encode(&mut out).unwrap();
        String::from_utf8(out.split_off(6)).unwrap()
    }

    fn refused(request: &OutgoingRequest<'_>) -> HeaderError {
        let mut out = b"before".to_vec();
        let error = request.encode(&mut out).unwrap_err();
        assert_eq!(out, b"before", "something was left behind");
        error
    }

    #[test]
    fn a_plain_head_is_its_line_and_its_fields() {
        assert_eq!(encoded(&PLAIN), "GET /a?b HTTP/1.1\r\nhost: h:1\r\n\r\n");
        let options = OutgoingRequest {
            method: "OPTIONS",
            target: "*",
            headers: &[("x", b" y "), ("Host", b"")],
            ..PLAIN
        };
        assert_eq!(
            encoded(&options),
            "OPTIONS * HTTP/1.1\r\nx: y\r\nHost: \r\n\r\n"
        );
    }

    #[test]
    fn the_length_is_told_once_and_only_by_us() {
        let headers: &[(&str, &[u8])] = &[
            ("host", b"h"),
            ("Content-Length", b"7"),
            ("Transfer-Encoding", b"gzip"),
        ];
        for (method, length, line) in [
            ("GET", RequestLength::None, ""),
            ("DELETE", RequestLength::None, ""),
            ("POST", RequestLength::None, "Content-Length: 0\r\n"),
            ("PUT", RequestLength::None, "Content-Length: 0\r\n"),
            ("GET", RequestLength::Fixed(0), "Content-Length: 0\r\n"),
            ("POST", RequestLength::Fixed(42), "Content-Length: 42\r\n"),
            (
                "POST",
                RequestLength::Chunked,
                "Transfer-Encoding: chunked\r\n",
            ),
        ] {
            let request = OutgoingRequest {
                method,
                headers,
                length,
                ..PLAIN
            };
            let expected = format!("{method} /a?b HTTP/1.1\r\nhost: h\r\n{line}\r\n");
            assert_eq!(encoded(&request), expected);
        }
    }

    #[test]
    fn what_is_for_the_connection_is_written_by_us_alone() {
        let headers: &[(&str, &[u8])] = &[
            ("host", b"h"),
            ("Connection", b"x"),
            ("Keep-Alive", b"1"),
            ("TE", b"gzip"),
            ("Upgrade", b"h2c"),
            ("Proxy-Connection", b"x"),
        ];
        for (accepts_trailers, connection, lines) in [
            (false, ConnectionUse::Keep, ""),
            (
                true,
                ConnectionUse::Keep,
                "TE: trailers\r\nConnection: TE\r\n",
            ),
            (false, ConnectionUse::Close, "Connection: close\r\n"),
            (
                true,
                ConnectionUse::Close,
                "TE: trailers\r\nConnection: TE, close\r\n",
            ),
            (
                false,
                ConnectionUse::Upgrade("websocket"),
                "Upgrade: websocket\r\nConnection: upgrade\r\n",
            ),
        ] {
            let request = OutgoingRequest {
                headers,
                accepts_trailers,
                connection,
                ..PLAIN
            };
            let expected = format!("GET /a?b HTTP/1.1\r\nhost: h\r\n{lines}\r\n");
            assert_eq!(encoded(&request), expected);
        }
        let split = OutgoingRequest {
            connection: ConnectionUse::Upgrade("a\r\nb: c"),
            ..PLAIN
        };
        refused(&split);
    }

    #[test]
    fn what_could_split_a_request_is_refused() {
        for method in ["", "G T", "GET\r\n", "é", &"A".repeat(33)] {
            let request = OutgoingRequest { method, ..PLAIN };
            assert_eq!(refused(&request), HeaderError::InvalidMethod, "{method:?}");
        }
        for target in ["", "a", "/a b", "/a\r\nb", "/a#b", "/\x7f", "/é", "*"] {
            let request = OutgoingRequest { target, ..PLAIN };
            assert_eq!(refused(&request), HeaderError::InvalidTarget, "{target:?}");
        }
        let host: (&str, &[u8]) = ("host", b"h");
        for headers in [
            &[][..],
            &[host, host],
            &[("host", b"a b")],
            &[("host", b"u@h")],
            &[("HOST", b"h\r\nx: y")],
        ] {
            let request = OutgoingRequest { headers, ..PLAIN };
            assert_eq!(refused(&request), HeaderError::InvalidHost, "{headers:?}");
        }
        for field in [
            ("a b", &b"c"[..]),
            ("", b"c"),
            ("a", b"b\r\nc"),
            ("a", b"\0"),
        ] {
            let headers = &[host, field];
            let request = OutgoingRequest { headers, ..PLAIN };
            assert!(matches!(
                refused(&request),
                HeaderError::InvalidName { .. } | HeaderError::InvalidValue { .. }
            ));
        }
    }
}
