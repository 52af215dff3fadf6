//! What the key-value store is worth when things go wrong: killed processes, power cuts, disks that
//! say no, and long random sequences against a plain model. One binary, which is also the
//! child process that the tests kill and watch ([`support::Child`]).

#![allow(
    clippy::unwrap_used,
    reason = "a failed test should panic, where it failed"
)]

/// Random numbers, folders, child processes, values that show whether they are whole.
mod support;

/// Killed at random moments, over and over.
mod kill;
