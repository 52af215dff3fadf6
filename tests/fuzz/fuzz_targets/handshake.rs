//! Any fields as the two sides of a WebSocket's opening handshake: a second, plainer reading accepts
//! the same, and what is answered is understood.
#![cfg_attr(fuzzing, no_main)]

use zlayer_fuzz::fuzz_target;
use zlayer_fuzz::properties::handshake::check_handshake;

fuzz_target!(|input: &[u8]| {
    check_handshake(input);
});
