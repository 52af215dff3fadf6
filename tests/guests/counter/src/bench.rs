//! Calls of the store in a loop, timed from inside the plugin: what a call costs across the component
//! boundary, without HTTP around it.

use super::Failure;
use super::keyvalue;
use super::wasi::clocks::monotonic_clock;
use super::zlayer::plugin::keyvalue::KvError;
use support::field;

/// Coprime to any number of keys that is a power of ten: its multiples visit all of them.
const STRIDE: u64 = 7919;

/// Makes `n` calls of `operation` and answers the nanoseconds that all of them took together. Keys
/// are `k/00000000` and so on.
///
/// - `fill`: sets keys in order, the first being `from`
/// - `get`, `set`: over `keys` keys in a scattered order; values have `bytes` bytes
/// - `increment`: one counter
/// - `list`: a hundred keys each, in a scattered order
pub(crate) fn run(operation: &str, query: &str) -> Result<u64, Failure> {
    let number = |name, default| match field(query, name) {
        None => Ok(default),
        Some(digits) => digits
            .parse::<u64>()
            .map_err(|_| Failure::Request("a count is not a number\n")),
    };
    let (calls, keys) = (number("n", 1000)?, number("keys", 10_000)?.max(1));
    let from = number("from", 0)?;
    let length = usize::try_from(number("bytes", 100)?);
    let value = vec![b'v'; length.map_err(|_| Failure::Request("bytes is too large\n"))?];
    let scattered = |call: u64| call.wrapping_mul(STRIDE) % keys;
    match operation {
        "fill" => time(
            (0..calls).map(|call| name(from.wrapping_add(call))),
            |key| keyvalue::set(key, &value),
        ),
        "set" => time((0..calls).map(|call| name(scattered(call))), |key| {
            keyvalue::set(key, &value)
        }),
        "get" => time(
            (0..calls).map(|call| name(scattered(call))),
            |key| match keyvalue::get(key)? {
                Some(found) if found.len() == value.len() => Ok(()),
                _ => Err(KvError::NotFound),
            },
        ),
        "increment" => time((0..calls).map(|_| "hits".to_owned()), |key| {
            keyvalue::increment(key, 1).map(drop)
        }),
        "list" => {
            time(
                (0..calls).map(|call| prefix(scattered(call))),
                |key| match keyvalue::list_keys(key)?.len() {
                    100 => Ok(()),
                    _ => Err(KvError::NotFound),
                },
            )
        }
        _ => Err(Failure::Request("no such operation\n")),
    }
}

/// Nanoseconds that `call` takes for all keys together; making the keys does not count.
fn time(
    keys: impl Iterator<Item = String>,
    call: impl Fn(&str) -> Result<(), KvError>,
) -> Result<u64, Failure> {
    let keys: Vec<String> = keys.collect();
    let start = monotonic_clock::now();
    for key in &keys {
        call(key)?;
    }
    Ok(monotonic_clock::now() - start)
}

fn name(number: u64) -> String {
    format!("k/{number:08}")
}

/// What `number`'s name and 99 others begin with.
fn prefix(number: u64) -> String {
    format!("k/{:06}", number / 100)
}
