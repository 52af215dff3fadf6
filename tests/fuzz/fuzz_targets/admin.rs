//! Any bytes as a request to the admin interface, over either socket, and as an answer of it.
#![cfg_attr(fuzzing, no_main)]

use zlayer_fuzz::admin::fuzz::{request, response};
use zlayer_fuzz::fuzz_target;

fuzz_target!(|input: &[u8]| {
    request(input);
    response(input);
});
