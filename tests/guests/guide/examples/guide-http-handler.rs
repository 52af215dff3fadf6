//! The paths of the guide's HTTP handler: the interface that all WASI hosts share.

wit_bindgen::generate!({
    world: "zlayer-http-handler",
    path: "../wit",
});

use exports::wasi::http::incoming_handler::Guest;
use wasi::http::types::{
    Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam,
};

struct Teapot;

impl Guest for Teapot {
    fn handle(request: IncomingRequest, response_out: ResponseOutparam) {
        let path = request.path_with_query().unwrap_or_default();
        let (status, text) = answer(&path);
        let headers = Fields::new();
        let media_type = b"text/plain".to_vec();
        let set = headers.append("content-type", &media_type);
        let response = OutgoingResponse::new(headers);
        if set.is_err() || response.set_status_code(status).is_err() {
            return;
        }
        let Ok(body) = response.body() else { return };
        // Once the response is set the client gets the body as it is written.
        ResponseOutparam::set(response_out, Ok(response));
        if let Ok(stream) = body.write() {
            // A client that has gone wants no more of it.
            let _ = stream.blocking_write_and_flush(text.as_bytes());
        }
        let _ = OutgoingBody::finish(body, None);
    }
}

/// What needs no request: WASI's own resources exist on a device only.
fn answer(path: &str) -> (u16, String) {
    match path.strip_prefix("/brew/") {
        Some("coffee") => (418, "a teapot\n".to_string()),
        Some(drink) => {
            let sugar = crate::config::get_int("sugar").unwrap_or(0);
            (200, format!("{drink}, {sugar} lumps\n"))
        }
        None => (404, "nothing brews here\n".to_string()),
    }
}

export!(Teapot);

#[cfg(test)]
mod tests {
    use wit_bindgen::double::Host;

    #[test]
    fn the_configuration_sweetens() {
        let host = Host::new().config("sugar", "2");
        assert_eq!(
            super::answer("/brew/tea"),
            (200, "tea, 2 lumps\n".to_string())
        );
        host.set_config("sugar", "none");
        assert_eq!(super::answer("/brew/tea").1, "tea, 0 lumps\n");
        assert_eq!(super::answer("/brew/coffee").0, 418);
        assert_eq!(super::answer("/").0, 404);
    }
}
