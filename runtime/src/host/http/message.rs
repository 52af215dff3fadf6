//! A plugin's messages on their way in and out of its table of resources.

use std::sync::Arc;

use http::HeaderMap;
use http::header::CONTENT_LENGTH;
use http_body_util::BodyExt;
use wasmtime::component::Resource;
use wasmtime_wasi_http::p2::bindings::http::outgoing_handler;
use wasmtime_wasi_http::p2::bindings::http::types::{RequestOptions, Scheme};
use wasmtime_wasi_http::p2::body::{HostOutgoingBody, HyperOutgoingBody};
use wasmtime_wasi_http::p2::types::{
    HostFutureIncomingResponse, HostIncomingRequest, HostOutgoingRequest, HostOutgoingResponse,
};
use wasmtime_wasi_http::p2::{HttpError, HttpResult};
use wasmtime_wasi_http::{FieldMap, WasiHttpCtxView, WasiHttpView};

use super::super::HostState;
use super::outgoing_body::{Of, OutgoingBody};
use super::weight;
use crate::memory::Reservation;
use crate::message::IncomingBody;

/// Bytes of a request that was sent, until its response is taken: two tasks, and what they keep to
/// look the host up, connect and speak TLS. The connection itself is charged by its pool.
pub(super) const SENT_BYTES: usize = 16 << 10;
/// Bytes of a response's header fields for which its connection's share has room.
const FREE_FIELDS_BYTES: usize = 16 << 10;

/// The reservation of a response's head, which goes with it as an extension.
#[derive(Clone)]
struct HeadMemory {
    _held: Arc<Reservation>,
}

impl HostState {
    /// Puts the request that the instance is to handle into its table.
    pub fn new_incoming_request(
        &mut self,
        scheme: Scheme,
        request: http::Request<IncomingBody>,
    ) -> wasmtime::Result<Resource<HostIncomingRequest>> {
        let texts = request.uri().path().len() + request.uri().query().map_or(0, str::len);
        let bytes = weight::fields(request.headers());
        let request = self.http().new_incoming_request(scheme, request)?;
        self.charge_fields(&request, bytes)?;
        self.charge(&request, texts)?;
        Ok(request)
    }

    /// Charges header fields with what they take by now. One call adds no more than a list may have,
    /// so that they may be weighed when they are there.
    pub(super) fn weigh(&mut self, fields: &Resource<FieldMap>) -> wasmtime::Result<()> {
        let bytes = weight::fields(self.table.get(fields)?);
        Ok(self.charge_fields(fields, bytes)?)
    }

    /// Changes a request's texts, and charges it with them.
    pub(super) fn with_texts(
        &mut self,
        request: Resource<HostOutgoingRequest>,
        set: impl FnOnce(
            &mut WasiHttpCtxView<'_>,
            Resource<HostOutgoingRequest>,
        ) -> wasmtime::Result<Result<(), ()>>,
    ) -> wasmtime::Result<Result<(), ()>> {
        let same = Resource::new_borrow(request.rep());
        let done = set(&mut self.http(), request)?;
        self.weigh_texts(&same)?;
        Ok(done)
    }

    fn weigh_texts(&mut self, request: &Resource<HostOutgoingRequest>) -> wasmtime::Result<()> {
        let bytes = weight::texts(self.table.get(request)?);
        Ok(self.charge(request, bytes)?)
    }

    /// Sets scheme, authority and path of a request, where the first two are not set yet.
    pub(super) fn set_url(
        &mut self,
        request: &Resource<HostOutgoingRequest>,
        (scheme, authority, path): (Scheme, String, String),
    ) -> wasmtime::Result<Result<(), ()>> {
        let held = self.table.get_mut(request)?;
        if held.scheme.is_some() || held.authority.is_some() {
            return Ok(Err(()));
        }
        held.scheme = Some(scheme);
        held.authority = Some(authority);
        held.path_with_query = Some(path);
        self.weigh_texts(request)?;
        Ok(Ok(()))
    }

