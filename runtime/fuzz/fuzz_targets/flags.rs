//! Any text as what stands behind a flag: what is taken is written as it is read.
#![no_main]

use libfuzzer_sys::fuzz_target;
use zlayer_runtime_fuzz::config::fuzz::{host_pattern, network, path_pattern, word};

fuzz_target!(|input: &[u8]| {
    let text = String::from_utf8_lossy(input);
    network(&text);
    path_pattern(&text);
    host_pattern(&text);
    word(&text);
});
