//! What survives a restart of the daemon: values, counters, times to live.

use probe::Checks;
use probe::zlayer::plugin::keyvalue;

use crate::is_absent;

const MS: u64 = 1_000_000;
const HOUR: u64 = 3_600_000 * MS;

pub fn write(checks: &mut Checks) {
    let done = [
        keyvalue::set("kept/bytes", &[0, 255, 128]),
        keyvalue::set_string("kept/text", "grüß"),
        keyvalue::set("kept/empty", b""),
        keyvalue::set(&long_key(), b"long key"),
        keyvalue::set("kept/large", &vec![b'L'; 300_000]),
        keyvalue::set("kept/overwritten", b"old"),
        keyvalue::set("kept/overwritten", b"new"),
        keyvalue::set_string("kept/decimal", "41"),
        keyvalue::set_with_ttl("kept/hour", b"there", HOUR),
        keyvalue::set_with_ttl("kept/forever", b"there", u64::MAX),
        keyvalue::set_with_ttl("kept/cleared", b"old", 0),
        keyvalue::set("kept/cleared", b"new"),
        keyvalue::set("gone/deleted", b"x"),
        keyvalue::set_with_ttl("gone/at-once", b"x", 0),
        keyvalue::set_with_ttl("gone/brief", b"x", 300 * MS),
        keyvalue::set_with_ttl("gone/brief-count", b"1", 3000 * MS),
    ];
    checks.is("everything is stored", done.iter().all(Result::is_ok));
    checks.same("deleted", keyvalue::delete("gone/deleted"), Ok(true));
    checks.same("counted", keyvalue::increment("kept/counter", -40), Ok(-40));
    checks.same("counted", keyvalue::increment("kept/decimal", 1), Ok(42));
    checks.same(
        "swapped",
        keyvalue::compare_and_swap("kept/swapped", None, b"mine"),
        Ok(true),
    );
    checks.same(
        "a counter beside a TTL goes on",
        keyvalue::increment("kept/hour-count", 1),
        Ok(1),
    );
}

pub fn check(checks: &mut Checks) {
    for (key, value) in [
        ("kept/bytes", &[0, 255, 128][..]),
        ("kept/text", "grüß".as_bytes()),
        ("kept/empty", b""),
        (&long_key(), b"long key"),
        ("kept/overwritten", b"new"),
        ("kept/decimal", b"42"),
        ("kept/counter", &(-40i64).to_le_bytes()),
        ("kept/swapped", b"mine"),
        ("kept/hour", b"there"),
        ("kept/forever", b"there"),
        ("kept/cleared", b"new"),
    ] {
        let shown: String = key.chars().take(30).collect();
        checks.same(
            &format!("{shown} survives a restart"),
            keyvalue::get(key),
            Ok(Some(value.to_vec())),
        );
    }
    checks.is(
        "a large value survives whole",
        keyvalue::get("kept/large").is_ok_and(|found| found == Some(vec![b'L'; 300_000])),
    );
    for key in ["gone/deleted", "gone/at-once"] {
        checks.is(&format!("{key} stays absent"), is_absent(key));
    }
    let mut kept: Vec<String> = [
        "bytes",
        "cleared",
        "counter",
        "decimal",
        "empty",
        "forever",
        "hour",
        "hour-count",
        "large",
        "overwritten",
        "swapped",
        "text",
    ]
    .map(|name| format!("kept/{name}"))
    .to_vec();
    kept.push(long_key());
    kept.sort();
    checks.same(
        "list-keys answers what survived, sorted",
        keyvalue::list_keys("kept/"),
        Ok(kept),
    );
    // What comes after goes on from there. Put back, so that it can be checked again.
    checks.same(
        "a counter goes on",
        keyvalue::increment("kept/counter", 1),
        Ok(-39),
    );
    checks.same("back", keyvalue::increment("kept/counter", -1), Ok(-40));
    checks.same(
        "decimal text goes on",
        keyvalue::increment("kept/decimal", 1),
        Ok(43),
    );
    checks.same("back", keyvalue::increment("kept/decimal", -1), Ok(42));
    checks.same(
        "a swap goes on",
        keyvalue::compare_and_swap("kept/swapped", Some(b"mine"), b"mine"),
        Ok(true),
    );
}

/// The time to live of this one has passed while the daemon was down.
pub fn over(checks: &mut Checks) {
    checks.is("gone/brief is over", is_absent("gone/brief"));
}

/// The time to live of these has passed while the daemon was down, or passes after it.
pub fn brief(checks: &mut Checks) {
    for key in ["gone/brief", "gone/brief-count"] {
        checks.is(&format!("{key} is over"), is_absent(key));
    }
    checks.same(
        "what is over is not listed",
        keyvalue::list_keys("gone/"),
        Ok(Vec::new()),
    );
}

fn long_key() -> String {
    format!("kept/{}", "k".repeat(1024 - 5))
}
