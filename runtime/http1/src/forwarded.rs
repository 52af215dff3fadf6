//! What proxies say about a client: the `Forwarded` field (RFC 7239), and the addresses in it and in
//! `X-Forwarded-For`.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// What one proxy says in a `Forwarded` field. Parameters that are not listed here are skipped.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ForwardedElement<'a> {
    /// `for`: who sent the request to that proxy (section 5.2). [`parse_node`] reads it.
    pub node: Option<Cow<'a, str>>,
    /// `host`: the Host field as that proxy received it (section 5.3).
    pub host: Option<Cow<'a, str>>,
    /// `proto`: the protocol by which that proxy received it, such as `https` (section 5.4).
    pub proto: Option<Cow<'a, str>>,
}

/// A `Forwarded` field that RFC 7239 section 4 does not allow: an open quote could swallow what the
/// next proxy appends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MalformedForwarded;

impl std::fmt::Display for MalformedForwarded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the Forwarded field is malformed")
    }
}

impl std::error::Error for MalformedForwarded {}

/// Parses the value of a `Forwarded` field. Its elements come in their order, so the last one is what
/// the nearest proxy says. Blanks around separators are accepted, and elements without content are
/// skipped, as in every list (RFC 9110 section 5.6.1).
///
/// # Errors
///
/// It is malformed, or an element has a parameter twice.
pub fn parse_forwarded(value: &str) -> Result<Vec<ForwardedElement<'_>>, MalformedForwarded> {
    let mut elements = Vec::new();
    let mut rest = value;
    loop {
        let element;
        (element, rest) = parse_element(rest)?;
        elements.extend(element);
        match rest.strip_prefix(',') {
            Some(next) => rest = next,
            None if rest.is_empty() => return Ok(elements),
            None => return Err(MalformedForwarded),
        }
    }
}

/// Parses up to the next comma, or the end.
fn parse_element(
    mut rest: &str,
) -> Result<(Option<ForwardedElement<'_>>, &str), MalformedForwarded> {
    let mut element = None::<ForwardedElement<'_>>;
    loop {
        rest = rest.trim_start_matches([' ', '\t']);
        let name_end = rest.find(|c: char| !is_token(c)).unwrap_or(rest.len());
        if name_end > 0 {
            let name = &rest[..name_end];
            let after = rest[name_end..].strip_prefix('=');
            let value;
            (value, rest) = parse_value(after.ok_or(MalformedForwarded)?)?;
            let element = element.get_or_insert_default();
            let slot = match () {
                () if name.eq_ignore_ascii_case("for") => Some(&mut element.node),
                () if name.eq_ignore_ascii_case("host") => Some(&mut element.host),
                () if name.eq_ignore_ascii_case("proto") => Some(&mut element.proto),
                () => None,
            };
            // Each parameter may stand there once (section 4).
            if slot.is_some_and(|slot| slot.replace(value).is_some()) {
                return Err(MalformedForwarded);
            }
            rest = rest.trim_start_matches([' ', '\t']);
        }
        match rest.strip_prefix(';') {
            Some(next) => rest = next,
            None => return Ok((element, rest)),
        }
    }
}

/// Parses a token or a quoted string, and returns what follows it.
fn parse_value(text: &str) -> Result<(Cow<'_, str>, &str), MalformedForwarded> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(|c: char| !is_token(c)).unwrap_or(text.len());
        return match end {
            0 => Err(MalformedForwarded),
            _ => Ok((Cow::Borrowed(&text[..end]), &text[end..])),
        };
    };
    let mut value = Cow::Borrowed("");
    let mut from = 0;
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => {
                append(&mut value, &quoted[from..at]);
                return Ok((value, &quoted[at + 1..]));
            }
            '\\' => {
                append(&mut value, &quoted[from..at]);
                let (escaped, _) = characters.next().ok_or(MalformedForwarded)?;
                from = escaped;
            }
            _ => {}
        }
    }
    Err(MalformedForwarded)
}

fn append<'a>(to: &mut Cow<'a, str>, more: &'a str) {
    match to.is_empty() {
        true => *to = Cow::Borrowed(more),
        false => to.to_mut().push_str(more),
    }
}

/// Whether a character may stand in a token (RFC 9110 section 5.6.2).
fn is_token(character: char) -> bool {
    character.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(character)
}

