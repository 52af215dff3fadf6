//! `wasi:http/types`: wasmtime-wasi-http's own, with everything that a plugin can make it keep
//! charged or bounded.
//!
//! Functions that keep nothing are handed on as they are. Bodies that plugins write are our own
//! (`outgoing_body.rs`).

use http::HeaderMap;
use wasmtime::component::Resource;
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, DynPollable};
use wasmtime_wasi_http::p2::bindings::http::types::{
    self, Duration, ErrorCode, Method, RequestOptions, Scheme, StatusCode, Trailers,
};
use wasmtime_wasi_http::p2::body::{HostFutureTrailers, HostIncomingBody, HostOutgoingBody};
use wasmtime_wasi_http::p2::types::{
    HostFutureIncomingResponse, HostIncomingRequest, HostIncomingResponse, HostOutgoingRequest,
    HostOutgoingResponse, HostResponseOutparam,
};
use wasmtime_wasi_http::p2::{HeaderError, HeaderResult, HttpError, HttpResult};
use wasmtime_wasi_http::{FieldMap, WasiHttpView};

use super::super::HostState;
use super::outgoing_body::{Of, OutgoingBody};
use super::{message, weight};

/// The longest method, in bytes: as long as one that the server reads.
const METHOD_BYTES: usize = zlayer_http1::MAX_METHOD_BYTES;
/// The longest scheme, in bytes. `http` and `https` are all that can be sent.
const SCHEME_BYTES: usize = 32;
/// The longest authority, in bytes: the longest name of a host (RFC 1035 section 2.3.4) several
/// times.
const AUTHORITY_BYTES: usize = 1 << 10;
/// The longest path with its query, in bytes: as long as all fields of a head together.
pub(super) const PATH_BYTES: usize = crate::message::fields::LIST_BYTES;
/// Bytes of the trailers that wait until a plugin asks for them (`zlayer_http1::Limits`).
const TRAILERS_BYTES: usize = 24 << 10;

/// Hands functions on to wasmtime-wasi-http.
macro_rules! as_it_is {
    ($interface:ident: $(fn $name:ident($($argument:ident: $type:ty),*) -> $result:ty;)*) => {
        $(fn $name(&mut self, $($argument: $type),*) -> $result {
            types::$interface::$name(&mut self.http(), $($argument),*)
        })*
    };
}

/// Hands a resource's `drop` on, and gives back what was charged for it.
macro_rules! dropped {
    ($interface:ident: $type:ty) => {
        fn drop(&mut self, resource: Resource<$type>) -> wasmtime::Result<()> {
            let place = resource.rep();
            types::$interface::drop(&mut self.http(), resource)?;
            self.table.forget(place);
            Ok(())
        }
    };
}

type Answer<T> = wasmtime::Result<Result<T, ()>>;

impl types::Host for HostState {
    fn convert_error_code(&mut self, error: HttpError) -> wasmtime::Result<ErrorCode> {
        error.downcast()
    }

    fn convert_header_error(&mut self, error: HeaderError) -> wasmtime::Result<types::HeaderError> {
        error.downcast()
    }

    as_it_is! { Host:
        fn http_error_code(error: Resource<types::IoError>) -> wasmtime::Result<Option<ErrorCode>>;
    }
}

impl types::HostFields for HostState {
    as_it_is! { HostFields:
        fn new() -> wasmtime::Result<Resource<FieldMap>>;
        fn get(fields: Resource<FieldMap>, name: String) -> wasmtime::Result<Vec<Vec<u8>>>;
        fn has(fields: Resource<FieldMap>, name: String) -> wasmtime::Result<bool>;
        fn entries(fields: Resource<FieldMap>) -> wasmtime::Result<Vec<(String, Vec<u8>)>>;
    }
    dropped!(HostFields: FieldMap);

    fn from_list(&mut self, entries: Vec<(String, Vec<u8>)>) -> HeaderResult<Resource<FieldMap>> {
        let fields = types::HostFields::from_list(&mut self.http(), entries)?;
        self.weigh(&fields).map_err(HeaderError::trap)?;
        Ok(fields)
    }

    fn set(
        &mut self,
        fields: Resource<FieldMap>,
        name: String,
        values: Vec<Vec<u8>>,
    ) -> HeaderResult<()> {
        let same = Resource::new_borrow(fields.rep());
        let set = types::HostFields::set(&mut self.http(), fields, name, values);
        // Room for one more was made, even if there is none now.
        self.weigh(&same).map_err(HeaderError::trap)?;
        set
    }

    fn delete(&mut self, fields: Resource<FieldMap>, name: String) -> HeaderResult<()> {
        let same = Resource::new_borrow(fields.rep());
        let deleted = types::HostFields::delete(&mut self.http(), fields, name);
        // The map makes room for a field before it looks for the one to be deleted.
        self.weigh(&same).map_err(HeaderError::trap)?;
        deleted
    }

    fn append(
        &mut self,
        fields: Resource<FieldMap>,
        name: String,
        value: Vec<u8>,
    ) -> HeaderResult<()> {
        let same = Resource::new_borrow(fields.rep());
        types::HostFields::append(&mut self.http(), fields, name, value)?;
        self.weigh(&same).map_err(HeaderError::trap)
    }

