//! Any bytes as a request to the admin interface, over either socket, and as an answer of it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use zlayer_runtime_fuzz::admin::fuzz::{request, response};

fuzz_target!(|input: &[u8]| {
    request(input);
    response(input);
});
