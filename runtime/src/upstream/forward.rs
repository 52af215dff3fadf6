//! The router's `forward`: sends a client's request to an upstream, as a reverse proxy does.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::Arc;

use http::header::{ALLOW, FORWARDED, HOST, HeaderMap, HeaderName, HeaderValue, MAX_FORWARDS, VIA};

use zlayer_http1::{is_well_formed_via, parse_forwarded, well_formed_nodes};

use super::{Target, Upgrade, Upstreams, hop};
use crate::failure::Failure;
use crate::message::fields::{
    PROXY, X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PROTO, X_REAL_IP,
};
use crate::message::{Body, Client, Response, empty, final_status};

/// The name of this proxy in `Via` (RFC 9110 section 7.6.3).
const OWN_NAME: &str = "zlayer";

/// The response to a request that was to be forwarded.
pub struct Forwarded {
    /// The response as it came, or as the proxy made it.
    pub response: Response,
    /// The upstream that it comes from, as the log calls it; `None` if the proxy made it.
    pub upstream: Option<Arc<str>>,
}

/// Sends the request of `client` to the upstream, and brings back the response. Bodies
/// stream both ways; `id` is the request's, for the log.
///
/// The upstream sees the client's own `Host`, as it would without a proxy in between: so the links
/// and redirects that it makes lead back here, and it can tell sites apart. TLS still asks for the
/// name of the target. The fields of a reverse proxy are set: `X-Forwarded-For` and `Forwarded` get
/// whoever sent the request here appended to what came, `X-Forwarded-Proto` and `X-Forwarded-Host` say
/// what the client used, here or towards a trusted proxy, whatever it claimed, and `Via` gets this proxy
/// appended.
///
/// # Errors
///
/// 502, 503 and 504 as [`UpstreamError`] says; 400 if the client's body is at fault.
pub async fn forward(
    upstreams: &Upstreams,
    mut head: http::request::Parts,
    body: Body,
    client: &Client,
    to: &Target,
    id: &str,
) -> Result<Forwarded, Failure> {
    if let Some(response) = response_from_here(&mut head) {
        return Ok(Forwarded {
            response,
            upstream: None,
        });
    }
    if !upstreams.settings().underscore_headers {
        hop::strip_underscores(&mut head.headers);
    }
    proxy_fields(&mut head, client);
    upstreams.rounds().mark_head(&mut head.headers, id);
    let key = to.key();
    let sent = upstreams.send(http::Request::from_parts(head, body), to, id);
    let mut response = sent.await.map_err(|error| error.failure(&key))?;
    if response.status() == http::StatusCode::RESET_CONTENT {
        // RFC 9110 section 15.3.6: it has no content. What an upstream sends even so, be it only
        // the end of a body in chunks, is not the client's concern.
        response.headers_mut().remove(http::header::CONTENT_LENGTH);
        *response.body_mut() = empty();
    }
    final_status(response.status().as_u16())
        .map_err(|failure| failure.of_upstream(&key.to_string()))?;
    Ok(Forwarded {
        response,
        upstream: Some(key.to_string().into()),
    })
}

/// The response to a request that is not forwarded: TRACE, which would show a client's secrets to
/// whoever makes the client send it, and OPTIONS whose `Max-Forwards` is 0 (RFC 9110 section
/// 7.6.2). In other OPTIONS requests `Max-Forwards` is counted down.
fn response_from_here(parts: &mut http::request::Parts) -> Option<Response> {
    let status = match parts.method {
        http::Method::TRACE => http::StatusCode::METHOD_NOT_ALLOWED,
        http::Method::OPTIONS => {
            let left = parts.headers.get(MAX_FORWARDS)?.to_str().ok()?;
            if let Some(left) = left.parse::<u32>().ok()?.checked_sub(1) {
                parts.headers.insert(MAX_FORWARDS, left.into());
                return None;
            }
            http::StatusCode::OK
        }
        _ => return None,
    };
    let mut response = http::Response::new(empty());
    *response.status_mut() = status;
    let allowed = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
    response.headers_mut().insert(ALLOW, allowed);
    Some(response)
}

/// Asks the upstream to switch to the protocol that the `Upgrade` field of `head` names, for
/// `client`. In all else it does as [`forward`] does.
///
/// # Errors
///
/// The same as of [`forward`].
pub async fn forward_upgrade(
    upstreams: &Upstreams,
    mut head: http::request::Parts,
    client: &Client,
    to: &Target,
    id: &str,
) -> Result<Upgrade, Failure> {
    if !upstreams.settings().underscore_headers {
        hop::strip_underscores(&mut head.headers);
    }
    proxy_fields(&mut head, client);
    upstreams.rounds().mark_head(&mut head.headers, id);
    let sent = upstreams.upgrade(head, to, id).await;
    sent.map_err(|error| error.failure(&to.key()))
}

