use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

use super::{ROLES, holds, text};
use crate::support::{Client, Daemon, TempDir, eventually, get, request, under_qemu};

fn put(daemon: &Daemon, path: &str, body: &str) -> String {
    let answer = request(daemon, "PUT", path, &[], body.as_bytes());
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    answer.text()
}

#[test]
fn every_sentence_holds_in_both_roles() {
    let daemon = Daemon::start("keyvalue-probe");
    for role in ROLES {
        holds(&daemon, &format!("{role}/"), 400);
    }
    // And once more over what it left behind.
    holds(&daemon, "/", 400);
}

#[test]
fn what_was_stored_survives_restarts_and_times_to_live_run_on() {
    let folder = TempDir::new();
    let start = || {
        Daemon::builder("keyvalue-probe")
            .data_dir(folder.path())
            .start()
    };
    let daemon = start();
    holds(&daemon, "/write", 5);
    holds(&daemon, "/check", 18);
    assert_eq!(daemon.stop(), 0);
    // The briefest time to live (300 ms) is over before the next start, which is what this time is for; the
    // other one may end after it.
    thread::sleep(Duration::from_millis(400));

    let daemon = start();
    holds(&daemon, "/over", 1);
    for role in ROLES {
        holds(&daemon, &format!("{role}/check"), 18);
    }
    eventually("the end of a time to live", || {
        get(&daemon, "/brief").status == 200
    });
    assert_eq!(daemon.stop(), 0);

    let daemon = start();
    holds(&daemon, "/check", 18);
    holds(&daemon, "/brief", 3);
    // All of it can be written again.
    holds(&daemon, "/", 400);
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn increments_and_swaps_of_many_instances_are_all_counted() {
    const CLIENTS: u64 = 16;
    let each: u64 = if under_qemu() { 20 } else { 100 };
    let daemon = Daemon::builder("keyvalue-probe")
        .args(["--threads", "4"])
        .start();
    let work = |client: u64| {
        // Half of the work comes to instances of one role, half to those of the other, fresh ones.
        let role = ROLES[client as usize % ROLES.len()];
        let ask = format!("GET {role}/race?count=1 HTTP/1.1\r\nhost: a\r\n\r\n");
        let mut client = Client::connect(&daemon);
        let mut lines = Vec::new();
        for _ in 0..each {
            client.send(&ask);
            let answer = client.read_response();
            assert_eq!(answer.status, 200, "{}", answer.text());
            lines.extend(answer.text().lines().map(str::to_owned));
        }
        lines
    };
    let lines: Vec<String> = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| scope.spawn(move || work(client)))
            .collect();
        let lines = clients.into_iter().map(|client| client.join().unwrap());
        lines.flatten().collect()
    });
    let total = CLIENTS * each;
    for kind in ["increment ", "swap "] {
        let numbers = lines.iter().filter_map(|line| line.strip_prefix(kind));
        let numbers: Vec<u64> = numbers.map(|number| number.parse().unwrap()).collect();
        assert_eq!(numbers.len() as u64, total);
        let distinct: BTreeSet<u64> = numbers.into_iter().collect();
        assert_eq!(
            distinct,
            (1..=total).collect(),
            "{kind}: one answered twice or never"
        );
    }
    let next = total + 1;
    assert_eq!(
        text(&daemon, "/race"),
        format!("increment {next}\nswap {next}\n")
    );
}

#[test]
fn of_many_that_compare_and_swap_one_wins() {
    let daemon = Daemon::start("counter");
    for round in 0..3 {
        let path = format!("/cas/lock-{round}");
        let won = thread::scope(|scope| {
            let clients: Vec<_> = (0..16)
                .map(|_| scope.spawn(|| put(&daemon, &path, "a client") == "true"))
                .collect();
            let won = clients.into_iter().map(|client| client.join().unwrap());
            won.filter(|won| *won).count()
        });
        assert_eq!(won, 1);
    }
}

