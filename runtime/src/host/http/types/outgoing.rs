//! The messages that a plugin makes: requests that it sends, and its response.

use http::HeaderMap;
use wasmtime::component::Resource;
use wasmtime_wasi::p2::DynOutputStream;
use wasmtime_wasi_http::FieldMap;
use wasmtime_wasi_http::WasiHttpView;
use wasmtime_wasi_http::p2::HttpResult;
use wasmtime_wasi_http::p2::bindings::http::types::{
    self, ErrorCode, Method, Scheme, StatusCode, Trailers,
};
use wasmtime_wasi_http::p2::body::HostOutgoingBody;
use wasmtime_wasi_http::p2::types::{
    HostOutgoingRequest, HostOutgoingResponse, HostResponseOutparam,
};

use super::super::super::HostState;
use super::super::outgoing_body::{Of, OutgoingBody};
use super::super::{message, weight};
use super::Answer;

/// The longest method, in bytes: as long as one that the server reads.
const METHOD_BYTES: usize = zlayer_http1::MAX_METHOD_BYTES;
/// The longest scheme, in bytes. `http` and `https` are all that can be sent.
const SCHEME_BYTES: usize = 32;
/// The longest authority, in bytes: the longest name of a host (RFC 1035 section 2.3.4) several
/// times.
const AUTHORITY_BYTES: usize = 1 << 10;
/// The longest path with its query, in bytes: as long as all fields of a head together.
const PATH_BYTES: usize = crate::message::fields::LIST_BYTES;
impl types::HostOutgoingRequest for HostState {
    as_it_is! { HostOutgoingRequest:
        fn method(request: Resource<HostOutgoingRequest>) -> wasmtime::Result<Method>;
        fn path_with_query(request: Resource<HostOutgoingRequest>) -> wasmtime::Result<Option<String>>;
        fn scheme(request: Resource<HostOutgoingRequest>) -> wasmtime::Result<Option<Scheme>>;
        fn authority(request: Resource<HostOutgoingRequest>) -> wasmtime::Result<Option<String>>;
    }
    dropped!(HostOutgoingRequest: HostOutgoingRequest);

    fn new(
        &mut self,
        headers: Resource<FieldMap>,
    ) -> wasmtime::Result<Resource<HostOutgoingRequest>> {
        let kept = self.table.forget(headers.rep());
        let request = types::HostOutgoingRequest::new(&mut self.http(), headers)?;
        self.table.keep(request.rep(), kept);
        Ok(request)
    }

    fn body(
        &mut self,
        request: Resource<HostOutgoingRequest>,
    ) -> Answer<Resource<HostOutgoingBody>> {
        let held = self.table().get(&request)?;
        let Ok(length) = message::content_length(&held.headers) else {
            return Ok(Err(()));
        };
        if held.body.is_some() {
            return Ok(Err(()));
        }
        let (body, reader) = self.outgoing_body(&request, Of::Request, length)?;
        self.table.get_mut(&request)?.body = Some(reader);
        Ok(Ok(body))
    }

    fn set_method(&mut self, request: Resource<HostOutgoingRequest>, method: Method) -> Answer<()> {
        if matches!(&method, Method::Other(other) if other.len() > METHOD_BYTES) {
            return Ok(Err(()));
        }
        self.with_texts(request, |view, request| {
            types::HostOutgoingRequest::set_method(view, request, method)
        })
    }

    fn set_path_with_query(
        &mut self,
        request: Resource<HostOutgoingRequest>,
        text: Option<String>,
    ) -> Answer<()> {
        if text.as_ref().is_some_and(|text| text.len() > PATH_BYTES) {
            return Ok(Err(()));
        }
        if let Some(url) = text.as_deref().and_then(message::absolute) {
            return self.set_url(&request, url);
        }
        self.with_texts(request, |view, request| {
            types::HostOutgoingRequest::set_path_with_query(view, request, text)
        })
    }

    fn set_scheme(
        &mut self,
        request: Resource<HostOutgoingRequest>,
        scheme: Option<Scheme>,
    ) -> Answer<()> {
        if matches!(&scheme, Some(Scheme::Other(other)) if other.len() > SCHEME_BYTES) {
            return Ok(Err(()));
        }
        self.with_texts(request, |view, request| {
            types::HostOutgoingRequest::set_scheme(view, request, scheme)
        })
    }

