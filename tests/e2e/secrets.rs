//! Where secrets come from, and that they are never shown.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::{
    Builder, Daemon, TempDir, ask, eventually, get, precompile, request, skipped, under_qemu,
    zlayer, zlayer_command,
};

/// A value from each source; nothing else in the suite contains them. The last has what formats
/// escape.
const VALUES: [&str; 4] = [
    "planted-by-file-zqxjk",
    "planted-by-credential-vwkqz",
    "planted by \"environment\" \\ jqxzv",
    "planted-by-flag-kxwvq",
];

/// Files with the values of the first two.
struct Sources {
    folder: TempDir,
}

impl Sources {
    fn new() -> Sources {
        let folder = TempDir::new();
        let file = folder.path().join("secrets");
        fs::write(&file, format!("# planted\na_file={}\n", VALUES[0])).unwrap();
        fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
        fs::write(folder.path().join("credential"), format!("{}\n", VALUES[1])).unwrap();
        Sources { folder }
    }

    fn plant(&self, builder: Builder) -> Builder {
        builder
            .arg("--secrets-file")
            .arg(self.folder.path().join("secrets"))
            .args(["--secret-credential", "b_credential=credential"])
            .env("CREDENTIALS_DIRECTORY", self.folder.path())
            .args(["--secret-env", "c_environment=PLANTED"])
            .env("PLANTED", VALUES[2])
            .args(["--secret", &format!("d_flag={}", VALUES[3])])
    }
}

/// Words of the values that stand in no other text, whole or in part.
fn traces() -> impl Iterator<Item = &'static str> {
    VALUES.into_iter().chain([
        "zqxjk",
        "vwkqz",
        "jqxzv",
        "kxwvq",
        "planted-by",
        "planted by",
    ])
}

#[test]
fn no_secret_is_shown_whatever_a_plugin_does_with_it() {
    let (sources, data) = (Sources::new(), TempDir::new());
    let mut daemon = sources
        .plant(Daemon::builder("indiscreet"))
        .data_dir(data.path())
        .args(["--config", "LOG_LEVEL=trace"])
        .env("ZLAYER_LOG", "trace")
        .start();
    let mut said = Vec::new();
    for way in [
        "log", "fields", "stdout", "long", "metric", "error", "panic", "header",
    ] {
        let answer = get(&daemon, &format!("/tell/{way}"));
        let wanted = match way {
            "error" | "header" => 502,
            "panic" => 500,
            _ => 200,
        };
        assert_eq!(answer.status, wanted, "{way}: {answer:?}");
        said.push(format!("{answer:?}"));
    }
    // A client that knows one and has it logged.
    let path = format!("/{}/{}", VALUES[3], VALUES[0]);
    said.push(format!("{:?}", request(&daemon, "BREW", &path, &[], b"")));
    daemon.wait_for_log("failed with ***");
    for path in ["/metrics", "/status", "/status.txt", "/healthz"] {
        said.push(ask(&data, path).text());
    }
    let folder = data.path().to_str().unwrap();
    for json in [&[][..], &["--json"]] {
        let shown = zlayer(["status", "--data-dir", folder].iter().chain(json));
        assert_eq!(shown.code, 0, "{shown:?}");
        said.push(shown.stdout + &shown.stderr);
    }
    daemon.signal(10);
    daemon.wait_for_log("zlayer_metrics_dropped_total ");
    daemon.signal(15);
    assert_eq!(daemon.wait(), 0);
    said.push(daemon.log());
    said.push(daemon.stdout());
    let ring = data.path().join("log");
    let ring = ring.to_str().unwrap();
    for shown in [
        zlayer(["logs", "--data-dir", folder]),
        precompile(["logs", ring]),
        precompile(["logs", "--json", ring]),
    ] {
        assert_eq!(shown.code, 0, "{shown:?}");
        // Records of the plugin are there.
        assert!(shown.stdout.contains("told"), "{shown:?}");
        said.push(shown.stdout + &shown.stderr);
    }
    let said = said.join("\n");
    // All of it was told, and masked.
    for told in [
        "told *** *** *** ***\n",
        "told=\"*** *** *** ***\"",
        "told \"*** *** *** ***\"",
        "panicked at *** *** *** ***",
        "failed with *** *** *** ***",
        "told at last *** *** *** ***",
        "\"title\":\"*** *** *** ***\"",
        "yyy ***",
        "told_total{plugin=\"indiscreet\",told=\"*** *** *** ***\"} 1",
        // Sixteen, for what may not stand in a name.
        "told________________{",
    ] {
        assert!(said.contains(told), "no {told:?} in {said}");
    }
    for trace in traces() {
        assert!(!said.contains(trace), "{trace} in {said}");
        let holders = files_with(data.path(), trace.as_bytes());
        assert!(holders.is_empty(), "{trace} in {holders:?}");
    }
}

