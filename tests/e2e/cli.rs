//! Command lines: what is refused before anything is served, with which code and in which words.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::support::{
    Daemon, Output, PATIENCE, TempDir, artifact, eventually, get, guests, key_dir, key_file,
    may_trace, precompile, precompile_at, private_home, run, skipped, target, under_qemu,
    wait_at_most, zlayer, zlayer_command,
};

const DEVICE: i32 = 1;
const USAGE: i32 = 2;

/// The folder of `zlayer-precompile` before the folders of PATH.
pub(crate) fn path_with_precompile() -> OsString {
    let tool = PathBuf::from(std::env::var_os("ZLAYER_PRECOMPILE").unwrap());
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = tool.parent().map(Path::to_owned).into_iter();
    std::env::join_paths(folders.chain(std::env::split_paths(&path))).unwrap()
}

/// `zlayer` on a machine that has nothing but `zlayer`: a copy of it in `folder`, and an empty PATH.
pub(crate) fn zlayer_alone(folder: &Path) -> Command {
    let binary = PathBuf::from(std::env::var_os("ZLAYER_BIN").unwrap());
    let copy = folder.join("zlayer");
    fs::copy(&binary, &copy).unwrap();
    let usual = zlayer_command();
    let mut command = if usual.get_program() == binary.as_os_str() {
        Command::new(&copy)
    } else {
        // The runner is found by the PATH of the tests; its last word is the binary.
        let mut command = Command::new(find_program(usual.get_program()));
        let words = usual.get_args().len() - 1;
        command.args(usual.get_args().take(words)).arg(&copy);
        command
    };
    private_home(&mut command, folder);
    command.env("PATH", folder.join("nothing-here"));
    command
}

fn find_program(name: &OsStr) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places = std::env::split_paths(&path).map(|folder| folder.join(name));
    places
        .find(|place| place.is_file())
        .unwrap_or_else(|| name.into())
}

/// A run that is refused for its command line.
fn usage_error(words: &[&str]) -> String {
    let output = zlayer(words);
    assert_eq!(output.code, USAGE, "{words:?}: {output:?}");
    assert_eq!(output.stdout, "", "{words:?}");
    assert!(
        output.stderr.starts_with("zlayer: "),
        "{words:?}: {output:?}"
    );
    output.stderr
}

#[test]
fn version_and_help_are_told() {
    let version = zlayer(["--version"]);
    assert_eq!((version.code, version.stderr.as_str()), (0, ""));
    let words: Vec<&str> = version.stdout.split_whitespace().collect();
    assert_eq!((words[0], words[2]), ("zlayer", "(wasmtime"), "{version:?}");
    let help = zlayer(["--help"]);
    assert_eq!((help.code, help.stderr.as_str()), (0, ""));
    assert!(
        help.stdout.contains("run") && help.stdout.contains("wasm"),
        "{help:?}"
    );
    let help = zlayer(["run", "--help"]);
    assert_eq!(help.code, 0);
    for flag in [
        "--wasm",
        "--port",
        "--secret",
        "--memory-max",
        "--allow-unsigned",
    ] {
        assert!(help.stdout.contains(flag), "{flag} in {help:?}");
    }
}