/// Sets the fields that tell the upstream about the client and this proxy, for requests and for
/// upgrades.
fn proxy_fields(parts: &mut http::request::Parts, client: &Client) {
    let headers = &mut parts.headers;
    // A client of IPv4 on a socket for both versions appears as an IPv4 address.
    let peer = client.peer.ip().to_canonical();
    let host = headers.get(HOST).cloned();
    let mut forwarded = match peer {
        IpAddr::V4(address) => format!("for={address}"),
        // RFC 7239 section 6: an IPv6 address stands in brackets, and therefore in quotes.
        IpAddr::V6(address) => format!("for=\"[{address}]\""),
    };
    if let Some(host) = host.as_ref().and_then(|host| host.to_str().ok()) {
        // A host has neither quotes nor backslashes. The colon before a port makes quotes
        // necessary.
        let _ = write!(forwarded, ";host=\"{host}\"");
    }
    let _ = write!(forwarded, ";proto={}", client.peer_scheme.name());
    let version = match parts.version {
        http::Version::HTTP_10 => "1.0",
        _ => "1.1",
    };
    keep_well_formed_nodes(headers);
    append(headers, X_FORWARDED_FOR, &peer.to_string());
    drop_malformed_forwarded(headers);
    let mut proxies = headers.get_all(VIA).iter();
    if !proxies.all(|line| is_well_formed_via(line.as_bytes())) {
        headers.remove(VIA);
    }
    append(headers, FORWARDED, &forwarded);
    append(headers, VIA, &format!("{version} {OWN_NAME}"));
    let scheme = HeaderValue::from_static(client.scheme.name());
    headers.insert(X_FORWARDED_PROTO, scheme);
    if !client.is_proxied && headers.contains_key(X_REAL_IP) {
        // It holds one address, so ours cannot stand beside the one that was claimed.
        headers.remove(X_REAL_IP);
        append(headers, X_REAL_IP, &peer.to_string());
    }
    // No request has this field, and programs of CGI take it for HTTP_PROXY, which tells them where to
    // send their own requests (CVE-2016-5385).
    headers.remove(PROXY);
    match client.forwarded_host.clone().or(host) {
        Some(host) => drop(headers.insert(X_FORWARDED_HOST, host)),
        None => drop(headers.remove(X_FORWARDED_HOST)),
    }
}

/// Takes out of `X-Forwarded-For` what is malformed, with all that stands in front of it, for the same
/// reason as [`drop_malformed_forwarded`].
fn keep_well_formed_nodes(headers: &mut HeaderMap) {
    let lines = headers.get_all(X_FORWARDED_FOR).into_iter();
    let lines: Vec<_> = lines.map(HeaderValue::as_bytes).collect();
    let list = lines.join(&b", "[..]);
    let kept = well_formed_nodes(&list);
    match HeaderValue::from_bytes(kept) {
        Ok(value) if !kept.is_empty() => drop(headers.insert(X_FORWARDED_FOR, value)),
        _ => drop(headers.remove(X_FORWARDED_FOR)),
    }
}

/// Takes `Forwarded` out if what came of it is malformed: a quote that is never closed would take in
/// what is appended, and whoever reads that would believe the client in its place.
fn drop_malformed_forwarded(headers: &mut HeaderMap) {
    // Each line has to be well-formed by itself: others may read the first or the last alone.
    let is_malformed = |line: &HeaderValue| match line.to_str() {
        Ok(line) => parse_forwarded(line).is_err(),
        Err(_) => true,
    };
    if headers.get_all(FORWARDED).iter().any(is_malformed) {
        headers.remove(FORWARDED);
    }
}

