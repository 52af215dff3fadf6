//! Any bytes as the files of a certificate and its key: what is found in PEM is found again, and
//! nothing of a key is said.
#![no_main]

use libfuzzer_sys::fuzz_target;
use zlayer_runtime_fuzz::server::tls::fuzz::pem;

fuzz_target!(|input: &[u8]| pem(input));
