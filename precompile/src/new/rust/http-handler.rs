//! An HTTP handler: answers any request with a greeting, through the interface that all WASI hosts
//! share.

zlayer_plugin::world!("zlayer-http-handler");

use crate::exports::wasi::http::incoming_handler::Guest;
use crate::wasi::http::types::{
    Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam,
};

struct Plugin;

impl Guest for Plugin {
    fn handle(request: IncomingRequest, response_out: ResponseOutparam) {
        let text = answer(&request.path_with_query().unwrap_or_default());
        let response = OutgoingResponse::new(Fields::new());
        let Ok(body) = response.body() else { return };
        // From here on the client gets the body while it is written.
        ResponseOutparam::set(response_out, Ok(response));
        if let Ok(stream) = body.write() {
            // A stream takes up to 4096 bytes at once. It fails when the client has gone, which
            // then wants no more of it.
            for piece in text.as_bytes().chunks(4096) {
                if stream.blocking_write_and_flush(piece).is_err() {
                    break;
                }
            }
        }
        let _ = OutgoingBody::finish(body, None);
    }
}

/// The text of the response. What needs none of WASI's own types can be tested without a device.
fn answer(path: &str) -> String {
    let greeting = crate::config::get("greeting").unwrap_or_else(|| "hello from".to_owned());
    format!("{greeting} {path}\n")
}

export!(Plugin);

#[cfg(test)]
mod tests {
    use super::*;
    use zlayer_plugin::double::Host;

    #[test]
    fn the_greeting_is_configured() {
        let _host = Host::new().config("greeting", "this is");
        assert_eq!(answer("/here"), "this is /here\n");
    }
}
