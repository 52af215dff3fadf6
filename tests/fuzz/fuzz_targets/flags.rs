//! Any text as what stands behind a flag: what is taken is written as it is read.
#![cfg_attr(fuzzing, no_main)]

use zlayer_fuzz::config::fuzz::{host_pattern, network, path_pattern, word};
use zlayer_fuzz::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let text = String::from_utf8_lossy(input);
    network(&text);
    path_pattern(&text);
    host_pattern(&text);
    word(&text);
});
