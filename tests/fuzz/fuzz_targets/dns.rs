//! Any bytes as the reply of a name server: nothing but what was asked for is taken from it, and no
//! more than there is room for.
#![cfg_attr(fuzzing, no_main)]

use zlayer_fuzz::fuzz_target;
use zlayer_fuzz::resolver::fuzz::reply;

fuzz_target!(|input: &[u8]| reply(input));
