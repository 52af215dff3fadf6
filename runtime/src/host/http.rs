//! `wasi:http`: what plugins send and receive.
//!
//! Requests go out through [`crate::upstream`]. A plugin needs the capability `http-client`, and
//! the host that it asks for must be among those that it is allowed.

mod message;
mod outgoing_body;
mod types;
mod weight;

use std::future::{Future, ready};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::uri::Scheme;
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use wasmtime_wasi_http::p2::bindings::LinkOptions;
use wasmtime_wasi_http::p2::bindings::http::{outgoing_handler, types as bindings};
use wasmtime_wasi_http::{Error, RequestOptions, WasiHttpHooks};

use super::http_error::plugin_body;
use super::read_ahead::read_ahead;
use super::{CurrentRequest, Host, Interface, PluginHost};
use crate::capability::Capability;
use crate::upstream::{ForClient, Target, UpstreamError};

pub(super) use outgoing_body::HandOver;

type Body = UnsyncBoxBody<Bytes, Error>;
type Sent = Result<
    (
        http::Response<Body>,
        Box<dyn Future<Output = Result<(), Error>> + Send>,
    ),
    Error,
>;

/// The interfaces, all on `HostState` itself.
pub(super) const INTERFACES: &[Interface] = &[
    ("wasi:http/outgoing-handler", |linker| {
        outgoing_handler::add_to_linker::<_, Host>(linker, |state| state)
    }),
    ("wasi:http/types", |linker| {
        let options = LinkOptions::default();
        bindings::add_to_linker::<_, Host>(linker, &(&options).into(), |state| state)
    }),
];

/// Sends a plugin's outgoing requests.
pub(super) struct Outgoing {
    plugin: Arc<PluginHost>,
    /// The request that the instance works on, which the log names.
    request: CurrentRequest,
}

impl Outgoing {
    pub(super) fn new(plugin: &Arc<PluginHost>, request: &CurrentRequest) -> Outgoing {
        Outgoing {
            plugin: Arc::clone(plugin),
            request: request.clone(),
        }
    }

    /// Where a request goes, if it is allowed. Timeouts that the guest sets to zero, or does not
    /// set, take their defaults; every phase has one.
    fn target(&self, uri: &http::Uri, options: RequestOptions) -> Result<Target, Error> {
        let tls = uri.scheme() == Some(&Scheme::HTTPS);
        let authority = uri.authority().ok_or(Error::HttpRequestUriInvalid)?;
        let host = authority.host();
        let port = match authority.as_str().strip_prefix(host) {
            Some("") if tls => 443,
            Some("") => 80,
            Some(_) => authority.port_u16().ok_or(Error::HttpRequestUriInvalid)?,
            // User information stands before the host (RFC 9110 section 4.2.4).
            None => return Err(Error::HttpRequestUriInvalid),
        };
        let literal = host
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        let host = literal.unwrap_or(host);
        let target = Target {
            host: host.to_owned(),
            port,
            tls,
            connect_timeout: options.connect_timeout.unwrap_or(Duration::ZERO),
            request_timeout: options.first_byte_timeout.unwrap_or(Duration::ZERO),
            stall_timeout: options.between_bytes_timeout.unwrap_or(Duration::ZERO),
            sender: Arc::clone(&self.plugin.sender),
            share: Some(Arc::clone(&self.plugin.share)),
            client: ForClient::default(),
        };
        // Where no host is allowed at all, that is what is told.
        target
            .check()
            .map_err(|error| self.failed(&target, error))?;
        match self.plugin.may(Capability::HttpClient, &self.request) {
            true => Ok(target),
            false => Err(Error::HttpRequestDenied),
        }
    }

    /// Tells the log of a request that failed, and the plugin in its own words. One that was denied
    /// is counted, and told once for each host.
    fn failed(&self, target: &Target, error: UpstreamError) -> Error {
        let (host, port) = (&target.host, target.port);
        let message = format!("a request to {host}:{port}: {error}");
        if matches!(error, UpstreamError::Denied(_)) {
            self.plugin.gate.deny(Capability::HttpClient);
            let to = format!("{host}:{port}");
            let id = self.request.id();
            self.plugin
                .tell_once(("host", &to), id.as_deref(), &message);
        } else {
            self.log_warning(&message);
        }
        error.into()
    }

    /// Writes a warning to the log. It counts as one of the plugin's own records.
    fn log_warning(&self, message: &str) {
        let id = self.request.id();
        self.plugin
            .log
            .write(log::Level::Warn, id.as_deref(), message, &[]);
    }
}

impl WasiHttpHooks for Outgoing {
    fn send_request(
        &mut self,
        mut request: http::Request<Body>,
        options: Option<RequestOptions>,
        _sent: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        // The response arrives through a task of tokio's reactor, which must run for that.
        crate::reactor::drive();
        let target = match self.target(request.uri(), options.unwrap_or_default()) {
            Ok(target) => target,
            Err(error) => return Box::new(ready(Err(error))),
        };
        // The id is read now, since the guest may be working on another request when this one is
        // sent.
        let id = self.request.id();
        let upstreams = &self.plugin.upstreams;
        let rounds = upstreams.rounds();
        rounds.mark_head(request.headers_mut(), id.as_deref().unwrap_or("-"));
        let outgoing = Outgoing::new(&self.plugin, &self.request);
        // This does not run on the reactor's thread, whose stack is small and through which all
        // responses pass. The task is cancelled when the guest drops its handle for the response.
        let executor = upstreams.executor();
        Box::new(executor.spawn(send(outgoing, request, target)))
    }
}

async fn send(outgoing: Outgoing, request: http::Request<Body>, target: Target) -> Sent {
    let id = outgoing.request.id();
    let upstream = format!("{}:{}", target.host, target.port);
    let asked = id
        .clone()
        .map(|id| outgoing.plugin.asking.begin(id, upstream));
    let id = id.as_deref().unwrap_or("-");
    let upstreams = &outgoing.plugin.upstreams;
    let sent = upstreams.send(request.map(plugin_body), &target, id).await;
    drop(asked);
    match sent {
        Ok(response) => {
            let (parts, body) = response.into_parts();
            let body = read_ahead(upstreams, body).await;
            let body = body.map_err(Error::from).boxed_unsync();
            let nothing_left = Box::new(ready(Ok(())));
            Ok((http::Response::from_parts(parts, body), nothing_left))
        }
        Err(error) => Err(outgoing.failed(&target, error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_request_on_its_way_is_charged_with_has_room_for_its_tasks() {
        fn bytes<F>(_: impl FnOnce(Outgoing, http::Request<Body>, Target) -> F) -> usize {
            size_of::<F>()
        }
        // The executor's task holds it, and tokio's waits for that one.
        assert!(2 * bytes(send) <= message::SENT_BYTES, "{}", bytes(send));
    }
}