#[test]
fn short_forms_a_plugin_without_a_flag_and_the_nearest_word() {
    let version = zlayer(["--version"]);
    assert_eq!(zlayer(["-V"]).stdout, version.stdout);
    assert_eq!(zlayer(["-h"]).stdout, zlayer(["--help"]).stdout);
    assert_eq!(
        zlayer(["run", "-h"]).stdout,
        zlayer(["run", "--help"]).stdout
    );
    assert_eq!(precompile(["-V"]).stdout, precompile(["--version"]).stdout);
    let help = precompile(["build", "--help"]);
    assert_eq!(
        (precompile(["build", "-h"]).stdout, help.code),
        (help.stdout, 0)
    );
    for (words, said) in [
        (&["rum"] as &[&str], "did you mean 'run'?"),
        (&["run", "--wsam", "x"], "did you mean '--wasm'?"),
        (&["run", "x.wasm", "--wasm", "y.wasm"], "not both"),
        (
            &["run", "x.wasm", "--port", "abc"],
            "a number from 0 to 65535, and 'abc' is none",
        ),
        (
            &["run", "x.wasm", "--memory-max", "10"],
            "10 is too little; at least 12Mi",
        ),
    ] {
        assert!(usage_error(words).contains(said), "{words:?}");
    }
    for (words, said) in [
        (["biuld", "x"], "did you mean 'build'?"),
        (["build", "--tarket"], "did you mean '--target'?"),
    ] {
        let output = precompile(words);
        assert!(
            output.code == USAGE && output.stderr.contains(said),
            "{output:?}"
        );
    }
    let mut command = zlayer_command();
    let home = TempDir::new();
    private_home(&mut command, home.path());
    command.arg("run").arg(home.path().join("missing.cwasm"));
    let missing = run(command, PATIENCE);
    assert!(
        missing.code == DEVICE && missing.stderr.contains("missing.cwasm"),
        "{missing:?}"
    );
}

#[test]
fn a_command_line_that_makes_no_sense_is_refused_by_name() {
    for (words, named) in [
        (&[] as &[&str], "--help"),
        (&["frobnicate"], "frobnicate"),
        (&["run"], "what shall be served?"),
        (&["run", "--wasm", "x", "--frobnicate"], "--frobnicate"),
        // A flag of earlier releases: services of a deployment say it now.
        (&["run", "--wasm", "x", "--plugin", "x:reuse=5"], "--plugin"),
        (&["run", "--wasm", "x", "--port", "nonsense"], "--port"),
        (&["run", "--wasm", "x", "--port", "65536"], "--port"),
        (&["run", "--wasm", "x", "--port=nonsense"], "--port"),
        (&["run", "--wasm", "x", "--port"], "--port"),
        (&["run", "--wasm", "x", "--bind", "here"], "--bind"),
        (
            &["run", "--wasm", "x", "--memory-max", "1Ki"],
            "--memory-max",
        ),
        (
            &["run", "--wasm", "x", "--memory-max", "much"],
            "--memory-max",
        ),
        (&["run", "--wasm", "x", "--max-body", "1q"], "--max-body"),
        (&["run", "--wasm", "x", "--config", "noequals"], "--config"),
        (&["run", "--wasm", "x", "--threads", "0"], "--threads"),
        (
            &["run", "--wasm", "x", "--max-instances", "0"],
            "--max-instances",
        ),
        (
            &["run", "--wasm", "x", "--max-instances", "1000000"],
            "--max-instances",
        ),
        (
            &["run", "--wasm", "x", "--threads", "100000"],
            "--threads: must be at most 64",
        ),
        (
            &["run", "--wasm", "x", "--max-connections", "0"],
            "--max-connections",
        ),
        (&["run", "--wasm", "x", "--reuse", "-1"], "--reuse"),
        (&["run", "--wasm", "x", "--reuse", "0"], "--reuse: must be"),
        (&["run", "--wasm", "x", "--data-dir", ""], "--data-dir"),
        (&["run", "--wasm", "x", "--data-dir="], "--data-dir"),
        (&["install", "x.zlb", "--data-dir", ""], "--data-dir is"),
        (&["rollback", "--data-dir", ""], "--data-dir is"),
        (&["uninstall", "--data-dir", ""], "--data-dir is"),
        (&["install", ""], "word 2 of the command line is empty"),
        (&["run", "--secrets-file", ""], "--secrets-file is"),
        (&["run", "--wasm", "x", "--timeout", "lunch=3s"], "lunch"),
        (&["run", "--wasm", "x", "--timeout", "head=soon"], "soon"),
        (&["run", "--wasm", "x", "--timeout", "head=0"], "--timeout"),
        (&["run", "--wasm", "x", "--profile", "odd"], "odd"),
        (&["wasm"], "verb"),
        (&["wasm", "frobnicate", "x"], "frobnicate"),
    ] {
        let message = usage_error(words);
        assert!(message.contains(named), "{words:?}: {message}");
    }
}