    fn set_authority(
        &mut self,
        request: Resource<HostOutgoingRequest>,
        authority: Option<String>,
    ) -> Answer<()> {
        let length = authority.as_ref().map_or(0, String::len);
        if length > AUTHORITY_BYTES {
            return Ok(Err(()));
        }
        self.with_texts(request, |view, request| {
            types::HostOutgoingRequest::set_authority(view, request, authority)
        })
    }

    fn headers(
        &mut self,
        request: Resource<HostOutgoingRequest>,
    ) -> wasmtime::Result<Resource<FieldMap>> {
        let fields = types::HostOutgoingRequest::headers(&mut self.http(), request)?;
        self.weigh(&fields)?;
        Ok(fields)
    }
}

impl types::HostResponseOutparam for HostState {
    dropped!(HostResponseOutparam: HostResponseOutparam);

    fn set(
        &mut self,
        outparam: Resource<HostResponseOutparam>,
        result: Result<Resource<HostOutgoingResponse>, ErrorCode>,
    ) -> wasmtime::Result<()> {
        let response = match result {
            Ok(response) => Ok(self.take_response(response)?),
            Err(code) => Err(code),
        };
        let outparam = self.table.delete(outparam)?;
        (outparam.send)(response);
        Ok(())
    }

    as_it_is! { HostResponseOutparam:
        fn send_informational(outparam: Resource<HostResponseOutparam>, status: u16, headers: Resource<FieldMap>) -> HttpResult<()>;
    }
}

impl types::HostOutgoingResponse for HostState {
    as_it_is! { HostOutgoingResponse:
        fn status_code(response: Resource<HostOutgoingResponse>) -> wasmtime::Result<StatusCode>;
        fn set_status_code(response: Resource<HostOutgoingResponse>, status: StatusCode) -> Answer<()>;
    }
    dropped!(HostOutgoingResponse: HostOutgoingResponse);

    fn new(
        &mut self,
        headers: Resource<FieldMap>,
    ) -> wasmtime::Result<Resource<HostOutgoingResponse>> {
        let kept = self.table.forget(headers.rep());
        let response = types::HostOutgoingResponse::new(&mut self.http(), headers)?;
        self.table.keep(response.rep(), kept);
        Ok(response)
    }

    fn body(
        &mut self,
        response: Resource<HostOutgoingResponse>,
    ) -> Answer<Resource<HostOutgoingBody>> {
        let held = self.table().get(&response)?;
        let Ok(length) = message::content_length(&held.headers) else {
            return Ok(Err(()));
        };
        if held.body.is_some() {
            return Ok(Err(()));
        }
        let (body, reader) = self.outgoing_body(&response, Of::Response, length)?;
        self.table.get_mut(&response)?.body = Some(reader);
        Ok(Ok(body))
    }

    fn headers(
        &mut self,
        response: Resource<HostOutgoingResponse>,
    ) -> wasmtime::Result<Resource<FieldMap>> {
        let fields = types::HostOutgoingResponse::headers(&mut self.http(), response)?;
        self.weigh(&fields)?;
        Ok(fields)
    }
}

/// The engine's type only names the resource; in the table there is our own.
fn own(body: &Resource<HostOutgoingBody>) -> Resource<OutgoingBody> {
    match body.owned() {
        true => Resource::new_own(body.rep()),
        false => Resource::new_borrow(body.rep()),
    }
}

impl types::HostOutgoingBody for HostState {
    fn write(&mut self, body: Resource<HostOutgoingBody>) -> Answer<Resource<DynOutputStream>> {
        let body = own(&body);
        match self.table().get_mut(&body)?.stream() {
            Some(stream) => Ok(Ok(self.table.push_child(stream, &body)?)),
            None => Ok(Err(())),
        }
    }

    fn finish(
        &mut self,
        body: Resource<HostOutgoingBody>,
        trailers: Option<Resource<Trailers>>,
    ) -> HttpResult<()> {
        let body = self.table.delete(own(&body))?;
        let trailers = match trailers {
            Some(trailers) => {
                self.table.forget(trailers.rep());
                Some(HeaderMap::from(self.table.delete(trailers)?))
            }
            None => None,
        };
        let bytes = trailers.as_ref().map_or(0, weight::fields);
        Ok(body.finish(trailers, bytes)?)
    }

    fn drop(&mut self, body: Resource<HostOutgoingBody>) -> wasmtime::Result<()> {
        self.table.delete(own(&body))?.give_up();
        Ok(())
    }
}
