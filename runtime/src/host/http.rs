//! `wasi:http/outgoing-handler`, and what bounds the bodies that plugins send.
//!
//! Requests go out through [`crate::upstream`]. A plugin needs the capability `http-client`, and
//! the host that it asks for must be among those that it is allowed.

use std::future::{Future, ready};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::uri::Scheme;
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource};
use wasmtime_wasi_http::p2::bindings::http::types;
use wasmtime_wasi_http::p2::types::HostOutgoingRequest;
use wasmtime_wasi_http::{Error, RequestOptions, WasiHttpHooks, WasiHttpView};

use super::http_error::plugin_body;
use super::read_ahead::read_ahead;
use super::{CurrentRequest, HostState, PluginHost};
use crate::capability::Capability;
use crate::upstream::{ForClient, Target, UpstreamError};

/// How many bytes one chunk of a plugin's outgoing body may have. Two chunks may wait.
const CHUNK_BYTES: usize = 16 << 10;

type Body = UnsyncBoxBody<Bytes, Error>;
type Sent = Result<
    (
        http::Response<Body>,
        Box<dyn Future<Output = Result<(), Error>> + Send>,
    ),
    Error,
>;

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

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        CHUNK_BYTES
    }
}

async fn send(outgoing: Outgoing, request: http::Request<Body>, target: Target) -> Sent {
    let id = outgoing.request.id();
    let id = id.as_deref().unwrap_or("-");
    let upstreams = &outgoing.plugin.upstreams;
    match upstreams.send(request.map(plugin_body), &target, id).await {
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

/// Lets a plugin name a whole URL where WASI wants a path.
///
/// The plugin guide calls `set-path-with-query` with a URL, and sets neither scheme nor authority.
/// WASI refuses that; here the URL sets all three, where the other two are not set yet.
pub(super) fn add_to_linker(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    // The version that wasmtime-wasi-http links. A plugin that imports an older one is matched to
    // it.
    let mut types = linker.instance("wasi:http/types@0.2.12")?;
    types.func_wrap(
        "[method]outgoing-request.set-path-with-query",
        |mut store: StoreContextMut<'_, HostState>,
         (request, text): (Resource<HostOutgoingRequest>, Option<String>)| {
            set_path_with_query(store.data_mut(), request, text).map(|done| (done,))
        },
    )
}

fn set_path_with_query(
    state: &mut HostState,
    request: Resource<HostOutgoingRequest>,
    text: Option<String>,
) -> wasmtime::Result<Result<(), ()>> {
    let url = text.as_deref().and_then(absolute);
    let Some((scheme, authority, path)) = url else {
        return types::HostOutgoingRequest::set_path_with_query(&mut state.http(), request, text);
    };
    let request = state.table.get_mut(&request)?;
    if request.scheme.is_some() || request.authority.is_some() {
        return Ok(Err(()));
    }
    request.scheme = Some(scheme);
    request.authority = Some(authority);
    request.path_with_query = Some(path);
    Ok(Ok(()))
}

/// The parts of an absolute http or https URL.
fn absolute(text: &str) -> Option<(types::Scheme, String, String)> {
    let uri: http::Uri = text.parse().ok()?;
    let scheme = match uri.scheme_str()? {
        "http" => types::Scheme::Http,
        "https" => types::Scheme::Https,
        _ => return None,
    };
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    Some((
        scheme,
        uri.authority()?.as_str().to_owned(),
        path.to_owned(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_absolute_urls_are_taken_apart() {
        for (url, authority, path) in [
            ("http://h", "h", "/"),
            ("https://h:8443/a?b", "h:8443", "/a?b"),
            ("HTTP://[::1]/", "[::1]", "/"),
            ("http://h?q", "h", "?q"),
        ] {
            let parts = absolute(url).map(|(_, authority, path)| (authority, path));
            assert_eq!(
                parts,
                Some((authority.to_owned(), path.to_owned())),
                "{url}"
            );
        }
        for text in [
            "",
            "/",
            "/a?b=http://h/",
            "?q",
            "h:80",
            "ftp://h/",
            "http:/h",
            "http://",
            "a b",
        ] {
            assert!(absolute(text).is_none(), "{text:?}");
        }
    }
}
