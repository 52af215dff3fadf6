//! What the key-value store, and the bundles that a device keeps, are worth when things go wrong: killed processes, power
//! cuts, disks that say no, damaged files, and long random sequences against a plain model. One binary, which is also the
//! child process that the tests kill and watch ([`support::Child`]).

#![allow(
    clippy::unwrap_used,
    reason = "a failed test should panic, where it failed"
)]

/// Random numbers, folders, child processes, values that show whether they are whole.
mod support;

/// What a workload said it did, against what a store holds.
mod ledger;

/// Killed at random moments, over and over.
mod kill;

/// Bundles that are installed, whatever comes in between.
mod bundles;

/// A disk that loses power.
mod disk;
/// What a child does to its files, as strace saw it.
mod trace;

/// Power cut at every point of what a child wrote.
mod power_cut;

/// Random sequences against a plain model.
mod model;

/// Disks that are full, read-only, failing.
mod disk_errors;

/// Files with other content than the store gave them.
mod damage;
