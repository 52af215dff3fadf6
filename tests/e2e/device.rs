//! What the device has for the daemon, or keeps from it.

/// Other accounts of the device: what they may not read, exchange or lay as a trap.
mod accounts;
/// Machine code where a mount or the system forbids it.
mod code;
/// What it gives up once it serves: root, files, system calls.
mod confinement;
/// A kernel that is as old as those that boards come with.
mod kernel;
/// How much memory it takes of what there is.
mod memory;
/// Random numbers that the kernel does not have yet.
mod random;
/// A daemon that has nothing to do.
mod rest;
/// A root that holds nothing but the program and what it is given.
mod root;
