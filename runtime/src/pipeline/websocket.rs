//! `websocket`: decides whether a WebSocket conversation may begin.
//!
//! Runs behind the routers, for requests that ask for a WebSocket (RFC 6455). The first plugin that
//! plays the role is asked with the path and the headers; if it accepts, the response is 101 and
//! every message that follows is offered to it: see [`crate::websocket`]. If a router has named an
//! upstream, that has to accept too. Without such a plugin the upstream alone decides, and messages
//! pass between it and the client. Without either, the request is handled like any other.

mod handler;
mod handshake;
mod upgrade;

use std::ops::ControlFlow;

use http::header::{HeaderMap, HeaderName, HeaderValue, UPGRADE};
use zlayer_http1::websocket::{UpgradeError, VERSION, offered_protocols};

use super::reach::reached;
use super::request::Request;
use super::stage::Stage;
use super::token::PROTOCOL;
use super::upgrading::{Upgrading, read};
use super::{Passage, Pipeline, Reply, fields, own};
use crate::failure::Failure;
use crate::host::common::KeyValue;
use crate::host::websocket::UpgradeDecision;
use crate::message::Response;
use crate::message::fields::pairs;
use crate::plugin::SHOWN_BYTES;
use crate::redact::cut;

use handler::PluginHandler;
pub use upgrade::Upgrade;

const EXTENSIONS: HeaderName = HeaderName::from_static("sec-websocket-extensions");
/// Fields of the handshake that a plugin cannot set. Fields that frame a message need not be
/// listed, as the server leaves them out when it writes the response.
const OURS: [HeaderName; 4] = [
    HeaderName::from_static("sec-websocket-accept"),
    EXTENSIONS,
    HeaderName::from_static("sec-websocket-key"),
    HeaderName::from_static("sec-websocket-version"),
];

impl Pipeline {
    /// Lets a plugin and the upstream, if there are any, decide on a request for a WebSocket. Any
    /// other request goes on.
    pub(super) async fn converse(
        &self,
        request: &mut Request,
        passage: &Passage,
    ) -> Result<ControlFlow<Reply>, Failure> {
        let outdated = Upgrading::Malformed(UpgradeError::UnsupportedVersion);
        if request.upgrading != Upgrading::Begins && request.upgrading != outdated {
            return Ok(ControlFlow::Continue(()));
        }
        let mut stages = self.conversing(request, passage).peekable();
        if stages.peek().is_none() && request.upstream.is_none() {
            return Ok(ControlFlow::Continue(()));
        }
        let stages: Vec<_> = stages.collect();
        if request.upgrading == outdated {
            // The client may know the version that there is (RFC 6455 section 4.4).
            let response = refused(UpgradeError::UnsupportedVersion);
            return Ok(ControlFlow::Break(response.into()));
        }
        // Middlewares may have changed fields of the handshake.
        let asked = match read(&request.head) {
            Ok(Some(asked)) => asked,
            Ok(None) => return Ok(ControlFlow::Continue(())),
            Err(error) => return Ok(ControlFlow::Break(refused(error).into())),
        };
        let (mut headers, mut handler) = (HeaderMap::new(), None);
        for stage in stages {
            match stage
                .guard(&request.id, passage, ask_plugin(stage, request))
                .await?
            {
                Some(ControlFlow::Break(response)) => {
                    return Ok(ControlFlow::Break(response.into()));
                }
                Some(ControlFlow::Continue(accepted)) => {
                    let time = self.time;
                    handler = Some(PluginHandler::new(stage, &request.id, time));
                    headers = accepted;
                    break;
                }
                // The stage failed open, so the next one is asked.
                None => {}
            }
        }
        if handler.is_none() && request.upstream.is_none() {
            return Ok(ControlFlow::Continue(()));
        }
        // The upstream's failures and its time are not counted as the plugin's.
        let begun = handshake::complete(
            request,
            asked,
            headers,
            handler,
            &self.upstreams,
            &self.messages,
        );
        begun.await.map(ControlFlow::Break)
    }

    /// The response to a request that nobody handles, though a plugin would have taken it for a
    /// WebSocket if it were one: it tells what is wrong with the handshake.
    pub(super) fn malformed_upgrade(
        &self,
        request: &Request,
        passage: &Passage,
    ) -> Option<Response> {
        let Upgrading::Malformed(error) = request.upgrading else {
            return None;
        };
        let is_wanted = self.conversing(request, passage).next().is_some();
        is_wanted.then(|| refused(error))
    }

    /// The plugins that decide on WebSockets and take part in this request.
    fn conversing<'a>(
        &'a self,
        request: &'a Request,
        passage: &'a Passage,
    ) -> impl Iterator<Item = &'a Stage> {
        let stages = reached(&self.conversing, request.reached).map(|stage| &self.stages[stage]);
        stages.filter(|stage| stage.applies(request, passage))
    }
}

