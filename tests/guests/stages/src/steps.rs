//! Steps that change a list of header fields. Several are parted by `;`.
//!
//! - `add NAME=VALUE`, `set NAME=VALUE` (takes away others of that name), `drop NAME`
//! - `drop-all`, `many N` (adds N fields), `big N` (adds one of N bytes)
//!
//! Names and values may hold `\r`, `\n`, `\t` and `\0`, and are not looked at.
//! A word that is no step does nothing.

use support::{number, unescape, word};

use crate::stage::pair;
use crate::zlayer::plugin::common::KeyValue;

/// Takes all steps of `asked` one after the other.
pub fn change(headers: &mut Vec<KeyValue>, asked: &str) {
    for step in asked.split(';') {
        let (verb, rest) = word(step);
        let (name, value) = rest.split_once('=').unwrap_or((rest, ""));
        let (name, value) = (unescape(name), unescape(value));
        let count = number(rest, 0).0 as usize;
        match verb {
            "add" => headers.push(pair(&name, value)),
            "set" => {
                headers.retain(|field| field.key != name);
                headers.push(pair(&name, value));
            }
            "drop" => headers.retain(|field| field.key != name),
            "drop-all" => headers.clear(),
            "many" => headers.extend((0..count).map(|i| pair(&format!("x-many-{i}"), "many"))),
            "big" => headers.push(pair("x-big", "b".repeat(count))),
            _ => {}
        }
    }
}
