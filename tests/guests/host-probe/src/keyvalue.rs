//! `keyvalue`. Everything happens below `probe/`, which is emptied first.

use crate::checks::{Checks, Failed};
use crate::wasi_view::pause;
use crate::zlayer::plugin::keyvalue::{self, KvError};

const MS: u64 = 1_000_000;

pub fn probe(checks: &mut Checks) -> Result<(), Failed> {
    for key in keyvalue::list_keys("probe/")
        .map_err(|error| format!("not so: list-keys works ({error})"))?
    {
        let _ = keyvalue::delete(&key);
    }
    values(checks)?;
    keys(checks)?;
    lists(checks)?;
    counters(checks)?;
    swaps(checks)?;
    lifetimes(checks)
}

fn values(checks: &mut Checks) -> Result<(), Failed> {
    let key = "probe/value";
    checks.same("get of an absent key is none", keyvalue::get(key), Ok(None))?;
    checks.same(
        "get-string of an absent key is none",
        keyvalue::get_string(key),
        Ok(None),
    )?;
    checks.same("an absent key does not exist", keyvalue::exists(key), false)?;
    checks.same(
        "delete of an absent key is false",
        keyvalue::delete(key),
        Ok(false),
    )?;

    checks.same("set stores", keyvalue::set(key, &[0, 255, 128]), Ok(()))?;
    checks.same(
        "get answers the bytes",
        keyvalue::get(key),
        Ok(Some(vec![0, 255, 128])),
    )?;
    checks.is(
        "get-string of bytes that are not UTF-8 is storage",
        storage(keyvalue::get_string(key)),
    )?;
    checks.same("a stored key exists", keyvalue::exists(key), true)?;

    checks.same(
        "set-string stores",
        keyvalue::set_string(key, "grüß"),
        Ok(()),
    )?;
    checks.same(
        "get-string answers the text",
        keyvalue::get_string(key),
        Ok(Some("grüß".to_owned())),
    )?;
    checks.same(
        "get answers its bytes",
        keyvalue::get(key),
        Ok(Some("grüß".as_bytes().to_vec())),
    )?;
    checks.same(
        "an empty value can be stored",
        keyvalue::set(key, &[]),
        Ok(()),
    )?;
    checks.same(
        "an empty value is not an absent one",
        keyvalue::get(key),
        Ok(Some(Vec::new())),
    )?;

    checks.same(
        "delete of a live key is true",
        keyvalue::delete(key),
        Ok(true),
    )?;
    checks.same("a deleted key is absent", keyvalue::get(key), Ok(None))?;
    let large = vec![7; (1 << 20) + 1];
    checks.is(
        "a value past 1 MiB is too large",
        matches!(keyvalue::set(key, &large), Err(KvError::ValueTooLarge)),
    )?;
    checks.same(
        "a refused value leaves nothing behind",
        keyvalue::exists(key),
        false,
    )
}

fn keys(checks: &mut Checks) -> Result<(), Failed> {
    let all = "probe/AZaz09-_.:/x";
    checks.same(
        "a key may hold letters, digits and -_./:",
        keyvalue::set(all, b"1"),
        Ok(()),
    )?;
    let longest = format!("probe/{}", "k".repeat(1024 - 6));
    checks.same(
        "a key may have 1024 bytes",
        keyvalue::set(&longest, b"1"),
        Ok(()),
    )?;
    checks.same(
        "such a key is found again",
        keyvalue::exists(&longest),
        true,
    )?;
    let longer = format!("{longest}k");
    for key in [
        "",
        longer.as_str(),
        "probe/a b",
        "probe/ä",
        "probe/\n",
        "probe/\0",
        "probe/%20",
    ] {
        let shown: String = key.chars().take(12).collect();
        let invalid = |works: Result<(), KvError>| matches!(works, Err(KvError::InvalidKey));
        checks.is(
            &format!("set refuses the key {shown:?}"),
            invalid(keyvalue::set(key, b"1")),
        )?;
        checks.is(
            &format!("get refuses the key {shown:?}"),
            invalid(keyvalue::get(key).map(drop)),
        )?;
        checks.is(
            &format!("increment refuses the key {shown:?}"),
            invalid(keyvalue::increment(key, 1).map(drop)),
        )?;
        checks.is(
            &format!("delete refuses the key {shown:?}"),
            invalid(keyvalue::delete(key).map(drop)),
        )?;
        checks.same(
            &format!("the key {shown:?} does not exist"),
            keyvalue::exists(key),
            false,
        )?;
    }
    Ok(())
}