#[test]
fn too_little_address_space_is_told_with_what_mends_it() {
    if under_qemu() || target() == "armv7" {
        skipped("an emulator needs address space of its own, and 32 bits have none to set aside");
        return;
    }
    let limited = || Daemon::builder("hello").after("ulimit -v 9000000");
    let output = limited().fails();
    assert_eq!(output.code, DEVICE, "{output:?}");
    for remedy in ["--max-instances", "ulimit -v"] {
        assert!(output.stderr.contains(remedy), "{output:?}");
    }
    let daemon = limited().args(["--max-instances", "4"]).start();
    assert_eq!(get(&daemon, "/").status, 200);
}

#[test]
fn a_stack_that_is_too_small_is_told_with_its_limit() {
    let output = Daemon::builder("hello").after("ulimit -s 128").fails();
    assert_eq!(output.code, DEVICE, "{output:?}");
    assert!(output.stderr.contains("ulimit -s"), "{output:?}");
}

#[test]
fn a_system_that_lets_too_few_threads_start_is_told_with_its_limits() {
    if !may_trace() {
        return;
    }
    // None at all, and one less than it takes.
    for (first, started) in [(1, 0), (7, 6)] {
        let inject = format!("inject=clone,clone3:error=EAGAIN:when={first}+");
        let strace = [
            "strace",
            "-D",
            "-f",
            "-o",
            "/dev/null",
            "-e",
            "trace=clone,clone3",
        ];
        let refused = Daemon::builder("counter")
            .through(strace.into_iter().chain(["-e", &inject]))
            .args(["--threads", "3"])
            .fails();
        assert_eq!(refused.code, DEVICE, "{refused:?}");
        let told = format!(
            "the system lets the daemon start {started} threads, and it needs 7 (--threads 3); raise `ulimit -u`"
        );
        assert!(refused.stderr.contains(&told), "{refused:?}");
    }
}

#[test]
fn a_secret_that_is_given_wrongly_is_not_repeated() {
    for words in [
        &["run", "--wasm", "x", "--secret", "hunter2"] as &[&str],
        &["run", "--wasm", "x", "--secret=hunter2"],
        &["run", "--wasm", "x", "--secret", "=hunter2"],
        &[
            "run",
            "--wasm",
            "x",
            "--secret",
            "key=hunter2",
            "--port",
            "nonsense",
        ],
        &[
            "run",
            "--wasm",
            "x",
            "--secret",
            "key=hunter2",
            "--frobnicate",
        ],
    ] {
        let message = usage_error(words);
        assert!(!message.contains("hunter2"), "{words:?}: {message}");
    }
    let message = usage_error(&["run", "--wasm", "x", "--secret", "hunter2"]);
    assert!(
        message.contains("--secret") && message.contains("KEY=VALUE"),
        "{message}"
    );
}

#[test]
fn words_that_are_not_text_are_refused() {
    let odd = OsStr::from_bytes(b"\xff\xfe");
    let output = zlayer([OsStr::new("run"), OsStr::new("--wasm"), odd]);
    assert_eq!(output.code, USAGE, "{output:?}");
    assert!(output.stderr.contains("UTF-8"), "{output:?}");
}

#[test]
fn flags_may_be_written_with_an_equals_sign() {
    let daemon = Daemon::builder("full-plugin")
        .args(["--config=api_key=a=b", "--threads=1"])
        .start();
    assert_eq!(get(&daemon, "/api/").status, 200);
}

#[test]
fn a_data_folder_that_cannot_be_used_is_named() {
    let folder = TempDir::new();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    // Not even an administrator can write in /proc.
    for path in [
        &file,
        &file.join("below"),
        Path::new("/proc/zlayer-data"),
        Path::new("/dev/null"),
    ] {
        let output = Daemon::builder("hello").data_dir(path).fails();
        assert_eq!(output.code, DEVICE, "{output:?}");
        let named = output.stderr.contains(&path.display().to_string());
        assert!(named && output.stderr.contains("--data-dir"), "{output:?}");
        assert_eq!(output.stdout, "");
    }
}

