//! Plugins that export `zlayer:plugin/handler`: whole bodies in, whole bodies out.

use std::pin::pin;
use std::sync::Arc;

use crate::failure::Failure;
use crate::host::request_types::{HandleResult, PluginResponse};
use crate::message::{Response, final_status};
use crate::pipeline::bodies::WholeBodies;
use crate::pipeline::{Request, fields};
use crate::plugin::Plugin;

/// Runs `handle`; `None` means that the plugin passed the request through, with its body still
/// there.
pub(in crate::pipeline) async fn handle(
    plugin: &Plugin,
    request: &mut Request,
    bodies: &WholeBodies,
) -> Result<Option<Response>, Failure> {
    // This comes before the body is read, which a method that the contract does not know would
    // waste.
    request.record()?;
    request.read_whole(bodies).await?;
    let id = Arc::clone(&request.id);
    match call(plugin, &id, request).await? {
        HandleResult::Response(response) => {
            // The request's body is not needed any more: from here on only the response's body is
            // charged.
            request.drop_body();
            to_response(response, bodies).await.map(Some)
        }
        HandleResult::PassThrough => Ok(None),
        HandleResult::Error(reason) => Err(Failure::plugin_error(&reason)),
    }
}

/// Calls the guest. What the client takes to send the body is not its time, nor what an instance takes to be
/// free or made: an `init` that takes longer than a call may would never come to its end.
async fn call(
    plugin: &Plugin,
    id: &Arc<str>,
    request: &mut Request,
) -> Result<HandleResult, Failure> {
    let running = plugin.instance(id).await?;
    let calling = pin!(async {
        let mut running = running;
        let (store, guests) = running.parts();
        let Some(guest) = &guests.handler else {
            return Ok(HandleResult::PassThrough);
        };
        let called = guest.call_handle(store, &*request.record()?).await;
        plugin.finish(running, called)
    });
    plugin.in_time(id, None, calling).await
}

async fn to_response(returned: PluginResponse, bodies: &WholeBodies) -> Result<Response, Failure> {
    let status = final_status(returned.status)?;
    // Before the body, which may have to wait for memory.
    let fields = fields::from_list(returned.headers)?;
    let mut response = http::Response::new(bodies.response_body(returned.body).await?);
    *response.status_mut() = status;
    fields.put(&mut response);
    Ok(response)
}