fn lists(checks: &mut Checks) -> Result<(), Failed> {
    for key in ["probe/list/b", "probe/list/a", "probe/list/c", "probe/lisp"] {
        checks.same("set stores", keyvalue::set(key, b"1"), Ok(()))?;
    }
    checks.same(
        "a key that is over at once is stored",
        keyvalue::set_with_ttl("probe/list/d", b"1", 0),
        Ok(()),
    )?;
    let expected = ["probe/list/a", "probe/list/b", "probe/list/c"]
        .map(str::to_owned)
        .to_vec();
    checks.same(
        "list-keys answers live keys, sorted",
        keyvalue::list_keys("probe/list/"),
        Ok(expected),
    )?;
    checks.same(
        "list-keys can be empty",
        keyvalue::list_keys("probe/nothing"),
        Ok(Vec::new()),
    )?;
    let all = keyvalue::list_keys("").unwrap_or_default();
    checks.is(
        "the empty prefix answers every key",
        all.iter().any(|key| key == "probe/lisp"),
    )
}

fn counters(checks: &mut Checks) -> Result<(), Failed> {
    let key = "probe/counter";
    checks.same(
        "an absent counter starts from 0",
        keyvalue::increment(key, 5),
        Ok(5),
    )?;
    checks.same(
        "a new counter is eight little-endian bytes",
        keyvalue::get(key),
        Ok(Some(5i64.to_le_bytes().to_vec())),
    )?;
    checks.same(
        "a counter goes down too",
        keyvalue::increment(key, -7),
        Ok(-2),
    )?;
    checks.same(
        "it stays eight bytes",
        keyvalue::get(key),
        Ok(Some((-2i64).to_le_bytes().to_vec())),
    )?;
    checks.same("by 0 tells the number", keyvalue::increment(key, 0), Ok(-2))?;

    for (text, sum) in [("41", 42), ("-1", 0), ("12345678", 12_345_679)] {
        let _ = keyvalue::set_string(key, text);
        checks.same(
            "decimal text is a number",
            keyvalue::increment(key, 1),
            Ok(sum),
        )?;
        checks.same(
            "it stays decimal text",
            keyvalue::get_string(key),
            Ok(Some(sum.to_string())),
        )?;
    }
    for value in [&b"abc"[..], b"", b"1 ", b"123456789x"] {
        let _ = keyvalue::set(key, value);
        let refused = matches!(keyvalue::increment(key, 1), Err(KvError::Storage(text)) if text == "not a number");
        checks.is("anything else is storage: not a number", refused)?;
        checks.same(
            "and is left as it was",
            keyvalue::get(key),
            Ok(Some(value.to_vec())),
        )?;
    }
    let _ = keyvalue::set(key, &i64::MAX.to_le_bytes());
    checks.same(
        "the sum stops at the top",
        keyvalue::increment(key, 1),
        Ok(i64::MAX),
    )?;
    let _ = keyvalue::set_string(key, &i64::MIN.to_string());
    checks.same(
        "the sum stops at the bottom",
        keyvalue::increment(key, -1),
        Ok(i64::MIN),
    )
}

