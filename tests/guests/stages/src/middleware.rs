//! The middleware: `x-test-middleware` in a request, and `x-test-on-response`
//! in an answer, are one of
//!
//! - `abort STATUS TEXT`, whatever the status
//! - steps, see [`crate::steps`]
//! - `seen`: adds `x-seen-method`, `x-seen-path` and `x-seen-client`, or `x-seen-status`
//! - `trap`, `spin`, `wait MS` and then any of these
//!
//! Either way a field `x-trace: NAME FUNCTION` is added at the end.

use support::{number, unescape, word};

use crate::exports::zlayer::plugin::middleware::{Guest, MiddlewareAction};
use crate::stage::{Stage, asked, pair, trace};
use crate::steps::change;
use crate::zlayer::plugin::common::KeyValue;
use crate::zlayer::plugin::http_types::RequestMetadata;

impl Guest for Stage {
    fn on_request(
        method: String,
        path: String,
        mut headers: Vec<KeyValue>,
        metadata: RequestMetadata,
    ) -> MiddlewareAction {
        let entry = trace("on-request", &headers);
        let asked = asked(&headers, "middleware");
        if asked == "seen" {
            headers.push(pair("x-seen-method", method));
            headers.push(pair("x-seen-path", path));
            let client = format!(
                "{} {} {:?} {} {:?} {:?} {:?}",
                metadata.client_ip,
                metadata.client_port,
                metadata.http_version,
                metadata.received_at,
                metadata.tls_version,
                metadata.tls_cipher,
                metadata.server_name
            );
            headers.push(pair("x-seen-client", client));
        }
        act(headers, &asked, entry)
    }

    fn on_response(status: u16, mut headers: Vec<KeyValue>) -> MiddlewareAction {
        let entry = trace("on-response", &headers);
        let asked = asked(&headers, "on-response");
        if asked == "seen" {
            headers.push(pair("x-seen-status", status.to_string()));
        }
        act(headers, &asked, entry)
    }
}

fn act(mut headers: Vec<KeyValue>, asked: &str, entry: String) -> MiddlewareAction {
    let (verb, rest) = word(asked);
    if verb == "abort" {
        let (status, text) = number(rest, 418);
        return MiddlewareAction::Abort((status as u16, unescape(text)));
    }
    change(&mut headers, asked);
    headers.push(pair("x-trace", entry));
    MiddlewareAction::ContinueWith(headers)
}