    /// Makes the body of a message that the plugin writes: its resource, and its end for the reader.
    pub(super) fn outgoing_body<T: 'static>(
        &mut self,
        message: &Resource<T>,
        of: Of,
        length: Option<u64>,
    ) -> wasmtime::Result<(Resource<HostOutgoingBody>, HyperOutgoingBody)> {
        let reservation = self.limiter.reserve_apart(0)?;
        let (body, reader, hand_over) =
            OutgoingBody::new(of, length, reservation, &self.free_body_is_taken);
        self.bodies.retain(|body| body.is_there());
        self.bodies.push(hand_over.clone());
        self.table.kept(message.rep()).body = Some(hand_over);
        let body = self.table.push(body)?;
        Ok((Resource::new_own(body.rep()), reader.boxed_unsync()))
    }

    /// Takes a response out of the table, to be handed over. What its fields take is charged until
    /// it is written, which may be after the instance has ended.
    pub(super) fn take_response(
        &mut self,
        response: Resource<HostOutgoingResponse>,
    ) -> wasmtime::Result<http::Response<HyperOutgoingBody>> {
        let kept = self.table.forget(response.rep());
        let mut response: http::Response<_> = self.table.delete(response)?.try_into()?;
        let bytes = weight::fields(response.headers()).saturating_sub(FREE_FIELDS_BYTES);
        if bytes > 0 {
            let held = Arc::new(self.limiter.reserve_apart(bytes)?);
            response.extensions_mut().insert(HeadMemory { _held: held });
        }
        if let Some(body) = kept.body {
            body.done();
        }
        Ok(response)
    }
}

impl outgoing_handler::Host for HostState {
    fn handle(
        &mut self,
        request: Resource<HostOutgoingRequest>,
        options: Option<Resource<RequestOptions>>,
    ) -> HttpResult<Resource<HostFutureIncomingResponse>> {
        self.charge(&request, SENT_BYTES).map_err(HttpError::trap)?;
        // The request is sent by what takes its place.
        let kept = self.table.forget(request.rep());
        if let Some(body) = &kept.body {
            body.done();
        }
        let sent = outgoing_handler::Host::handle(&mut self.http(), request, options)?;
        self.table.keep(sent.rep(), kept);
        Ok(sent)
    }
}

/// The length that header fields announce.
///
/// # Errors
///
/// They announce none that is valid (RFC 9110 section 8.6), or several.
pub(super) fn content_length(headers: &HeaderMap) -> Result<Option<u64>, ()> {
    let mut values = headers.get_all(CONTENT_LENGTH).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => {
            let digits = value.as_bytes();
            let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
            let number = value.to_str().ok().and_then(|text| text.parse().ok());
            number.filter(|_| is_number).map(Some).ok_or(())
        }
        (Some(_), Some(_)) => Err(()),
    }
}

/// The parts of an absolute http or https URL.
///
/// The plugin guide calls `set-path-with-query` with a URL, and sets neither scheme nor authority.
/// WASI refuses that; here the URL sets all three.
pub(super) fn absolute(text: &str) -> Option<(Scheme, String, String)> {
    let uri: http::Uri = text.parse().ok()?;
    let scheme = match uri.scheme_str()? {
        "http" => Scheme::Http,
        "https" => Scheme::Https,
        _ => return None,
    };
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    Some((
        scheme,
        uri.authority()?.as_str().to_owned(),
        path.to_owned(),
    ))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;

    #[test]
    fn only_absolute_urls_are_taken_apart() {
        for (url, authority, path) in [
            ("http://h", "h", "/"),
            ("https://h:8443/a?b", "h:8443", "/a?b"),
            ("HTTP://[::1]/", "[::1]", "/"),
            ("http://h?q", "h", "?q"),
        ] {
            let parts = absolute(url).map(|(_, authority, path)| (authority, path));
            assert_eq!(
                parts,
                Some((authority.to_owned(), path.to_owned())),
                "{url}"
            );
        }
        for text in [
            "",
            "/",
            "/a?b=http://h/",
            "?q",
            "h:80",
            "ftp://h/",
            "http:/h",
            "http://",
            "a b",
        ] {
            assert!(absolute(text).is_none(), "{text:?}");
        }
    }

    #[test]
    fn a_length_is_digits_and_one() {
        let length = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(CONTENT_LENGTH, value.parse().unwrap());
            }
            content_length(&headers)
        };
        assert_eq!(length(&[]), Ok(None));
        assert_eq!(length(&["10"]), Ok(Some(10)));
        for bad in [
            &["+1"][..],
            &[""],
            &["1 "],
            &["1", "1"],
            &["99999999999999999999"],
        ] {
            assert_eq!(length(bad), Err(()), "{bad:?}");
        }
    }
}
