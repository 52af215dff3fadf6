//! Answers that do not fit into what is left of the plugin's memory: `storage`, not a trap.

use std::hint::black_box;

use probe::Checks;
use probe::zlayer::plugin::keyvalue::{self, KvError};

use crate::{VALUE_BYTES, is_storage};

/// Bytes of each block that memory is filled with, large ones first.
const BLOCKS: [usize; 3] = [1 << 20, 64 << 10, 4 << 10];
/// Keys of a list that takes most of what `list-keys` may answer.
const KEYS: usize = 700;

pub fn list(checks: &mut Checks) {
    for number in 0..KEYS {
        let key = format!("tight/{number:04}/{}", "k".repeat(900));
        if let Err(error) = keyvalue::set(&key, b"") {
            checks.same("the key is stored", Err(error), Ok(()));
        }
    }
    let count = |list: Result<Vec<String>, KvError>| list.map(|keys| keys.len());
    checks.same(
        "the list fits into free memory",
        count(keyvalue::list_keys("tight/")),
        Ok(KEYS),
    );
    let held = fill();
    checks.is(
        "a list too long for the guest's memory is storage, not a trap",
        is_storage(keyvalue::list_keys("tight/")),
    );
    checks.same(
        "the store goes on",
        count(keyvalue::list_keys("tight/0007/")),
        Ok(1),
    );
    drop(black_box(held));
    checks.same(
        "and so does the plugin",
        keyvalue::set("tight/after", b"1"),
        Ok(()),
    );
}

pub fn get(checks: &mut Checks) {
    let stored = keyvalue::set("tight/value", &vec![b'x'; VALUE_BYTES]);
    checks.same("a large value is stored", stored, Ok(()));
    let held = fill();
    checks.is(
        "a value too long for the guest's memory is storage, not a trap",
        is_storage(keyvalue::get("tight/value")),
    );
    checks.is(
        "and so is its text",
        is_storage(keyvalue::get_string("tight/value")),
    );
    checks.same("it is still there", keyvalue::exists("tight/value"), true);
    drop(black_box(held));
    checks.same(
        "the plugin goes on",
        keyvalue::set("tight/value", b"small"),
        Ok(()),
    );
}

/// Takes memory until no more is granted, then gives a little back: errors need some too.
fn fill() -> Vec<Vec<u8>> {
    let mut held = Vec::with_capacity(4096);
    for size in BLOCKS {
        loop {
            let mut block: Vec<u8> = Vec::new();
            if held.len() == held.capacity() || block.try_reserve_exact(size).is_err() {
                break;
            }
            held.push(black_box(block));
        }
    }
    let few = held.len().saturating_sub(8);
    held.truncate(few);
    held
}
