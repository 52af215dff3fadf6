//! Any bytes as a response head: an error is final, and what is accepted keeps every rule.
#![cfg_attr(fuzzing, no_main)]

use zlayer_fuzz::fuzz_target;
use zlayer_fuzz::properties::{LIMITS, check_response};
use zlayer_http1::Limits;

fuzz_target!(|input: &[u8]| {
    for method in ["GET", "HEAD"] {
        check_response(input, method, &Limits::default());
        check_response(input, method, &LIMITS);
    }
});
