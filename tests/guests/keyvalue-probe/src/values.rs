//! `get`, `get-string`, `set`, `set-string`, `delete`, `exists`, and how large a value may be.

use probe::zlayer::plugin::keyvalue::{self, KvError};
use probe::{Answer, Ask, Checks};

use crate::{VALUE_BYTES, is_absent, is_storage};

pub fn probe(checks: &mut Checks) {
    let key = "probe/value";
    checks.same(
        "get of an absent key is ok(none)",
        keyvalue::get(key),
        Ok(None),
    );
    checks.same(
        "get-string of an absent key is ok(none)",
        keyvalue::get_string(key),
        Ok(None),
    );
    checks.same(
        "exists of an absent key is false",
        keyvalue::exists(key),
        false,
    );
    checks.same(
        "delete of an absent key is false",
        keyvalue::delete(key),
        Ok(false),
    );

    checks.same(
        "set stores bytes",
        keyvalue::set(key, &[0, 255, 128]),
        Ok(()),
    );
    let bytes = Ok(Some(vec![0, 255, 128]));
    checks.same("get answers the bytes", keyvalue::get(key), bytes.clone());
    checks.is(
        "get-string on bytes that are not UTF-8 is storage",
        is_storage(keyvalue::get_string(key)),
    );
    checks.same("and leaves them as they were", keyvalue::get(key), bytes);
    checks.same(
        "exists of a stored key is true",
        keyvalue::exists(key),
        true,
    );

    for text in ["grüß", "", "a\0b\nc", "user_id=123"] {
        checks.same(
            &format!("set-string stores {text:?}"),
            keyvalue::set_string(key, text),
            Ok(()),
        );
        checks.same(
            &format!("get-string answers {text:?}"),
            keyvalue::get_string(key),
            Ok(Some(text.to_owned())),
        );
        checks.same(
            &format!("get answers the bytes of {text:?}"),
            keyvalue::get(key),
            Ok(Some(text.as_bytes().to_vec())),
        );
    }
    checks.same(
        "an empty value can be stored",
        keyvalue::set(key, b""),
        Ok(()),
    );
    checks.same(
        "an empty value is not an absent one",
        (keyvalue::get(key), keyvalue::exists(key)),
        (Ok(Some(Vec::new())), true),
    );
    checks.same(
        "delete answers whether a live key went: true",
        keyvalue::delete(key),
        Ok(true),
    );
    checks.is("a deleted key is absent to every call", is_absent(key));
    checks.same(
        "deleted a second time: false",
        keyvalue::delete(key),
        Ok(false),
    );
    sizes(checks);
}

fn sizes(checks: &mut Checks) {
    let key = "probe/size";
    let mut value = vec![7; VALUE_BYTES];
    value[VALUE_BYTES - 1] = 8;
    checks.same(
        "a value of 1 MiB is taken",
        keyvalue::set(key, &value),
        Ok(()),
    );
    checks.is(
        "and answered whole",
        keyvalue::get(key).is_ok_and(|found| found.as_ref() == Some(&value)),
    );
    value.push(9);
    for (call, refused) in refusals(key, &value) {
        checks.is(
            &format!("{call} of a value of 1 MiB and a byte is value-too-large"),
            refused,
        );
    }
    value.pop();
    checks.is(
        "and what was there stays",
        keyvalue::get(key).is_ok_and(|found| found.as_ref() == Some(&value)),
    );
    checks.same(
        "a large value can be deleted",
        keyvalue::delete(key),
        Ok(true),
    );
    value.push(9);
    for (call, refused) in refusals("probe/none", &value) {
        checks.is(
            &format!("{call} refuses it for a new key too"),
            refused && is_absent("probe/none"),
        );
    }
}

/// Every call that takes a value, and whether it refused this one as too large.
fn refusals(key: &str, value: &[u8]) -> [(&'static str, bool); 4] {
    let text: String = value.iter().map(|_| 'x').collect();
    let too_large = |result: Result<(), KvError>| matches!(result, Err(KvError::ValueTooLarge));
    [
        ("set", too_large(keyvalue::set(key, value))),
        ("set-string", too_large(keyvalue::set_string(key, &text))),
        (
            "set-with-ttl",
            too_large(keyvalue::set_with_ttl(key, value, u64::MAX)),
        ),
        (
            "compare-and-swap",
            too_large(keyvalue::compare_and_swap(key, None, value).map(drop)),
        ),
    ]
}

pub fn too_large(ask: &Ask) -> Result<Answer, String> {
    let mut checks = Checks::default();
    let bytes = usize::try_from(ask.number("bytes", 0)).unwrap_or(0);
    let value = vec![b'x'; bytes];
    for (call, refused) in refusals("probe/too-large", &value) {
        checks.is(
            &format!("{call} of {bytes} bytes is value-too-large"),
            refused,
        );
    }
    checks.is("nothing was stored", is_absent("probe/too-large"));
    checks.answer()
}