#[test]
fn what_was_stored_a_second_ago_survives_a_kill() {
    let folder = TempDir::new();
    let start = || Daemon::builder("counter").data_dir(folder.path()).start();
    let mut daemon = start();
    for number in 1..=20 {
        assert_eq!(text(&daemon, "/incr/count"), number.to_string());
    }
    put(&daemon, "/set/note", "before the kill");
    let on_disk = |value: &str| {
        let journal = std::fs::read(folder.path().join("kv/db/0.jnl")).unwrap_or_default();
        journal
            .windows(value.len())
            .any(|bytes| bytes == value.as_bytes())
    };
    // Later changes are never there without earlier ones.
    eventually("a commit", || on_disk("before the kill"));
    daemon.signal(9);
    assert_eq!(daemon.wait(), 128 + 9);

    // And again, in the middle of writing.
    let mut daemon = start();
    assert_eq!(text(&daemon, "/get/note"), "before the kill");
    assert_eq!(text(&daemon, "/incr/count"), "21");
    put(&daemon, "/set/note", "once more");
    eventually("a commit", || on_disk("once more"));
    let (counted, last): (u64, u64) = thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut client = Client::connect(&daemon);
            let ask = b"GET /incr/busy HTTP/1.1\r\nhost: a\r\n\r\n";
            let mut last = 0;
            while client.try_send(ask).is_ok() {
                match client.try_read_response() {
                    Ok(answer) => last = answer.text().parse().unwrap(),
                    Err(_) => break,
                }
            }
            last
        });
        // The second one is asked for when the first one was answered.
        let busy = || text(&daemon, "/incr/busy?by=0").parse::<u64>().unwrap();
        eventually("writes", || busy() >= 2);
        let counted = busy();
        put(&daemon, "/set/note", "in the middle");
        eventually("a commit", || on_disk("in the middle"));
        daemon.signal(9);
        (counted, writer.join().unwrap())
    });
    assert_eq!(daemon.wait(), 128 + 9);

    let daemon = start();
    assert_eq!(text(&daemon, "/incr/count"), "22");
    // What was counted before the commit is there. What came later may be lost, and of the last one that was
    // asked for nobody knows.
    let busy: u64 = text(&daemon, "/incr/busy?by=0").parse().unwrap();
    assert!(
        (counted..=last + 1).contains(&busy),
        "{busy}, not from {counted} to {last} and one"
    );
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn an_answer_that_the_plugin_has_no_room_for_is_an_error_and_no_trap() {
    for path in ["/tight/list", "/tight/get"] {
        for role in ROLES {
            let daemon = Daemon::start("keyvalue-probe");
            holds(&daemon, &format!("{role}{path}"), 4);
            // In an instance whose memory is its own again.
            holds(&daemon, "/write", 5);
        }
    }
}

#[test]
fn a_list_may_be_as_long_as_the_plugin_has_memory_for() {
    // More than the mebibyte that every instance has room for.
    let daemon = Daemon::builder("counter").timeout("request", "5m").start();
    assert_eq!(get(&daemon, "/bench/fill?n=40000&bytes=1").status, 200);
    let listed = text(&daemon, "/list/");
    assert_eq!(listed.lines().count(), 40_000);
    assert!(listed.starts_with("k/00000000\nk/00000001\n"));
}

#[test]
fn two_values_of_the_largest_size_can_be_swapped_whatever_the_largest_body() {
    for body in ["1Mi", "16Ki"] {
        let daemon = Daemon::builder("keyvalue-probe")
            .args(["--max-body", body])
            .start();
        for role in ROLES {
            holds(&daemon, &format!("{role}/large-swap"), 4);
        }
    }
}

#[test]
fn a_value_is_too_large_and_no_trap_however_large_it_is() {
    let daemon = Daemon::start("keyvalue-probe");
    for bytes in [(1 << 20) + 1, 1_300_000, 3 << 20] {
        for role in ROLES {
            holds(&daemon, &format!("{role}/too-large?bytes={bytes}"), 5);
        }
    }
}