#[test]
fn a_data_folder_serves_one_daemon_at_a_time() {
    let folder = TempDir::new();
    let first = Daemon::builder("counter").data_dir(folder.path()).start();
    let output = Daemon::builder("counter").data_dir(folder.path()).fails();
    assert_eq!(output.code, DEVICE, "{output:?}");
    let shown = folder.path().display().to_string();
    assert!(
        output.stderr.contains("another zlayer uses it"),
        "{output:?}"
    );
    assert!(output.stderr.contains(&shown), "{output:?}");
    // The first one has not noticed, and the folder is free when it is gone, however it went.
    assert_eq!(get(&first, "/incr/a").text(), "1");
    first.signal(9);
    drop(first);
    let next = Daemon::builder("counter").data_dir(folder.path()).start();
    assert_eq!(get(&next, "/exists/a").status, 200);
}

#[test]
fn a_full_disk_is_named_at_the_start() {
    let Some(disk) = SmallDisk::mount("64k") else {
        return;
    };
    let output = Daemon::builder("hello")
        .data_dir(disk.folder.path())
        .fails();
    assert_eq!(output.code, DEVICE, "{output:?}");
    let shown = disk.folder.path().display().to_string();
    assert!(output.stderr.contains(&shown), "{output:?}");
    assert!(output.stderr.contains("No space left"), "{output:?}");
}

#[test]
fn a_disk_that_fills_up_fails_writes_and_not_the_daemon() {
    let Some(disk) = SmallDisk::mount("2m") else {
        return;
    };
    let daemon = Daemon::builder("counter")
        .data_dir(disk.folder.path())
        .start();
    fs::write(disk.folder.path().join("ballast"), vec![0; 4 << 20]).unwrap_err();
    let value = vec![b'v'; 256 << 10];
    let mut number = 0;
    // A write that found room in memory is answered before it is tried on the disk.
    eventually("a write that is refused", || {
        number += 1;
        let path = format!("/set/key-{number}");
        let answer = crate::support::request(&daemon, "PUT", &path, &[], &value);
        let refused = answer.text().starts_with("storage: ");
        assert_eq!(answer.status, if refused { 409 } else { 200 }, "{answer:?}");
        refused
    });
    // What needs no disk is served as before.
    assert_eq!(get(&daemon, "/nothing").status, 404);
    assert_eq!(daemon.stop(), 0);
}

/// A small file system, gone with its value.
pub(crate) struct SmallDisk {
    pub(crate) folder: TempDir,
    /// Where the file lies that it is in, if it is in one.
    _image: Option<TempDir>,
}

impl SmallDisk {
    /// One in memory.
    pub(crate) fn mount(size: &str) -> Option<SmallDisk> {
        let mut command = Command::new("mount");
        command
            .args(["-t", "tmpfs", "-o"])
            .arg(format!("size={size}"))
            .arg("none");
        SmallDisk::by(command, None)
    }

    /// One as an SD card has it, in a file.
    pub(crate) fn image(bytes: u64) -> Option<SmallDisk> {
        let folder = TempDir::new();
        let path = folder.path().join("image");
        fs::File::create(&path).unwrap().set_len(bytes).unwrap();
        // All of it is for everybody, root or not.
        let made = Command::new("mkfs.ext4")
            .args(["-q", "-m", "0"])
            .arg(&path)
            .output();
        if !made.is_ok_and(|made| made.status.success()) {
            skipped("mkfs.ext4 is not there");
            return None;
        }
        let mut command = Command::new("mount");
        command.args(["-o", "loop"]).arg(&path);
        SmallDisk::by(command, Some(folder))
    }

