//! The pages: what there is to read, and what answers for it.

use super::message::{Answer, JSON, Request, TEXT};
use super::view::View;
use super::{commands, series, status};
use crate::metrics;
use crate::redact;

/// Room for a status, and for the daemon's own metrics, while they are written: with one plugin. Longer ones
/// need more when they are done.
const STATUS_BYTES: usize = 16 << 10;
/// What each further plugin adds.
const PLUGIN_BYTES: usize = 6 << 10;

/// Bytes that the answer may take; short ones have theirs in any case.
pub(super) fn room(request: &Request, view: &View) -> usize {
    let more = view.plugins().len().saturating_sub(1) * PLUGIN_BYTES;
    match request.path.as_str() {
        "/metrics" => STATUS_BYTES + more + view.metrics.page_bytes(),
        "/status" | "/status.txt" => STATUS_BYTES + more,
        _ => 0,
    }
}

/// The answer, made with as much room as there was said to be.
pub(super) async fn answer(request: &Request, view: &View, room: usize) -> Answer {
    if commands::has(&request.path) {
        return commands::run(view, request).await;
    }
    let trouble = view.trouble();
    let healthy = Some(trouble.is_none());
    let mut answer = match request.path.as_str() {
        "/metrics" => Answer::new(200, metrics::CONTENT_TYPE, series::render(view, room)),
        "/status" => Answer {
            healthy,
            ..Answer::new(200, JSON, status::json(view))
        },
        "/status.txt" => Answer {
            healthy,
            ..Answer::new(200, TEXT, status::text(view))
        },
        "/healthz" => Answer {
            healthy,
            ..match trouble {
                None => Answer::text(200, "ok"),
                Some(trouble) => Answer::text(503, &redact::scrub(&trouble)),
            }
        },
        _ => Answer::text(
            404,
            "there are /metrics, /status, /status.txt and /healthz, and over the Unix socket \
             /cache/purge, /validate-token and /rate-limit",
        ),
    };
    answer.is_head = request.is_head;
    answer
}
