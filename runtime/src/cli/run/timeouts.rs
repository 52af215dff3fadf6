//! `--timeout PHASE=DURATION`.

use crate::config::{Timeouts, parse_duration, parse_pair};

/// Splits what `--timeout` names.
pub(super) fn parse_phase(text: &str) -> std::result::Result<(String, String), String> {
    parse_pair(text).map_err(|_| "wants PHASE=DURATION, such as head=5s".to_owned())
}

/// The default times, but for the phases that are named.
pub(super) fn timeouts(phases: &[(String, String)]) -> std::result::Result<Timeouts, String> {
    let mut timeouts = Timeouts::default();
    for (phase, text) in phases {
        let duration = parse_duration(text)?;
        match phase.as_str() {
            "idle" => timeouts.idle = duration,
            "head" => timeouts.head = duration,
            "request" => timeouts.request = duration,
            "stall" => timeouts.stall = duration,
            "upload" => timeouts.upload = duration,
            "websocket-ping" => timeouts.websocket_ping = duration,
            "drain" => timeouts.drain = duration,
            _ => {
                return Err(format!(
                    "there is no phase '{phase}'; there are idle, head, request, stall, upload, websocket-ping, drain"
                ));
            }
        }
    }
    Ok(timeouts)
}
