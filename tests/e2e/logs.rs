//! The log on flash: what is written when, what damage costs, how it is read.

/// The log as it grows.
mod follow;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::cli::SmallDisk;
use crate::support::{Builder, Daemon, Output, TempDir, eventually, get, precompile, zlayer};

/// Bytes of all segments of a ring.
const RING: u64 = 1 << 20;

/// `logging-probe`, which logs at every level, with a log on flash.
fn probe(data: &Path) -> Builder {
    Daemon::builder("logging-probe")
        .args(["--config", "LOG_LEVEL=trace", "--log-rate", "1000000"])
        .data_dir(data)
}

/// `zlayer logs` of a data folder.
fn logs(data: &Path, filter: &[&str]) -> Output {
    let mut words = vec!["logs", "--data-dir", data.to_str().unwrap()];
    words.extend(filter);
    let output = zlayer(words);
    assert_eq!(output.code, 0, "{output:?}");
    output
}

/// Whether the log of a data folder tells of lost records by now. It may be about to be begun.
fn tells_of_lost_records(data: &Path) -> bool {
    let shown = zlayer([Path::new("logs"), Path::new("--data-dir"), data]);
    shown.stdout.contains(" records lost: ")
}

/// The same lines by the host's tool.
fn host_logs(path: &Path, words: &[&str]) -> Output {
    let mut all = vec!["logs", path.to_str().unwrap()];
    all.extend(words);
    let output = precompile(all);
    assert_eq!(output.code, 0, "{output:?}");
    output
}

