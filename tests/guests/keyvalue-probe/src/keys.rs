//! What a key may be: any text of 1 to 1024 bytes without control characters.

use probe::Checks;
use probe::zlayer::plugin::keyvalue::{self, KvError};

pub fn probe(checks: &mut Checks) {
    for byte in (0..128u8).filter(|byte| is_allowed(*byte)) {
        let key = format!("probe/char/{}", char::from(byte));
        let kept = matches!(keyvalue::set(&key, &[byte]), Ok(()))
            && matches!(keyvalue::get(&key), Ok(Some(value)) if value == [byte]);
        checks.is(&format!("a key may hold {:?}", char::from(byte)), kept);
    }
    // Keys that differ in one byte are different keys: each still has its own value.
    let own = (0..128u8).filter(|byte| is_allowed(*byte)).all(|byte| {
        let key = format!("probe/char/{}", char::from(byte));
        matches!(keyvalue::get(&key), Ok(Some(value)) if value == [byte])
    });
    checks.is("keys are told apart by every byte, case included", own);

    checks.same(
        "a key may have one byte",
        keyvalue::set("k", b"short"),
        Ok(()),
    );
    checks.same(
        "a key of one byte is found",
        keyvalue::get("k"),
        Ok(Some(b"short".to_vec())),
    );
    checks.same("and deleted", keyvalue::delete("k"), Ok(true));
    let longest = format!("probe/{}", "k".repeat(1024 - 6));
    let shorter = &longest[..1023];
    checks.same(
        "a key may have 1024 bytes",
        keyvalue::set(&longest, b"1"),
        Ok(()),
    );
    checks.same(
        "it is found again",
        keyvalue::get(&longest),
        Ok(Some(b"1".to_vec())),
    );
    checks.same(
        "a key of 1023 bytes is another one",
        keyvalue::get(shorter),
        Ok(None),
    );
    checks.same(
        "the longest key is listed whole",
        keyvalue::list_keys(shorter),
        Ok(vec![longest.clone()]),
    );

    for key in [
        "ä", "é", "٣", "Ａ", "\u{200b}", "😀", "\u{a0}", "probe/x ", " probe/x", "a+b/c", "YWJj==",
    ] {
        let key = format!("probe/text/{key}");
        let count = keyvalue::increment(&key, 1);
        checks.same(&format!("{key:?} is counted"), count, Ok(1));
        checks.same(
            &format!("{key:?} is listed as it is"),
            keyvalue::list_keys(&key),
            Ok(vec![key.clone()]),
        );
    }
    let longest_text = format!("probe/{}", "é".repeat((1024 - 6) / 2));
    checks.same(
        "1024 bytes of other letters are a key",
        keyvalue::set(&longest_text, b"1"),
        Ok(()),
    );

    refused(checks, "an empty key", "");
    refused(
        checks,
        "a key of 1025 bytes of other letters",
        &format!("{longest_text}x"),
    );
    refused(checks, "a key of 1025 bytes", &format!("{longest}k"));
    refused(checks, "a key of 10,000 bytes", &"k".repeat(10_000));
    for byte in (0..128u8).filter(|byte| !is_allowed(*byte)) {
        let c = char::from(byte);
        refused(checks, &format!("{c:?} in a key"), &format!("probe/{c}x"));
    }
    for c in ['\u{80}', '\u{85}', '\u{9f}'] {
        refused(checks, &format!("{c:?} in a key"), &format!("probe/{c}"));
    }
    refused(checks, "a bad character at the end of a key", "probe/x\n");
    refused(checks, "a bad character at the start of a key", "\tprobe/x");
    checks.same(
        "an invalid prefix lists nothing: invalid-key",
        ["\n", "probe/\u{85}", "a\u{7f}"].map(|prefix| invalid(keyvalue::list_keys(prefix))),
        [true; 3],
    );
    let none: Vec<String> = Vec::new();
    checks.same(
        "any other prefix lists what there is",
        [" ", "nobody/ä", "a%"].map(keyvalue::list_keys),
        [Ok(none.clone()), Ok(none.clone()), Ok(none)],
    );
    checks.is(
        "a prefix longer than any key is invalid-key, or lists nothing",
        matches!(
            keyvalue::list_keys(&format!("{longest}k")),
            Err(KvError::InvalidKey)
        ) || keyvalue::list_keys(&format!("{longest}k")).is_ok_and(|keys| keys.is_empty()),
    );
}

fn refused(checks: &mut Checks, what: &str, key: &str) {
    let calls = [
        ("get", invalid(keyvalue::get(key))),
        ("get-string", invalid(keyvalue::get_string(key))),
        ("set", invalid(keyvalue::set(key, b"1"))),
        ("set-string", invalid(keyvalue::set_string(key, "1"))),
        (
            "set-with-ttl",
            invalid(keyvalue::set_with_ttl(key, b"1", 1)),
        ),
        ("delete", invalid(keyvalue::delete(key))),
        ("increment", invalid(keyvalue::increment(key, 1))),
        (
            "compare-and-swap",
            invalid(keyvalue::compare_and_swap(key, None, b"1")),
        ),
        // It has no error to answer.
        ("exists", !keyvalue::exists(key)),
    ];
    let wrong: Vec<_> = calls.iter().filter(|call| !call.1).collect();
    checks.same(
        &format!("{what} is invalid-key to every call"),
        wrong,
        Vec::new(),
    );
}

fn invalid<T>(result: Result<T, KvError>) -> bool {
    matches!(result, Err(KvError::InvalidKey))
}

fn is_allowed(byte: u8) -> bool {
    (b' '..=b'~').contains(&byte)
}
