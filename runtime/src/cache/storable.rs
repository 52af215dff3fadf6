//! Whether a shared cache may store a response (RFC 9111 section 3).

use http::HeaderMap;
use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_RANGE, COOKIE, HeaderName, PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION, SET_COOKIE, WWW_AUTHENTICATE,
};

use super::ask::Ask;
use super::directives::Directives;
use super::excluded::is_for_connection;
use crate::message::endless;
use crate::message::fields::{CREDENTIALS, OWN_FIELDS};

/// Statuses that are stored if the plugin says so: those that a cache may store by default (RFC
/// 9110 section 15.1) without 206, and temporary redirects. Other failures are not kept.
const STATUSES: [u16; 13] = [
    200, 203, 204, 300, 301, 302, 307, 308, 404, 405, 410, 414, 501,
];

/// The obsolete second `Set-Cookie` (RFC 2965).
const SET_COOKIE2: HeaderName = HeaderName::from_static("set-cookie2");
/// Whether the response to `ask`, which varies by the headers `names`, may be stored.
///
/// - Not with `no-store`, `private` or `no-cache`: this cache never asks an origin whether an entry
///   is still valid.
/// - A response to an authenticated request only if it varies by `Authorization` (RFC 9111 section
///   3.5). If the request has none, it must have other credentials, and the response must vary by
///   all of them.
/// - A response to a request with other fields that may tell whose it is, as `Cookie`, only if it
///   varies by all of them or is expressly public. Applications seldom say that they read cookies.
/// - Never one that is part of logging a connection in, nor a stream without end.
/// - A response with `Set-Cookie` only if it varies by `Cookie` and the request had one: then only
///   the client that got it before gets it again.
///
/// # Errors
///
/// Why it may not be stored, for a log.
pub(super) fn check(
    ask: &Ask<'_>,
    status: u16,
    headers: &HeaderMap,
    directives: &Directives,
    names: &[HeaderName],
) -> Result<(), &'static str> {
    let varies_by = |name: &HeaderName| names.contains(name) && ask.headers.contains_key(name);
    if !STATUSES.contains(&status) || headers.contains_key(CONTENT_RANGE) {
        return Err("its status is not stored");
    }
    if directives.no_store || directives.private || directives.no_cache {
        return Err("its cache-control forbids it");
    }
    let tells = match ask.headers.contains_key(AUTHORIZATION) {
        true => names.contains(&AUTHORIZATION),
        false => {
            let one = |name: &HeaderName| !ask.headers.contains_key(name) || names.contains(name);
            CREDENTIALS.iter().any(varies_by) && CREDENTIALS.iter().all(one)
        }
    };
    if ask.authenticated && !tells {
        return Err("it answers an authenticated request, and neither key nor vary say so");
    }
    if !directives.public && ask.untold(|name| names.contains(name)).is_some() {
        return Err(
            "it answers a request with a cookie or another personal field, neither key nor vary \
             depend on it, and it does not say that it is public",
        );
    }
    let sets = headers.contains_key(SET_COOKIE) || headers.contains_key(SET_COOKIE2);
    if sets && !varies_by(&COOKIE) {
        return Err("it sets a cookie");
    }
    if is_for_connection(headers, &WWW_AUTHENTICATE) {
        return Err("it is part of logging a connection in");
    }
    if endless(headers).is_some() {
        return Err("it is a stream that does not end");
    }
    Ok(())
}

