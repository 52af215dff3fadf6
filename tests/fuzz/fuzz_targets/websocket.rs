//! Any bytes as frames of either side: how they come does not matter, and messages keep every rule.
#![cfg_attr(fuzzing, no_main)]

use zlayer_fuzz::fuzz_target;
use zlayer_fuzz::properties::websocket::check_frames;
use zlayer_http1::websocket::Role;

fuzz_target!(|input: &[u8]| {
    let [kind, step, frames @ ..] = input else {
        return;
    };
    let role = match kind % 2 {
        0 => Role::Server,
        _ => Role::Client,
    };
    check_frames(frames, role, usize::from(*step));
});