/// Asks the plugin for its verdict: the headers that it accepts with, or the response that it
/// refuses with.
async fn ask_plugin(
    stage: &Stage,
    request: &Request,
) -> Result<ControlFlow<Response, HeaderMap>, Failure> {
    let mut running = stage.plugin.instance(&request.id).await?;
    let (store, guests) = running.parts();
    let Some(guest) = &guests.websocket else {
        return Err(Failure::PassThrough);
    };
    let headers = fields::to_list(&request.head.headers);
    let path = request.head.uri.path();
    let called = guest.call_on_upgrade(store, path, &headers).await;
    match stage.plugin.finish(running, called)? {
        UpgradeDecision::Accept => Ok(ControlFlow::Continue(HeaderMap::new())),
        UpgradeDecision::AcceptWithHeaders(list) => {
            accepted(list, request).map(ControlFlow::Continue)
        }
        UpgradeDecision::Reject((status, text)) => {
            own::refusal(status, &text).map(ControlFlow::Break)
        }
    }
}

fn refused(error: UpgradeError) -> Response {
    let mut response = own::text(error.status(), &error.to_string());
    if error.status() == 426 {
        let headers = response.headers_mut();
        // RFC 6455 section 4.4. The server adds `Connection: upgrade`.
        headers.insert(&OURS[3], HeaderValue::from_static(VERSION));
        // RFC 9110 section 15.5.22: what the client is to upgrade to.
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    }
    response
}

/// Checks the headers that a plugin accepts with.
fn accepted(list: Vec<KeyValue>, request: &Request) -> Result<HeaderMap, Failure> {
    let mut headers = fields::from_list(list)?.headers;
    for name in &OURS {
        headers.remove(name);
    }
    let mut chosen = headers.get_all(PROTOCOL).iter();
    if let Some(protocol) = chosen.next() {
        let offers = pairs(&request.head.headers);
        let mut offers = offered_protocols(&offers);
        // RFC 6455 section 4.2.2: one of those that the client offered.
        if chosen.next().is_some() || !offers.any(|offered| offered == protocol.as_bytes()) {
            let shown = String::from_utf8_lossy(protocol.as_bytes());
            return Err(Failure::BadResponse(format!(
                "subprotocol {:?}, which the client did not offer",
                cut(&shown, SHOWN_BYTES)
            )));
        }
    }
    Ok(headers)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;
    use crate::message::IncomingBody;

    fn request(fields: &[(&str, &str)]) -> Request {
        let mut builder = http::Request::builder().uri("/ws/a?b");
        let always = [
            ("host", "device.local"),
            ("upgrade", "websocket"),
            ("connection", "upgrade"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        for (name, value) in always.iter().chain(fields) {
            builder = builder.header(*name, *value);
        }
        let (head, ()) = builder.body(()).unwrap().into_parts();
        let client = "192.0.2.7:4000".parse::<std::net::SocketAddr>().unwrap();
        Request::new(head, IncomingBody::default(), client, "1".into())
    }

    fn pair(key: &str, value: &str) -> KeyValue {
        KeyValue {
            key: key.to_owned(),
            value: value.to_owned(),
        }
    }

    #[test]
    fn a_client_of_an_old_version_is_told_the_new_one() {
        let response = refused(UpgradeError::UnsupportedVersion);
        assert_eq!(response.status(), 426);
        assert_eq!(response.headers()["sec-websocket-version"], "13");
        assert_eq!(response.headers()["upgrade"], "websocket");
        let response = refused(UpgradeError::InvalidKey);
        assert_eq!(response.status(), 400);
        assert!(!response.headers().contains_key("upgrade"));
    }

    #[test]
    fn only_an_offered_subprotocol_can_be_chosen() {
        let request = request(&[("sec-websocket-protocol", "chat, auth-t")]);
        let chosen = |list| accepted(list, &request);
        let headers = chosen(vec![
            pair("Sec-WebSocket-Protocol", "auth-t"),
            pair("Sec-WebSocket-Accept", "forged"),
            pair("sec-websocket-extensions", "permessage-deflate"),
            pair("x-more", "1"),
        ]);
        let headers = headers.unwrap();
        assert_eq!(headers.len(), 2);
        assert_eq!(headers["sec-websocket-protocol"], "auth-t");
        for list in [
            vec![pair("sec-websocket-protocol", "other")],
            vec![pair("sec-websocket-protocol", "")],
            vec![
                pair("sec-websocket-protocol", "chat"),
                pair("sec-websocket-protocol", "auth-t"),
            ],
            vec![pair("x", "a\r\nb: c")],
        ] {
            assert!(matches!(chosen(list), Err(Failure::BadResponse(_))));
        }
    }
}
