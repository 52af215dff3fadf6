//! The router: `x-test-route` is one of
//!
//! - `forward HOST PORT CONNECT_MS REQUEST_MS`, with `tls` behind the port for TLS; the times are 5 s and 30 s when left out
//! - `redirect STATUS LOCATION`, whatever the status; `redirect-preserve` the same with `preserve-body`
//! - `immediate STATUS TEXT`, whatever the status; `immediate-with STEPS` with fields, see [`crate::steps`]
//! - `seen`: answers with what it was given
//! - `continue` (or nothing), `trap`, `spin`, `wait MS` and then any of these

use support::{number, unescape, word};

use crate::describe;
use crate::exports::zlayer::plugin::router::Guest;
use crate::stage::{Stage, asked, trace};
use crate::steps::change;
use crate::zlayer::plugin::common::KeyValue;
use crate::zlayer::plugin::http_types::{
    ImmediateResponse, RedirectInfo, RequestMetadata, RoutingDecision, Upstream,
};
use crate::zlayer::plugin::request_types::PluginRequest;

const MILLISECOND: u64 = 1_000_000;

impl Guest for Stage {
    fn route(request: PluginRequest, metadata: RequestMetadata) -> RoutingDecision {
        trace("route", &request.headers);
        let asked = asked(&request.headers, "route");
        let (verb, rest) = word(&asked);
        let (status, text) = number(rest, 200);
        let status = status as u16;
        match verb {
            "forward" => RoutingDecision::Forward(upstream(rest)),
            "redirect" | "redirect-preserve" => RoutingDecision::Redirect(RedirectInfo {
                location: unescape(text),
                status,
                preserve_body: verb == "redirect-preserve",
            }),
            "immediate" => immediate(status, Vec::new(), unescape(text)),
            "immediate-with" => {
                let mut headers = Vec::new();
                change(&mut headers, rest);
                immediate(200, headers, "immediate".to_owned())
            }
            "seen" => {
                let text = describe::request(&request);
                immediate(200, Vec::new(), format!("{text}metadata {metadata:?}\n"))
            }
            _ => RoutingDecision::ContinueProcessing,
        }
    }
}

fn upstream(words: &str) -> Upstream {
    let (host, rest) = word(words);
    let (port, rest) = number(rest, 80);
    let (tls, times) = match rest.strip_prefix("tls") {
        Some(times) => (true, times),
        None => (false, rest),
    };
    let (connect, times) = number(times, 5_000);
    let (request, _) = number(times, 30_000);
    Upstream {
        host: unescape(host),
        port: port as u16,
        tls,
        connect_timeout: connect.saturating_mul(MILLISECOND),
        request_timeout: request.saturating_mul(MILLISECOND),
    }
}

fn immediate(status: u16, headers: Vec<KeyValue>, body: String) -> RoutingDecision {
    RoutingDecision::RespondImmediate(ImmediateResponse {
        status,
        headers,
        body: body.into_bytes(),
    })
}