fn swaps(checks: &mut Checks) -> Result<(), Failed> {
    let key = "probe/swap";
    let swap = |expected: Option<&[u8]>, new: &[u8]| keyvalue::compare_and_swap(key, expected, new);
    checks.same(
        "an absent key does not hold bytes",
        swap(Some(b"a"), b"b"),
        Ok(false),
    )?;
    checks.same("a failed swap stores nothing", keyvalue::exists(key), false)?;
    checks.same("none stands for an absent key", swap(None, b"a"), Ok(true))?;
    checks.same("a present key is not absent", swap(None, b"b"), Ok(false))?;
    checks.same(
        "other bytes do not match",
        swap(Some(b"x"), b"b"),
        Ok(false),
    )?;
    checks.same(
        "a failed swap changes nothing",
        keyvalue::get(key),
        Ok(Some(b"a".to_vec())),
    )?;
    checks.same("the same bytes match", swap(Some(b"a"), b"b"), Ok(true))?;
    checks.same("a swap stores", keyvalue::get(key), Ok(Some(b"b".to_vec())))
}

fn lifetimes(checks: &mut Checks) -> Result<(), Failed> {
    let absent = |key: &str| !keyvalue::exists(key) && matches!(keyvalue::get(key), Ok(None));
    checks.same(
        "a time to live of 0 is taken",
        keyvalue::set_with_ttl("probe/ttl/0", b"1", 0),
        Ok(()),
    )?;
    checks.is("and is over at once", absent("probe/ttl/0"))?;
    checks.same(
        "delete does not see what is over",
        keyvalue::delete("probe/ttl/0"),
        Ok(false),
    )?;

    let life = 400 * MS;
    for key in [
        "probe/ttl/plain",
        "probe/ttl/set",
        "probe/ttl/text",
        "probe/ttl/incr",
        "probe/ttl/swap",
    ] {
        checks.same(
            "set-with-ttl stores",
            keyvalue::set_with_ttl(key, b"1", life),
            Ok(()),
        )?;
    }
    checks.same(
        "it is there at first",
        keyvalue::get("probe/ttl/plain"),
        Ok(Some(b"1".to_vec())),
    )?;
    checks.same(
        "set takes the time to live off",
        keyvalue::set("probe/ttl/set", b"2"),
        Ok(()),
    )?;
    checks.same(
        "set-string takes it off",
        keyvalue::set_string("probe/ttl/text", "2"),
        Ok(()),
    )?;
    checks.same(
        "increment works beside it",
        keyvalue::increment("probe/ttl/incr", 1),
        Ok(2),
    )?;
    checks.same(
        "compare-and-swap works beside it",
        keyvalue::compare_and_swap("probe/ttl/swap", Some(b"1"), b"2"),
        Ok(true),
    )?;
    pause(life + 100 * MS);
    checks.is("the time to live ends", absent("probe/ttl/plain"))?;
    checks.is("increment does not lengthen it", absent("probe/ttl/incr"))?;
    checks.is(
        "compare-and-swap does not lengthen it",
        absent("probe/ttl/swap"),
    )?;
    checks.same(
        "what set stored stays",
        keyvalue::exists("probe/ttl/set"),
        true,
    )?;
    checks.same(
        "what set-string stored stays",
        keyvalue::exists("probe/ttl/text"),
        true,
    )?;
    let left = ["probe/ttl/set", "probe/ttl/text"]
        .map(str::to_owned)
        .to_vec();
    checks.same(
        "list-keys leaves out what is over",
        keyvalue::list_keys("probe/ttl/"),
        Ok(left),
    )?;
    checks.same(
        "what is over counts as absent",
        keyvalue::increment("probe/ttl/incr", 1),
        Ok(1),
    )?;
    checks.same(
        "what is over swaps as absent",
        keyvalue::compare_and_swap("probe/ttl/swap", None, b"3"),
        Ok(true),
    )
}

fn storage<T>(result: Result<T, KvError>) -> bool {
    matches!(result, Err(KvError::Storage(_)))
}