/// Appends `value` to the list in the field `name`, so that it stays one field.
fn append(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    let mut list = Vec::new();
    for field in headers.get_all(&name) {
        list.extend_from_slice(field.as_bytes());
        list.extend_from_slice(b", ");
    }
    list.extend_from_slice(value.as_bytes());
    if let Ok(value) = HeaderValue::from_bytes(&list) {
        headers.insert(name, value);
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;

    fn sent(fields: &[(&'static str, &str)], client: &str) -> http::HeaderMap {
        let (mut parts, ()) = http::Request::new(()).into_parts();
        for (name, value) in fields {
            parts.headers.append(*name, value.parse().unwrap());
        }
        let address = std::net::SocketAddr::new(client.parse().unwrap(), 4000);
        proxy_fields(&mut parts, &address.into());
        parts.headers
    }

    #[test]
    fn a_request_says_where_it_came_from() {
        let headers = sent(&[("host", "example.com:8080")], "192.0.2.7");
        for (name, value) in [
            ("host", "example.com:8080"),
            ("x-forwarded-for", "192.0.2.7"),
            ("x-forwarded-host", "example.com:8080"),
            ("x-forwarded-proto", "http"),
            (
                "forwarded",
                "for=192.0.2.7;host=\"example.com:8080\";proto=http",
            ),
            ("via", "1.1 zlayer"),
        ] {
            assert_eq!(headers[name], value, "{name}");
        }
        assert_eq!(headers.len(), 6);
    }

    #[test]
    fn what_a_client_claims_is_added_to_or_replaced() {
        let fields = [
            ("host", "h"),
            ("x-forwarded-for", "10.0.0.1"),
            ("x-forwarded-for", "10.0.0.2, 10.0.0.3"),
            ("x-forwarded-host", "forged"),
            ("x-forwarded-proto", "https"),
            ("forwarded", "for=10.0.0.1"),
            ("via", "1.0 other"),
            ("x-real-ip", "10.0.0.1"),
            ("x-real-ip", "10.0.0.2"),
            ("proxy", "http://10.0.0.1/"),
        ];
        let headers = sent(&fields, "2001:db8::1");
        assert!(!headers.contains_key("proxy"));
        for (name, value) in [
            ("x-real-ip", "2001:db8::1"),
            (
                "x-forwarded-for",
                "10.0.0.1, 10.0.0.2, 10.0.0.3, 2001:db8::1",
            ),
            ("x-forwarded-host", "h"),
            ("x-forwarded-proto", "http"),
            (
                "forwarded",
                "for=10.0.0.1, for=\"[2001:db8::1]\";host=\"h\";proto=http",
            ),
            ("via", "1.0 other, 1.1 zlayer"),
        ] {
            assert_eq!(headers[name], value, "{name}");
            assert_eq!(headers.get_all(name).iter().count(), 1, "{name}");
        }
        let mapped = sent(&[("x-forwarded-host", "forged")], "::ffff:192.0.2.7");
        assert_eq!(mapped["x-forwarded-for"], "192.0.2.7");
        assert!(!mapped.contains_key("x-forwarded-host"));
    }

    #[test]
    fn what_is_appended_to_a_malformed_field_is_not_swallowed() {
        for malformed in [
            "for=\"1.2.3.4",
            "for=1.2.3.4, for=\"_x",
            "for=\"a\\",
            "1.2.3.4",
            "for=a;for=b",
        ] {
            for lines in [&[malformed][..], &["for=10.0.0.1", malformed]] {
                let lines: Vec<_> = lines.iter().map(|line| ("forwarded", *line)).collect();
                let headers = sent(&lines, "192.0.2.7");
                assert_eq!(
                    headers["forwarded"], "for=192.0.2.7;proto=http",
                    "{malformed}"
                );
            }
        }
        for (name, malformed, sent_on) in [
            ("x-forwarded-for", "\"10.0.0.1", "192.0.2.7"),
            (
                "x-forwarded-for",
                "\"10.0.0.1, 10.0.0.2",
                "10.0.0.2, 192.0.2.7",
            ),
            ("via", "1.1 a (b", "1.1 zlayer"),
            ("via", "\"1.1 a", "1.1 zlayer"),
        ] {
            assert_eq!(
                sent(&[(name, malformed)], "192.0.2.7")[name],
                sent_on,
                "{malformed}"
            );
        }
        let headers = sent(
            &[("forwarded", "for=\"[::1]:80\";proto=http, , for=_a")],
            "192.0.2.7",
        );
        let whole = "for=\"[::1]:80\";proto=http, , for=_a, for=192.0.2.7;proto=http";
        assert_eq!(headers["forwarded"], whole);
    }

    #[test]
    fn other_proxies_of_the_same_name_are_no_loop() {
        let eight = ["1.1 zlayer"; 8].join(", ");
        let headers = sent(&[("via", &eight)], "127.0.0.1");
        assert_eq!(headers["via"], format!("{eight}, 1.1 zlayer"));
    }

    #[test]
    fn some_requests_go_no_further() {
        let response = |method: &str, left: &str| {
            let (mut parts, ()) = http::Request::new(()).into_parts();
            parts.method = method.parse().unwrap();
            parts.headers.insert(MAX_FORWARDS, left.parse().unwrap());
            let response =
                response_from_here(&mut parts).map(|response| response.status().as_u16());
            (response, parts.headers[MAX_FORWARDS].clone())
        };
        for (method, left, status, after) in [
            ("TRACE", "5", Some(405), "5"),
            ("OPTIONS", "0", Some(200), "0"),
            ("OPTIONS", "5", None, "4"),
            ("OPTIONS", "x", None, "x"),
            ("GET", "0", None, "0"),
        ] {
            let expected = (status, HeaderValue::from_static(after));
            assert_eq!(response(method, left), expected, "{method} {left}");
        }
    }
}