/// Whether a field is stored with the response (RFC 9111 section 3.1).
pub(super) fn is_stored(name: &HeaderName, headers: &HeaderMap) -> bool {
    let named = |line: &http::HeaderValue| {
        line.as_bytes().split(|&byte| byte == b',').any(|option| {
            option
                .trim_ascii()
                .eq_ignore_ascii_case(name.as_str().as_bytes())
        })
    };
    !OWN_FIELDS.contains(name)
        && ![PROXY_AUTHENTICATE, PROXY_AUTHORIZATION].contains(name)
        && !headers.get_all(CONNECTION).iter().any(named)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use std::sync::Arc;

    use super::*;

    type Fields<'a> = &'a [(&'static str, &'a str)];

    fn headers(fields: Fields<'_>) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(*name, value.parse().unwrap());
        }
        map
    }

    fn stored(
        request: Fields<'_>,
        status: u16,
        response: Fields<'_>,
        names: &[HeaderName],
    ) -> bool {
        let (request, response) = (headers(request), headers(response));
        let mut ask = match request.contains_key("authorization") {
            true => Ask::by(Arc::from("k"), &mut std::iter::empty(), &request),
            false => Ask::new(Arc::from("k"), &request),
        };
        let own = HeaderName::from_static("x-own");
        let personal = CREDENTIALS.iter().cloned().chain([own]);
        ask.personal = personal.filter(|name| request.contains_key(name)).collect();
        let directives = Directives::of(&response);
        check(&ask, status, &response, &directives, names).is_ok()
    }

    #[test]
    fn statuses_and_directives_rule() {
        for status in [200, 204, 301, 302, 404, 410] {
            assert!(stored(&[], status, &[], &[]), "{status}");
        }
        for status in [101, 201, 206, 303, 304, 400, 401, 403, 429, 500, 502, 503] {
            assert!(!stored(&[], status, &[], &[]), "{status}");
        }
        for forbidden in ["no-store", "private", "no-cache", "max-age=60, private"] {
            assert!(!stored(&[], 200, &[("cache-control", forbidden)], &[]));
        }
        assert!(stored(&[], 200, &[("cache-control", "max-age=60")], &[]));
        assert!(!stored(&[], 200, &[("content-range", "bytes 0-1/2")], &[]));
    }

    #[test]
    fn what_is_for_one_user_is_stored_only_where_it_varies_by_what_names_that_user() {
        let token: Fields<'_> = &[("authorization", "Bearer x")];
        let authorization = HeaderName::from_static("authorization");
        assert!(!stored(token, 200, &[], &[]));
        assert!(!stored(token, 200, &[], &[COOKIE]));
        assert!(stored(
            token,
            200,
            &[],
            std::slice::from_ref(&authorization)
        ));
        // A cookie of all visitors beside it tells nothing.
        let both: Fields<'_> = &[("authorization", "Bearer x"), ("cookie", "theme=dark")];
        assert!(!stored(both, 200, &[], &[COOKIE]));
        assert!(stored(both, 200, &[], &[authorization]));
        let sets: Fields<'_> = &[("set-cookie", "a=b")];
        assert!(!stored(&[], 200, sets, &[]));
        // All new visitors have no cookie.
        assert!(!stored(&[], 200, sets, &[COOKIE]));
        assert!(!stored(&[("cookie", "c=d")], 200, sets, &[]));
        assert!(stored(&[("cookie", "c=d")], 200, sets, &[COOKIE]));
    }

    #[test]
    fn a_response_to_a_request_with_a_cookie_is_stored_where_it_says_so() {
        let own = HeaderName::from_static("x-own");
        for field in [("cookie", "session=a"), ("x-own", "a")] {
            let name = HeaderName::from_static(field.0);
            let plain: Fields<'_> = &[("cache-control", "max-age=60, must-revalidate")];
            assert!(stored(&[], 200, plain, &[]));
            assert!(!stored(&[field], 200, plain, &[]), "{field:?}");
            assert!(stored(&[field], 200, plain, &[name]), "{field:?}");
            for public in ["public", "s-maxage=60", "max-age=60, Public"] {
                let public: Fields<'_> = &[("cache-control", public)];
                assert!(stored(&[field], 200, public, &[]), "{field:?} {public:?}");
            }
            let both = [("cache-control", "public"), ("set-cookie", "a=b")];
            assert!(!stored(&[field], 200, &both, &[]), "{field:?}");
        }
        // Each of them has to be told.
        let two: Fields<'_> = &[("cookie", "a=b"), ("x-own", "a")];
        assert!(!stored(two, 200, &[], &[COOKIE]));
        assert!(stored(two, 200, &[], &[COOKIE, own.clone()]));
        // What the owner named is not told by whom the client authenticates as.
        let token: Fields<'_> = &[("authorization", "Bearer service"), ("x-own", "a")];
        assert!(!stored(token, 200, &[], &[AUTHORIZATION]));
        assert!(stored(token, 200, &[], &[AUTHORIZATION, own]));
    }

    #[test]
    fn what_belongs_to_a_connection_or_never_ends_is_not_stored() {
        for field in [
            ("set-cookie2", "a=b"),
            ("www-authenticate", "NTLM"),
            ("www-authenticate", "Basic realm=\"a\", Negotiate YII="),
            ("content-type", "text/event-stream; charset=utf-8"),
            ("content-type", "Multipart/X-Mixed-Replace;boundary=frame"),
            ("x-accel-buffering", "no"),
        ] {
            assert!(!stored(&[], 200, &[field], &[]), "{field:?}");
        }
        for field in [
            ("www-authenticate", "Bearer realm=\"ntlm\""),
            ("content-type", "text/plain; was=text/event-stream"),
            ("x-accel-buffering", "yes"),
        ] {
            assert!(stored(&[], 200, &[field], &[]), "{field:?}");
        }
    }

    #[test]
    fn only_a_header_that_was_there_tells_who_asks() {
        let (plain, cookie) = (headers(&[]), headers(&[("cookie", "session=1")]));
        let by = |request, names: &[HeaderName]| {
            let ask = Ask::by(Arc::from("k"), &mut std::iter::once(("sub", "a")), request);
            check(&ask, 200, &plain, &Directives::default(), names).is_ok()
        };
        assert!(!by(&plain, &[CREDENTIALS[0].clone(), COOKIE]));
        assert!(!by(&cookie, &CREDENTIALS[..1]));
        assert!(by(&cookie, &[COOKIE]));
        let both = headers(&[("cookie", "theme=dark"), ("x-api-key", "1")]);
        assert!(!by(&both, &[COOKIE]));
        assert!(by(&both, &[COOKIE, CREDENTIALS[2].clone()]));
    }

    #[test]
    fn fields_of_one_connection_stay_with_it() {
        let response = headers(&[
            ("connection", "close, X-Hop"),
            ("x-hop", "1"),
            ("keep-alive", "5"),
            ("content-length", "3"),
            ("etag", "\"a\""),
            ("set-cookie", "a=b"),
        ]);
        let kept: Vec<_> = response
            .keys()
            .filter(|name| is_stored(name, &response))
            .map(HeaderName::as_str)
            .collect();
        assert_eq!(kept, ["etag", "set-cookie"]);
    }
}
