//! What holds for whatever asks at the admin socket, and for whatever answers there. The fuzz targets
//! check it, and so does a test.

use super::answer;
use super::message::Request;
use super::query::{encoded, pairs};
use super::reading::{REQUEST_BYTES, is_command, methods, read};

/// Reads `input` as a request, over either kind of socket, as it comes: what is decided once stays
/// decided, and over TCP nothing can be changed.
pub fn request(input: &[u8]) {
    let input = &input[..input.len().min(REQUEST_BYTES)];
    for is_tcp in [false, true] {
        let whole = read(input, is_tcp);
        if input.len() == REQUEST_BYTES {
            assert!(!matches!(whole, Ok(None)), "there is no room for more");
        }
        for end in (0..input.len()).step_by(input.len() / 12 + 1) {
            match (read(&input[..end], is_tcp), &whole) {
                (Ok(None), _) => {}
                (Ok(Some(part)), Ok(Some(whole))) => {
                    let is_same = part.body == whole.body || whole.upload.is_some();
                    assert!(part.path == whole.path && is_same);
                }
                (Err(_), Err(refused)) => assert!((400..600).contains(&refused.status)),
                _ => panic!("{end} bytes are decided otherwise"),
            }
        }
        if let Ok(Some(request)) = whole {
            accepted(&request, input, is_tcp);
        }
    }
}

/// The rules that an accepted request keeps.
fn accepted(request: &Request, input: &[u8], is_tcp: bool) {
    let methods = methods(&request.path);
    assert!(request.path.starts_with('/'));
    assert_eq!(request.is_post, methods == "POST");
    assert!(!request.is_head || methods.contains("HEAD"));
    assert!(!is_tcp || !request.is_post && !is_command(&request.path));
    assert!(request.is_post || request.body.is_empty());
    // Empty lines may stand in front of a request.
    let begin = input.iter().position(|byte| !b"\r\n".contains(byte));
    let input = &input[begin.unwrap_or(0)..];
    let end = input.windows(4).position(|end| end == b"\r\n\r\n");
    let (head, body) = input.split_at(end.map_or(0, |end| end + 4));
    assert!(body.starts_with(&request.body));
    let text = String::from_utf8_lossy(head).to_ascii_lowercase();
    if is_tcp || request.is_post {
        // A page of a browser's says so in fields of its own.
        assert_eq!(field(&text, "origin"), None);
        let site = field(&text, "sec-fetch-site");
        assert!(site.is_none_or(|site| ["none", "same-origin"].contains(&site)));
    }
    if is_tcp {
        assert!(is_own(&text), "{text}");
    }
    for (name, value) in pairs(request.query.as_deref().unwrap_or_default()) {
        let again = format!("{}={}", encoded(&name), encoded(&value));
        assert!(pairs(&again).eq([(name, value)]));
    }
}

/// The first field of that name in a head in lower case.
fn field<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    let mut lines = head.split("\r\n").skip(1);
    lines.find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim_ascii()))
}

/// Whether a head in lower case asks for this device by a name that only it can use: as its target,
/// else in `Host`. Without either, nobody was made to ask.
fn is_own(head: &str) -> bool {
    let target = head.split(' ').nth(1).unwrap_or_default();
    let absolute = target.split_once("://").map(|(_, rest)| rest);
    let absolute = absolute.filter(|_| !target.starts_with('/'));
    let absolute = absolute.and_then(|rest| rest.split(['/', '?']).next());
    let Some(host) = absolute.or_else(|| field(head, "host")) else {
        return true;
    };
    let names = ["", "localhost", "127.0.0.1", "[::1]"];
    names.into_iter().any(|name| {
        let port = host.strip_prefix(name);
        port.is_some_and(|port| port.is_empty() || !name.is_empty() && port.starts_with(':'))
    })
}

/// Reads `input` as what answers at the socket: no more is taken from it than is there, and nothing
/// that is shown steers a terminal.
pub fn response(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let shown = match answer::read(&text) {
        Ok(answer) => {
            assert!(text.ends_with(&answer.body) && text.starts_with("HTTP/1.1 200 "));
            zlayer_binlog::lines(&answer.body).into_owned()
        }
        Err(error) => error.to_string(),
    };
    assert!(!shown.contains(|c| zlayer_binlog::steers(c) && c != '\n' && c != '\t'));
}

#[cfg(test)]
mod tests {
    use crate::mutations;

    #[test]
    fn whatever_comes_to_the_admin_socket_keeps_the_rules() {
        mutations::each("admin", 20_000, |input| {
            super::request(input);
            super::response(input);
        });
    }
}
