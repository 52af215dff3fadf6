//! The smallest HTTP handler: answers any request with its method and path as
//! JSON. What the first test of everything loads.

wit_bindgen::generate!({ world: "zlayer-http-handler", path: "../../../wit", generate_all });

use exports::wasi::http::incoming_handler::Guest;
use support::json;
use wasi::http::types::{
    Fields, IncomingRequest, Method, OutgoingBody, OutgoingResponse, ResponseOutparam,
};

struct Hello;

impl Guest for Hello {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let method = request.method();
        let path = request.path_with_query().unwrap_or_default();
        let text = format!(
            "{{\"method\":{},\"path\":{}}}",
            json(name(&method)),
            json(&path)
        );

        let headers =
            Fields::from_list(&[("content-type".to_owned(), b"application/json".to_vec())])
                .expect("a valid header field");
        let response = OutgoingResponse::new(headers);
        let body = response.body().expect("the first call for the body");
        ResponseOutparam::set(out, Ok(response));

        let stream = body.write().expect("the first call for the stream");
        // At most 4096 bytes may be given at a time. A client that has gone away is not our business.
        for chunk in text.as_bytes().chunks(4096) {
            if stream.blocking_write_and_flush(chunk).is_err() {
                return;
            }
        }
        drop(stream);
        let _ = OutgoingBody::finish(body, None);
    }
}

fn name(method: &Method) -> &str {
    match method {
        Method::Get => "GET",
        Method::Head => "HEAD",
        Method::Post => "POST",
        Method::Put => "PUT",
        Method::Delete => "DELETE",
        Method::Connect => "CONNECT",
        Method::Options => "OPTIONS",
        Method::Trace => "TRACE",
        Method::Patch => "PATCH",
        Method::Other(name) => name,
    }
}

export!(Hello);
