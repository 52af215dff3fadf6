//! Plugins that misbehave: what the client gets, what the log tells, and that nobody else notices.

mod description;
mod keeps;
mod returns;

use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::plugin::status_beside_a_full_instance;
use crate::support::{
    Client, Daemon, PATIENCE, Response, TempDir, ask, at_rest, brief, eventually,
    figures_are_the_daemons, get, skipped, under_qemu,
};

/// Flags of a daemon whose requests end soon, though not before one has been answered that is
/// answered at all.
fn soon() -> [String; 4] {
    let timeout = || "--timeout".to_owned();
    let [request, stall] = ["request", "stall"].map(|phase| format!("{phase}={}", brief()));
    [timeout(), request, timeout(), stall]
}

/// Asks for each path and checks the status, that the client is told the request's id and not the
/// reason, and that the log has both.
fn check_failures(daemon: &Daemon, cases: &[(&str, u16, &str)]) {
    for (path, status, reason) in cases {
        let answer = get(daemon, path);
        assert_eq!(answer.status, *status, "{path}: {answer:?}");
        let line = logged(daemon, path, &answer);
        assert!(line.contains(reason), "{path}: {reason:?} is not in {line}");
        assert!(line.contains(" ERROR "), "{line}");
        let told = format!("{:?}{}", answer.headers, answer.text());
        assert!(!told.contains(reason), "{path}: {told}");
    }
    assert_eq!(get(daemon, "/fine").text(), "ok");
}

/// The line of the log about a failed request, found by the id that its client was told.
fn logged(daemon: &Daemon, path: &str, answer: &Response) -> String {
    let id = answer
        .header("x-request-id")
        .unwrap_or_else(|| panic!("{path}: {answer:?}"));
    assert!(
        answer.text().contains(&format!("request {id}\n")),
        "{path}: {answer:?}"
    );
    let needle = format!("[{id}] GET {}: ", path.split('?').next().unwrap());
    daemon.wait_for_log(&needle);
    let log = daemon.log();
    let mut lines = log.lines().filter(|line| line.contains(&needle));
    let line = lines.next().unwrap().to_owned();
    assert_eq!(lines.next(), None, "told twice");
    line
}

