//! Any bytes as the files of a certificate and its key: what is found in PEM is found again, and
//! nothing of a key is said.
#![cfg_attr(fuzzing, no_main)]

use zlayer_fuzz::fuzz_target;
use zlayer_fuzz::server::tls::fuzz::pem;

fuzz_target!(|input: &[u8]| pem(input));
