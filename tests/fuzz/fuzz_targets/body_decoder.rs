//! Any bytes as a body: split in any way it decodes alike, and a second trip changes nothing.
//!
//! The first byte chooses the kind of body, the second the size of the pieces.
#![cfg_attr(fuzzing, no_main)]

use zlayer_fuzz::fuzz_target;
use zlayer_fuzz::properties::{LIMITS, check_body, check_lenient};
use zlayer_http1::{BodyLength, Limits};

fuzz_target!(|input: &[u8]| {
    let [kind, step, body @ ..] = input else {
        return;
    };
    let length = match kind {
        0 => BodyLength::Empty,
        1..=15 => BodyLength::Fixed(u64::from(*kind) * 5),
        _ => BodyLength::Chunked,
    };
    let limits = if kind % 2 == 0 {
        Limits::default()
    } else {
        LIMITS
    };
    check_body(body, length, usize::from(*step), &limits);
    check_lenient(body, length, usize::from(*step), &limits);
});
