//! `keyvalue`, sentence by sentence.
//!
//! - `/`: the checks that one request can make
//! - `/write`, then after a restart `/check`: what has to survive it
//! - `/brief`: whether the keys that `/write` gave a brief time to live are gone; `/over`: whether that with the
//!   briefest is
//! - `/fill?from=N&count=N&bytes=N`: stores keys of so many bytes each; answers how many, and the error that ended it
//! - `/full-of-keys`, `/full-of-bytes`: the checks when `/fill` has met a quota
//! - `/race?count=N`: increments `race/increment` and, by compare-and-swap, `race/swap`, N times each
//! - `/too-large?bytes=N`: whether a value of so many bytes is refused as too large by every call that takes one
//! - `/large-swap`: a compare-and-swap between two values of the largest size
//! - `/tight/list`, `/tight/get`: answers that do not fit into what is left of the plugin's memory

mod counters;
mod keys;
mod lifetimes;
mod lists;
mod quotas;
mod race;
mod restart;
mod swaps;
mod tight;
mod values;

use probe::zlayer::plugin::keyvalue::{self, KvError};
use probe::{Answer, Ask, Capabilities, Checks, Probe};

/// Bytes of the largest value: the contract's default.
const VALUE_BYTES: usize = 1 << 20;

struct KeyvalueProbe;

impl Probe for KeyvalueProbe {
    const NAME: &'static str = "keyvalue-probe";
    const CAPABILITIES: Capabilities = Capabilities::KEYVALUE;

    fn answer(ask: &Ask) -> Result<Answer, String> {
        let check: fn(&mut Checks) = match ask.path.as_str() {
            "/" => everything,
            "/write" => restart::write,
            "/check" => restart::check,
            "/brief" => restart::brief,
            "/over" => restart::over,
            "/full-of-keys" => quotas::full_of_keys,
            "/full-of-bytes" => quotas::full_of_bytes,
            "/large-swap" => swaps::of_the_largest_size,
            "/tight/list" => tight::list,
            "/tight/get" => tight::get,
            "/fill" => return quotas::fill(ask),
            "/race" => return race::run(ask),
            "/too-large" => return values::too_large(ask),
            _ => return ask.unknown(),
        };
        let mut checks = Checks::default();
        check(&mut checks);
        checks.answer()
    }
}

/// All happens below `probe/`, which is emptied first.
fn everything(checks: &mut Checks) {
    clear(checks, "probe/");
    values::probe(checks);
    keys::probe(checks);
    lists::probe(checks);
    counters::probe(checks);
    swaps::probe(checks);
    lifetimes::probe(checks);
}

/// Deletes what begins with `prefix`.
fn clear(checks: &mut Checks, prefix: &str) {
    let keys = keyvalue::list_keys(prefix).unwrap_or_default();
    let deleted = keys
        .iter()
        .all(|key| matches!(keyvalue::delete(key), Ok(true)));
    checks.is("delete answers true for every listed key", deleted);
    checks.same(
        "a prefix of deleted keys lists nothing",
        keyvalue::list_keys(prefix),
        Ok(Vec::new()),
    );
}

/// Whether no function sees `key`. None of them changes anything.
fn is_absent(key: &str) -> bool {
    !keyvalue::exists(key)
        && matches!(keyvalue::get(key), Ok(None))
        && matches!(keyvalue::get_string(key), Ok(None))
        && matches!(keyvalue::delete(key), Ok(false))
        && matches!(keyvalue::compare_and_swap(key, Some(b"1"), b"2"), Ok(false))
        && keyvalue::list_keys(key).is_ok_and(|keys| keys.iter().all(|other| other != key))
}

fn is_storage<T>(result: Result<T, KvError>) -> bool {
    matches!(result, Err(KvError::Storage(_)))
}

fn is_quota<T>(result: Result<T, KvError>) -> bool {
    matches!(result, Err(KvError::QuotaExceeded))
}

probe::export!(KeyvalueProbe);
