//! Fuzz targets without a fuzzer: plain programs, which any compiler checks and builds. They read the
//! files that they are given, so what a fuzzer has found is seen again, in a debugger as well.
#![cfg(not(fuzzing))]

use std::io;

/// Declares a program that hands files to a closure, as the fuzzer's macro of this name hands it inputs.
#[macro_export]
macro_rules! fuzz_target {
    (|$input:ident: &[u8]| $check:expr) => {
        fn main() -> std::io::Result<()> {
            $crate::each_file(|$input: &[u8]| $check)
        }
    };
}

/// Hands each file that the command line names to `check`.
///
/// # Errors
///
/// One cannot be read.
pub fn each_file(check: impl Fn(&[u8])) -> io::Result<()> {
    for path in std::env::args_os().skip(1) {
        check(&std::fs::read(path)?);
    }
    Ok(())
}
