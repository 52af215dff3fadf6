//! What a plugin can make the host keep: the memory of the whole process stays under its ceiling, and what
//! plugins need is there.

use std::thread;

use crate::support::{
    Builder, Client, Daemon, Response, figures_are_the_daemons, get, skipped, under_qemu,
};

/// The ceiling of these daemons, in KiB.
const MAX_KIB: u64 = 32 << 10;
/// Threads of these daemons.
const THREADS: u64 = 2;
/// What the process may take beside the ceiling, in KiB: see docs/device.md, "Memory".
const BESIDE_KIB: u64 = (3 << 10) + THREADS * (9 << 10);
/// How many requests make the host keep things at a time.
const AT_A_TIME: usize = 8;

fn daemon() -> Builder {
    let large = format!("k={}", "v".repeat(400));
    Daemon::builder("hostile")
        .args(["--memory-max", "32Mi", "--config", &large])
        .args(["--threads", &THREADS.to_string()])
        .args(["--allow-host", "127.0.0.1"])
        .timeout("request", "5m")
        .timeout("stall", "5m")
}

/// Asks the same several times at once.
fn at_once(daemon: &Daemon, path: &str) -> Vec<Response> {
    thread::scope(|scope| {
        let asking: Vec<_> = (0..AT_A_TIME)
            .map(|_| scope.spawn(|| get(daemon, path)))
            .collect();
        asking.into_iter().map(|one| one.join().unwrap()).collect()
    })
}

/// Has plugins keep as much as they can of each kind, `AT_A_TIME` at once, and calls `look` after each.
fn walk(daemon: &Daemon, look: impl Fn(&str)) {
    let kinds = get(daemon, "/keep").text();
    assert!(kinds.split(' ').count() > 20, "{kinds}");
    for kind in kinds.split(' ') {
        for answer in at_once(daemon, &format!("/keep/{kind}")) {
            // Done, too much even if nobody else had any, or too much at the moment.
            assert!(
                [200, 500, 503].contains(&answer.status),
                "{kind}: {answer:?}"
            );
        }
        look(kind);
        assert_eq!(get(daemon, "/fine").text(), "ok", "after {kind}");
    }
}

#[test]
fn whatever_plugins_make_the_host_keep_the_process_stays_under_its_ceiling() {
    let mut daemon = daemon().start();
    assert_eq!(get(&daemon, "/fine").text(), "ok");
    let before = daemon.status_kib("VmRSS");
    walk(&daemon, |kind| {
        if figures_are_the_daemons() {
            // The pages of the program are those of a file.
            let peak = daemon.status_kib("VmHWM").saturating_sub(before);
            assert!(
                peak < MAX_KIB + BESIDE_KIB,
                "{kind}: {peak} KiB more than before"
            );
        }
    });
    daemon.signal(15);
    assert_eq!(daemon.wait(), 0);
    assert!(!daemon.log().contains("panicked"), "{}", daemon.log());
}

#[test]
fn a_method_and_a_scheme_are_short() {
    let daemon = daemon().start();
    // One method in a hundred has 4 million bytes, and the others 32.
    assert_eq!(get(&daemon, "/keep/methods").text(), "297");
    assert_eq!(get(&daemon, "/keep/schemes").text(), "0");
    // Of 255, 1,024 and 60,000 bytes.
    assert_eq!(get(&daemon, "/keep/authorities").text(), "200");
}

#[test]
fn what_there_can_never_be_memory_for_is_the_plugins_own_doing() {
    let daemon = daemon().start();
    let path = "/keep/fields";
    let answer = get(&daemon, path);
    // Nobody else has any: it is the plugin's own doing.
    assert_eq!(answer.status, 500, "{answer:?}");
    daemon.wait_for_log("out of memory: the host would keep ");
    daemon.wait_for_log("--memory-max rules how much there is");
}

#[test]
fn a_plugin_may_have_thousands_of_handles_and_the_log_names_the_flag_for_more() {
    let daemon = daemon().start();
    for count in [129, 5_000, 8_000] {
        let answer = get(&daemon, &format!("/handles?count={count}"));
        assert_eq!(answer.text(), count.to_string());
    }
    drop(daemon);
    let daemon = daemon_with_few_handles();
    assert_eq!(get(&daemon, "/handles?count=100").text(), "100");
    assert_eq!(get(&daemon, "/handles?count=1000").status, 500);
    daemon.wait_for_log("as many as --max-handles allows");
    // A call borrows more than there may be.
    assert_eq!(get(&daemon, "/keep/polls").status, 500);
    daemon.wait_for_log("lent to a call than --max-handles allows");
}

