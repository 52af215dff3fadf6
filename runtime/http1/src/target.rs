//! Request targets and authorities (RFC 9112, 3.2; RFC 3986, 3.2).

use std::borrow::Cow;
use std::net::Ipv6Addr;

use crate::RequestError;

/// A checked request target, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target<'b> {
    /// The target in the form that is passed on: `/path?query`, `*`, or nothing for CONNECT. Bytes
    /// that a URI cannot hold are percent-encoded.
    pub(crate) origin_form: Cow<'b, str>,
    /// `host[:port]`, where the target itself names it.
    pub(crate) authority: Option<&'b str>,
}

impl<'b> Target<'b> {
    /// Checks `target` against the form that `method` calls for.
    ///
    /// Path and query may hold what RFC 3986 forbids: curl and little devices send quotes, braces
    /// and letters as they are, in UTF-8 or latin-1. Such bytes are percent-encoded, which is what their sender should
    /// have done, so that whoever reads the target next reads it as we did. Refused are control
    /// bytes, blanks, and `#`. Percent signs are left to whoever decodes.
    pub(crate) fn parse(method: &str, target: &'b [u8]) -> Result<Self, RequestError> {
        // RFC 9112, 3.2: a target holds no whitespace. A fragment is the client's own affair and is
        // never sent (RFC 9110, 7.1).
        if !target
            .iter()
            .all(|byte| *byte > b' ' && !b"\x7f#".contains(byte))
        {
            return Err(RequestError::InvalidTarget);
        }
        if method == "CONNECT" {
            // RFC 9112, 3.2.3: authority-form, which only CONNECT may use. RFC 9110, 9.3.6: its
            // port must be there.
            let authority = text(target)?;
            return match Authority::parse(target) {
                Some(parsed) if !parsed.host.is_empty() && !parsed.port.is_empty() => Ok(Self {
                    origin_form: Cow::Borrowed(""),
                    authority: Some(authority),
                }),
                _ => Err(RequestError::InvalidTarget),
            };
        }
        if target == b"*" {
            // RFC 9112, 3.2.4: asterisk-form is for a server-wide OPTIONS and nothing else.
            return match method {
                "OPTIONS" => Ok(Self {
                    origin_form: Cow::Borrowed("*"),
                    authority: None,
                }),
                _ => Err(RequestError::InvalidTarget),
            };
        }
        if target.starts_with(b"/") {
            // RFC 9112, 3.2.1: origin-form.
            return Ok(Self {
                origin_form: encoded(target),
                authority: None,
            });
        }
        Self::parse_absolute(method, target)
    }

    /// RFC 9112, 3.2.2: absolute-form, which a server must accept from any client.
    fn parse_absolute(method: &str, target: &'b [u8]) -> Result<Self, RequestError> {
        // There is nothing here to answer for another scheme.
        let authority_at = [&b"http://"[..], b"https://"].iter().find_map(|scheme| {
            let start = target.get(..scheme.len())?;
            start.eq_ignore_ascii_case(scheme).then_some(scheme.len())
        });
        let rest = &target[authority_at.ok_or(RequestError::InvalidTarget)?..];
        let end = rest.iter().position(|byte| b"/?".contains(byte));
        let (authority, rest) = rest.split_at(end.unwrap_or(rest.len()));
        // RFC 9110, 4.2.1: an http URI without a host is invalid. 4.2.4: one with user information
        // is to be treated as an error; `@` is no part of a host, so the check sees to that.
        match Authority::parse(authority) {
            Some(parsed) if !parsed.host.is_empty() => {}
            _ => return Err(RequestError::InvalidTarget),
        }
        let origin_form = match rest {
            // RFC 9112, 3.2.4: this is how OPTIONS * reads in absolute-form.
            b"" if method == "OPTIONS" => Cow::Borrowed("*"),
            // RFC 9110, 4.2.3: an empty path is the same as "/".
            b"" => Cow::Borrowed("/"),
            [b'?', ..] => Cow::Owned(format!("/{}", encoded(rest))),
            _ => encoded(rest),
        };
        Ok(Self {
            origin_form,
            authority: Some(text(authority)?),
        })
    }

