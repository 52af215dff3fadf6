//! **HTTP handler** (`wasi:http/incoming-handler`): gives any request its method and path back, as
//! JSON.
//!
//! The host calls `handle` for each request that got through the stages before. The plugin reads
//! the request's body, and writes its response, as streams: neither has to fit into memory. This is
//! the interface that all WASI hosts share; `visit-counter` shows the contract's own, which is less
//! to write and has the body whole.
//!
//! It reads no configuration and no secrets.
//!
//! ```console
//! $ cargo build --release --target wasm32-wasip2
//! $ cd target/wasm32-wasip2/release
//! $ zlayer run --wasm hello.wasm --port 8080
//! $ curl -i http://localhost:8080/world?from=me
//! HTTP/1.1 200 OK
//! content-type: application/json
//! ...
//!
//! {"method":"GET","path":"/world?from=me"}
//! ```

zlayer_plugin::world!("zlayer-http-handler");

use exports::wasi::http::incoming_handler::Guest;
use wasi::http::types::{
    Fields, IncomingRequest, Method, OutgoingBody, OutgoingResponse, ResponseOutparam,
};

struct Hello;

impl Guest for Hello {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let path = request.path_with_query().unwrap_or_default();
        let text = format!(
            "{{\"method\":{},\"path\":{}}}",
            json(name(&request.method())),
            json(&path)
        );

        let headers =
            Fields::from_list(&[("content-type".to_owned(), b"application/json".to_vec())])
                .expect("a valid header field");
        // The status is 200 unless `set_status_code` says otherwise.
        let response = OutgoingResponse::new(headers);
        let body = response.body().expect("the first call for the body");
        // From here on the head is on its way to the client, and the body can follow.
        ResponseOutparam::set(out, Ok(response));

        let stream = body.write().expect("the first call for the stream");
        // WASI takes at most 4096 bytes at a time.
        for chunk in text.as_bytes().chunks(4096) {
            if stream.blocking_write_and_flush(chunk).is_err() {
                // The client has gone away: nobody is left to tell.
                return;
            }
        }
        // The stream has to be gone before the body can be finished. A body that is dropped
        // instead counts as broken off.
        drop(stream);
        let _ = OutgoingBody::finish(body, None);
    }
}

/// `text` as a JSON string. A method and a request's target hold no control characters, so these two
/// characters are all that has to be escaped.
fn json(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
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