#[test]
fn a_line_cut_inside_a_character_shows_no_piece_of_a_secret() {
    // Of characters of two and three bytes; each prefix has the cut fall elsewhere.
    let long = "日本語ñ秘密鍵øパスワード認証情報ß合言葉".repeat(4);
    for ahead in ["", "a", "ab"] {
        let data = TempDir::new();
        let mut daemon = Daemon::builder("indiscreet")
            .args(["--secret", &format!("key={ahead}{long}")])
            .data_dir(data.path())
            .start();
        assert_eq!(get(&daemon, "/tell/long").status, 200);
        daemon.signal(15);
        assert_eq!(daemon.wait(), 0);
        let said = daemon.log();
        assert!(said.contains("***"), "{said}");
        for character in long.chars().chain(['\u{fffd}']) {
            assert!(!said.contains(character), "{character} in {said}");
        }
        // Long enough to stand in no file by accident.
        let holders = files_with(data.path(), "日本語".as_bytes());
        assert!(holders.is_empty(), "{holders:?}");
    }
}

#[test]
fn no_secret_is_shown_when_init_fails_with_it() {
    let (sources, data) = (Sources::new(), TempDir::new());
    let daemon = sources
        .plant(Daemon::builder("indiscreet"))
        .data_dir(data.path())
        .args(["--config", "init=tell"])
        .start();
    let answer = get(&daemon, "/");
    assert_eq!(answer.status, 503);
    eventually("its init", || {
        ask(&data, "/status").text().contains("failed: with ***")
    });
    let said = [
        format!("{answer:?}"),
        ask(&data, "/status").text(),
        ask(&data, "/status.txt").text(),
        ask(&data, "/healthz").text(),
        daemon.log(),
    ];
    for trace in traces() {
        assert!(
            said.iter().all(|text| !text.contains(trace)),
            "{trace} in {said:?}"
        );
    }
}

#[test]
fn no_secret_is_in_an_error_of_the_command_line() {
    let (stray, unknown) = ("no flag takes word ", "there is no flag '-");
    for (words, named) in [
        (["--secret", "a=1", VALUES[3]], stray),
        (["--secret", "a=1", &format!("b={}", VALUES[3])], stray),
        (["--secret", "a=1", &format!("-b={}", VALUES[3])], unknown),
        (["--secret", "a=1", &format!("--b={}", VALUES[3])], unknown),
        (["--secret=a", VALUES[3], "b=1"], stray),
    ] {
        let failed = zlayer(["run", "--wasm", "x.cwasm"].iter().chain(&words));
        assert_eq!(failed.code, 2, "{failed:?}");
        assert!(failed.stderr.contains(named), "{named:?}: {failed:?}");
        let said = failed.stderr + &failed.stdout;
        for trace in traces() {
            assert!(!said.contains(trace), "{words:?}: {trace} in {said}");
        }
    }
}

/// The soft and the hard limit of core dumps, out of `/proc/PID/limits`.
fn core_limits(limits: &str) -> Vec<&str> {
    let core = limits.lines().find(|line| line.starts_with("Max core"));
    let words = core.unwrap().split_whitespace();
    // `Max core file size`, soft, hard, unit.
    words.skip(4).take(2).collect()
}

/// A process that cannot write out its `--help` has not come further than its command line: no
/// secret was looked for yet.
#[test]
fn core_dumps_are_off_before_the_command_line_is_read() {
    if under_qemu() {
        return skipped("the emulator's own limits are seen from outside");
    }
    let own = fs::read_to_string("/proc/self/limits").unwrap();
    if core_limits(&own) == ["0", "0"] {
        return skipped("core dumps are off for the tests already");
    }
    // A pipe without room holds the process there.
    let (_unread, mut full) = std::io::pipe().unwrap();
    let room = rustix::pipe::fcntl_getpipe_size(&full).unwrap();
    full.write_all(&vec![b'x'; room]).unwrap();
    let mut command = Command::new("sh");
    // What the tests themselves may leave behind is none of the daemon's doing.
    let words = r#"ulimit -S -c "$(ulimit -H -c)"; exec "$@""#;
    command.args(["-c", words, "sh"]);
    command.arg(zlayer_command().get_program()).arg("--help");
    command.stdin(Stdio::null()).stdout(full);
    let mut child = command.spawn().unwrap();
    let limit = format!("/proc/{}/limits", child.id());
    eventually("no core dumps while --help is written", || {
        core_limits(&fs::read_to_string(&limit).unwrap()) == ["0", "0"]
    });
    let ended = child.try_wait().unwrap();
    let _ = child.kill();
    let _ = child.wait();
    assert!(ended.is_none(), "{ended:?}");
}

