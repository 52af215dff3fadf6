//! The tool from outside: `contract` calls the library with plugins made from edited WIT, `command`, `bundle` and
//! `registry` run the program, `new` builds and tests what it makes to start from, and `reproducible` compares
//! what it writes.

#![expect(clippy::unwrap_used, reason = "a failed test should panic")]

mod bundle;
mod command;
mod contract;
mod new;
mod registry;
mod reproducible;
mod support;
