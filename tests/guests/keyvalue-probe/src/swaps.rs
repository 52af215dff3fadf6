//! `compare-and-swap`.

use probe::Checks;
use probe::zlayer::plugin::keyvalue;

use crate::{VALUE_BYTES, is_absent};

const KEY: &str = "probe/swap";

pub fn probe(checks: &mut Checks) {
    let swap = |expected: Option<&[u8]>, new: &[u8]| keyvalue::compare_and_swap(KEY, expected, new);
    let holds = |value: &[u8]| Ok(Some(value.to_vec()));
    for expected in [&b"a"[..], b""] {
        checks.same(
            &format!("an absent key does not hold {expected:?}"),
            swap(Some(expected), b"b"),
            Ok(false),
        );
        checks.is("a failed swap stores nothing", is_absent(KEY));
    }
    checks.same("none stands for an absent key", swap(None, b"a"), Ok(true));
    checks.same("the swap stored", keyvalue::get(KEY), holds(b"a"));
    checks.same("a present key is not absent", swap(None, b"b"), Ok(false));
    for other in [&b"x"[..], b"", b"A", b"aa", b"a\0"] {
        checks.same(
            &format!("{other:?} does not match"),
            swap(Some(other), b"b"),
            Ok(false),
        );
    }
    checks.same(
        "failed swaps changed nothing",
        keyvalue::get(KEY),
        holds(b"a"),
    );
    checks.same("the same bytes match", swap(Some(b"a"), b"bb"), Ok(true));
    checks.same("a swap stores", keyvalue::get(KEY), holds(b"bb"));
    checks.same("only once", swap(Some(b"a"), b"c"), Ok(false));
    checks.same(
        "a swap to itself is a swap",
        swap(Some(b"bb"), b"bb"),
        Ok(true),
    );
    checks.same(
        "a swap to nothing stores it",
        swap(Some(b"bb"), b""),
        Ok(true),
    );
    checks.same("an empty value is not absent", swap(None, b"c"), Ok(false));
    checks.same(
        "an empty value matches",
        swap(Some(b""), b"\0\xff"),
        Ok(true),
    );
    checks.same("any bytes match", swap(Some(b"\0\xff"), b"1"), Ok(true));
    checks.same(
        "what increment wrote is what it holds",
        (keyvalue::increment(KEY, 1), swap(Some(b"2"), b"3")),
        (Ok(2), Ok(true)),
    );
    checks.same("delete works", keyvalue::delete(KEY), Ok(true));
    checks.same("a deleted key is absent again", swap(None, b"a"), Ok(true));
}

pub fn of_the_largest_size(checks: &mut Checks) {
    let (first, second) = (vec![1; VALUE_BYTES], vec![2; VALUE_BYTES]);
    checks.same(
        "a value of 1 MiB is taken",
        keyvalue::set(KEY, &first),
        Ok(()),
    );
    checks.same(
        "two values of 1 MiB are swapped",
        keyvalue::compare_and_swap(KEY, Some(&first), &second),
        Ok(true),
    );
    checks.same(
        "and not once more",
        keyvalue::compare_and_swap(KEY, Some(&first), &second),
        Ok(false),
    );
    checks.is(
        "the second is there",
        keyvalue::get(KEY).is_ok_and(|found| found == Some(second)),
    );
}