/// The segment files of a data folder, oldest first.
fn segments(data: &Path) -> Vec<PathBuf> {
    let found = fs::read_dir(data.join("log")).unwrap();
    let mut paths: Vec<PathBuf> = found.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

/// Has the plugin write at every level, with fields, and what is no fit text for a terminal.
fn log_much(daemon: &Daemon) {
    for path in ["/each?tag=probe", "/fields", "/forge"] {
        assert_eq!(get(daemon, path).status, 200, "{path}");
    }
}

/// Logs for a while and ends in good order; answers what standard error had.
fn written_log(data: &Path, requests: usize) -> String {
    let mut daemon = probe(data).start();
    for _ in 0..requests {
        log_much(&daemon);
    }
    daemon.signal(15);
    assert_eq!(daemon.wait(), 0);
    daemon.log()
}

#[test]
fn both_programs_show_what_standard_error_had() {
    let folder = TempDir::new();
    let text = written_log(folder.path(), 2);
    for part in [
        "plugin logging-probe: [",
        "] Request processed user_id=\"123\" path=\"/api/users\" duration_ms=\"45\"\n",
        "TRACE plugin",
        "INFO  zlayer_runtime::daemon: stopped\n",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let device = logs(folder.path(), &[]);
    assert_eq!(device.stdout, text);
    assert_eq!(device.stderr, "");
    // A data folder, the folder of the ring, a file of it.
    let ring = folder.path().join("log");
    for path in [folder.path(), &ring, &segments(folder.path())[0]] {
        let host = host_logs(path, &[]);
        assert_eq!(host.stdout, text);
        assert_eq!(host.stderr, "");
    }
}

#[test]
fn records_are_objects_for_programs_with_every_part() {
    let folder = TempDir::new();
    let text = written_log(folder.path(), 1);
    let json = host_logs(folder.path(), &["--json"]).stdout;
    let objects: Vec<Value> = json
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(objects.len(), text.lines().count());
    let with_fields = objects.iter().find(|o| o["message"] == "Request processed");
    let record = with_fields.unwrap();
    assert_eq!(record["level"], "info");
    assert_eq!(record["plugin"], "logging-probe");
    assert_eq!(record["fields"]["user_id"], "123");
    assert_eq!(record["fields"]["path"], "/api/users");
    assert_eq!(record["request"].as_str().unwrap().len(), 16);
    assert!(record["time_us"].as_u64().unwrap() > 0);
    // A field called like a part of the record is a field.
    let forged = objects
        .iter()
        .find(|o| o["fields"]["request_id"] == "forged");
    assert_eq!(forged.unwrap()["request"], record["request"]);
    let own = objects.iter().find(|o| o["message"] == "stopped").unwrap();
    assert_eq!(own["plugin"], Value::Null);
}

#[test]
fn filters_show_what_was_asked_for_and_nothing_else() {
    let folder = TempDir::new();
    let text = written_log(folder.path(), 3);
    let matching = |wanted: &dyn Fn(&str) -> bool| -> String {
        let lines = text.split_inclusive('\n').filter(|line| wanted(line));
        lines.collect()
    };
    let second = text
        .lines()
        .filter(|line| line.ends_with("] probe function info"));
    let line = second.collect::<Vec<_>>()[1];
    let id = &line[line.find('[').unwrap() + 1..line.find(']').unwrap()];
    let in_request = format!(" [{id}] ");
    let error = |line: &str| line[29..].starts_with(" ERROR ");
    let warn = |line: &str| error(line) || line[29..].starts_with(" WARN  ");
    // Behind time and level; what the daemon tells of a plugin is not the plugin's.
    // What it wrote, and what the daemon tells about it.
    let plugin = |line: &str| {
        let told =
            line[36..].starts_with("zlayer_runtime") && line.contains(" plugin logging-probe");
        told || line[36..].starts_with("plugin logging-probe: ")
    };
    type Wanted<'a> = &'a dyn Fn(&str) -> bool;
    let cases: [(&[&str], Wanted<'_>); 5] = [
        (&["--level", "error"], &error),
        (&["--level=WARN"], &warn),
        (&["--plugin", "logging-probe"], &plugin),
        (&["--request", id], &|line| line.contains(&in_request)),
        (
            &[
                "--request",
                id,
                "--level",
                "warn",
                "--plugin",
                "logging-probe",
            ],
            &|line| warn(line) && line.contains(&in_request),
        ),
    ];
    for (words, wanted) in cases {
        let expected = matching(wanted);
        assert!(!expected.is_empty(), "{words:?}");
        assert_eq!(logs(folder.path(), words).stdout, expected, "{words:?}");
        assert_eq!(
            host_logs(folder.path(), words).stdout,
            expected,
            "{words:?}"
        );
    }
    // A name that nobody has is no answer of nothing.
    let data = folder.path().to_str().unwrap();
    let typo = zlayer(["logs", "--data-dir", data, "--plugin", "logging"]);
    assert_eq!((typo.code, typo.stdout.as_str()), (2, ""));
    assert!(
        typo.stderr.contains("'logging'; it tells of logging-probe"),
        "{typo:?}"
    );
    let typo = precompile(["logs", data, "--plugin", "logging"]);
    assert_ne!(typo.code, 0);
    assert!(
        typo.stderr.contains("'logging'; it tells of logging-probe"),
        "{typo:?}"
    );
}

#[test]
fn a_flood_takes_no_more_flash_than_the_ring() {
    let folder = TempDir::new();
    let mut daemon = Daemon::builder("hostile")
        .data_dir(folder.path())
        .args(["--log", "binary", "--log-rate", "1000000"])
        .timeout("request", "10m")
        .start();
    let lines = 30_000;
    let answer = get(&daemon, &format!("/log-flood?lines={lines}"));
    assert_eq!(answer.text(), format!("logged {lines} lines"));
    let size = |path: &PathBuf| fs::metadata(path).unwrap().len();
    let taken: u64 = segments(folder.path()).iter().map(size).sum();
    assert!((RING / 2..=RING).contains(&taken), "{taken}");
    daemon.signal(15);
    assert_eq!(daemon.wait(), 0);
    let shown = logs(folder.path(), &[]);
    assert_eq!(shown.stderr, "");
    let number = |line: &str, before: &str, behind: &str| {
        let (number, _) = line.split_once(before)?.1.split_once(behind)?;
        number.parse::<usize>().ok()
    };
    let kept: Vec<usize> = shown
        .stdout
        .lines()
        .filter_map(|line| number(line, "hostile: line ", " of "))
        .collect();
    assert!(kept.len() > 1000 && kept.is_sorted(), "{}", kept.len());
    // Those that the flash was spared are counted, none twice; a few are the daemon's own.
    let lost: usize = shown
        .stdout
        .lines()
        .filter_map(|line| number(line, "log_ring::state: ", " records lost: more than "))
        .sum();
    let all = kept.len() + lost;
    assert!(
        lost > 0 && all <= lines + 10,
        "{all} of {lines}, {lost} lost"
    );
    assert!(!daemon.log().contains("hostile: line"), "{}", daemon.log());
}

#[test]
fn a_torn_log_is_read_up_to_the_tear_and_beyond_it() {
    let folder = TempDir::new();
    let text = written_log(folder.path(), 60);
    let whole = fs::read(&segments(folder.path())[0]).unwrap();
    assert!(whole.len() > 32 << 10, "{}", whole.len());
    let file = folder.path().join("torn.zlog");
    // Behind the middle every string that comes again is defined.
    let middle = whole.len() / 2;
    // Zeros stand between records: a cut there would tear none.
    let within = (middle..).find(|&at| whole[at - 1] != 0 && whole[at] != 0);
    let within = within.unwrap();
    let overwritten = |with: fn(usize) -> u8| {
        let mut torn = whole.clone();
        for (at, byte) in torn.iter_mut().enumerate().skip(middle).take(4096) {
            *byte = with(at);
        }
        torn
    };
    for (torn, ends_whole) in [
        (overwritten(|_| 0), true),
        (overwritten(|_| 0xFF), true),
        (overwritten(|at| ((at * at) >> 3) as u8), true),
        (whole[..whole.len() - 3].to_vec(), false),
        (whole[..within].to_vec(), false),
    ] {
        fs::write(&file, &torn).unwrap();
        for output in [zlayer([Path::new("logs"), &file]), host_logs(&file, &[])] {
            assert_eq!(output.code, 0, "{}", output.stderr);
            let named = output.stderr.contains("torn.zlog: ");
            assert!(
                named && output.stderr.contains(" torn;"),
                "{}",
                output.stderr
            );
            let equal = |(a, b): &(&str, &str)| a == b;
            let (shown, all) = (output.stdout.lines(), text.lines());
            let before = shown.clone().zip(all.clone()).take_while(equal).count();
            let behind = shown.clone().rev().zip(all.clone().rev());
            let behind = behind.take_while(equal).count();
            assert!(before > 20, "{before}");
            let ends = (output.stdout.lines().last(), text.lines().last());
            assert_eq!(behind > 20, ends_whole, "{behind} lines, of {ends:?}");
            // Nothing else is there, and nothing was made up.
            let shown = shown.count();
            assert!(shown < text.lines().count(), "{shown}");
            assert_eq!(shown, before + behind, "{}", output.stdout);
        }
    }
}

#[test]
fn a_killed_daemon_leaves_what_was_written_and_the_next_one_begins_a_segment() {
    let folder = TempDir::new();
    let mut daemon = probe(folder.path()).start();
    log_much(&daemon);
    daemon.signal(9);
    assert_eq!(daemon.wait(), 128 + 9);
    // Errors are written at once, with all that came before.
    let errors = [
        "] probe function error\n",
        "] probe log error\n",
        "] probe log info\n",
    ];
    let shown = logs(folder.path(), &[]);
    for part in errors {
        assert!(shown.stdout.contains(part), "{part} in {}", shown.stdout);
    }
    let first = fs::read(&segments(folder.path())[0]).unwrap();
    let text = written_log(folder.path(), 1);
    assert_eq!(segments(folder.path()).len(), 2);
    assert_eq!(fs::read(&segments(folder.path())[0]).unwrap(), first);
    let both = logs(folder.path(), &[]);
    assert_eq!(both.stdout, shown.stdout + &text);
    assert_eq!(both.stderr, "");
}

#[test]
fn a_folder_that_cannot_be_written_disturbs_nobody() {
    let folder = TempDir::new();
    let place = folder.path().join("log");
    fs::write(&place, "in the way").unwrap();
    let mut daemon = probe(folder.path()).start();
    for _ in 0..100 {
        log_much(&daemon);
    }
    daemon.wait_for_log("the log cannot be written to ");
    let text = daemon.log();
    assert!(text.contains(&place.display().to_string()), "{text}");
    // It is mended while the daemon runs.
    fs::remove_file(&place).unwrap();
    eventually("a log", || tells_of_lost_records(folder.path()));
    daemon.signal(15);
    assert_eq!(daemon.wait(), 0);
    let shown = logs(folder.path(), &[]);
    // Those that waited in memory are the first of all.
    assert!(
        shown.stdout.contains("] probe function error\n"),
        "{}",
        shown.stdout
    );
    assert_eq!(shown.stderr, "");
}

#[test]
fn a_full_disk_tears_nothing_and_what_it_cost_is_told() {
    let Some(disk) = SmallDisk::mount("4m") else {
        return;
    };
    let data = disk.folder.path();
    let mut daemon = probe(data).start();
    log_much(&daemon);
    let ballast = data.join("ballast");
    fs::write(&ballast, vec![0; 8 << 20]).unwrap_err();
    for _ in 0..100 {
        log_much(&daemon);
    }
    daemon.wait_for_log("the log cannot be written to ");
    fs::remove_file(&ballast).unwrap();
    eventually("word of the records lost", || tells_of_lost_records(data));
    daemon.signal(15);
    assert_eq!(daemon.wait(), 0);
    let shown = logs(data, &[]);
    assert!(shown.stdout.contains("zlayer_runtime::daemon: stopped"));
    assert_eq!(shown.stderr, "");
}

#[test]
fn the_log_goes_where_it_was_sent() {
    let folder = TempDir::new();
    let mut daemon = probe(folder.path()).args(["--log", "text"]).start();
    log_much(&daemon);
    daemon.signal(15);
    assert_eq!(daemon.wait(), 0);
    assert!(daemon.log().contains("] probe function error\n"));
    assert!(!folder.path().join("log").exists());

    let mut daemon = probe(folder.path()).args(["--log", "binary"]).start();
    log_much(&daemon);
    daemon.signal(15);
    assert_eq!(daemon.wait(), 0);
    assert!(
        !daemon.log().contains("probe function error"),
        "{}",
        daemon.log()
    );
    assert!(
        logs(folder.path(), &[])
            .stdout
            .contains("] probe function error\n")
    );
}

#[test]
fn what_cannot_be_logged_or_shown_is_refused_by_name() {
    let folder = TempDir::new();
    let data = folder.path().to_str().unwrap();
    let file = folder.path().join("notes.txt");
    fs::write(&file, "these are notes, no log").unwrap();
    let file = file.to_str().unwrap();
    for (words, code, part) in [
        (&["logs", "--level", "loud", file] as &[&str], 2, "loud"),
        (&["logs", "--follow", file], 2, "--follow"),
        (&["logs", file], 1, "there is no log here"),
        (&["logs", "/nowhere/at/all"], 1, "/nowhere/at/all"),
        (&["logs", "--data-dir", data], 1, "No such file"),
        (&["run", "--wasm", "x", "--log", "loud"], 2, "'loud'"),
        (&["run", "--wasm", "x", "--log", "binary"], 2, "--data-dir"),
        (&["run", "--wasm", "x", "--log-rate", "0"], 2, "--log-rate"),
    ] {
        let output = zlayer(words);
        assert_eq!(output.code, code, "{words:?}: {output:?}");
        assert!(output.stderr.contains(part), "{words:?}: {output:?}");
        assert_eq!(output.stdout, "", "{words:?}");
    }
    for (words, code) in [
        (&["logs"] as &[&str], 2),
        (&["logs", "--follow", file], 2),
        (&["logs", file], 1),
        (&["logs", data], 1),
        (&["logs", "/nowhere/at/all"], 3),
    ] {
        let output = precompile(words);
        assert_eq!(output.code, code, "{words:?}: {output:?}");
    }
    // Why the daemon did not start is for those who come later, too.
    let output = Daemon::of(file).data_dir(folder.path()).fails();
    let shown = logs(folder.path(), &["--level", "error"]).stdout;
    let reason = output.stderr.lines().last().unwrap();
    let reason = reason.strip_prefix("zlayer: ").unwrap();
    assert!(shown.contains(reason), "{reason} in {shown}");
}
