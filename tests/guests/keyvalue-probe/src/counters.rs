//! `increment`, and the three forms that a number may have.

use probe::Checks;
use probe::zlayer::plugin::keyvalue::{self, KvError};

const KEY: &str = "probe/counter";

pub fn probe(checks: &mut Checks) {
    new_ones(checks);
    decimal_text(checks);
    eight_bytes(checks);
    no_numbers(checks);
    saturation(checks);
}

fn new_ones(checks: &mut Checks) {
    for (delta, what) in [
        (1, "one"),
        (5, "a number"),
        (-3, "a negative number"),
        (0, "0"),
        (i64::MAX, "the largest number"),
        (i64::MIN, "the smallest number"),
    ] {
        let _ = keyvalue::delete(KEY);
        checks.same(
            &format!("increment of an absent key by {what} starts from 0"),
            keyvalue::increment(KEY, delta),
            Ok(delta),
        );
        checks.same(
            &format!("a new counter, {what}, is eight little-endian bytes"),
            keyvalue::get(KEY),
            Ok(Some(delta.to_le_bytes().to_vec())),
        );
    }
    let _ = keyvalue::delete(KEY);
    checks.same(
        "increment answers the new sum each time",
        [5, -7, 0, 100].map(|delta| keyvalue::increment(KEY, delta).ok()),
        [Some(5), Some(-2), Some(-2), Some(98)],
    );
    checks.same(
        "it stays eight bytes",
        keyvalue::get(KEY),
        Ok(Some(98i64.to_le_bytes().to_vec())),
    );
}

fn decimal_text(checks: &mut Checks) {
    for (text, delta, sum) in [
        ("41", 1, 42),
        ("0", 0, 0),
        ("-1", 1, 0),
        ("-5", -5, -10),
        ("9", 1, 10),
        ("10", -1, 9),
        // Eight digits are eight bytes, and decimal text first.
        ("12345678", 1, 12_345_679),
        ("-1234567", -1, -1_234_568),
        ("99999999", 1, 100_000_000),
        ("9223372036854775807", -1, i64::MAX - 1),
        ("-9223372036854775808", 1, i64::MIN + 1),
    ] {
        let _ = keyvalue::set_string(KEY, text);
        checks.same(
            &format!("the decimal text {text:?} is read"),
            keyvalue::increment(KEY, delta),
            Ok(sum),
        );
        checks.same(
            &format!("and written back as decimal text: {sum}"),
            keyvalue::get_string(KEY),
            Ok(Some(sum.to_string())),
        );
    }
    for (text, sum) in [("007", 8), ("00000009", 10), ("-0", 1)] {
        let _ = keyvalue::set_string(KEY, text);
        checks.same(
            &format!("{text:?} is decimal too"),
            keyvalue::increment(KEY, 1),
            Ok(sum),
        );
        checks.same(
            "and written back without leading zeros",
            keyvalue::get_string(KEY),
            Ok(Some(sum.to_string())),
        );
    }
}

fn eight_bytes(checks: &mut Checks) {
    for number in [0, 1, -1, 255, 1 << 40, i64::MAX - 1, i64::MIN] {
        let _ = keyvalue::set(KEY, &number.to_le_bytes());
        checks.same(
            &format!("eight bytes are a little-endian i64: {number}"),
            keyvalue::increment(KEY, 1),
            Ok(number + 1),
        );
        checks.same(
            "and stay eight bytes",
            keyvalue::get(KEY),
            Ok(Some((number + 1).to_le_bytes().to_vec())),
        );
    }
    // Eight bytes that are text but not decimal.
    let _ = keyvalue::set(KEY, b"abcdefgh");
    let number = i64::from_le_bytes(*b"abcdefgh");
    checks.same(
        "eight letters are eight bytes",
        keyvalue::increment(KEY, 1),
        Ok(number + 1),
    );
    let _ = keyvalue::set(KEY, b"1234567 ");
    let number = i64::from_le_bytes(*b"1234567 ");
    checks.same(
        "digits and a space are eight bytes",
        keyvalue::increment(KEY, -1),
        Ok(number - 1),
    );
}

fn no_numbers(checks: &mut Checks) {
    for value in [
        &b""[..],
        b"-",
        b"--1",
        b"1-",
        b"abc",
        b"1 ",
        b" 1",
        b"1.0",
        b"1e3",
        b"0x10",
        b"1_0",
        b"123456789x",
        b"\x01",
        b"1234567\xff\xff",
        b"nine bytes",
        "٣".as_bytes(),
        // More than an i64 holds.
        b"9223372036854775808",
        b"-9223372036854775809",
        b"99999999999999999999",
    ] {
        let shown = String::from_utf8_lossy(value);
        let _ = keyvalue::set(KEY, value);
        let refused = matches!(
            keyvalue::increment(KEY, 1),
            Err(KvError::Storage(text)) if text == "not a number"
        );
        checks.is(&format!("{shown:?} is storage(\"not a number\")"), refused);
        checks.same(
            &format!("{shown:?} is left as it was"),
            keyvalue::get(KEY),
            Ok(Some(value.to_vec())),
        );
    }
    // A sign that decimal text does not need: read or refused, never anything between.
    let _ = keyvalue::set(KEY, b"+5");
    let plus = match keyvalue::increment(KEY, 1) {
        Ok(sum) => sum == 6 && keyvalue::get_string(KEY).is_ok_and(|v| v.as_deref() == Some("6")),
        Err(KvError::Storage(text)) => {
            text == "not a number"
                && keyvalue::get_string(KEY).is_ok_and(|v| v.as_deref() == Some("+5"))
        }
        Err(_) => false,
    };
    checks.is("\"+5\" is 5 or not a number", plus);
}

fn saturation(checks: &mut Checks) {
    for (start, delta, end) in [
        (i64::MAX, 1, i64::MAX),
        (i64::MAX, i64::MAX, i64::MAX),
        (i64::MAX - 1, 5, i64::MAX),
        (i64::MIN, -1, i64::MIN),
        (i64::MIN, i64::MIN, i64::MIN),
        (-2, i64::MIN, i64::MIN),
        (i64::MAX, i64::MIN, -1),
    ] {
        let _ = keyvalue::set(KEY, &start.to_le_bytes());
        checks.same(
            &format!("eight bytes saturate: {start} and {delta}"),
            keyvalue::increment(KEY, delta),
            Ok(end),
        );
        checks.same(
            "and hold the end of the range",
            keyvalue::get(KEY),
            Ok(Some(end.to_le_bytes().to_vec())),
        );
        let _ = keyvalue::set_string(KEY, &start.to_string());
        checks.same(
            &format!("decimal text saturates: {start} and {delta}"),
            keyvalue::increment(KEY, delta),
            Ok(end),
        );
        checks.same(
            "and holds the end of the range",
            keyvalue::get_string(KEY),
            Ok(Some(end.to_string())),
        );
    }
}
