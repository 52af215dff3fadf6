//! Request targets and authorities (RFC 9112, 3.2; RFC 3986, 3.2).

use std::net::Ipv6Addr;

use crate::RequestError;

/// A checked request target, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Target<'b> {
    /// Starts with `/`, or is `*`, or is empty for CONNECT.
    pub(crate) path: &'b str,
    /// What follows the first `?`.
    pub(crate) query: Option<&'b str>,
    /// `host[:port]`, where the target itself names it.
    pub(crate) authority: Option<&'b str>,
}

impl<'b> Target<'b> {
    /// Checks `target` against the form that `method` calls for.
    ///
    /// Visible ASCII passes in path and query but for `#`. RFC 3986 allows less, but browsers send
    /// `|`, `[` and their like unescaped in queries. Percent signs are left to whoever decodes.
    pub(crate) fn parse(method: &str, target: &'b str) -> Result<Self, RequestError> {
        // RFC 9112, 3.2: a target holds no whitespace; RFC 3986: only ASCII. A fragment is the
        // client's own affair and is never sent (RFC 9110, 7.1).
        if !target
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b'#')
        {
            return Err(RequestError::InvalidTarget);
        }
        if method == "CONNECT" {
            // RFC 9112, 3.2.3: authority-form, which only CONNECT may use. RFC 9110, 9.3.6: its
            // port must be there.
            return match Authority::parse(target.as_bytes()) {
                Some(authority) if !authority.host.is_empty() && !authority.port.is_empty() => {
                    Ok(Self {
                        path: "",
                        query: None,
                        authority: Some(target),
                    })
                }
                _ => Err(RequestError::InvalidTarget),
            };
        }
        if target == "*" {
            // RFC 9112, 3.2.4: asterisk-form is for a server-wide OPTIONS and nothing else.
            return match method {
                "OPTIONS" => Ok(Self {
                    path: target,
                    query: None,
                    authority: None,
                }),
                _ => Err(RequestError::InvalidTarget),
            };
        }
        if target.starts_with('/') {
            // RFC 9112, 3.2.1: origin-form.
            let (path, query) = split_query(target);
            return Ok(Self {
                path,
                query,
                authority: None,
            });
        }
        Self::parse_absolute(method, target)
    }

    /// RFC 9112, 3.2.2: absolute-form, which a server must accept from any client.
    fn parse_absolute(method: &str, target: &'b str) -> Result<Self, RequestError> {
        let (scheme, rest) = target
            .split_once("://")
            .ok_or(RequestError::InvalidTarget)?;
        // There is nothing here to answer for another scheme.
        if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
            return Err(RequestError::InvalidTarget);
        }
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at(end);
        // RFC 9110, 4.2.1: an http URI without a host is invalid. 4.2.4: one with user information
        // is to be treated as an error; `@` is no part of a host, so the check sees to that.
        match Authority::parse(authority.as_bytes()) {
            Some(parsed) if !parsed.host.is_empty() => {}
            _ => return Err(RequestError::InvalidTarget),
        }
        let (path, query) = split_query(rest);
        let path = match (path, query) {
            // RFC 9112, 3.2.4: this is how OPTIONS * reads in absolute-form.
            ("", None) if method == "OPTIONS" => "*",
            // RFC 9110, 4.2.3: an empty path is the same as "/".
            ("", _) => "/",
            _ => path,
        };
        Ok(Self {
            path,
            query,
            authority: Some(authority),
        })
    }
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
            let (address, _) = literal.split_once(']')?;
            address.parse::<Ipv6Addr>().ok()?;
            address.len() + "[]".len()
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

    fn parts<'b>(method: &str, target: &'b str) -> (&'b str, Option<&'b str>, Option<&'b str>) {
        match Target::parse(method, target) {
            Ok(parsed) => (parsed.path, parsed.query, parsed.authority),
            Err(error) => panic!("{method} {target}: {error}"),
        }
    }

    #[test]
    fn origin_form_splits_at_the_first_question_mark() {
        assert_eq!(parts("GET", "/"), ("/", None, None));
        assert_eq!(parts("GET", "/a/b?c=d?e"), ("/a/b", Some("c=d?e"), None));
        assert_eq!(parts("GET", "/?"), ("/", Some(""), None));
        assert_eq!(parts("GET", "//a"), ("//a", None, None));
        assert_eq!(parts("GET", "/a?b[]=c|d"), ("/a", Some("b[]=c|d"), None));
    }

    #[test]
    fn absolute_form_names_an_authority() {
        assert_eq!(parts("GET", "http://h"), ("/", None, Some("h")));
        assert_eq!(
            parts("GET", "HTTPS://h:8443/p?q"),
            ("/p", Some("q"), Some("h:8443"))
        );
        assert_eq!(parts("GET", "http://h?q"), ("/", Some("q"), Some("h")));
        assert_eq!(
            parts("GET", "http://[::1]:80/x"),
            ("/x", None, Some("[::1]:80"))
        );
        assert_eq!(parts("OPTIONS", "http://h"), ("*", None, Some("h")));
        assert_eq!(parts("OPTIONS", "http://h/"), ("/", None, Some("h")));
    }

    #[test]
    fn authority_form_is_for_connect_and_asterisk_form_for_options() {
        assert_eq!(parts("CONNECT", "h:443"), ("", None, Some("h:443")));
        assert_eq!(parts("OPTIONS", "*"), ("*", None, None));
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
                Target::parse(method, target),
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
            "/é",
            "/a b",
            "/a\t",
            "/\x7f",
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
            "http://[fe80::1%25eth0]/",
            "http://[v1.a]/",
        ] {
            assert_eq!(
                Target::parse("GET", target),
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
}
