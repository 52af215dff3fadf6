//! Plugins that export `zlayer:plugin/handler`: whole bodies in, whole bodies out.

use std::sync::Arc;
use std::time::UNIX_EPOCH;

use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use http_body::Body as _;
use http_body_util::{BodyExt, Full};

use super::{Body, Request};
use crate::failure::Failure;
use crate::host::common::KeyValue;
use crate::host::request_types::{HandleResult, HttpMethod, PluginRequest, PluginResponse};
use crate::memory::Reservation;
use crate::plugin::{Plugin, SHOWN_BYTES};
use crate::redact::cut;
use crate::server::body::IncomingBody;

/// Runs `handle`; `None` means that the plugin passed the request through, with its body still to be read.
pub(super) async fn handle(
    plugin: &Plugin,
    request: &mut Request,
) -> Result<Option<http::Response<Body>>, Failure> {
    let method = method(&request.head.method)
        .ok_or_else(|| Failure::Method(request.head.method.to_string()))?;
    let (body, held) = collect(plugin, std::mem::take(&mut request.body)).await?;
    let plugin_request = PluginRequest {
        request_id: request.id.to_string(),
        path: request.head.uri.path().to_owned(),
        method,
        query: request.head.uri.query().map(str::to_owned),
        headers: headers(&request.head.headers),
        body,
        timestamp: request
            .received_at
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| {
                u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
            }),
        context: vec![KeyValue {
            key: "client_ip".to_owned(),
            value: request.client.ip().to_canonical().to_string(),
        }],
    };
    let mut running = plugin.typed_instance().await?;
    let instance = &mut running.instance;
    instance.store.data_mut().work_on(&request.id);
    let result = match instance
        .guest
        .call_handle(&mut instance.store, &plugin_request)
        .await
    {
        Ok(result) => result,
        Err(error) => return Err(Failure::from_call(error, &running.instance.store)),
    };
    plugin.keep_typed(running);
    match result {
        HandleResult::Response(response) => {
            // The request's body has done its work: only the answer's is charged from here on.
            drop((plugin_request, held));
            response_from(response, plugin).map(Some)
        }
        HandleResult::PassThrough => {
            request.body = IncomingBody::whole(plugin_request.body.into(), held);
            Ok(None)
        }
        HandleResult::Error(reason) => Err(Failure::plugin_error(&reason)),
    }
}

/// Reads a body to its end, within the bound for typed plugins and the memory budget.
async fn collect(
    plugin: &Plugin,
    mut body: IncomingBody,
) -> Result<(Vec<u8>, Option<Reservation>), Failure> {
    let limit = plugin.limits().body;
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > limit {
        return Err(Failure::BodyTooLarge(limit));
    }
    let mut held = None;
    let mut whole = Vec::new();
    while let Some(frame) = body.frame().await {
        // Trailers have no place in the contract's request.
        let Ok(data) = frame.map_err(Failure::bad_body)?.into_data() else {
            continue;
        };
        let length = whole.len() + data.len();
        if length > limit {
            return Err(Failure::BodyTooLarge(limit));
        }
        if length > whole.capacity() {
            // What is announced costs nothing until it comes.
            let capacity = length.max(2 * whole.capacity()).min(limit);
            plugin.reserve_for_upload(&mut held, whole.capacity(), capacity)?;
            whole.reserve_exact(capacity - whole.len());
        }
        whole.extend_from_slice(&data);
    }
    Ok((whole, held))
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

/// The contract's strings are Unicode; bytes of a value that are not become U+FFFD.
fn headers(map: &http::HeaderMap) -> Vec<KeyValue> {
    let pairs = map.iter().map(|(name, value)| KeyValue {
        key: name.as_str().to_owned(),
        value: String::from_utf8_lossy(value.as_bytes()).into_owned(),
    });
    pairs.collect()
}

fn response_from(answer: PluginResponse, plugin: &Plugin) -> Result<http::Response<Body>, Failure> {
    let status = match answer.status {
        // 1xx are not final answers, and RFC 9110 section 15 knows none from 600.
        200..=599 => answer.status,
        other => return Err(Failure::BadAnswer(format!("status {other}"))),
    };
    if answer.body.len() > plugin.limits().body {
        return Err(Failure::BadAnswer(format!(
            "a body of {} bytes; at most {}",
            answer.body.len(),
            plugin.limits().body
        )));
    }
    let held = plugin.reserve_for_answer(answer.body.len())?;
    let mut response = http::Response::new(
        Full::new(Bytes::from(answer.body))
            .map_err(|never| match never {})
            .boxed_unsync(),
    );
    // Charged until the answer is written.
    response.extensions_mut().insert(Arc::new(held));
    *response.status_mut() = http::StatusCode::from_u16(status)
        .map_err(|error| Failure::BadAnswer(error.to_string()))?;
    for KeyValue { key, value } in answer.headers {
        let name = HeaderName::from_bytes(key.as_bytes())
            .map_err(|_| Failure::BadAnswer(format!("header name {:?}", cut(&key, SHOWN_BYTES))))?;
        let value = HeaderValue::from_bytes(value.as_bytes())
            .map_err(|_| Failure::BadAnswer(format!("value of header {name}")))?;
        if response.headers_mut().try_append(name, value).is_err() {
            return Err(Failure::BadAnswer("too many headers".to_owned()));
        }
    }
    Ok(response)
}
