//! Any bytes as one of the small files that the daemon reads; the first byte chooses which.
#![cfg_attr(fuzzing, no_main)]

use zlayer_fuzz::fuzz_target;
use zlayer_fuzz::resolver::fuzz::{configuration, hosts};
use zlayer_fuzz::secrets::fuzz::secrets;
use zlayer_fuzz::server::tls::fuzz::certificate;
use zlayer_fuzz::versions::fuzz::versions;

fuzz_target!(|input: &[u8]| {
    let [kind, content @ ..] = input else {
        return;
    };
    let text = String::from_utf8_lossy(content);
    match kind % 5 {
        0 => certificate(content),
        1 => configuration(&text),
        2 => hosts(&text),
        3 => secrets(&text),
        _ => versions(&text),
    }
});