    /// What stands before the first `?`.
    pub(crate) fn path(&self) -> &str {
        split_query(&self.origin_form).0
    }

    /// What follows the first `?`.
    pub(crate) fn query(&self) -> Option<&str> {
        split_query(&self.origin_form).1
    }
}

/// `bytes` with those outside ASCII, and those that RFC 3986 allows nowhere, percent-encoded.
/// Brackets stay: browsers leave them in queries, and everybody reads them alike. The result has at
/// most three times the length; what has no such byte is borrowed.
fn encoded(bytes: &[u8]) -> Cow<'_, str> {
    let is_odd = |byte: &u8| !byte.is_ascii_graphic() || b"\"<>\\^`{|}".contains(byte);
    let odd = bytes.iter().filter(|byte| is_odd(byte)).count();
    if let (0, Ok(clean)) = (odd, std::str::from_utf8(bytes)) {
        return Cow::Borrowed(clean);
    }
    let mut encoded = String::with_capacity(bytes.len() + 2 * odd);
    for byte in bytes {
        if is_odd(byte) {
            encoded.push('%');
            for digit in [byte >> 4, byte & 0xf] {
                encoded.push(char::from(b"0123456789ABCDEF"[usize::from(digit)]));
            }
        } else {
            encoded.push(char::from(*byte));
        }
    }
    Cow::Owned(encoded)
}

fn text(bytes: &[u8]) -> Result<&str, RequestError> {
    std::str::from_utf8(bytes).map_err(|_| RequestError::InvalidTarget)
}

/// `uri-host [ ":" port ]`, checked (RFC 9110, 4.2 and 7.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Authority<'b> {
    /// As sent; may be empty; an IPv6 address keeps its brackets.
    pub(crate) host: &'b str,
    /// Digits, 65535 at most; empty if there is none.
    pub(crate) port: &'b str,
}

impl<'b> Authority<'b> {
    /// `None` if `bytes` is anything else. User information, blanks and paths do not pass.
    pub(crate) fn parse(bytes: &'b [u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let host_end = if let Some(literal) = text.strip_prefix('[') {
            // RFC 3986, 3.2.2: an IPv6 address. The literals of future IP versions that it also
            // allows were never put to use, and are refused.
            let (literal, _) = literal.split_once(']')?;
            let (address, zone) = match literal.split_once('%') {
                Some((address, zone)) => (address, Some(zone)),
                None => (literal, None),
            };
            address.parse::<Ipv6Addr>().ok()?;
            // RFC 6874: the zone of a link-local address, behind `%25`. It means something to its
            // sender alone and should not have been sent, but HTTP clients send it, many of them
            // behind a bare `%`.
            if let Some(zone) = zone {
                let name = zone.strip_prefix("25").filter(|name| !name.is_empty());
                if !is_zone(name.unwrap_or(zone)) {
                    return None;
                }
            }
            literal.len() + "[]".len()
        } else {
            let host_end = text.find(':').unwrap_or(text.len());
            if !is_reg_name(&bytes[..host_end]) {
                return None;
            }
            host_end
        };
        let (host, rest) = text.split_at_checked(host_end)?;
        if rest.is_empty() {
            return Some(Self { host, port: "" });
        }
        // RFC 3986, 3.2.3: digits, or nothing behind the colon. A port without a host is useless.
        let port = rest.strip_prefix(':')?;
        let digits = port.bytes().all(|byte| byte.is_ascii_digit());
        let in_range = port.is_empty() || port.parse::<u16>().is_ok();
        (digits && in_range && !host.is_empty()).then_some(Self { host, port })
    }
}

/// Whether these bytes may be the value of `Host`: a host and perhaps a port (RFC 9110 section 7.2), or
/// nothing. It is what a request's own `Host` has to be.
pub fn is_valid_host(bytes: &[u8]) -> bool {
    Authority::parse(bytes).is_some()
}

/// `host` without the zone of an IPv6 address: that means something to its sender alone, so whoever
/// passes the host on has to take it out (RFC 6874, 4).
#[must_use]
pub fn without_zone(host: &str) -> Cow<'_, str> {
    match (host.find('%'), host.find(']')) {
        (Some(zone), Some(end)) if host.starts_with('[') && zone < end => {
            Cow::Owned(format!("{}{}", &host[..zone], &host[end..]))
        }
        _ => Cow::Borrowed(host),
    }
}

