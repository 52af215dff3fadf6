//! What the store reads.

#[path = "../../../runtime/src/keyvalue/clock.rs"]
mod clock;
#[path = "../../../runtime/src/keyvalue/entry.rs"]
mod entry;
#[path = "../../../runtime/src/keyvalue/fuzz.rs"]
pub mod fuzz;
#[path = "../../../runtime/src/keyvalue/journal.rs"]
mod journal;
#[path = "../../../runtime/src/keyvalue/parts.rs"]
mod parts;
#[path = "../../../runtime/src/keyvalue/writes.rs"]
mod writes;

type Result<T> = std::result::Result<T, KvError>;

/// Stands in for the store's error, which knows its database.
#[derive(Debug)]
enum KvError {
    Storage(String),
}