fn daemon_with_few_handles() -> Daemon {
    daemon().args(["--max-handles", "300"]).start()
}

#[test]
fn a_kept_instance_that_forgets_its_handles_makes_room_for_a_new_one() {
    let daemon = Daemon::builder("hostile-plugin")
        .args(["--max-handles", "600"])
        .start();
    for round in 0..120 {
        let answer = get(&daemon, "/leak");
        assert_eq!(
            (answer.status, answer.text().as_str()),
            (200, "leaked"),
            "{round}"
        );
    }
    daemon.wait_for_log("that it has not dropped");
    // Several have ended, and the log has room for others.
    assert_eq!(daemon.log().matches("that it has not dropped").count(), 1);
}

#[test]
fn a_body_may_be_written_before_the_answer_is_set() {
    let daemon = daemon().start();
    for path in ["/early", "/early-in-pieces"] {
        for kib in [24, 1024] {
            let answer = get(&daemon, &format!("{path}?kib={kib}"));
            assert_eq!(
                (answer.status, answer.body.len()),
                (200, kib << 10),
                "{path}"
            );
        }
    }
}

#[test]
fn a_body_that_nobody_can_read_yet_and_that_does_not_fit_fails_at_once_and_says_why() {
    let daemon = daemon().start();
    let told = get(&daemon, "/early-in-pieces?kib=2048").text();
    assert!(
        told.starts_with("refused: ") && told.contains("response-outparam.set"),
        "{told}"
    );
}

#[test]
fn a_plugin_that_exits_well_behind_its_answer_has_answered() {
    for reuse in ["1", "100"] {
        let daemon = daemon().args(["--reuse", reuse]).start();
        for _ in 0..3 {
            let answer = get(&daemon, "/exit");
            assert_eq!((answer.status, answer.text().as_str()), (200, "answered"));
        }
        let answer = get(&daemon, "/exit-at-once");
        assert_eq!(answer.status, 500, "{answer:?}");
        let answer = get(&daemon, "/exit-with-error");
        assert_eq!(answer.status, 502, "{answer:?}");
        // It exits once the end of this body has come, or can no longer come.
        let mut client = Client::connect(&daemon);
        client.send("POST /exit-badly HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\n");
        let answer = client.read_response();
        assert_eq!((answer.status, answer.text().as_str()), (200, "answered"));
        // The daemon may have closed by now: it does not wait for bodies that it does not need.
        let _ = client.try_send("x");
        daemon.wait_for_log("after its response: trap: Exited with i32 exit status 1");
        assert_eq!(get(&daemon, "/fine").text(), "ok");
    }
}

#[test]
fn a_body_that_is_not_finished_ends_with_its_plugins_work_whether_the_instance_is_kept_or_not() {
    for reuse in ["1", "100"] {
        let daemon = daemon().args(["--reuse", reuse]).start();
        let mut client = Client::connect(&daemon);
        for _ in 0..2 {
            client.send("GET /forgotten HTTP/1.1\r\nhost: a\r\n\r\n");
            let answer = client.read_response();
            assert_eq!(
                (answer.status, answer.text().as_str()),
                (200, "forgotten\n"),
                "reuse {reuse}"
            );
        }
    }
}

/// Address space that counts as data beside the ceiling, in KiB: of each instance, for its stack and its
/// tables, and the stacks of threads.
const INSTANCE_KIB: u64 = 3584;
const THREADS_KIB: u64 = 24 << 10;

#[test]
fn a_list_is_refused_before_it_is_made() {
    let daemon = daemon().start();
    // 100,000 times a value of 400 bytes.
    assert_eq!(get(&daemon, "/keep/lists").status, 500);
    daemon.wait_for_log("out of memory: the host would keep ");
}

#[test]
fn a_limit_of_the_data_at_the_ceiling_is_never_hit() {
    if under_qemu() {
        return skipped("the limit would be the emulator's");
    }
    let instances = AT_A_TIME as u64;
    let limit = MAX_KIB + BESIDE_KIB + instances * INSTANCE_KIB + THREADS_KIB;
    let daemon = daemon()
        .args(["--max-instances", &instances.to_string()])
        .after(&format!("ulimit -d {limit}"))
        .start();
    walk(&daemon, |_| {});
}