/// Reads an address, with a port or without (port 0): `192.0.2.7`, `192.0.2.7:80`,
/// `[2001:db8::7]:80`, as `Forwarded` has them (RFC 7239 section 6), and `2001:db8::7`, which
/// `X-Forwarded-For` has as well. `None` for anything else, such as `unknown` and names that a proxy
/// made up (`_hidden`): nobody can be told by those.
pub fn parse_node(text: &str) -> Option<SocketAddr> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(SocketAddr::new(address, 0));
    }
    if let Some(bracketed) = text.strip_prefix('[') {
        let (address, after) = bracketed.split_once(']')?;
        let address = address.parse::<Ipv6Addr>().ok()?;
        return Some(SocketAddr::from((address, optional_port(after)?)));
    }
    let (address, _) = text.split_once(':')?;
    let port = optional_port(&text[address.len()..])?;
    Some(SocketAddr::new(address.parse().ok()?, port))
}

/// What is well-formed at the end of a list of addresses, as `X-Forwarded-For` has it: `line` from
/// behind the last element that no proxy writes. Proxies append what they see, so whatever stands in
/// front of such an element, an open quote perhaps, somebody else made up.
pub fn well_formed_nodes(line: &[u8]) -> &[u8] {
    let is_odd = |node: &[u8]| {
        let text = node.trim_ascii();
        !text
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b".:[]_-%".contains(byte))
    };
    let mut start = line.len();
    for node in line.rsplit(|byte| *byte == b',') {
        if is_odd(node) {
            break;
        }
        start = start.saturating_sub(node.len() + 1);
    }
    let rest = match start {
        0 => line,
        _ => line.get(start + 1..).unwrap_or_default(),
    };
    rest.trim_ascii()
}

/// Whether a value of `Via` is a list of what RFC 9110, 7.6.3 describes: protocol and name of a proxy,
/// with a comment perhaps that is closed. Elements may be empty (5.6.1).
pub fn is_well_formed_via(value: &[u8]) -> bool {
    let mut depth = 0usize;
    let mut bytes = value.iter();
    while let Some(&byte) = bytes.next() {
        match (byte, depth) {
            (b'(', _) => depth += 1,
            (b')', 1..) => depth -= 1,
            (b'\\', 1..) if bytes.next().is_none() => return false,
            (_, 1..) => {}
            _ if is_token(byte.into()) || b",/:[] \t".contains(&byte) => {}
            _ => return false,
        }
    }
    depth == 0
}

