//! `wasi:http/outgoing-handler`, and what bounds the bodies that plugins send.

use std::future::{Future, ready};
use std::sync::Arc;

use http_body_util::combinators::UnsyncBoxBody;
use wasmtime_wasi_http::{Error, RequestOptions, WasiHttpHooks};

use super::PluginHost;
use crate::capability::Capability;

/// Bytes of one chunk of a body on its way from a plugin; two may wait.
const CHUNK_BYTES: usize = 16 << 10;

type Body = UnsyncBoxBody<bytes::Bytes, Error>;
type Sent = Result<
    (
        http::Response<Body>,
        Box<dyn Future<Output = Result<(), Error>> + Send>,
    ),
    Error,
>;

/// Outgoing requests: denied unless granted, and `zlayer run` has no flag that grants them yet. A
/// plugin gets `HTTP-request-denied`, as `init` got no `http-client`.
pub(super) struct Outgoing {
    plugin: Arc<PluginHost>,
}

impl Outgoing {
    pub(super) fn new(plugin: &Arc<PluginHost>) -> Outgoing {
        Outgoing {
            plugin: Arc::clone(plugin),
        }
    }
}

impl WasiHttpHooks for Outgoing {
    fn send_request(
        &mut self,
        _request: http::Request<Body>,
        _options: Option<RequestOptions>,
        _sent: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        self.plugin.grants.allow(Capability::HttpClient);
        // The answer travels through a task of the reactor, which must run for it to arrive.
        crate::reactor::drive();
        Box::new(ready(Err(Error::HttpRequestDenied)))
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        CHUNK_BYTES
    }
}
