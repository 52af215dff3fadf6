//! What a request for a WebSocket turns into once the plugin and the upstream have accepted.

use std::fmt;
use std::sync::Arc;

use http::header::{HeaderMap, HeaderValue};
use smol::channel::Receiver;

use super::{EXTENSIONS, OURS};
use crate::config::{Limits, Timeouts};
use crate::memory::Budget;
use crate::pipeline::token::PROTOCOL;
use crate::websocket::{Endpoint, MessageHandler, WebSocketSession};

/// A WebSocket conversation that begins when the client has its 101.
pub struct Upgrade {
    pub(super) accept: String,
    /// The subprotocol that was agreed on with the client. No stage can change it any more.
    pub(super) protocol: Option<HeaderValue>,
    pub(super) label: String,
    pub(super) upstream: Option<Endpoint>,
    pub(super) handler: Option<Box<dyn MessageHandler>>,
    pub(super) budget: Arc<Budget>,
    pub(super) deflate: Option<zlayer_http1::websocket::Deflate>,
}

impl Upgrade {
    /// The value of Sec-WebSocket-Accept. Sets the fields of the handshake in `headers` to what was
    /// agreed on, whatever middlewares have changed.
    pub fn accept(&self, headers: &mut HeaderMap) -> &str {
        strip(headers);
        if let Some(protocol) = &self.protocol {
            headers.insert(PROTOCOL, protocol.clone());
        }
        if let Some(deflate) = &self.deflate
            && let Ok(value) = HeaderValue::from_str(&deflate.accepted())
        {
            headers.insert(EXTENSIONS, value);
        }
        &self.accept
    }

    /// Carries messages between `client`, the plugin and the upstream until the conversation has
    /// ended, at the latest shortly after `cut` closes.
    pub async fn converse(
        self,
        client: Endpoint,
        limits: &Limits,
        timeouts: &Timeouts,
        stops: [Receiver<()>; 2],
        cut: Receiver<()>,
    ) {
        let session = WebSocketSession {
            label: self.label,
            client,
            upstream: self.upstream,
            handler: self.handler,
            deflate: self.deflate,
            budget: self.budget,
            stops,
            cut,
        };
        session.run(limits, timeouts).await;
    }
}

impl fmt::Debug for Upgrade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upgrade").finish_non_exhaustive()
    }
}

/// Removes the fields of the handshake.
pub(super) fn strip(headers: &mut HeaderMap) {
    headers.remove(PROTOCOL);
    for name in &OURS {
        headers.remove(name);
    }
}
