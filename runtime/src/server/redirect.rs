//! Where a client that came without TLS finds the same over TLS.

use http::header::HOST;

use crate::message::Client;

/// The port of HTTPS that URLs need not name (RFC 9110 section 4.2.2).
const USUAL_PORT: u16 = 443;

/// The URL of the request over TLS, on `port` of the host that the client asked for. Behind a trusted
/// proxy the host is the proxy's, and so is the port: the usual one.
pub(super) fn location(head: &http::request::Parts, client: &Client, port: u16) -> Option<String> {
    let host = match &client.forwarded_host {
        Some(host) => host.to_str().ok()?,
        None => head.headers.get(HOST)?.to_str().ok()?,
    };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    if name.is_empty() || !zlayer_http1::is_valid_host(name.as_bytes()) {
        return None;
    }
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    // OPTIONS of the whole server has no path.
    let path = if path == "*" { "/" } else { path };
    Some(match port == USUAL_PORT || client.is_proxied {
        true => format!("https://{name}{path}"),
        false => format!("https://{name}:{port}{path}"),
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;

    #[test]
    fn the_same_place_is_named_with_the_port_of_tls() {
        let at = |host: &str, target: &str, port, is_proxied| {
            let request = http::Request::builder().header("host", host).uri(target);
            let (head, ()) = request.body(()).unwrap().into_parts();
            let mut client = Client::from(std::net::SocketAddr::from(([192, 0, 2, 1], 1)));
            client.is_proxied = is_proxied;
            location(&head, &client, port)
        };
        for (host, target, port, is_proxied, url) in [
            ("h", "/", 443, false, "https://h/"),
            ("h:8080", "/a/b?c=d", 8443, false, "https://h:8443/a/b?c=d"),
            ("[::1]:8080", "/", 8443, false, "https://[::1]:8443/"),
            ("[::1]", "/", 443, false, "https://[::1]/"),
            ("h:80", "http://h:80/a", 8443, false, "https://h:8443/a"),
            ("h", "*", 443, false, "https://h/"),
            ("h", "/a", 8443, true, "https://h/a"),
        ] {
            assert_eq!(at(host, target, port, is_proxied).as_deref(), Some(url));
        }
        assert_eq!(at("", "/", 443, false), None);
        assert_eq!(at(":80", "/", 443, false), None);
    }
}
