//! A request in the contract's types, which typed plugins are called with.

use std::ops::Deref;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::failure::Failure;
use crate::host::common::KeyValue;
use crate::host::request_types::{HttpMethod, PluginRequest};
use crate::pipeline::fields;

/// The record of a request, for as long as a plugin is called with it. The body is moved into the
/// record, and moved back when this is dropped, so that it need not be copied.
pub struct Record<'a> {
    request: &'a mut PluginRequest,
    body: Option<&'a mut Vec<u8>>,
}

impl<'a> Record<'a> {
    /// Makes a record of `request` with `body` in it, if there is one that the plugin may see.
    pub(super) fn new(request: &'a mut PluginRequest, body: Option<&'a mut Vec<u8>>) -> Record<'a> {
        let mut record = Record { request, body };
        record.swap();
        record
    }

    fn swap(&mut self) {
        if let Some(body) = &mut self.body {
            std::mem::swap(*body, &mut self.request.body);
        }
    }
}

impl Deref for Record<'_> {
    type Target = PluginRequest;

    fn deref(&self) -> &PluginRequest {
        self.request
    }
}

impl Drop for Record<'_> {
    fn drop(&mut self) {
        self.swap();
    }
}

/// Converts a request to the contract's types, without its body.
///
/// # Errors
///
/// The contract has no case for the method.
pub(super) fn describe(
    head: &http::request::Parts,
    id: &Arc<str>,
    received_at: SystemTime,
    context: &[KeyValue],
) -> Result<Box<PluginRequest>, Failure> {
    let method = method(&head.method).ok_or_else(|| Failure::Method(head.method.to_string()))?;
    Ok(Box::new(PluginRequest {
        request_id: id.to_string(),
        path: head.uri.path().to_owned(),
        method,
        query: head.uri.query().map(str::to_owned),
        headers: fields::to_list(&head.headers),
        body: Vec::new(),
        timestamp: nanoseconds(received_at),
        context: context.to_vec(),
    }))
}

/// Converts a time to the contract's form: nanoseconds since 1970.
pub(super) fn nanoseconds(at: SystemTime) -> u64 {
    let since = at.duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    })
}

fn method(method: &http::Method) -> Option<HttpMethod> {
    Some(match method.as_str() {
        "GET" => HttpMethod::Get,
        "POST" => HttpMethod::Post,
        "PUT" => HttpMethod::Put,
        "DELETE" => HttpMethod::Delete,
        "PATCH" => HttpMethod::Patch,
        "HEAD" => HttpMethod::Head,
        "OPTIONS" => HttpMethod::Options,
        "CONNECT" => HttpMethod::Connect,
        "TRACE" => HttpMethod::Trace,
        _ => return None,
    })
}
