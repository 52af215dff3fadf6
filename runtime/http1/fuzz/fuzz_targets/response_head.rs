//! Any bytes as a response head: an error is final, and what is accepted keeps every rule.
#![no_main]

use libfuzzer_sys::fuzz_target;
use zlayer_http1::Limits;
use zlayer_http1_fuzz::properties::{LIMITS, check_response};

fuzz_target!(|input: &[u8]| {
    for method in ["GET", "HEAD"] {
        check_response(input, method, &Limits::default());
        check_response(input, method, &LIMITS);
    }
});