#[test]
fn a_failure_in_an_instance_that_served_others_is_told_with_the_flag_that_keeps_instances() {
    let daemon = Daemon::builder("hostile")
        .args(["--reuse", "1000", "--max-instances", "1"])
        .start();
    let mut client = Client::connect(&daemon);
    let mut ask = |path: &str| {
        client.send(format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n"));
        client.read_response().status
    };
    let told = |daemon: &Daemon| daemon.log().matches("leave --reuse at 1").count();
    // The first of a fresh instance, which is not kept after that.
    assert_eq!((ask("/return"), ask("/")), (500, 200));
    assert_eq!(told(&daemon), 0, "{}", daemon.log());
    assert_eq!((ask("/return"), ask("/"), ask("/trap")), (500, 200, 500));
    daemon.wait_for_log("had served 1 before it");
    assert_eq!(told(&daemon), 1, "{}", daemon.log());
}

#[test]
fn a_handler_that_traps_or_never_answers_is_an_error_of_the_server() {
    let daemon = Daemon::builder("hostile")
        .args(["--memory-max", "32Mi"])
        .start();
    check_failures(
        &daemon,
        &[
            ("/trap", 500, "unreachable"),
            ("/beyond", 500, "out of bounds memory access"),
            ("/stack", 500, "call stack exhausted"),
            ("/return", 500, "without an answer"),
            ("/grow", 500, "KiB of memory (--memory-max), then: "),
            ("/table-flood", 500, "trap"),
            ("/random-huge", 500, "exceeds limit"),
            ("/headers-huge", 500, "exceeds limit"),
            ("/headers-many", 500, "exceeds limit"),
        ],
    );
}

#[test]
fn a_handler_may_hold_as_many_headers_as_a_list_may_have() {
    let daemon = Daemon::start("hostile");
    for (path, count) in [
        ("/headers-many?count=250", 250),
        ("/headers-huge?size=30000", 1),
    ] {
        let answer = get(&daemon, path);
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        let own = answer
            .headers
            .iter()
            .filter(|(name, _)| name.starts_with("X-"));
        assert_eq!(own.count(), count, "{path}");
    }
}

#[test]
fn a_handler_that_does_not_answer_in_time_is_stopped() {
    let daemon = Daemon::builder("hostile").args(soon()).start();
    for path in ["/spin", "/never"] {
        let answer = get(&daemon, path);
        assert_eq!(answer.status, 504, "{path}: {answer:?}");
        let line = logged(&daemon, path, &answer);
        assert!(line.contains("did not answer in time"), "{line}");
    }
    // Stopped, not only given up on.
    eventually("an idle daemon", || is_idle(&daemon));
}

#[test]
fn a_body_that_is_known_not_to_be_what_was_announced_is_a_bad_gateway() {
    let daemon = Daemon::start("hostile");
    for path in ["/short-body-at-once", "/no-finish-at-once"] {
        let answer = get(&daemon, path);
        assert_eq!(answer.status, 502, "{path}: {answer:?}");
        let line = logged(&daemon, path, &answer);
        assert!(line.contains("not valid HTTP"), "{line}");
    }
    assert_eq!(get(&daemon, "/fine").text(), "ok");
}

/// Asks `hostile` for an answer that goes wrong when the end of the request's body has come, and sends that
/// end only once the answer's head and the first `part` of its body are here. Answers the head.
fn begun(daemon: &Daemon, path: &str, part: &str) -> (Response, Client) {
    let mut client = Client::connect(daemon);
    client.send(format!(
        "POST {path} HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\n"
    ));
    let head = client.read_head().unwrap();
    assert_eq!(head.status, 200, "{path}: {head:?}");
    let came = match head.header("transfer-encoding") {
        Some(_) => client.read_chunk().unwrap().unwrap(),
        None => client.read_exactly(part.len()).unwrap(),
    };
    assert_eq!(String::from_utf8_lossy(&came), part, "{path}");
    client.send("x");
    (head, client)
}

#[test]
fn a_body_that_turns_out_not_to_be_what_was_announced_breaks_off() {
    let daemon = Daemon::start("hostile");
    for (path, announced, part) in [
        ("/short-body", Some("100"), "xxxxxxxxxx"),
        // As much as was announced, and then nothing that could be taken for another answer.
        ("/long-body", Some("10"), "xxxxxxxxxx"),
        ("/no-finish", None, "unfinished\n"),
    ] {
        let (head, mut client) = begun(&daemon, path, part);
        assert_eq!(head.header("content-length"), announced, "{path}");
        assert!(client.is_closed(), "{path}: more came");
        daemon.wait_for_log(&format!("] POST {path}: plugin hostile: cut off"));
    }
    assert_eq!(get(&daemon, "/fine").text(), "ok");
}

#[test]
fn an_answer_that_breaks_off_is_never_taken_for_a_whole_one() {
    let daemon = Daemon::builder("hostile").args(soon()).start();
    for path in ["/spin-after-head", "/hold"] {
        let mut client = Client::connect(&daemon);
        client.send(format!(
            "GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"
        ));
        // To the end of the stream: the server has closed, whatever it sent.
        let bytes = client.read_to_end();
        let text = String::from_utf8_lossy(&bytes);
        let (head, body) = text
            .split_once("\r\n\r\n")
            .unwrap_or_else(|| panic!("{path}: {text:?}"));
        assert!(head.starts_with("HTTP/1.1 200 "), "{path}: {text}");
        assert!(
            head.contains("\r\nTransfer-Encoding: chunked"),
            "{path}: {text}"
        );
        assert!(!body.ends_with("0\r\n\r\n"), "{path} looks whole: {text}");
        daemon.wait_for_log(&format!("] GET {path}: plugin hostile: cut off"));
    }
    assert_eq!(get(&daemon, "/fine").text(), "ok");
}

#[test]
fn a_trap_in_the_middle_of_an_answer_breaks_it_off() {
    let daemon = Daemon::start("hostile");
    let (head, mut client) = begun(&daemon, "/trap-after-head", "the first part\n");
    assert_eq!(head.header("transfer-encoding"), Some("chunked"));
    // Not even the last chunk.
    assert!(client.is_closed());
    daemon.wait_for_log("] POST /trap-after-head: plugin hostile: cut off: trap: ");
    assert_eq!(get(&daemon, "/fine").text(), "ok");
}

#[test]
fn a_plugin_may_go_on_after_its_answer() {
    let daemon = Daemon::start("hostile");
    assert_eq!(get(&daemon, "/work-after").text(), "answered");
    daemon.wait_for_log("hostile: worked on after the answer");
}

#[test]
fn outgoing_requests_are_denied() {
    let daemon = Daemon::start("hostile");
    let said = get(&daemon, "/out").text();
    assert!(
        said.starts_with("error ErrorCode::HttpRequestDenied"),
        "{said}"
    );
    // Not even to ourselves.
    let said = get(&daemon, &format!("/out?to={}", daemon.addr())).text();
    assert!(
        said.starts_with("error ErrorCode::HttpRequestDenied"),
        "{said}"
    );
}

#[test]
fn a_plugin_that_floods_the_log_is_cut_off_and_its_drops_are_counted() {
    let lines = if under_qemu() { 5_000 } else { 100_000 };
    let daemon = Daemon::start("hostile");
    let start = Instant::now();
    let answer = get(&daemon, &format!("/log-flood?lines={lines}"));
    assert_eq!(answer.text(), format!("logged {lines} lines"));
    // Once in a while, with a record for which there is room, the number of those dropped is told.
    let told = |log: &str| -> (usize, Vec<usize>) {
        let written = log.lines().filter(|line| line.contains("hostile: line "));
        let drops = log
            .lines()
            .filter_map(|line| line.split_once(" records dropped"))
            .map(|(before, _)| before.rsplit(' ').next().unwrap().parse().unwrap());
        (written.count(), drops.collect())
    };
    let mut sent = lines;
    eventually("word of all drops", || {
        get(&daemon, "/log-flood?lines=1");
        sent += 1;
        let (written, drops) = told(&daemon.log());
        written + drops.iter().sum::<usize>() >= lines
    });
    // How much a rate allows depends on the time: it took this long at most.
    let seconds = start.elapsed().as_secs() as usize + 1;
    let (written, drops) = told(&daemon.log());
    assert!(
        written <= 1000 + 200 * seconds,
        "{written} lines in {seconds} s"
    );
    assert!(drops.len() <= 2 * seconds, "the drops flood the log");
    let total = written + drops.iter().sum::<usize>();
    assert!(total <= sent, "{total} of {sent}");
}

#[test]
fn what_a_typed_plugin_answers_wrongly_is_a_bad_gateway() {
    let daemon = Daemon::start("hostile-plugin");
    check_failures(
        &daemon,
        &[
            ("/trap", 500, "unreachable"),
            ("/error", 502, "must not reach the client"),
            ("/status-0", 502, "not valid HTTP"),
            ("/status-99", 502, "not valid HTTP"),
            ("/status-100", 502, "not valid HTTP"),
            ("/status-101", 502, "not valid HTTP"),
            ("/status-600", 502, "not valid HTTP"),
            ("/status-1000", 502, "not valid HTTP"),
            ("/status-65535", 502, "not valid HTTP"),
            ("/header-crlf", 502, "not valid HTTP"),
            ("/header-name", 502, "not valid HTTP"),
            (
                "/big-body",
                502,
                "not valid HTTP: a body of more than 1048576 bytes (--max-body)",
            ),
        ],
    );
    assert_eq!(get(&daemon, "/pass").status, 404);
}

#[test]
fn a_typed_answer_whose_framing_fields_lie_is_framed_anew() {
    let daemon = Daemon::start("hostile-plugin");
    let mut client = Client::connect(&daemon);
    client.send("GET /header-framing HTTP/1.1\r\nhost: a\r\n\r\nGET /fine HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    let answer = client.read_response();
    assert_eq!(
        (answer.status, answer.text().as_str()),
        (200, "a body of more than five bytes")
    );
    // One length, its own: the client itself refuses an answer with two, or with chunks as well.
    assert_eq!(answer.header("content-length"), Some("30"), "{answer:?}");
    // Nothing of the body is left to be taken for the next answer.
    assert!(answer.keep_alive, "{answer:?}");
    assert_eq!(client.read_response().text(), "ok");
    assert!(client.is_closed());
}

#[test]
fn a_large_answer_is_allowed_where_the_device_says_so() {
    let flags = ["--max-body", "16Mi", "--memory-max", "128Mi"];
    let daemon = Daemon::builder("hostile-plugin").args(flags).start();
    let answer = get(&daemon, "/big-body");
    assert_eq!(answer.status, 200);
    assert!(answer.body == vec![b'b'; 8 << 20]);
}

#[test]
fn a_typed_plugin_that_spins_is_stopped() {
    let daemon = Daemon::builder("hostile-plugin").args(soon()).start();
    let answer = get(&daemon, "/spin");
    assert_eq!(answer.status, 504, "{answer:?}");
    assert!(logged(&daemon, "/spin", &answer).contains("did not answer in time"));
    eventually("an idle daemon", || is_idle(&daemon));
}

#[test]
fn an_init_that_fails_is_named_in_the_log_and_costs_only_its_plugin() {
    for (init, reason) in [
        ("missing", "config-missing: a_key_that_nobody_sets"),
        ("invalid", "config-invalid: init"),
        ("unavailable", "capability-unavailable: time-travel"),
        ("failed", "failed: nothing works today"),
        ("trap", "trap: "),
        (
            "want-http-client",
            "capability-unavailable: it asks for http-client",
        ),
    ] {
        let pair = format!("init={init}");
        let daemon = Daemon::builder("hostile-plugin")
            .args(["--config", &pair])
            .start();
        daemon.wait_for_log(&format!("plugin hostile-plugin: init failed: {reason}"));
        let answer = get(&daemon, "/");
        assert_eq!(answer.status, 503, "{init}: {answer:?}");
        assert!(answer.header("retry-after").is_some(), "{init}: {answer:?}");
        assert!(logged(&daemon, "/", &answer).contains(reason), "{init}");
        assert!(
            !format!("{answer:?}").contains(reason),
            "{init}: {answer:?}"
        );
        assert_eq!(daemon.stop(), 0, "{init}");
    }
}

#[test]
fn an_init_that_never_ends_does_not_keep_the_device_busy() {
    let flags = ["--config", "init=spin"];
    let daemon = Daemon::builder("hostile-plugin")
        .args(soon())
        .args(flags)
        .start();
    // It comes while the daemon's own first `init` goes on, and begins one for itself, which has as much time.
    let answer = get(&daemon, "/");
    assert_eq!(answer.status, 504, "{answer:?}");
    logged(&daemon, "/", &answer);
    daemon.wait_for_log("plugin hostile-plugin: init failed: it did not end in time");
    // Not `eventually`: what does not end in some multiples of the deadline never does.
    let ends = (0..30).any(|_| is_idle(&daemon));
    assert!(ends, "init goes on for ever; the log:\n{}", daemon.log());
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn a_shutdown_that_traps_or_never_ends_does_not_hold_the_daemon_up() {
    // Those that end have the time that they need.
    for (shutdown, drain, told) in [
        ("ok", "50s", "hostile: shut down"),
        (
            "trap",
            "50s",
            "plugin hostile-plugin: shutdown failed: trap",
        ),
        (
            "spin",
            "700ms",
            "plugin hostile-plugin: shutdown did not end",
        ),
    ] {
        let mut daemon = Daemon::builder("hostile-plugin")
            .timeout("drain", drain)
            .args(["--config", &format!("shutdown={shutdown}")])
            .start();
        assert_eq!(get(&daemon, "/").status, 200);
        daemon.signal(15);
        assert_eq!(daemon.wait(), 0, "{shutdown}");
        let log = daemon.log();
        assert!(
            log.contains(told) && log.contains(": stopped\n"),
            "{shutdown}: {log}"
        );
    }
}

#[test]
fn others_are_served_while_plugins_spin_and_block() {
    for (guest, threads) in [("hostile", "1"), ("hostile", "2"), ("hostile-plugin", "1")] {
        let flags = ["--threads", threads, "--timeout", "request=5m"];
        let folder = TempDir::new();
        let builder = Daemon::builder(guest).data_dir(folder.path());
        let daemon = builder.args(flags).start();
        at_rest(&folder);
        let paths: &[&str] = match guest {
            "hostile" => &["/spin", "/never", "/spin", "/hold"],
            _ => &["/spin", "/spin"],
        };
        let held: Vec<Client> = paths
            .iter()
            .map(|path| {
                let mut client = Client::connect(&daemon);
                client.send(format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n"));
                client
            })
            .collect();
        eventually("all of them at it", || running(&folder) == paths.len());
        for _ in 0..3 {
            assert_eq!(get(&daemon, "/").text(), "ok", "{guest}, {threads} threads");
        }
        drop(held);
        assert_eq!(get(&daemon, "/").text(), "ok");
    }
}

#[test]
fn a_spinning_plugin_delays_others_by_its_ticks_and_not_by_seconds() {
    if under_qemu() {
        return skipped("what the emulator does itself would count as the daemon's");
    }
    let daemon = Daemon::builder("hostile").args(["--threads", "1"]).start();
    let mut spinning = Client::connect(&daemon);
    spinning.send("GET /spin HTTP/1.1\r\nhost: a\r\n\r\n");
    let before = processor_ticks(&daemon);
    eventually("a spinning plugin", || {
        processor_ticks(&daemon) > before + 20
    });
    // A plugin is interrupted each 10 ms. This machine may be busy with other things, so the time is the
    // daemon's own, all of which the plugin would use: the median of several, and a bound of a hundred times
    // that, which tells ticks from no interruption at all and is no figure.
    let mut waits: Vec<u64> = (0..5)
        .map(|_| {
            let start = processor_ticks(&daemon);
            assert_eq!(get(&daemon, "/").text(), "ok");
            processor_ticks(&daemon) - start
        })
        .collect();
    waits.sort();
    assert!(waits[2] < 100, "{waits:?}");
}

#[test]
fn a_spinning_plugin_is_stopped_when_its_client_goes_away() {
    // Its time would be up long after this test's patience.
    let flags = ["--timeout", "request=20m", "--max-instances", "1"];
    let folder = TempDir::new();
    let builder = Daemon::builder("hostile").data_dir(folder.path());
    let daemon = builder.args(flags).start();
    let mut gone = Client::connect(&daemon);
    gone.send("GET /spin HTTP/1.1\r\nhost: a\r\n\r\n");
    eventually("a spinning plugin", || running(&folder) == 1);
    gone.reset();
    // The only slot comes back.
    assert_eq!(get(&daemon, "/").text(), "ok");
    eventually("an idle daemon", || is_idle(&daemon));
}

#[test]
fn a_spinning_plugin_is_stopped_when_its_time_is_up_though_its_client_stays() {
    let daemon = Daemon::builder("hostile")
        .timeout("request", brief())
        .args(["--max-instances", "1"])
        .start();
    let mut stays = Client::connect(&daemon);
    stays.send("GET /spin HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!(stays.read_response().status, 504);
    // The only slot comes back.
    assert_eq!(get(&daemon, "/").text(), "ok");
    eventually("an idle daemon", || is_idle(&daemon));
}

#[test]
fn memory_that_plugins_grow_is_bounded_and_given_back() {
    const MAX: usize = 32 << 20;
    let flags = ["--memory-max", "32Mi", "--threads", "2"];
    let folder = TempDir::new();
    let builder = Daemon::builder("hostile").data_dir(folder.path());
    let daemon = builder.args(flags).start();
    assert_eq!(get(&daemon, "/").text(), "ok");
    // Its instance may outlive its answer, and would take a share of what there is.
    at_rest(&folder);
    let before = daemon.status_kib("VmRSS");
    let grown: usize = get(&daemon, "/grow-report").text().parse().unwrap();
    assert!((MAX / 2..MAX).contains(&grown), "{grown}");
    // Many at once share the same budget. Which of them is refused for its own sake and which for the
    // others' is a matter of time, so nothing is said of their answers; what they may take together is not.
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| get(&daemon, "/grow"));
        }
    });
    // One after the other finds the same room each time: nothing leaks.
    for _ in 0..5 {
        let room = || {
            get(&daemon, "/grow-report")
                .text()
                .parse::<usize>()
                .unwrap_or(0)
        };
        eventually("the memory of the last plugin", || room() == grown);
    }
    if figures_are_the_daemons() {
        let peak = daemon.status_kib("VmHWM").saturating_sub(before);
        let max = (MAX >> 10) as u64;
        assert!(peak < max + 8 * 1024, "{peak} KiB more than before");
        let after = || daemon.status_kib("VmRSS").saturating_sub(before);
        eventually("memory to be given back", || after() < max / 4);
    }
}

#[test]
fn memory_that_others_have_is_a_busy_device_and_no_fault_of_the_plugin() {
    let folder = TempDir::new();
    let daemon = Daemon::builder("hostile")
        .data_dir(folder.path())
        .args(["--memory-max", "32Mi", "--timeout", "request=5m"])
        .timeout("stall", "5m")
        .start();
    let grown: usize = get(&daemon, "/grow-report").text().parse().unwrap();
    // Its instance may outlive its answer.
    at_rest(&folder);
    let path = |bytes: usize| format!("/grow-hold?kib={}", bytes >> 10);
    let large = path(grown / 3 * 2);
    let mut holder = Client::connect(&daemon);
    holder.send(format!(
        "POST {large} HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\n"
    ));
    assert_eq!(holder.read_head().unwrap().status, 200);
    let answer = get(&daemon, &large);
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(answer.header("retry-after").is_some(), "{answer:?}");
    let line = logged(&daemon, &large, &answer);
    assert!(line.contains("busy: others have the memory: "), "{line}");
    // What nobody could ever have is the plugin's own doing, also now.
    let huge = path(grown + (1 << 20));
    let answer = get(&daemon, &huge);
    assert_eq!(answer.status, 500, "{answer:?}");
    assert!(logged(&daemon, &huge, &answer).contains("out of memory"));
    holder.send("x");
    while holder.read_chunk().unwrap().is_some() {}
    eventually("the memory", || get(&daemon, &large).status == 200);
}

#[test]
fn an_instance_that_trapped_is_not_kept() {
    assert_eq!(status_beside_a_full_instance("/grow", "1000"), 200);
}

#[test]
fn one_daemon_outlives_it_all() {
    let flags = [
        "--reuse",
        "1000",
        "--memory-max",
        "32Mi",
        "--timeout",
        "stall=700ms",
    ];
    let mut daemon = Daemon::builder("hostile").args(flags).start();
    let paths = [
        "/trap",
        "/stack",
        "/return",
        "/grow",
        "/grow-report",
        "/table-flood",
        "/random-huge",
        "/twice",
        "/headers-huge",
        "/headers-many",
        "/short-body",
        "/long-body",
        "/no-finish",
        "/log-flood?lines=100",
        "/work-after",
        "/out",
        "/trap-after-head",
        "/hold",
    ];
    for round in 0..2 {
        for path in paths {
            let mut client = Client::connect(&daemon);
            client.send(format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n"));
            // A broken answer is as good as any here.
            let _ = client.try_read_response();
            drop(client);
            eventually(&format!("an answer after {path}, round {round}"), || {
                let answer = get(&daemon, "/");
                answer.status == 200 && answer.text() == "ok"
            });
        }
    }
    daemon.signal(15);
    assert_eq!(daemon.wait(), 0);
    assert!(!daemon.log().contains("panicked"), "{}", daemon.log());
}

/// How many instances are at work.
fn running(folder: &TempDir) -> usize {
    let status: Value = serde_json::from_str(&ask(folder, "/status").text()).unwrap();
    let running = status["plugins"][0]["instances"]["running"].as_u64();
    running.unwrap() as usize
}

/// Whether the daemon does nothing for a second, which is what is looked at, not a wait for something. A tick
/// in a hundred of its own is nothing; a plugin that spins gets more than that on the busiest of machines.
fn is_idle(daemon: &Daemon) -> bool {
    let before = processor_ticks(daemon);
    thread::sleep(Duration::from_secs(1));
    processor_ticks(daemon) - before <= 3
}

/// The processor time that the daemon has used, in ticks of 10 ms.
fn processor_ticks(daemon: &Daemon) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", daemon.pid())).unwrap();
    // The name before may hold anything but is in parentheses; fields 14 and 15 of proc(5).
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    let fields: Vec<&str> = fields.split(' ').collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[test]
fn a_second_answer_is_a_trap_and_the_first_stands_once_it_is_out() {
    let daemon = Daemon::start("hostile");
    let mut client = Client::connect(&daemon);
    // The second answer is tried when the end of this body has come, or can no longer come.
    client.send("POST /twice HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\n");
    let answer = client.read_response();
    assert_eq!((answer.status, answer.body.len()), (200, 0), "{answer:?}");
    // The daemon may have closed by now: it does not wait for bodies that it does not need.
    let _ = client.try_send("x");
    daemon.wait_for_log("unknown handle index");
    assert_eq!(get(&daemon, "/fine").text(), "ok");
}

#[test]
fn bodies_that_drip_in_do_not_lock_out_other_requests() {
    let daemon = Daemon::builder("full-plugin")
        .args(["--config", "api_key=k", "--memory-max", "24Mi"])
        .start();
    let mut drippers: Vec<Client> = (0..20).map(|_| Client::connect(&daemon)).collect();
    for client in &mut drippers {
        client
            .send("POST /api/slow HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n");
        client.send([b'x'; 1000]);
    }
    for _ in 0..5 {
        assert_eq!(get(&daemon, "/api/fast").status, 200);
    }
}

#[test]
fn a_body_that_drips_too_slowly_is_given_up() {
    let daemon = Daemon::builder("full-plugin")
        .args(["--config", "api_key=k", "--timeout", "request=1s"])
        .args(["--timeout", "stall=1s"])
        .start();
    let mut client = Client::connect(&daemon);
    client.send("POST /api/slow HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n");
    // Twenty bytes a second keep nothing alive. The pause between two is the pace that is looked at here; an
    // answer ends it.
    client
        .socket()
        .set_read_timeout(Some(Duration::from_millis(50)))
        .unwrap();
    let mut dripped = 0;
    while client.socket().peek(&mut [0]).is_err() {
        client.send("x");
        dripped += 1;
        assert!(dripped < 3000, "minutes of drops, and still listened to");
    }
    client.socket().set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(client.read_response().status, 408);
}

#[test]
fn answers_that_nobody_reads_stay_within_the_memory_budget() {
    let daemon = Daemon::builder("hostile-plugin")
        .args(["--max-body", "8Mi", "--memory-max", "64Mi"])
        .args(["--max-instances", "1"])
        // The last one waits for the place of all others.
        .timeout("request", "10m")
        .start();
    let silent: Vec<Client> = (0..30)
        .map(|_| {
            let mut client = Client::connect(&daemon);
            client.send("GET /big-body HTTP/1.1\r\nHost: localhost\r\n\r\n");
            client
        })
        .collect();
    // What does not fit is refused; a request without a body to speak of is not.
    assert_eq!(get(&daemon, "/fine").status, 200);
    daemon.wait_for_log("there is no memory for the body");
    if figures_are_the_daemons() {
        let resident = daemon.status_kib("VmRSS");
        assert!(resident < 96 << 10, "{resident} KiB");
    }
    drop(silent);
    eventually("room for a large answer", || {
        get(&daemon, "/big-body").status == 200
    });
}
