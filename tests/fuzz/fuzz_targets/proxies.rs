//! Any bytes as what a proxy says: as the header of the PROXY protocol, and in `Forwarded`,
//! `X-Forwarded-For` and `Via`.
#![cfg_attr(fuzzing, no_main)]

use zlayer_fuzz::fuzz_target;
use zlayer_fuzz::properties::proxies::check_proxies;

fuzz_target!(|input: &[u8]| {
    check_proxies(input);
});
