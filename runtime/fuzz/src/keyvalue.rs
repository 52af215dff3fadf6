//! What the store reads.

#[path = "../../src/keyvalue/clock.rs"]
mod clock;
#[path = "../../src/keyvalue/entry.rs"]
mod entry;
#[path = "../../src/keyvalue/fuzz.rs"]
pub mod fuzz;
#[path = "../../src/keyvalue/journal.rs"]
mod journal;
#[path = "../../src/keyvalue/writes.rs"]
mod writes;

type Result<T> = std::result::Result<T, KvError>;

/// Stands in for the store's error, which knows its database.
#[derive(Debug)]
enum KvError {
    Storage(String),
}