    fn by(mut command: Command, image: Option<TempDir>) -> Option<SmallDisk> {
        let folder = TempDir::new();
        command.arg(folder.path());
        match command.output() {
            Ok(output) if output.status.success() => Some(SmallDisk {
                folder,
                _image: image,
            }),
            failed => {
                skipped(&format!("a small disk cannot be mounted here: {failed:?}"));
                None
            }
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a daemon that is being killed may still hold a file.
        let _ = Command::new("umount")
            .arg("-l")
            .arg(self.folder.path())
            .status();
    }
}

#[test]
fn a_temporary_data_folder_goes_with_the_process() {
    let folder = TempDir::new();
    let daemon = Daemon::builder("counter")
        .env("TMPDIR", folder.path())
        .start();
    assert_eq!(get(&daemon, "/incr/a").text(), "1");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    assert_eq!(daemon.stop(), 0);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    // Nor is it left behind by a start that fails, or one that is ended at once.
    let output = Daemon::of("/dev/null").env("TMPDIR", folder.path()).fails();
    assert_eq!(
        fs::read_dir(folder.path()).unwrap().count(),
        0,
        "{output:?}"
    );
}

#[test]
fn a_daemon_that_is_ended_as_soon_as_it_serves_ends_in_order() {
    let folder = TempDir::new();
    for _ in 0..5 {
        let mut daemon = Daemon::builder("hello")
            .env("TMPDIR", folder.path())
            .start();
        daemon.signal(15);
        assert_eq!(daemon.wait(), 0, "{}", daemon.log());
        assert!(!daemon.log().contains(" ERROR "), "{}", daemon.log());
        let left = fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(left, 0, "{}", daemon.log());
    }
}

/// `zlayer wasm ...` where `zlayer-precompile` is on PATH.
fn wasm<S: AsRef<OsStr>>(words: impl IntoIterator<Item = S>) -> Output {
    let home = TempDir::new();
    let mut command = zlayer_command();
    private_home(&mut command, home.path());
    command
        .arg("wasm")
        .args(words)
        .env("PATH", path_with_precompile());
    run(command, PATIENCE)
}

#[test]
fn validate_and_info_are_forwarded_with_their_exit_codes() {
    let hello = guests().join("hello.wasm").into_os_string();
    let valid = wasm(["validate".into(), hello.clone()]);
    assert_eq!(valid.code, 0, "{valid:?}");
    assert!(
        valid.stdout.contains("valid plugin: http-handler"),
        "{valid:?}"
    );
    let info = wasm(["info".into(), hello, "--json".into()]);
    assert_eq!(info.code, 0, "{info:?}");
    assert_eq!(json(&info)["name"], "hello");

    let refused = wasm([
        "validate".into(),
        guests().join("bad/no-role.wasm").into_os_string(),
    ]);
    assert_eq!(refused.code, 1, "{refused:?}");
    let missing = wasm(["validate", "/no/such/file.wasm"]);
    assert_eq!(missing.code, 3, "{missing:?}");
    assert!(missing.stderr.contains("/no/such/file.wasm"), "{missing:?}");
    // One message, by the tool that knows.
    assert_eq!(missing.stderr.lines().count(), 1, "{missing:?}");

    let folder = TempDir::new();
    let damaged = folder.path().join("damaged.cwasm");
    let mut bytes = fs::read(artifact("hello")).unwrap();
    bytes[5000] ^= 1;
    fs::write(&damaged, bytes).unwrap();
    let altered = wasm([OsStr::new("validate"), damaged.as_os_str()]);
    assert_eq!(altered.code, 18, "{altered:?}");
}

#[test]
fn a_new_plugin_is_begun_by_the_tool_that_can() {
    let folder = TempDir::new();
    let place = folder.path().to_str().unwrap();
    let words = ["new", "gate", "--role", "authenticator", "-o", place];
    let made = wasm(words);
    assert_eq!(made.code, 0, "{made:?}");
    let source = folder.path().join("gate/src/lib.rs");
    assert!(source.is_file(), "{made:?}");
    let again = wasm(words);
    assert_eq!(again.code, 1, "{again:?}");
    assert_eq!(wasm(["new", "--lang", "js"]).code, 2);
    let nameless = wasm(["new"]);
    assert_eq!(nameless.code, 2, "{nameless:?}");
    assert!(nameless.stderr.contains("a name"), "{nameless:?}");
}

#[test]
fn without_the_compiler_its_verbs_say_where_to_go() {
    if under_qemu() {
        skipped("the emulator loses the error of a program that is not there");
        return;
    }
    let folder = TempDir::new();
    let mut command = zlayer_alone(folder.path());
    command
        .args(["wasm", "validate"])
        .arg(guests().join("hello.wasm"));
    let output = run(command, PATIENCE);
    assert_eq!(output.code, DEVICE, "{output:?}");
    assert!(output.stderr.contains("zlayer-precompile"), "{output:?}");
    let text = folder.path().join("notes.txt");
    fs::write(&text, "no plugin at all").unwrap();
    let mut command = zlayer_alone(folder.path());
    command.args(["wasm", "validate"]).arg(text);
    let output = run(command, PATIENCE);
    assert_eq!(output.code, 11, "{output:?}");
    assert!(!output.stderr.contains("is WebAssembly,"), "{output:?}");
    let mut command = zlayer_alone(folder.path());
    command.args(["wasm", "new", "gate", "--role", "router"]);
    let output = run(command, PATIENCE);
    assert_eq!(output.code, DEVICE, "{output:?}");
    assert!(output.stderr.contains("zlayer-precompile"), "{output:?}");
}

#[test]
fn without_the_compiler_a_compiled_file_tells_what_it_is_and_is_checked() {
    if under_qemu() {
        skipped("the emulator loses the error of a program that is not there");
        return;
    }
    let folder = TempDir::new();
    let file = artifact("full-plugin");
    let ask = |words: &[&str], file: &Path| {
        let mut command = zlayer_alone(folder.path());
        // Flags of these verbs stand behind the file.
        let (verb, flags) = words.split_first().unwrap();
        command.args(["wasm", verb]).arg(file).args(flags);
        run(command, PATIENCE)
    };
    let keys = key_dir().to_str().unwrap();
    let output = ask(&["info", "--keys", keys], &file);
    assert_eq!(output.code, 0, "{output:?}");
    for line in [
        "name       full-plugin",
        &format!("target     {}", target()),
        "roles      handler",
        "uses       config, ",
        "imports    ",
    ] {
        assert!(output.stdout.contains(line), "{line}: {}", output.stdout);
    }
    assert!(
        output.stdout.contains(", which is trusted here"),
        "{output:?}"
    );
    let output = ask(&["validate", "--keys", keys], &file);
    assert_eq!(output.code, 0, "{output:?}");
    assert!(
        output.stdout.contains("valid artifact: full-plugin 0.0.0"),
        "{output:?}"
    );
    // Keys of nobody.
    let output = ask(&["info"], &file);
    assert_eq!(output.code, 0, "{output:?}");
    assert!(
        output.stdout.contains(", which is not trusted here"),
        "{output:?}"
    );
    assert_eq!(ask(&["validate"], &file).code, 16);
    // One byte of its code.
    let mut bytes = fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 64].fill(0xa5);
    let altered = folder.path().join("altered.cwasm");
    fs::write(&altered, bytes).unwrap();
    for verb in ["info", "validate"] {
        let output = ask(&[verb, "--keys", keys], &altered);
        assert_eq!(output.code, 18, "{verb}: {output:?}");
    }
}

