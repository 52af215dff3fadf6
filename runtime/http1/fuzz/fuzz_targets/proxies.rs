//! Any bytes as what a proxy says: as the header of the PROXY protocol, and in `Forwarded`,
//! `X-Forwarded-For` and `Via`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use zlayer_http1_fuzz::properties::proxies::check_proxies;

fuzz_target!(|input: &[u8]| {
    check_proxies(input);
});
