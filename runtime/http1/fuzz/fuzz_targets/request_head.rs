//! Any bytes as a request head: an error is final, and what is accepted keeps every rule.
#![no_main]

use libfuzzer_sys::fuzz_target;
use zlayer_http1::Limits;
use zlayer_http1_fuzz::properties::{LIMITS, check_head};

fuzz_target!(|input: &[u8]| {
    check_head(input, &Limits::default());
    check_head(input, &LIMITS);
});
