//! What the header fields say about the body, the host and the connection.

use httparse::Header;

use crate::headers::{is_token, list_elements};
use crate::target::Authority;
use crate::{BodyLength, RequestError, Version};

/// The fields that the codec itself acts on, read from a head in one pass.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Framing<'b> {
    pub(crate) host: Option<&'b str>,
    pub(crate) body: BodyLength,
    pub(crate) keep_alive: bool,
    pub(crate) expect_continue: bool,
}

impl<'b> Framing<'b> {
    pub(crate) fn read(version: Version, headers: &[Header<'b>]) -> Result<Self, RequestError> {
        let mut host = None;
        let mut content_length = None;
        let mut codings = TransferCodings::default();
        let mut options = ConnectionOptions::default();
        let mut expectation = Ok(false);
        for header in headers {
            let value = header.value;
            if header.name.eq_ignore_ascii_case("host") {
                // RFC 9112, 3.2: more than one is 400, whatever they say.
                if host.is_some() {
                    return Err(RequestError::RepeatedHost);
                }
                // The check lets ASCII through alone, so the conversion holds.
                let valid = Authority::parse(value).and_then(|_| std::str::from_utf8(value).ok());
                host = Some(valid.ok_or(RequestError::InvalidHost)?);
            } else if header.name.eq_ignore_ascii_case("content-length") {
                // RFC 9112, 6.3 (5) would let equal repetitions pass. They have no honest use.
                if content_length.is_some() {
                    return Err(RequestError::RepeatedContentLength);
                }
                content_length = Some(parse_content_length(value)?);
            } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
                codings.add(value)?;
            } else if header.name.eq_ignore_ascii_case("connection") {
                options.add(value);
            } else if header.name.eq_ignore_ascii_case("expect") && expectation.is_ok() {
                expectation =
                    parse_expectation(value).map(|asked| asked || expectation == Ok(true));
            }
        }
        if host.is_none() && version == Version::Http11 {
            return Err(RequestError::MissingHost);
        }
        let body = match (codings.present, content_length) {
            (false, None) => BodyLength::Empty,
            (false, Some(length)) => BodyLength::Fixed(length),
            // RFC 9112, 6.3 (3): a server may refuse such a message. It smells of smuggling.
            (true, Some(_)) => return Err(RequestError::ConflictingLengths),
            // RFC 9112, 6.1: framing that an HTTP/1.0 client does not know is faulty.
            (true, None) if version == Version::Http10 => {
                return Err(RequestError::TransferEncodingInHttp10);
            }
            (true, None) => codings.body()?,
        };
        let expects = match version {
            // RFC 9110, 10.1.1: an expectation in an HTTP/1.0 request is ignored.
            Version::Http10 => false,
            Version::Http11 => expectation?,
        };
        Ok(Self {
            host,
            body,
            keep_alive: options.keep_alive(version),
            // RFC 9110, 10.1.1: without content there is nothing to wait for.
            expect_continue: expects && !matches!(body, BodyLength::Empty | BodyLength::Fixed(0)),
        })
    }
}

/// RFC 9110, 8.6: `1*DIGIT`. No sign, no blank, no list, nothing that u64 cannot hold.
pub(crate) fn parse_content_length(value: &[u8]) -> Result<u64, RequestError> {
    let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    let number = std::str::from_utf8(value)
        .ok()
        .and_then(|text| text.parse().ok());
    number
        .filter(|_| digits)
        .ok_or(RequestError::InvalidContentLength)
}

/// RFC 9110, 10.1.1: whether `100-continue` is asked for. Anything else cannot be met: 417.
fn parse_expectation(value: &[u8]) -> Result<bool, RequestError> {
    let mut asked = false;
    for element in list_elements(value).filter(|element| !element.is_empty()) {
        if !element.eq_ignore_ascii_case(b"100-continue") {
            return Err(RequestError::UnknownExpectation);
        }
        asked = true;
    }
    Ok(asked)
}

/// The Transfer-Encoding fields of one message, read as one list (RFC 9110, 5.3).
#[derive(Default)]
struct TransferCodings {
    present: bool,
    chunked: bool,
    unknown: bool,
}

impl TransferCodings {
    fn add(&mut self, value: &[u8]) -> Result<(), RequestError> {
        self.present = true;
        for element in list_elements(value) {
            let name_end = element
                .iter()
                .position(|byte| matches!(byte, b';' | b' ' | b'\t'));
            let (name, parameters) = element.split_at(name_end.unwrap_or(element.len()));
            // RFC 9110, 5.6.1 has empty elements skipped. Where the body ends is too much to hang
            // on that: only a proxy that reads the field differently gains by one.
            if !is_token(name) {
                return Err(RequestError::InvalidTransferEncoding);
            }
            if !name.eq_ignore_ascii_case(b"chunked") {
                // RFC 9112, 6.1 and 6.3 (4.2): in a request, chunked must be the final coding.
                if self.chunked {
                    return Err(RequestError::ChunkedNotLast);
                }
                self.unknown = true;
                continue;
            }
            // RFC 9112, 7.1: chunked has no parameters; any are an error.
            if !parameters.is_empty() {
                return Err(RequestError::InvalidTransferEncoding);
            }
            // RFC 9112, 6.1: chunked must not be applied more than once.
            if self.chunked {
                return Err(RequestError::ChunkedTwice);
            }
            self.chunked = true;
        }
        Ok(())
    }