/// RFC 6874, 2: `ZoneID = 1*( unreserved / pct-encoded )`.
fn is_zone(zone: &str) -> bool {
    let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%".contains(&byte);
    !zone.is_empty() && zone.bytes().all(unreserved) && is_reg_name(zone.as_bytes())
}

/// RFC 3986, 3.2.2: `reg-name`, which covers IPv4 addresses too. It may be empty.
fn is_reg_name(mut bytes: &[u8]) -> bool {
    loop {
        bytes = match bytes {
            [] => return true,
            [b'%', high, low, rest @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                rest
            }
            [byte, rest @ ..]
                if byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(byte) =>
            {
                rest
            }
            _ => return false,
        };
    }
}

fn split_query(target: &str) -> (&str, Option<&str>) {
    match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Parts<'b> = (String, Option<String>, Option<&'b str>);

    fn parts<'b>(method: &str, target: &'b str) -> Parts<'b> {
        match Target::parse(method, target.as_bytes()) {
            Ok(parsed) => {
                let (path, query) = (parsed.path().to_owned(), parsed.query().map(str::to_owned));
                (path, query, parsed.authority)
            }
            Err(error) => panic!("{method} {target}: {error}"),
        }
    }

    fn expected<'b>(path: &str, query: Option<&str>, authority: Option<&'b str>) -> Parts<'b> {
        (path.to_owned(), query.map(str::to_owned), authority)
    }

    #[test]
    fn origin_form_splits_at_the_first_question_mark() {
        assert_eq!(parts("GET", "/"), expected("/", None, None));
        assert_eq!(
            parts("GET", "/a/b?c=d?e"),
            expected("/a/b", Some("c=d?e"), None)
        );
        assert_eq!(parts("GET", "/?"), expected("/", Some(""), None));
        assert_eq!(parts("GET", "//a"), expected("//a", None, None));
        assert_eq!(
            parts("GET", "/a?b[]=c"),
            expected("/a", Some("b[]=c"), None)
        );
    }

    #[test]
    fn absolute_form_names_an_authority() {
        assert_eq!(parts("GET", "http://h"), expected("/", None, Some("h")));
        assert_eq!(
            parts("GET", "HTTPS://h:8443/p?q"),
            expected("/p", Some("q"), Some("h:8443"))
        );
        assert_eq!(
            parts("GET", "http://h?q"),
            expected("/", Some("q"), Some("h"))
        );
        assert_eq!(
            parts("GET", "http://[::1]:80/x"),
            expected("/x", None, Some("[::1]:80"))
        );
        assert_eq!(parts("OPTIONS", "http://h"), expected("*", None, Some("h")));
        assert_eq!(
            parts("OPTIONS", "http://h/"),
            expected("/", None, Some("h"))
        );
    }

    #[test]
    fn authority_form_is_for_connect_and_asterisk_form_for_options() {
        assert_eq!(parts("CONNECT", "h:443"), expected("", None, Some("h:443")));
        assert_eq!(parts("OPTIONS", "*"), expected("*", None, None));
        for (method, target) in [
            ("GET", "h:443"),
            ("GET", "*"),
            ("options", "*"),
            ("OPTIONS", "*x"),
            ("CONNECT", "/"),
            ("CONNECT", "*"),
            ("CONNECT", "h"),
            ("CONNECT", "h:"),
            ("CONNECT", ":443"),
            ("CONNECT", "h:70000"),
            ("CONNECT", "u@h:443"),
            ("CONNECT", "http://h:443/"),
        ] {
            assert_eq!(
                Target::parse(method, target.as_bytes()),
                Err(RequestError::InvalidTarget),
                "{method} {target}"
            );
        }
    }

    #[test]
    fn targets_outside_the_forms_are_refused() {
        for target in [
            "",
            "a",
            "?q",
            "/a#b",
            "/é#b",
            "/a b",
            "/a\t",
            "/\x7f",
            "/é\r\n",
            "é",
            "http://é/",
            "http:/h/",
            "http:///p",
            "http://:80/",
            "http://u@h/",
            "http://u:p@h/",
            "ftp://h/",
            "://h/",
            "http://h:x/",
            "http://[::1/",
            "http://h#f",
            "http://h\\x/",
            "http://[fe80::1%25]é/",
            "http://[v1.a]/",
        ] {
            assert_eq!(
                Target::parse("GET", target.as_bytes()),
                Err(RequestError::InvalidTarget),
                "{target:?}"
            );
        }
    }

    #[test]
    fn authorities_are_host_and_port() {
        for (text, host, port) in [
            ("", "", ""),
            ("example.com", "example.com", ""),
            ("example.com:", "example.com", ""),
            ("example.com:80", "example.com", "80"),
            ("127.0.0.1:00080", "127.0.0.1", "00080"),
            ("my_host~:65535", "my_host~", "65535"),
            ("a%41b", "a%41b", ""),
            ("[::1]", "[::1]", ""),
            ("[2001:db8::1]:8080", "[2001:db8::1]", "8080"),
            ("[fe80::1%25eth0]:8080", "[fe80::1%25eth0]", "8080"),
            ("[fe80::1%eth0]", "[fe80::1%eth0]", ""),
            ("[fe80::1%2]", "[fe80::1%2]", ""),
            ("[fe80::1%25]", "[fe80::1%25]", ""),
            ("[fe80::1%25en%20x]", "[fe80::1%25en%20x]", ""),
        ] {
            assert_eq!(
                Authority::parse(text.as_bytes()),
                Some(Authority { host, port }),
                "{text}"
            );
        }
        for text in [
            ":80",
            "a:b",
            "a:-1",
            "a:+1",
            "a:65536",
            "a:1:2",
            "u@a",
            "a b",
            "a/",
            "a?",
            "a%4",
            "a%zz",
            "[]",
            "[::1",
            "::1",
            "[::1]x",
            "[::1]80",
            "[1.2.3.4]",
            "[1.2.3.4%25eth0]",
            "[fe80::1%]",
            "[fe80::1%25eth/0]",
            "[fe80::1%25eth0%]",
            "[fe80::1%25a@b]",
            "[fe80::1%25a:b]",
            "[%25eth0]",
            "fe80::1%25eth0",
            "a]",
            "é",
            "a\0",
            "a\\b",
            "\"a\"",
            "<a>",
        ] {
            assert_eq!(Authority::parse(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn bytes_that_no_uri_holds_are_encoded() {
        for (target, origin_form) in [
            ("/caf\u{e9}", "/caf%C3%A9"),
            ("/a?q={\"a\":[1]}", "/a?q=%7B%22a%22:[1]%7D"),
            ("/<b>", "/%3Cb%3E"),
            ("/a|b^c`d\\e", "/a%7Cb%5Ec%60d%5Ce"),
            ("/\u{1f980}?\u{85}", "/%F0%9F%A6%80?%C2%85"),
            ("/100%?%zz%", "/100%?%zz%"),
            ("/a'b(c)*;=@!$,~", "/a'b(c)*;=@!$,~"),
            ("http://h/\u{e9}", "/%C3%A9"),
            ("http://h?{", "/?%7B"),
        ] {
            let parsed = Target::parse("GET", target.as_bytes()).map(|parsed| parsed.origin_form);
            assert_eq!(parsed.as_deref(), Ok(origin_form), "{target}");
        }
        let latin = Target::parse("GET", b"/caf\xe9?\xff").map(|parsed| parsed.origin_form);
        assert_eq!(latin.as_deref(), Ok("/caf%E9?%FF"));
        let clean = Target::parse("GET", b"/a/b?c=[d]").map(|parsed| parsed.origin_form);
        assert!(matches!(clean, Ok(Cow::Borrowed(_))), "it costs nothing");
    }

    #[test]
    fn the_zone_of_an_address_is_left_out_and_nothing_else() {
        for (host, without) in [
            ("[fe80::1%25eth0]:8080", "[fe80::1]:8080"),
            ("[fe80::1%eth0]", "[fe80::1]"),
            ("[::1]:80", "[::1]:80"),
            ("a%41b", "a%41b"),
            ("", ""),
        ] {
            assert_eq!(without_zone(host), without, "{host}");
        }
    }
}
