//! A namespace's quota in bytes and in keys: over it, `quota-exceeded`, and nothing changes.

use probe::zlayer::plugin::keyvalue::{self, KvError};
use probe::{Answer, Ask, Checks};

use crate::{VALUE_BYTES, is_absent, is_quota, is_storage};

const HOUR: u64 = 3_600_000_000_000;

/// Stores keys until one is refused; answers `COUNT` or `COUNT ERROR`.
pub fn fill(ask: &Ask) -> Result<Answer, String> {
    let bytes = usize::try_from(ask.number("bytes", 0)).unwrap_or(0);
    let (from, count) = (ask.number("from", 0), ask.number("count", 0));
    let value = vec![b'v'; bytes];
    for number in from..from + count {
        let error = match keyvalue::set(&format!("fill/{number:06}"), &value) {
            Ok(()) => continue,
            Err(KvError::QuotaExceeded) => "quota-exceeded".to_owned(),
            Err(other) => format!("{other:?}"),
        };
        return Answer::text(format!("{} {error}", number - from));
    }
    Answer::text(count.to_string())
}

/// There is room for bytes, but for no further key.
pub fn full_of_keys(checks: &mut Checks) {
    no_new_key(checks);
    let first = "fill/000000";
    checks.same(
        "a key that is there can be set",
        keyvalue::set_string(first, "7"),
        Ok(()),
    );
    checks.same("and incremented", keyvalue::increment(first, 1), Ok(8));
    checks.same(
        "and swapped",
        keyvalue::compare_and_swap(first, Some(b"8"), b"9"),
        Ok(true),
    );
    checks.same(
        "and given a TTL",
        keyvalue::set_with_ttl(first, b"9", HOUR),
        Ok(()),
    );
    no_new_key(checks);
    checks.same("a key can be deleted", keyvalue::delete(first), Ok(true));
    checks.same(
        "which makes room for another",
        keyvalue::increment("new/after-delete", 1),
        Ok(1),
    );
    no_new_key(checks);
    checks.same(
        "a key that is there can be made to expire",
        keyvalue::set_with_ttl("fill/000001", b"", 0),
        Ok(()),
    );
    checks.same(
        "an expired key's place comes back",
        keyvalue::set("new/after-expiry", b"1"),
        Ok(()),
    );
    no_new_key(checks);
}

/// Every call that would make a key is refused.
fn no_new_key(checks: &mut Checks) {
    let key = "new/key";
    for (call, refused) in [
        ("set", is_quota(keyvalue::set(key, b"1"))),
        ("set of nothing", is_quota(keyvalue::set(key, b""))),
        ("set-string", is_quota(keyvalue::set_string(key, "1"))),
        (
            "set-with-ttl",
            is_quota(keyvalue::set_with_ttl(key, b"1", HOUR)),
        ),
        ("increment", is_quota(keyvalue::increment(key, 1))),
        (
            "compare-and-swap",
            is_quota(keyvalue::compare_and_swap(key, None, b"1")),
        ),
    ] {
        checks.is(
            &format!("{call} of one key too many is quota-exceeded"),
            refused,
        );
        checks.is("and nothing changes", is_absent(key));
    }
}

/// There is room for keys, but for less than one value of the largest size.
pub fn full_of_bytes(checks: &mut Checks) {
    let large = vec![b'L'; VALUE_BYTES];
    let text = "L".repeat(VALUE_BYTES);
    let new = "new/large";
    for (call, refused) in [
        ("set", is_quota(keyvalue::set(new, &large))),
        ("set-string", is_quota(keyvalue::set_string(new, &text))),
        (
            "set-with-ttl",
            is_quota(keyvalue::set_with_ttl(new, &large, HOUR)),
        ),
        (
            "compare-and-swap",
            is_quota(keyvalue::compare_and_swap(new, None, &large)),
        ),
    ] {
        checks.is(
            &format!("{call} of more bytes than are left is quota-exceeded"),
            refused,
        );
        checks.is("and nothing changes", is_absent(new));
    }

    let small = "new/small";
    checks.same(
        "a small value still fits",
        keyvalue::set_with_ttl(small, b"small", HOUR),
        Ok(()),
    );
    for (call, refused) in [
        ("set", is_quota(keyvalue::set(small, &large))),
        ("set-string", is_quota(keyvalue::set_string(small, &text))),
        (
            "set-with-ttl",
            is_quota(keyvalue::set_with_ttl(small, &large, 0)),
        ),
        (
            "compare-and-swap",
            is_quota(keyvalue::compare_and_swap(small, Some(b"small"), &large)),
        ),
    ] {
        checks.is(
            &format!("{call} that makes a value too large for the rest is quota-exceeded"),
            refused,
        );
        checks.same(
            "and the old value stays",
            keyvalue::get_string(small),
            Ok(Some("small".to_owned())),
        );
    }
    checks.is(
        "increment of it is storage as ever",
        is_storage(keyvalue::increment(small, 1)),
    );

    let first = "fill/000000";
    checks.is(
        "a large value can be replaced by one as large",
        keyvalue::set(first, &large).is_ok(),
    );
    checks.same("and by a smaller one", keyvalue::set(first, b"1"), Ok(()));
    checks.same(
        "which makes room for a large one",
        keyvalue::set(new, &large),
        Ok(()),
    );
    checks.is(
        "but for no more than that",
        is_quota(keyvalue::set(first, &large)),
    );
    checks.same(
        "a large one can be deleted",
        keyvalue::delete(new),
        Ok(true),
    );
    checks.same(
        "and its room be taken by swapping",
        keyvalue::compare_and_swap(first, Some(b"1"), &large),
        Ok(true),
    );
}
