//! The tool from outside: `contract` calls the library with plugins made from edited WIT,
//! `command` and `bundle` run the program, `reproducible` compares what it writes.

#![expect(clippy::unwrap_used, reason = "a failed test should panic")]

mod bundle;
mod command;
mod contract;
mod reproducible;
mod support;