    fn clone(&mut self, fields: Resource<FieldMap>) -> wasmtime::Result<Resource<FieldMap>> {
        let copy = types::HostFields::clone(&mut self.http(), fields)?;
        self.weigh(&copy)?;
        Ok(copy)
    }
}

impl types::HostIncomingRequest for HostState {
    as_it_is! { HostIncomingRequest:
        fn method(request: Resource<HostIncomingRequest>) -> wasmtime::Result<Method>;
        fn path_with_query(request: Resource<HostIncomingRequest>) -> wasmtime::Result<Option<String>>;
        fn scheme(request: Resource<HostIncomingRequest>) -> wasmtime::Result<Option<Scheme>>;
        fn authority(request: Resource<HostIncomingRequest>) -> wasmtime::Result<Option<String>>;
        fn consume(request: Resource<HostIncomingRequest>) -> Answer<Resource<HostIncomingBody>>;
    }
    dropped!(HostIncomingRequest: HostIncomingRequest);

    fn headers(
        &mut self,
        request: Resource<HostIncomingRequest>,
    ) -> wasmtime::Result<Resource<FieldMap>> {
        let fields = types::HostIncomingRequest::headers(&mut self.http(), request)?;
        self.weigh(&fields)?;
        Ok(fields)
    }
}

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

impl types::HostRequestOptions for HostState {
    as_it_is! { HostRequestOptions:
        fn new() -> wasmtime::Result<Resource<RequestOptions>>;
        fn connect_timeout(options: Resource<RequestOptions>) -> wasmtime::Result<Option<Duration>>;
        fn set_connect_timeout(options: Resource<RequestOptions>, time: Option<Duration>) -> Answer<()>;
        fn first_byte_timeout(options: Resource<RequestOptions>) -> wasmtime::Result<Option<Duration>>;
        fn set_first_byte_timeout(options: Resource<RequestOptions>, time: Option<Duration>) -> Answer<()>;
        fn between_bytes_timeout(options: Resource<RequestOptions>) -> wasmtime::Result<Option<Duration>>;
        fn set_between_bytes_timeout(options: Resource<RequestOptions>, time: Option<Duration>) -> Answer<()>;
    }
    dropped!(HostRequestOptions: RequestOptions);
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

impl types::HostIncomingResponse for HostState {
    as_it_is! { HostIncomingResponse:
        fn status(response: Resource<HostIncomingResponse>) -> wasmtime::Result<StatusCode>;
        fn consume(response: Resource<HostIncomingResponse>) -> Answer<Resource<HostIncomingBody>>;
    }
    dropped!(HostIncomingResponse: HostIncomingResponse);

    fn headers(
        &mut self,
        response: Resource<HostIncomingResponse>,
    ) -> wasmtime::Result<Resource<FieldMap>> {
        let fields = types::HostIncomingResponse::headers(&mut self.http(), response)?;
        self.weigh(&fields)?;
        Ok(fields)
    }
}

impl types::HostIncomingBody for HostState {
    as_it_is! { HostIncomingBody:
        fn stream(body: Resource<HostIncomingBody>) -> Answer<Resource<DynInputStream>>;
    }
    dropped!(HostIncomingBody: HostIncomingBody);

    fn finish(
        &mut self,
        body: Resource<HostIncomingBody>,
    ) -> wasmtime::Result<Resource<HostFutureTrailers>> {
        let trailers = types::HostIncomingBody::finish(&mut self.http(), body)?;
        self.charge(&trailers, TRAILERS_BYTES)?;
        Ok(trailers)
    }
}

impl types::HostFutureTrailers for HostState {
    as_it_is! { HostFutureTrailers:
        fn subscribe(trailers: Resource<HostFutureTrailers>) -> wasmtime::Result<Resource<DynPollable>>;
    }
    dropped!(HostFutureTrailers: HostFutureTrailers);

    fn get(
        &mut self,
        trailers: Resource<HostFutureTrailers>,
    ) -> wasmtime::Result<Option<Result<Result<Option<Resource<Trailers>>, ErrorCode>, ()>>> {
        let place = trailers.rep();
        let got = types::HostFutureTrailers::get(&mut self.http(), trailers)?;
        if got.is_some() {
            self.table.forget(place);
        }
        if let Some(Ok(Ok(Some(fields)))) = &got {
            self.weigh(fields)?;
        }
        Ok(got)
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

impl types::HostFutureIncomingResponse for HostState {
    as_it_is! { HostFutureIncomingResponse:
        fn subscribe(response: Resource<HostFutureIncomingResponse>) -> wasmtime::Result<Resource<DynPollable>>;
    }
    dropped!(HostFutureIncomingResponse: HostFutureIncomingResponse);

    fn get(
        &mut self,
        response: Resource<HostFutureIncomingResponse>,
    ) -> wasmtime::Result<Option<Result<Result<Resource<HostIncomingResponse>, ErrorCode>, ()>>>
    {
        let place = response.rep();
        let got = types::HostFutureIncomingResponse::get(&mut self.http(), response)?;
        if got.is_some() {
            self.table.forget(place);
        }
        if let Some(Ok(Ok(response))) = &got {
            let bytes = weight::fields(&self.table.get(response)?.headers);
            self.charge_fields(response, bytes)?;
        }
        Ok(got)
    }
}

#[cfg(test)]
mod tests;