/// Reads nothing, or a colon and a port. A port that a proxy made up (`_port`) is 0.
fn optional_port(text: &str) -> Option<u16> {
    let Some(port) = text.strip_prefix(':') else {
        return text.is_empty().then_some(0);
    };
    if let Some(name) = port.strip_prefix('_') {
        let is_name = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        return (!name.is_empty() && name.chars().all(is_name)).then_some(0);
    }
    let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
    port.parse().ok().filter(|_| is_number)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;

    fn nodes(value: &str) -> Vec<String> {
        let elements = parse_forwarded(value).unwrap();
        let node = |element: &ForwardedElement<'_>| match &element.node {
            Some(node) => node.to_string(),
            None => "-".to_owned(),
        };
        elements.iter().map(node).collect()
    }

    #[test]
    fn elements_are_read_as_the_rfc_writes_them() {
        // The examples of RFC 7239 section 4 and 7.1.
        assert_eq!(nodes("for=\"_gazonk\""), ["_gazonk"]);
        assert_eq!(
            nodes("For=\"[2001:db8:cafe::17]:4711\""),
            ["[2001:db8:cafe::17]:4711"]
        );
        let value = "for=192.0.2.60;proto=http;by=203.0.113.43";
        let element = &parse_forwarded(value).unwrap()[0];
        assert_eq!(element.proto.as_deref(), Some("http"));
        assert_eq!(
            nodes("for=192.0.2.43, for=198.51.100.17"),
            ["192.0.2.43", "198.51.100.17"]
        );
        let value = "for=192.0.2.43,for=\"[2001:db8:cafe::17]\",for=unknown";
        assert_eq!(
            nodes(value),
            ["192.0.2.43", "[2001:db8:cafe::17]", "unknown"]
        );
    }

    #[test]
    fn separators_in_quotes_separate_nothing() {
        let value = r#"for="a,b;c=\"d\\";host="h:80" ; PROTO=https,, ;by=x"#;
        let elements = parse_forwarded(value).unwrap();
        assert_eq!(elements.len(), 2);
        assert_eq!(elements[0].node.as_deref(), Some(r#"a,b;c="d\"#));
        assert_eq!(elements[0].host.as_deref(), Some("h:80"));
        assert_eq!(elements[0].proto.as_deref(), Some("https"));
        assert_eq!(elements[1], ForwardedElement::default());
        assert!(parse_forwarded("").unwrap().is_empty());
        assert!(parse_forwarded(" , ,").unwrap().is_empty());
        assert_eq!(nodes("for=\"\""), [""]);
    }

    #[test]
    fn what_is_malformed_is_refused() {
        for value in [
            "for=\"1.2.3.4",
            "for=\"1.2.3.4\\",
            "for",
            "for=",
            "=1",
            "for= 1",
            "for =1",
            "for=1;for=2",
            "for=1 2",
            "for=[::1]",
            "for=1.2.3.4:80",
            "for=\"1\"x",
            "for=\u{e4}",
            "\"for\"=1",
            "for=1@2",
        ] {
            assert_eq!(parse_forwarded(value), Err(MalformedForwarded), "{value}");
        }
    }

    #[test]
    fn what_stands_behind_a_malformed_address_is_kept() {
        for (line, kept) in [
            ("1.2.3.4", "1.2.3.4"),
            (
                "1.2.3.4, [::1]:80 ,unknown,_x",
                "1.2.3.4, [::1]:80 ,unknown,_x",
            ),
            ("", ""),
            (" , ,", ", ,"),
            ("\"1.2.3.4", ""),
            ("\"1.2.3.4, 10.0.0.1, 10.0.0.2", "10.0.0.1, 10.0.0.2"),
            ("10.0.0.1, a b", ""),
            ("10.0.0.1, (c, 10.0.0.2", "10.0.0.2"),
            ("for=1.2.3.4", ""),
            ("\u{e4},10.0.0.2", "10.0.0.2"),
        ] {
            assert_eq!(
                well_formed_nodes(line.as_bytes()),
                kept.as_bytes(),
                "{line}"
            );
        }
    }

    #[test]
    fn comments_in_via_are_closed() {
        for value in [
            "1.1 a",
            "1.0 a, HTTP/1.1 b:80 (x (y) \\) \"), [::1]",
            "",
            " ,, ",
        ] {
            assert!(is_well_formed_via(value.as_bytes()), "{value}");
        }
        for value in [
            "1.1 a (x",
            "1.1 a (x\\",
            "1.1 a)",
            "\"1.1 a",
            "1.1 a; b",
            "1.1 \u{e4}",
        ] {
            assert!(!is_well_formed_via(value.as_bytes()), "{value}");
        }
    }

    #[test]
    fn addresses_may_have_ports_and_names_are_nobody() {
        for (text, address) in [
            ("192.0.2.7", "192.0.2.7:0"),
            ("192.0.2.7:80", "192.0.2.7:80"),
            ("192.0.2.7:_http", "192.0.2.7:0"),
            ("2001:db8::7", "[2001:db8::7]:0"),
            ("[2001:db8::7]", "[2001:db8::7]:0"),
            ("[2001:db8::7]:4711", "[2001:db8::7]:4711"),
            ("::ffff:192.0.2.7", "[::ffff:192.0.2.7]:0"),
        ] {
            assert_eq!(
                parse_node(text).map(|node| node.to_string()).as_deref(),
                Some(address)
            );
        }
        for text in [
            "",
            "unknown",
            "_hidden",
            "localhost",
            "192.0.2",
            "192.0.2.7:",
            "192.0.2.7:+1",
            "192.0.2.7:65536",
            "192.0.2.7:_",
            "[192.0.2.7]",
            "[::1",
            "[::1]x",
            "[::1]:",
            "::1]",
            "[fe80::1%eth0]",
            "1.2.3.4 ",
            "192.0.2.007",
        ] {
            assert_eq!(parse_node(text), None, "{text}");
        }
    }
}
