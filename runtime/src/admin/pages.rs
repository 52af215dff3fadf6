//! The pages that can be read, and which module writes each.

use super::message::{JSON, Request, Response, TEXT};
use super::view::View;
use super::{commands, reading, series, status};
use crate::metrics;
use crate::redact;

/// Bytes reserved for a status, and for the daemon's own metrics, while they are written: enough
/// with one plugin. Longer ones reserve more once they are written.
const STATUS_BYTES: usize = 16 << 10;
/// Bytes reserved for each further plugin.
const PLUGIN_BYTES: usize = 6 << 10;

/// Bytes to reserve for the response. Short responses have room in any case.
pub(super) fn room(request: &Request, view: &View) -> usize {
    let more = view.plugins().len().saturating_sub(1) * PLUGIN_BYTES;
    match request.path.as_str() {
        "/metrics" => STATUS_BYTES + more + view.metrics.page_bytes(),
        "/status" | "/status.txt" => STATUS_BYTES + more,
        _ => 0,
    }
}

/// Makes the response. `room` is what [`room`] returned for the request.
pub(super) async fn respond(request: &Request, view: &View, room: usize) -> Response {
    if reading::is_command(&request.path) {
        return commands::run(view, request).await;
    }
    let trouble = view.trouble();
    let healthy = Some(trouble.is_none());
    let mut response = match request.path.as_str() {
        "/metrics" => {
            let page = series::render(view, room).await;
            Response::new(200, metrics::CONTENT_TYPE, page)
        }
        "/status" => Response {
            healthy,
            ..Response::new(200, JSON, status::json(view))
        },
        "/status.txt" => Response {
            healthy,
            ..Response::new(200, TEXT, status::text(view))
        },
        "/healthz" => Response {
            healthy,
            ..match trouble {
                None => Response::text(200, "ok"),
                Some(trouble) => Response::text(503, &redact::scrub(&trouble)),
            }
        },
        _ => Response::text(
            404,
            "there are /metrics, /status, /status.txt and /healthz, and over the Unix socket \
             /cache/purge, /validate-token, /rate-limit, /install, /rollback and /uninstall",
        ),
    };
    response.is_head = request.is_head;
    response
}
