//! `wasi:http/types`: wasmtime-wasi-http's own, with everything that a plugin can make it keep
//! charged or bounded.
//!
//! Functions that keep nothing are handed on as they are. Here are header fields and what a plugin
//! receives, in `types/outgoing.rs` what it makes. Bodies that plugins write are our own
//! (`outgoing_body.rs`).

use wasmtime::component::Resource;
use wasmtime_wasi::p2::{DynInputStream, DynPollable};
use wasmtime_wasi_http::p2::bindings::http::types::{
    self, Duration, ErrorCode, Method, RequestOptions, Scheme, StatusCode, Trailers,
};
use wasmtime_wasi_http::p2::body::{HostFutureTrailers, HostIncomingBody};
use wasmtime_wasi_http::p2::types::{
    HostFutureIncomingResponse, HostIncomingRequest, HostIncomingResponse,
};
use wasmtime_wasi_http::p2::{HeaderError, HeaderResult, HttpError};
use wasmtime_wasi_http::{FieldMap, WasiHttpView};

use super::super::HostState;
use super::weight;

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

// Behind the macros, which it uses.
mod outgoing;

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
