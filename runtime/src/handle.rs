//! The `handle` stage: a request goes into a plugin, an answer comes out.

mod typed;
mod wasi_http;

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use tokio::sync::oneshot;
use wasmtime_wasi_http::Error as BodyError;

use crate::failure::Failure;
use crate::plugin::Plugin;
use crate::server::body::IncomingBody;

/// The body of an answer.
pub type Body = UnsyncBoxBody<Bytes, BodyError>;

/// A client's request.
pub struct Request {
    /// Method, target, headers.
    pub head: http::request::Parts,
    /// The body as it arrives.
    pub body: IncomingBody,
    /// Who asks.
    pub client: SocketAddr,
    /// The id that log records and error answers carry.
    pub id: Arc<str>,
    /// When the head was complete.
    pub received_at: SystemTime,
}

/// The plugins' work on one request.
pub type Work = Pin<Box<dyn Future<Output = Result<(), Failure>> + Send>>;

/// A request on its way through the plugins.
pub struct Started {
    /// It may go on after the answer has come, and ends with how it went.
    pub work: Work,
    /// The answer; closed without one, `work` ends with the reason.
    pub answer: oneshot::Receiver<http::Response<Body>>,
}

/// Begins to handle `request`; nothing happens until `work` is polled.
pub fn start(plugin: Arc<Plugin>, request: Request) -> Started {
    let (send, answer) = oneshot::channel();
    Started {
        work: Box::pin(handle(plugin, request, send)),
        answer,
    }
}

async fn handle(
    plugin: Arc<Plugin>,
    mut request: Request,
    send: oneshot::Sender<http::Response<Body>>,
) -> Result<(), Failure> {
    let _working = plugin.working();
    if plugin.is_typed()
        && let Some(response) = typed::handle(&plugin, &mut request).await?
    {
        // A client that went away has no use for it.
        let _ = send.send(response);
        return Ok(());
    }
    if plugin.is_http() {
        wasi_http::handle(&plugin, request, send).await
    } else {
        Err(Failure::PassThrough)
    }
}
