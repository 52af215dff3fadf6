//! Any bytes as a request head: an error is final, and what is accepted keeps every rule.
#![cfg_attr(fuzzing, no_main)]

use zlayer_fuzz::fuzz_target;
use zlayer_fuzz::properties::{LIMITS, check_head};
use zlayer_http1::Limits;

fuzz_target!(|input: &[u8]| {
    check_head(input, &Limits::default());
    check_head(input, &LIMITS);
});
