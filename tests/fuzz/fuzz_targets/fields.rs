//! Any lines as a target and the fields of a request and of a response, as far as the codec lets them
//! through: what cache, proxies and WebSockets read from them, and what ends with a connection.
#![cfg_attr(fuzzing, no_main)]

use zlayer_fuzz::cache::fuzz::heads;
use zlayer_fuzz::fuzz_target;
use zlayer_fuzz::message::fuzz::Heads;
use zlayer_fuzz::pipeline::fuzz::{spelling, token};
use zlayer_fuzz::server::fuzz::origin;
use zlayer_fuzz::upstream::fuzz::hop;

fuzz_target!(|input: &[u8]| {
    let all = Heads::of(input);
    spelling(&all.fields);
    heads(&all.request, &all.response);
    origin(&all.request);
    hop(&all.request);
    hop(&all.response);
    if let Some(uri) = &all.uri {
        token(uri, &all.request);
    }
});
