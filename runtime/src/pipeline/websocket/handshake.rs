//! The last step before a WebSocket begins: the upstream has to accept too, if there is one, and
//! the client gets its 101.

use std::ops::ControlFlow;
use std::sync::Arc;

use http::header::{CONNECTION, HeaderMap, HeaderName, HeaderValue, UPGRADE};
use zlayer_http1::websocket::{check_response, client_key};

use super::upgrade::{Upgrade, strip};
use super::{OURS, PluginHandler};
use crate::failure::Failure;
use crate::memory::Budget;
use crate::message::fields::pairs;
use crate::message::{Response, whole};
use crate::pipeline::request::Request;
use crate::pipeline::token::{self, PROTOCOL};
use crate::pipeline::upgrading::UpgradeRequest;
use crate::pipeline::{Marks, Reply};
use crate::plugin::SHOWN_BYTES;
use crate::redact::cut;
use crate::upstream::{self, Upstreams};
use crate::websocket::{Endpoint, MessageHandler};

/// Asks the upstream to accept too, if there is one, and makes the response 101.
pub(super) async fn complete(
    request: &mut Request,
    asked: UpgradeRequest,
    mut headers: HeaderMap,
    handler: Option<PluginHandler>,
    upstreams: &Upstreams,
    budget: &Arc<Budget>,
) -> Result<Reply, Failure> {
    let upstream = match request.upstream.take() {
        None => None,
        Some(to) => match upgrade_upstream(request, &mut headers, upstreams, &to).await? {
            ControlFlow::Break(response) => return Ok(response.into()),
            ControlFlow::Continue(endpoint) => Some(endpoint),
        },
    };
    let protocol = headers.get(PROTOCOL).cloned();
    let mut response = http::Response::new(whole(String::new(), None));
    *response.status_mut() = http::StatusCode::SWITCHING_PROTOCOLS;
    *response.headers_mut() = headers;
    let upgrade = Upgrade {
        accept: asked.accept,
        protocol,
        label: label(request, handler.as_ref()),
        upstream,
        handler: handler.map(|handler| Box::new(handler) as Box<dyn MessageHandler>),
        budget: Arc::clone(budget),
        deflate: asked.deflate,
    };
    let marks = Marks {
        upgrade: Some(Box::new(upgrade)),
        ..Marks::default()
    };
    Ok(Reply::marked(response, marks))
}

/// What the log calls the conversation: the same as it calls a request.
fn label(request: &Request, handler: Option<&PluginHandler>) -> String {
    let path = cut(request.head.uri.path(), SHOWN_BYTES);
    let mut label = format!("[{}] GET {path}", request.id);
    if let Some(handler) = handler {
        label.push_str(": plugin ");
        label.push_str(handler.name());
    }
    label
}

/// Asks the upstream for a WebSocket of its own, with the subprotocol that is chosen already, or
/// those that the client offers. The subprotocol that it chooses goes into `headers`, and so do the
/// other fields of its response. If it refuses, its response goes back to the client.
async fn upgrade_upstream(
    request: &Request,
    headers: &mut HeaderMap,
    upstreams: &Upstreams,
    to: &upstream::Target,
) -> Result<ControlFlow<Response, Endpoint>, Failure> {
    let mut head = request.head.clone();
    for name in &OURS {
        head.headers.remove(name);
    }
    if let Some(chosen) = headers.get(PROTOCOL) {
        head.headers.insert(PROTOCOL, chosen.clone());
    }
    // Whoever was to know the client by a token has been asked. Where nobody took it, it is no less a
    // secret.
    token::strip(&mut head);
    let key = client_key(nonce());
    let fixed = [
        (UPGRADE, "websocket"),
        (CONNECTION, "upgrade"),
        (HeaderName::from_static("sec-websocket-version"), "13"),
        (HeaderName::from_static("sec-websocket-key"), &key),
    ];
    for (name, value) in fixed {
        let value = HeaderValue::from_str(value)
            .map_err(|error| Failure::BadResponse(error.to_string()))?;
        head.headers.insert(name, value);
    }
    let sent = offers(&head.headers);
    let client = &request.client;
    let upgraded = match upstream::forward_upgrade(upstreams, head, client, to, &request.id).await?
    {
        upstream::Upgrade::Refused(response) => return Ok(ControlFlow::Break(response)),
        upstream::Upgrade::Done(upgraded) => upgraded,
    };
    // These two fields were checked and taken out before.
    let mut response: Vec<(&str, &[u8])> =
        vec![("upgrade", b"websocket"), ("connection", b"upgrade")];
    response.extend(pairs(&upgraded.head.headers));
    let status = upgraded.head.status.as_u16();
    let offered: Vec<(&str, &[u8])> = sent
        .iter()
        .map(|value| ("sec-websocket-protocol", &value[..]))
        .collect();
    check_response(&key, &offered, status, &response)
        .map_err(|error| Failure::BadGateway(format!("WebSocket: {error}")))?;
    let mut theirs = upgraded.head.headers;
    if let Some(chosen) = theirs.remove(PROTOCOL) {
        headers.insert(PROTOCOL, chosen);
    }
    strip(&mut theirs);
    for (name, value) in &theirs {
        headers.append(name, value.clone());
    }
    Ok(ControlFlow::Continue(Endpoint {
        socket: upgraded.socket,
        received: upgraded.left_over,
    }))
}

/// The values in which subprotocols are offered.
fn offers(headers: &HeaderMap) -> Vec<Vec<u8>> {
    let fields = headers.get_all(PROTOCOL).iter();
    fields.map(|value| value.as_bytes().to_vec()).collect()
}

/// Sixteen bytes that are new for each connection (RFC 6455 section 4.1). They guard against caches
/// that mistake one response for another, and are not secret.
fn nonce() -> [u8; 16] {
    use std::hash::{BuildHasher, RandomState};
    let mut bytes = [0; 16];
    for half in bytes.as_chunks_mut::<8>().0 {
        *half = RandomState::new().hash_one(0).to_ne_bytes();
    }
    bytes
}