#[test]
fn each_source_is_read_and_the_later_wins() {
    let sources = Sources::new();
    let answer = |builder: Builder| {
        let daemon = builder.start();
        let said = get(&daemon, "/calls").text();
        let names = said
            .lines()
            .find_map(|line| line.strip_prefix("secrets.list-names "));
        names.unwrap().to_owned()
    };
    assert_eq!(
        answer(sources.plant(Daemon::builder("indiscreet"))),
        r#"["a_file", "b_credential", "c_environment", "d_flag"]"#
    );
    // A variable and a credential of the secret's own name.
    let builder = Daemon::builder("indiscreet")
        .args([
            "--secret-env",
            "PLANTED",
            "--secret-credential",
            "credential",
        ])
        .env("PLANTED", "x")
        .env("CREDENTIALS_DIRECTORY", sources.folder.path());
    assert_eq!(answer(builder), r#"["PLANTED", "credential"]"#);
}

#[test]
fn a_source_that_cannot_be_used_is_named_and_not_shown() {
    let sources = Sources::new();
    let folder = sources.folder.path();
    let open = folder.join("open");
    fs::write(&open, format!("key={}\n", VALUES[0])).unwrap();
    fs::set_permissions(&open, PermissionsExt::from_mode(0o640)).unwrap();
    let broken = folder.join("broken");
    fs::write(&broken, format!("a=b\n\n{}\n", VALUES[1])).unwrap();
    fs::set_permissions(&broken, PermissionsExt::from_mode(0o600)).unwrap();
    let path = |path: &Path| path.to_str().unwrap().to_owned();
    for (flag, value, code, words) in [
        ("--secrets-file", path(&open), 2, vec!["0640", "chmod 600"]),
        ("--secrets-file", path(&broken), 2, vec!["broken", "line 3"]),
        ("--secrets-file", path(folder), 1, vec!["regular file"]),
        (
            "--secrets-file",
            path(&folder.join("absent")),
            1,
            vec!["absent"],
        ),
        (
            "--secret-env",
            "key=ABSENT_VARIABLE".to_owned(),
            2,
            vec!["'ABSENT_VARIABLE'"],
        ),
        ("--secret-env", "=x".to_owned(), 2, vec!["KEY=NAME"]),
        (
            "--secret-credential",
            "key".to_owned(),
            2,
            vec!["CREDENTIALS_DIRECTORY"],
        ),
        (
            "--secret",
            VALUES[3].to_owned(),
            2,
            vec!["--secret", "KEY=VALUE"],
        ),
    ] {
        let failed = zlayer(["run", "--wasm", "x.cwasm", flag, &value]);
        assert_eq!(failed.code, code, "{flag} {value}: {failed:?}");
        for word in words {
            assert!(failed.stderr.contains(word), "no {word}: {failed:?}");
        }
        for trace in traces() {
            assert!(
                !failed.stderr.contains(trace) && !failed.stdout.contains(trace),
                "{failed:?}"
            );
        }
    }
}

#[test]
fn the_help_tells_who_can_see_a_secret_on_the_command_line() {
    let mut command = zlayer_command();
    command.args(["run", "--help"]);
    let help = command.output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    for words in [
        "list of processes",
        "--secrets-file",
        "--secret-env",
        "--secret-credential",
    ] {
        assert!(help.contains(words), "no {words:?} in {help}");
    }
}

/// The files below `folder` that hold `needle`.
fn files_with(folder: &Path, needle: &[u8]) -> Vec<PathBuf> {
    let holds = |file: &PathBuf| {
        let bytes = fs::read(file).unwrap();
        bytes.windows(needle.len()).any(|window| window == needle)
    };
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files_with(&path, needle)),
            false => found.extend(Some(path).filter(holds)),
        }
    }
    found
}
