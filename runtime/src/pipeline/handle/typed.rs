//! Plugins that export `zlayer:plugin/handler`: whole bodies in, whole bodies out.

use crate::failure::Failure;
use crate::host::request_types::{HandleResult, PluginResponse};
use crate::pipeline::bodies::WholeBodies;
use crate::pipeline::{Request, Response, fields};
use crate::plugin::Plugin;

/// Runs `handle`; `None` means that the plugin passed the request through, with its body still there.
pub(in crate::pipeline) async fn handle(
    plugin: &Plugin,
    request: &mut Request,
    bodies: &WholeBodies,
) -> Result<Option<Response>, Failure> {
    // Before the body is read: nobody can be asked with this method.
    request.record()?;
    request.read_whole(bodies).await?;
    let mut running = plugin.instance(&request.id).await?;
    let (store, guests) = running.parts();
    let Some(guest) = &guests.handler else {
        return Ok(None);
    };
    let called = guest.call_handle(store, request.record()?).await;
    match plugin.finish(running, called)? {
        HandleResult::Response(response) => {
            // The request's body has done its work: only the answer's is charged from here on.
            drop(request.take_body());
            answered(response, bodies).map(Some)
        }
        HandleResult::PassThrough => Ok(None),
        HandleResult::Error(reason) => Err(Failure::plugin_error(&reason)),
    }
}

fn answered(answer: PluginResponse, bodies: &WholeBodies) -> Result<Response, Failure> {
    let status = match answer.status {
        // 1xx are not final answers, and RFC 9110 section 15 knows none from 600.
        200..=599 => http::StatusCode::from_u16(answer.status),
        other => return Err(Failure::BadAnswer(format!("status {other}"))),
    };
    let mut response = http::Response::new(bodies.answer(answer.body)?);
    *response.status_mut() = status.map_err(|error| Failure::BadAnswer(error.to_string()))?;
    *response.headers_mut() = fields::from_list(answer.headers)?;
    Ok(response)
}