    fn body(&self) -> Result<BodyLength, RequestError> {
        match (self.chunked, self.unknown) {
            (true, false) => Ok(BodyLength::Chunked),
            // RFC 9112, 6.1: 501 for a coding that the server does not understand.
            (true, true) => Err(RequestError::UnknownTransferEncoding),
            // RFC 9112, 6.3 (4.2): without chunked at the end the length is unknown. That 400 is a
            // MUST, the 501 above a SHOULD.
            (false, _) => Err(RequestError::ChunkedNotLast),
        }
    }
}

/// The Connection fields of one message, read as one list. Other options are not ours to act on.
#[derive(Default)]
pub(crate) struct ConnectionOptions {
    close: bool,
    keep_alive: bool,
}

impl ConnectionOptions {
    pub(crate) fn add(&mut self, value: &[u8]) {
        for option in list_elements(value) {
            self.close |= option.eq_ignore_ascii_case(b"close");
            self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
        }
    }

    /// RFC 9112, 9.3: close wins; then 1.1 persists by itself and 1.0 only when asked.
    pub(crate) fn keep_alive(&self, version: Version) -> bool {
        !self.close && (version == Version::Http11 || self.keep_alive)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<'b>(
        version: Version,
        fields: &[(&'b str, &'b str)],
    ) -> Result<Framing<'b>, RequestError> {
        let headers: Vec<_> = fields
            .iter()
            .map(|(name, value)| Header {
                name,
                value: value.as_bytes(),
            })
            .collect();
        Framing::read(version, &headers)
    }

    pub(crate) fn body(fields: &[(&str, &str)]) -> Result<BodyLength, RequestError> {
        let mut all = vec![("Host", "h")];
        all.extend_from_slice(fields);
        read(Version::Http11, &all).map(|framing| framing.body)
    }

    pub(crate) fn keep_alive(version: Version, values: &[&str]) -> bool {
        let mut fields = vec![("Host", "h")];
        fields.extend(values.iter().map(|value| ("connection", *value)));
        read(version, &fields).is_ok_and(|framing| framing.keep_alive)
    }

    #[test]
    fn content_length_is_digits_and_nothing_else() {
        assert_eq!(body(&[]), Ok(BodyLength::Empty));
        for (value, length) in [
            ("0", 0),
            ("10", 10),
            ("0010", 10),
            ("18446744073709551615", u64::MAX),
        ] {
            assert_eq!(
                body(&[("CONTENT-length", value)]),
                Ok(BodyLength::Fixed(length)),
                "{value}"
            );
        }
        for value in [
            "",
            "+1",
            "-1",
            "1,1",
            "1, 1",
            "1 1",
            "0x1",
            "1.0",
            "١",
            "18446744073709551616",
            "1a",
            "\u{b2}",
        ] {
            assert_eq!(
                body(&[("content-length", value)]),
                Err(RequestError::InvalidContentLength),
                "{value:?}"
            );
        }
    }

    #[test]
    fn a_second_content_length_is_refused_even_if_equal() {
        let fields = [("content-length", "1"), ("Content-Length", "1")];
        assert_eq!(body(&fields), Err(RequestError::RepeatedContentLength));
    }

    #[test]
    fn request_smuggling_by_both_lengths_is_refused() {
        for fields in [
            [("content-length", "1"), ("transfer-encoding", "chunked")],
            [("transfer-encoding", "chunked"), ("content-length", "0")],
            [("transfer-encoding", "identity"), ("content-length", "0")],
        ] {
            assert_eq!(body(&fields), Err(RequestError::ConflictingLengths));
        }
    }

    #[test]
    fn transfer_encoding_is_chunked_once() {
        for value in ["chunked", "Chunked", "CHUNKED"] {
            assert_eq!(
                body(&[("transfer-encoding", value)]),
                Ok(BodyLength::Chunked),
                "{value}"
            );
        }
        for (value, error) in [
            ("", RequestError::InvalidTransferEncoding),
            (",", RequestError::InvalidTransferEncoding),
            ("chunked,", RequestError::InvalidTransferEncoding),
            (", chunked", RequestError::InvalidTransferEncoding),
            ("chunked;a=b", RequestError::InvalidTransferEncoding),
            ("chunked ; a", RequestError::InvalidTransferEncoding),
            ("chunked x", RequestError::InvalidTransferEncoding),
            ("\"chunked\"", RequestError::InvalidTransferEncoding),
            ("chunked\u{a0}", RequestError::InvalidTransferEncoding),
            ("chunked, chunked", RequestError::ChunkedTwice),
            ("chunked, gzip", RequestError::ChunkedNotLast),
            ("gzip", RequestError::ChunkedNotLast),
            ("identity", RequestError::ChunkedNotLast),
            ("xchunked", RequestError::ChunkedNotLast),
            ("gzip, chunked", RequestError::UnknownTransferEncoding),
            ("gzip;q=1, chunked", RequestError::UnknownTransferEncoding),
            ("identity, chunked", RequestError::UnknownTransferEncoding),
        ] {
            assert_eq!(
                body(&[("transfer-encoding", value)]),
                Err(error),
                "{value:?}"
            );
        }
    }

    #[test]
    fn transfer_encoding_fields_are_read_as_one_list() {
        let twice = [
            ("transfer-encoding", "chunked"),
            ("transfer-encoding", "chunked"),
        ];
        assert_eq!(body(&twice), Err(RequestError::ChunkedTwice));
        let unknown = [
            ("transfer-encoding", "gzip"),
            ("transfer-encoding", "chunked"),
        ];
        assert_eq!(body(&unknown), Err(RequestError::UnknownTransferEncoding));
        let not_last = [
            ("transfer-encoding", "chunked"),
            ("transfer-encoding", "identity"),
        ];
        assert_eq!(body(&not_last), Err(RequestError::ChunkedNotLast));
    }

    #[test]
    fn transfer_encoding_in_http10_is_refused() {
        let result = read(Version::Http10, &[("transfer-encoding", "chunked")]);
        assert_eq!(
            result.map(|framing| framing.body),
            Err(RequestError::TransferEncodingInHttp10)
        );
    }

    #[test]
    fn host_is_needed_once_and_only_in_http11() {
        let host = |version, fields: &[(&'static str, &'static str)]| {
            read(version, fields).map(|framing| framing.host)
        };
        assert_eq!(host(Version::Http11, &[]), Err(RequestError::MissingHost));
        assert_eq!(host(Version::Http10, &[]), Ok(None));
        assert_eq!(host(Version::Http11, &[("HOST", "h:1")]), Ok(Some("h:1")));
        for version in [Version::Http10, Version::Http11] {
            assert_eq!(
                host(version, &[("host", "h"), ("host", "h")]),
                Err(RequestError::RepeatedHost)
            );
            assert_eq!(
                host(version, &[("host", ""), ("host", "")]),
                Err(RequestError::RepeatedHost)
            );
            for value in ["a b", "u@h", "h:x", "h, h", "http://h", "h/"] {
                assert_eq!(
                    host(version, &[("host", value)]),
                    Err(RequestError::InvalidHost),
                    "{value}"
                );
            }
        }
    }

    #[test]
    fn http11_stays_open_unless_told_to_close() {
        assert!(keep_alive(Version::Http11, &[]));
        assert!(keep_alive(Version::Http11, &["keep-alive"]));
        assert!(keep_alive(Version::Http11, &["closed"]));
        for values in [
            &["close"][..],
            &["Close"],
            &["keep-alive, close"],
            &["x,\tCLOSE ,y"],
            &["x", "close"],
        ] {
            assert!(!keep_alive(Version::Http11, values), "{values:?}");
        }
    }

    #[test]
    fn http10_closes_unless_told_to_stay_open() {
        assert!(!keep_alive(Version::Http10, &[]));
        assert!(!keep_alive(Version::Http10, &["x"]));
        assert!(!keep_alive(Version::Http10, &["keep-alive", "close"]));
        for values in [&["keep-alive"][..], &["Keep-Alive"], &["x, KEEP-ALIVE"]] {
            assert!(keep_alive(Version::Http10, values), "{values:?}");
        }
    }

    #[test]
    fn expectations_other_than_continue_fail() {
        let expect = |version, fields: &[(&'static str, &'static str)]| {
            let mut all = vec![("host", "h")];
            all.extend_from_slice(fields);
            read(version, &all).map(|framing| framing.expect_continue)
        };
        let length = ("content-length", "1");
        for value in ["100-continue", "100-Continue", "100-continue, 100-continue"] {
            assert_eq!(
                expect(Version::Http11, &[("Expect", value), length]),
                Ok(true),
                "{value}"
            );
            assert_eq!(
                expect(Version::Http11, &[("Expect", value)]),
                Ok(false),
                "nothing to wait for"
            );
            assert_eq!(
                expect(Version::Http10, &[("Expect", value), length]),
                Ok(false),
                "ignored in 1.0"
            );
        }
        assert_eq!(
            expect(Version::Http11, &[("expect", ""), length]),
            Ok(false)
        );
        assert_eq!(
            expect(
                Version::Http11,
                &[("expect", "100-continue"), ("expect", ""), length]
            ),
            Ok(true)
        );
        for value in ["200-ok", "100-continue, x", "100-continue;a", "100"] {
            let result = expect(Version::Http11, &[("expect", value), length]);
            assert_eq!(result, Err(RequestError::UnknownExpectation), "{value}");
            assert_eq!(
                expect(Version::Http10, &[("expect", value), length]),
                Ok(false),
                "{value}"
            );
        }
        let second = [("expect", "100-continue"), ("expect", "x"), length];
        assert_eq!(
            expect(Version::Http11, &second),
            Err(RequestError::UnknownExpectation)
        );
    }
}
