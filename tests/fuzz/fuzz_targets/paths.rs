//! Any text as a path: whoever comes to a guarded one as applications read paths is guarded. And as a
//! host that a plugin asks for, and as what the access log shows of a client.
#![cfg_attr(fuzzing, no_main)]

use zlayer_fuzz::config::fuzz::host;
use zlayer_fuzz::fuzz_target;
use zlayer_fuzz::pipeline::fuzz::path;
use zlayer_fuzz::server::fuzz::shown;

fuzz_target!(|input: &[u8]| {
    shown(input);
    let text = String::from_utf8_lossy(input);
    path(&text);
    host(&text);
});
