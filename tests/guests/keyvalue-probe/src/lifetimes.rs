//! Times to live.

use probe::zlayer::plugin::keyvalue;
use probe::{Checks, now, pause};

use crate::is_absent;

const MS: u64 = 1_000_000;
const HOUR: u64 = 3_600_000 * MS;
/// Beyond a time to live: two clocks take part, and they need not tick alike.
const MARGIN: u64 = 100 * MS;

pub fn probe(checks: &mut Checks) {
    over_at_once(checks);
    far_away(checks);
    over_after_a_while(checks);
}

fn over_at_once(checks: &mut Checks) {
    let key = "probe/ttl/0";
    let over = |checks: &mut Checks| {
        checks.same(
            "a TTL of 0 is taken",
            keyvalue::set_with_ttl(key, b"1", 0),
            Ok(()),
        );
    };
    over(checks);
    checks.is(
        "TTL 0 is expired at once: absent to every call",
        is_absent(key),
    );
    over(checks);
    checks.same(
        "an expired key increments from 0",
        keyvalue::increment(key, 5),
        Ok(5),
    );
    checks.same(
        "and is a new counter without a TTL",
        keyvalue::get(key),
        Ok(Some(5i64.to_le_bytes().to_vec())),
    );
    over(checks);
    checks.same(
        "an expired key swaps as absent",
        keyvalue::compare_and_swap(key, None, b"2"),
        Ok(true),
    );
    checks.same("and is there", keyvalue::get(key), Ok(Some(b"2".to_vec())));
    checks.same("set over a live value", keyvalue::set(key, b"3"), Ok(()));
    over(checks);
    checks.is("TTL 0 ends a value that was there", is_absent(key));
    over(checks);
    checks.same("set over an expired one", keyvalue::set(key, b"4"), Ok(()));
    checks.same(
        "and is there again",
        keyvalue::get(key),
        Ok(Some(b"4".to_vec())),
    );
}

fn far_away(checks: &mut Checks) {
    for (name, ttl) in [
        ("the longest TTL", u64::MAX),
        ("a TTL beyond i64", i64::MAX as u64 + 1),
        ("a TTL of an hour", HOUR),
    ] {
        let key = "probe/ttl/far";
        let stored = keyvalue::set_with_ttl(key, b"far", ttl);
        checks.same(&format!("{name} is taken"), stored, Ok(()));
        checks.same(
            &format!("{name} is not over"),
            (keyvalue::get_string(key), keyvalue::exists(key)),
            (Ok(Some("far".to_owned())), true),
        );
        checks.same(
            &format!("{name}: it is listed"),
            keyvalue::list_keys(key),
            Ok(vec![key.to_owned()]),
        );
        checks.same(
            &format!("{name}: delete sees it"),
            keyvalue::delete(key),
            Ok(true),
        );
    }
}

/// What is done to keys with a short TTL, all of it within that TTL.
fn done_in_time(life: u64) -> [(&'static str, bool); 7] {
    let ttl = |name: &str| {
        matches!(
            keyvalue::set_with_ttl(&format!("probe/ttl/{name}"), b"1", life),
            Ok(())
        )
    };
    // Left by the try before, if that was too slow.
    let cleared = keyvalue::list_keys("probe/ttl/")
        .is_ok_and(|keys| keys.iter().all(|key| keyvalue::delete(key).is_ok()));
    [
        (
            "set-with-ttl stores",
            cleared && ttl("plain") && keyvalue::exists("probe/ttl/plain"),
        ),
        (
            "increment works beside a TTL",
            ttl("increment") && matches!(keyvalue::increment("probe/ttl/increment", 1), Ok(2)),
        ),
        (
            "a successful compare-and-swap works beside a TTL",
            ttl("swap")
                && matches!(
                    keyvalue::compare_and_swap("probe/ttl/swap", Some(b"1"), b"2"),
                    Ok(true)
                ),
        ),
        (
            "a failed compare-and-swap works beside a TTL",
            ttl("failed")
                && matches!(
                    keyvalue::compare_and_swap("probe/ttl/failed", Some(b"2"), b"3"),
                    Ok(false)
                ),
        ),
        (
            "set works beside a TTL",
            ttl("set") && keyvalue::set("probe/ttl/set", b"2").is_ok(),
        ),
        (
            "set-string works beside a TTL",
            ttl("text") && keyvalue::set_string("probe/ttl/text", "2").is_ok(),
        ),
        (
            "set-with-ttl works beside a TTL",
            ttl("longer") && keyvalue::set_with_ttl("probe/ttl/longer", b"2", HOUR).is_ok(),
        ),
    ]
}

fn over_after_a_while(checks: &mut Checks) {
    // A slow machine gets more time, until all fits into one time to live.
    let mut life = 200 * MS;
    let done = loop {
        let start = now();
        let done = done_in_time(life);
        if now() - start < life {
            break done;
        }
        life *= 2;
    };
    let end = now() + life + MARGIN;
    for (sentence, held) in done {
        checks.is(sentence, held);
    }
    pause(end.saturating_sub(now()));
    checks.is(
        "an expired key is absent to every call",
        is_absent("probe/ttl/plain"),
    );
    checks.is("increment keeps a TTL", is_absent("probe/ttl/increment"));
    checks.is(
        "a successful compare-and-swap keeps a TTL",
        is_absent("probe/ttl/swap"),
    );
    checks.is(
        "a failed compare-and-swap keeps a TTL",
        is_absent("probe/ttl/failed"),
    );
    for (name, sentence) in [
        ("set", "set clears a TTL"),
        ("text", "set-string clears a TTL"),
        ("longer", "set-with-ttl sets a new TTL"),
    ] {
        checks.same(
            sentence,
            keyvalue::get_string(&format!("probe/ttl/{name}")),
            Ok(Some("2".to_owned())),
        );
    }
    checks.same(
        "list-keys leaves expired keys out",
        keyvalue::list_keys("probe/ttl/"),
        Ok(["longer", "set", "text"]
            .map(|name| format!("probe/ttl/{name}"))
            .to_vec()),
    );
    checks.same(
        "an expired counter starts from 0",
        keyvalue::increment("probe/ttl/increment", 7),
        Ok(7),
    );
    checks.same(
        "an expired value swaps as absent",
        keyvalue::compare_and_swap("probe/ttl/swap", None, b"3"),
        Ok(true),
    );
}
