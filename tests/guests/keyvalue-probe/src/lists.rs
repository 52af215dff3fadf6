//! `list-keys`.

use probe::Checks;
use probe::zlayer::plugin::keyvalue;

pub fn probe(checks: &mut Checks) {
    // Stored out of order; `-`, `.`, `/`, digits, `:`, capitals, `_`, small letters is the order of their bytes.
    let sorted = [
        "-", ".", "/", "0", "10", "9", ":", "A", "Z", "_", "a", "aa", "b", "z",
    ];
    for name in sorted.iter().rev() {
        checks.same(
            &format!("list/{name} is stored"),
            keyvalue::set(&format!("probe/list/{name}"), b"1"),
            Ok(()),
        );
    }
    checks.same(
        "a neighbour is stored",
        keyvalue::set("probe/lisp", b"1"),
        Ok(()),
    );
    checks.same(
        "an expired key is stored",
        keyvalue::set_with_ttl("probe/list/expired", b"1", 0),
        Ok(()),
    );
    let full = |names: &[&str]| -> Vec<String> {
        names
            .iter()
            .map(|name| format!("probe/list/{name}"))
            .collect()
    };
    checks.same(
        "list-keys answers sorted keys, never expired ones",
        keyvalue::list_keys("probe/list/"),
        Ok(full(&sorted)),
    );
    checks.same(
        "a prefix may end within a name",
        keyvalue::list_keys("probe/list/a"),
        Ok(full(&["a", "aa"])),
    );
    checks.same(
        "a key begins with itself",
        keyvalue::list_keys("probe/list/aa"),
        Ok(full(&["aa"])),
    );
    checks.same(
        "a prefix of nothing lists nothing",
        keyvalue::list_keys("probe/nothing"),
        Ok(Vec::new()),
    );
    checks.same(
        "prefixes are case-sensitive",
        keyvalue::list_keys("Probe/"),
        Ok(Vec::new()),
    );
    let all = keyvalue::list_keys("").unwrap_or_default();
    let below = keyvalue::list_keys("probe/").unwrap_or_default();
    checks.is("the empty prefix lists sorted keys", all.is_sorted());
    checks.is(
        "the empty prefix lists every key",
        below.len() > sorted.len() && below.iter().all(|key| all.contains(key)),
    );
    let unique = all.windows(2).all(|pair| pair[0] != pair[1]);
    checks.is("no key is listed twice", unique);
    checks.same("delete works", keyvalue::delete("probe/list/aa"), Ok(true));
    checks.same(
        "a deleted key is not listed",
        keyvalue::list_keys("probe/list/a"),
        Ok(full(&["a"])),
    );
}
