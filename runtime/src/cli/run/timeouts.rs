//! `--timeout PHASE=DURATION`.

use zlayer_bundle::{TimeoutSettings, parse_duration};

use crate::config::Timeouts;

/// What the flags say of phases, each `(PHASE, DURATION)`.
///
/// # Errors
///
/// There is no such phase, or the duration is none.
pub(super) fn parse(phases: &[(String, String)]) -> std::result::Result<TimeoutSettings, String> {
    let mut said = TimeoutSettings::default();
    for (phase, text) in phases {
        let duration = Some(parse_duration(text)?);
        match phase.as_str() {
            "idle" => said.idle = duration,
            "head" => said.head = duration,
            "request" => said.request = duration,
            "stall" => said.stall = duration,
            "upload" => said.upload = duration,
            "websocket-ping" => said.websocket_ping = duration,
            "drain" => said.drain = duration,
            "trial" => said.trial = duration,
            _ => {
                return Err(format!(
                    "there is no phase '{phase}'; there are idle, head, request, stall, upload, websocket-ping, drain, trial"
                ));
            }
        }
    }
    Ok(said)
}

/// The default times, but for what is said.
pub(super) fn read(said: &TimeoutSettings) -> Timeouts {
    let usual = Timeouts::default();
    Timeouts {
        idle: said.idle.unwrap_or(usual.idle),
        head: said.head.unwrap_or(usual.head),
        request: said.request.unwrap_or(usual.request),
        stall: said.stall.unwrap_or(usual.stall),
        upload: said.upload.unwrap_or(usual.upload),
        websocket_ping: said.websocket_ping.unwrap_or(usual.websocket_ping),
        drain: said.drain.unwrap_or(usual.drain),
        trial: said.trial.unwrap_or(usual.trial),
        half_closed: usual.half_closed,
    }
}