fn json(output: &Output) -> Value {
    serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

#[test]
fn what_no_device_could_run_is_refused_when_it_is_compiled() {
    for (name, words) in [
        (
            "no-role",
            [
                "role",
                "example:lonely/greeter",
                "zlayer:plugin/handler@0.1.0",
            ],
        ),
        (
            "record-differs",
            ["rate-limiter", "rate-limit-info", "retry-after"],
        ),
        (
            "unknown-import",
            ["import", "zlayer:plugin/teleport", "no device"],
        ),
    ] {
        let file = guests().join(format!("bad/{name}.wasm")).into_os_string();
        let folder = TempDir::new();
        let validated = precompile(["validate".into(), file.clone()]);
        let into = folder.path().as_os_str().to_owned();
        let built = precompile([
            "build".into(),
            file,
            "--target".into(),
            target().into(),
            "-o".into(),
            into,
        ]);
        for output in [validated, built] {
            assert_eq!(output.code, 1, "{name}: {output:?}");
            for word in words {
                assert!(output.stderr.contains(word), "{name}, {word}: {output:?}");
            }
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "{name}");
    }
}

#[test]
fn every_verb_of_the_compiler_has_its_exit_codes_and_speaks_json() {
    let folder = TempDir::new();
    let into = folder.path().display().to_string();
    let hello = guests().join("hello.wasm").display().to_string();
    let no_role = guests().join("bad/no-role.wasm").display().to_string();
    let compiled = artifact("hello").display().to_string();
    let (key, public) = (key_file(), key_file().with_extension("pub"));
    let (key, public) = (key.display().to_string(), public.display().to_string());
    let signed = folder.path().join("signed.cwasm").display().to_string();
    let cases: &[(i32, &[&str])] = &[
        (
            0,
            &[
                "build",
                &hello,
                "--target",
                target(),
                "-o",
                &into,
                "--key",
                &key,
            ],
        ),
        (0, &["validate", &hello]),
        (0, &["validate", &compiled]),
        (0, &["info", &hello]),
        (0, &["info", &compiled]),
        (0, &["keygen", "-o", &into, "--name", "fresh"]),
        (0, &["sign", &compiled, "--key", &key, "-o", &signed]),
        (1, &["validate", &no_role]),
        (1, &["build", &compiled]),
        (1, &["validate", &into]),
        (2, &[]),
        (2, &["frobnicate"]),
        (2, &["build"]),
        (2, &["build", &hello, "--target", "nonsense", "-o", &into]),
        (2, &["build", &hello, "--profile", "nonsense", "-o", &into]),
        (
            2,
            &["build", &hello, "--key", &key, "--unsigned", "-o", &into],
        ),
        (2, &["keygen", "--name", "../up", "-o", &into]),
        (2, &["sign", &compiled]),
        (3, &["validate", "/no/such/file"]),
        (
            3,
            &["build", &hello, "--target", target(), "-o", "/proc/zlayer"],
        ),
        (
            3,
            &[
                "build",
                &hello,
                "--target",
                target(),
                "-o",
                &into,
                "--key",
                "/no/such/key",
            ],
        ),
        (3, &["keygen", "-o", &into, "--name", "fresh"]),
        (3, &["sign", &compiled, "--key", &public, "-o", &signed]),
        (11, &["info", "/proc/self/exe"]),
    ];
    for (code, words) in cases {
        // `keygen` makes each key once.
        if *code != 0 || words.first() != Some(&"keygen") {
            let plain = precompile(*words);
            assert_eq!(plain.code, *code, "{words:?}: {plain:?}");
            assert!(
                plain.stderr.is_empty() || *code != 0,
                "{words:?}: {plain:?}"
            );
            assert_eq!(plain.stdout.is_empty(), *code != 0, "{words:?}: {plain:?}");
        }
        let output = precompile(words.iter().chain(&["--json"]));
        assert_eq!(output.code, *code, "{words:?}: {output:?}");
        let told = json(&output);
        match code {
            0 => assert!(
                told.is_object() && told.get("error").is_none(),
                "{words:?}: {told}"
            ),
            _ => {
                assert_eq!(told["error"]["code"], *code, "{words:?}: {told}");
                let message = told["error"]["message"].as_str().unwrap();
                assert!(!message.is_empty(), "{words:?}: {told}");
            }
        }
    }
}

/// The compiler on a file system that keeps no permissions, as on a stick with exFAT.
fn on_a_stick(home: &Path, words: &[&OsStr]) -> Output {
    let mut command = Command::new("strace");
    for call in ["fchmod", "link", "linkat"] {
        command.args(["-e", &format!("inject={call}:error=EPERM")]);
    }
    command.args([
        "-f",
        "-qq",
        "-e",
        "trace=fchmod,link,linkat",
        "-o",
        "/dev/null",
    ]);
    command
        .arg(std::env::var_os("ZLAYER_PRECOMPILE").unwrap())
        .args(words);
    private_home(&mut command, home);
    run(command, PATIENCE)
}

#[test]
fn a_stick_that_keeps_no_permissions_takes_plugins_and_no_secret_key() {
    if !may_trace() {
        return;
    }
    let (home, stick) = (TempDir::new(), TempDir::new());
    let into = stick.path().as_os_str();
    let words = ["keygen", "-o"].map(OsStr::new);
    let refused = on_a_stick(home.path(), &[words[0], words[1], into]);
    assert_eq!(refused.code, 3, "{refused:?}");
    for part in ["zlayer.key", "keeps no permissions", "exFAT"] {
        assert!(refused.stderr.contains(part), "{part}: {refused:?}");
    }
    assert_eq!(fs::read_dir(stick.path()).unwrap().count(), 0);
    let (hello, key) = (guests().join("hello.wasm"), key_file());
    let words = ["build", "--target", target(), "--key", "-o"].map(OsStr::new);
    let built = on_a_stick(
        home.path(),
        &[
            words[0],
            hello.as_os_str(),
            words[1],
            words[2],
            words[3],
            key.as_os_str(),
            words[4],
            into,
        ],
    );
    assert_eq!(built.code, 0, "{built:?}");
    let compiled = stick.path().join(format!("hello.{}.cwasm", target()));
    let daemon = Daemon::of(compiled).start();
    assert_eq!(get(&daemon, "/").status, 200);
}

#[test]
fn a_home_that_takes_no_key_is_told_with_the_flag_that_needs_none() {
    let folder = TempDir::new();
    let home = folder.path().join("home");
    // No folder can be made in it, not even by an administrator.
    fs::write(&home, "").unwrap();
    let hello = guests().join("hello.wasm").into_os_string();
    let output = precompile_at(
        &home,
        ["build".into(), hello, "-o".into(), folder.path().into()],
    );
    assert_eq!(output.code, 3, "{output:?}");
    assert!(
        output.stderr.contains("--key") && output.stderr.contains("keygen"),
        "{output:?}"
    );
}

#[test]
fn one_target_may_be_written_to_a_file_of_any_name() {
    let folder = TempDir::new();
    let file = folder.path().join("below/plugin.cwasm");
    let (hello, key) = (guests().join("hello.wasm"), key_file());
    let build = |targets: &str, into: &Path| {
        precompile([
            "build".as_ref(),
            hello.as_os_str(),
            "--target".as_ref(),
            targets.as_ref(),
            "--key".as_ref(),
            key.as_os_str(),
            "-o".as_ref(),
            into.as_os_str(),
        ])
    };
    let built = build(target(), &file);
    assert_eq!(built.code, 0, "{built:?}");
    assert!(
        file.is_file() && built.stdout.contains("plugin.cwasm"),
        "{built:?}"
    );
    let daemon = Daemon::of(&file).start();
    assert_eq!(get(&daemon, "/").status, 200);
    let several = build("x86_64,aarch64", &file);
    assert_eq!(several.code, USAGE, "{several:?}");
    assert!(several.stderr.contains("name a folder"), "{several:?}");
    // A folder of such a name is one.
    let odd = folder.path().join("odd.cwasm");
    fs::create_dir(&odd).unwrap();
    assert_eq!(build(target(), &odd).code, 0);
    assert!(odd.join(format!("hello.{}.cwasm", target())).is_file());
}

#[test]
fn standard_output_that_nobody_reads_does_not_end_the_daemon() {
    use std::process::Stdio;
    let (home, data) = (TempDir::new(), TempDir::new());
    let mut command = zlayer_command();
    private_home(&mut command, home.path());
    command
        .args(["run", "--port", "0", "--wasm"])
        .arg(artifact("hello"));
    command.arg("--keys").arg(crate::support::key_dir());
    command.arg("--data-dir").arg(data.path());
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    drop(child.stdout.take());
    drop(child.stderr.take());
    // It says where it serves in vain, but not to the admin interface.
    let socket = data.path().join("admin.sock");
    eventually("the admin interface", || {
        assert_eq!(child.try_wait().unwrap(), None, "it ended");
        socket.exists()
    });
    for _ in 0..3 {
        let told = crate::support::ask(&data, "/status").text();
        let told: Value = serde_json::from_str(&told).unwrap();
        let address = told["address"].as_str().unwrap();
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        // Malformed, which the log tells of.
        stream.write_all(b"nonsense\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    }
    assert_eq!(child.try_wait().unwrap(), None, "it ended");
    let pid = rustix::process::Pid::from_raw(child.id() as i32).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(wait_at_most(&mut child, PATIENCE), Some(0));
}
