//! `zlayer run --watch`: whoever is at work on a deployment sees each new state of it served.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::{greeting, status};
use crate::cli::path_with_precompile;
use crate::support::{
    Builder, Daemon, TempDir, artifact, bundle, eventually, get, guests, request,
};

/// What `hello` answers begin with.
const HELLO: &str = "{\"method\"";

/// A folder with a deployment of `visit-counter`, whose component lies beside it.
struct Work {
    folder: TempDir,
    file: PathBuf,
    plugin: PathBuf,
}

impl Work {
    fn new(word: &str) -> Work {
        let folder = TempDir::new();
        let work = Work {
            file: folder.path().join("deployment.yaml"),
            plugin: folder.path().join("plugin.wasm"),
            folder,
        };
        fs::copy(guest("visit-counter"), &work.plugin).unwrap();
        work.greet(word);
        work
    }

    /// The text of a deployment that greets so, with a release that nobody counts up.
    fn text(word: &str) -> String {
        let image = artifact("visit-counter").display().to_string();
        greeting(7, word).replace(&image, "./plugin.wasm")
    }

    fn greet(&self, word: &str) {
        fs::write(&self.file, Work::text(word)).unwrap();
    }

    /// Puts another plugin in the place of this one, as compilers do it.
    fn replace(&self, name: &str) {
        let new = self.folder.path().join("plugin.new");
        fs::copy(guest(name), &new).unwrap();
        fs::rename(new, &self.plugin).unwrap();
    }
}

fn guest(name: &str) -> PathBuf {
    guests().join(format!("{name}.wasm"))
}

/// What serves this file, and looks after it.
fn watching(file: &Path) -> Builder {
    Daemon::of(file)
        .keys(None)
        .env("PATH", path_with_precompile())
        .arg("--watch")
}

/// Waits until requests are answered so.
fn answers(daemon: &Daemon, wanted: &str) {
    eventually(wanted, || get(daemon, "/x").text().starts_with(wanted));
}

/// The process that serves, which is another than the one that watches.
fn server(daemon: &Daemon) -> PathBuf {
    daemon.wait_for_log(", process ");
    let log = daemon.log();
    let line = log.lines().find_map(|line| line.rsplit_once(", process "));
    let path = Path::new("/proc").join(line.unwrap().1);
    assert_ne!(path, Path::new("/proc").join(daemon.pid().to_string()));
    path
}

/// What lies in a folder.
fn left(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().flatten();
    entries.map(|entry| entry.path()).collect()
}

#[test]
fn a_changed_deployment_is_served_and_one_with_a_slip_is_told_while_the_old_goes_on() {
    let work = Work::new("one");
    let daemon = watching(&work.file).start();
    assert_eq!(get(&daemon, "/x").text(), "one 1 of /x\n");
    work.greet("two");
    answers(&daemon, "two ");
    let said = || {
        daemon
            .stdout()
            .matches("changed: served again after ")
            .count()
    };
    eventually("a line that tells", || said() == 1);
    // What stands there is the same, and nobody is told of it.
    work.greet("two");
    let slip = Work::text("three").replace("greeting:", "greeting: x\n    wams: {}\n    env2:");
    fs::write(&work.file, slip).unwrap();
    daemon.wait_for_log("deployment.yaml changed, and cannot be packed");
    assert!(daemon.log().contains("did you mean `wasm`"));
    assert!(get(&daemon, "/x").text().starts_with("two "));
    work.greet("four");
    answers(&daemon, "four ");
    eventually("a second line that tells", || said() == 2);
    let lines = daemon.stdout();
    let serving = lines.matches("zlayer: serving counter (handler) on http://");
    let counts = (serving.count(), lines.lines().count());
    assert_eq!(counts, (1, 3), "{lines}");
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn a_plugin_is_served_whether_its_file_is_replaced_or_written_anew() {
    let work = Work::new("one");
    let daemon = watching(&work.file).start();
    answers(&daemon, "one ");
    work.replace("hello");
    answers(&daemon, HELLO);
    fs::copy(guest("visit-counter"), &work.plugin).unwrap();
    answers(&daemon, "one ");
    // Half a file is none, and one that is missing neither.
    let whole = fs::read(&work.plugin).unwrap();
    fs::write(&work.plugin, &whole[..whole.len() / 2]).unwrap();
    daemon.wait_for_log("plugin.wasm changed, and cannot be packed");
    assert_eq!(get(&daemon, "/x").status, 200);
    fs::remove_file(&work.plugin).unwrap();
    daemon.wait_for_log("plugin.wasm: ");
    work.replace("hello");
    answers(&daemon, HELLO);
}

#[test]
fn ten_changes_under_load_lose_no_request() {
    let work = Work::new("0");
    let daemon = watching(&work.file).start();
    answers(&daemon, "0 ");
    let (is_over, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    // One that is lost panics.
                    let answer = get(&daemon, "/x");
                    assert_eq!(answer.status, 200, "{}", answer.text());
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for number in 1..=10 {
            work.greet(&number.to_string());
            answers(&daemon, &format!("{number} "));
        }
        is_over.store(true, Ordering::Relaxed);
    });
    let told = daemon.stdout();
    let changes = told.lines().filter(|line| line.contains("served again"));
    println!(
        "{} requests answered during ten changes, none lost\n{told}",
        answered.load(Ordering::Relaxed)
    );
    assert!((9..=10).contains(&changes.count()), "{told}");
}

#[test]
fn what_cannot_be_packed_at_first_is_503_until_it_is_mended() {
    let work = Work::new("one");
    fs::write(&work.file, "version: v1\ndeployment: [\n").unwrap();
    let daemon = watching(&work.file).start();
    daemon.wait_for_log("nothing is served until it is mended");
    let answer = get(&daemon, "/x");
    assert_eq!(answer.status, 503);
    let said = daemon.stdout();
    assert!(said.contains("`zlayer run --watch` has said why"), "{said}");
    work.greet("mended");
    answers(&daemon, "mended ");
}

#[test]
fn what_is_at_work_ends_in_order_and_leaves_nothing_behind() {
    for signal in [2, 15] {
        let (work, folder) = (Work::new("one"), TempDir::new());
        let mut daemon = watching(&work.file).env("TMPDIR", folder.path()).start();
        let server = server(&daemon);
        assert!(server.exists() && !left(folder.path()).is_empty());
        daemon.signal(signal);
        assert_eq!(daemon.wait(), 0);
        assert!(!server.exists());
        assert_eq!(left(folder.path()), [] as [PathBuf; 0]);
        assert!(
            daemon
                .log()
                .contains("no new requests, those running may finish")
        );
    }
}

#[test]
fn when_the_one_that_watches_is_killed_what_serves_ends_too() {
    let (work, folder) = (Work::new("one"), TempDir::new());
    let mut daemon = watching(&work.file).env("TMPDIR", folder.path()).start();
    let server = server(&daemon);
    daemon.signal(9);
    assert_eq!(daemon.wait(), 128 + 9);
    eventually("the end of what served", || !server.exists());
    assert_eq!(left(folder.path()), [] as [PathBuf; 0]);
}

#[test]
fn when_what_serves_is_killed_it_is_told_and_everything_ends() {
    let (work, folder) = (Work::new("one"), TempDir::new());
    let mut daemon = watching(&work.file).env("TMPDIR", folder.path()).start();
    let server = server(&daemon);
    let pid = server.file_name().unwrap().to_str().unwrap();
    let pid = rustix::process::Pid::from_raw(pid.parse().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    assert_eq!(daemon.wait(), 128 + 9);
    let log = daemon.log();
    assert!(log.contains("the daemon was ended by signal 9"), "{log}");
    assert_eq!(left(folder.path()), [] as [PathBuf; 0]);
}

#[test]
fn what_was_left_by_those_that_were_killed_goes_with_the_next() {
    let (work, temporary) = (Work::new("one"), TempDir::new());
    let start = || watching(&work.file).env("TMPDIR", temporary.path()).start();
    let mut daemon = start();
    answers(&daemon, "one ");
    let server = server(&daemon);
    // So that neither can clean up behind the other.
    daemon.signal(19);
    let pid = server.file_name().unwrap().to_str().unwrap();
    let pid = rustix::process::Pid::from_raw(pid.parse().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    daemon.signal(9);
    assert_eq!(daemon.wait(), 128 + 9);
    assert!(!left(temporary.path()).is_empty(), "nothing was left");
    let daemon = start();
    answers(&daemon, "one ");
    assert_eq!(daemon.stop(), 0);
    let left = left(temporary.path());
    assert!(left.is_empty(), "left over: {left:?}");
}

#[test]
fn plugins_without_a_deployment_are_watched_with_their_flags() {
    let work = Work::new("");
    let plugin = work.folder.path().join("My_Plugin.wasm");
    fs::rename(&work.plugin, &plugin).unwrap();
    let daemon = watching(&plugin)
        .args(["--config", "greeting=flag"])
        .start();
    let said = daemon.stdout();
    assert!(said.contains("serving my_plugin (handler)"), "{said}");
    answers(&daemon, "flag ");
    fs::copy(guest("hello"), &plugin).unwrap();
    answers(&daemon, HELLO);
    eventually("a line that tells", || {
        daemon
            .stdout()
            .contains("My_Plugin.wasm changed: served again after ")
    });
}

#[test]
fn what_a_named_folder_keeps_stays_and_settings_of_the_device_wait_for_the_next_start() {
    let (work, data) = (Work::new("one"), TempDir::new());
    let daemon = watching(&work.file).data_dir(data.path()).start();
    assert_eq!(get(&daemon, "/x").text(), "one 1 of /x\n");
    let text = Work::text("two") + "device: {max_body: 50}\n";
    fs::write(&work.file, text).unwrap();
    answers(&daemon, "two ");
    daemon.wait_for_log("holds once `zlayer run` is started again: max_body");
    assert_eq!(
        request(&daemon, "POST", "/y", &[], &[b'x'; 100]).status,
        200
    );
    eventually("the end of the trial", || {
        status(&data)["on_trial"].as_bool() != Some(true)
    });
    assert_eq!(daemon.stop(), 0);
    let daemon = watching(&work.file).data_dir(data.path()).start();
    assert_eq!(get(&daemon, "/y").text(), "two 2 of /y\n");
    assert_eq!(
        request(&daemon, "POST", "/y", &[], &[b'x'; 100]).status,
        413
    );
}

#[test]
fn what_the_daemon_went_back_from_is_tried_again_once_its_file_is_saved() {
    let (work, data) = (Work::new("one"), TempDir::new());
    let daemon = watching(&work.file)
        .data_dir(data.path())
        .args(["--timeout", "trial=10s"])
        .start();
    eventually("the end of the trial", || {
        status(&data)["on_trial"].as_bool() != Some(true)
    });
    work.replace("hostile-plugin");
    eventually("the other plugin", || {
        get(&daemon, "/status-404").status == 404
    });
    for _ in 0..8 {
        // It may be gone before the last.
        get(&daemon, "/trap");
    }
    answers(&daemon, "one ");
    // The same bundle comes of it, and it is not what is served.
    fs::write(&work.file, Work::text("one") + "# again\n").unwrap();
    eventually("the other plugin, again", || {
        get(&daemon, "/status-404").status == 404
    });
    eventually("a line that tells", || {
        daemon
            .stdout()
            .contains("deployment.yaml changed: served again after ")
    });
}

#[test]
fn secrets_of_a_file_are_looked_up_anew_with_any_change() {
    let (work, secrets) = (Work::new("${WORD}"), TempDir::new());
    let file = secrets.path().join("secrets");
    let tell = |word: &str| {
        fs::write(&file, format!("WORD={word}\n")).unwrap();
        fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
    };
    tell("one");
    let daemon = watching(&work.file)
        .args(["--secrets-file".as_ref(), file.as_os_str()])
        .start();
    answers(&daemon, "one ");
    tell("two");
    fs::write(&work.file, Work::text("${WORD}") + "# a comment\n").unwrap();
    answers(&daemon, "two ");
}

#[test]
fn what_the_device_does_not_know_at_the_first_start_is_told_and_waited_for() {
    let work = Work::new("${WORD}");
    let mut daemon = watching(&work.file).start();
    daemon.wait_for_log("what is watched cannot be served: ");
    assert_eq!(get(&daemon, "/x").status, 503);
    work.greet("two");
    answers(&daemon, "two ");
    daemon.signal(2);
    assert_eq!(daemon.wait(), 0);
}

#[test]
fn an_image_that_is_a_pipe_is_told_and_waited_for_by_nobody() {
    let work = Work::new("one");
    fs::remove_file(&work.plugin).unwrap();
    let made = Command::new("mkfifo").arg(&work.plugin).status();
    assert!(made.unwrap().success());
    let mut daemon = watching(&work.file).start();
    daemon.wait_for_log("plugin.wasm: it is a pipe, not a regular file");
    daemon.wait_for_log("nothing is served until it is mended");
    work.replace("visit-counter");
    answers(&daemon, "one ");
    // And one that comes into its place.
    fs::remove_file(&work.plugin).unwrap();
    let made = Command::new("mkfifo").arg(&work.plugin).status();
    assert!(made.unwrap().success());
    daemon.wait_for_log("plugin.wasm changed, and cannot be packed");
    assert_eq!(get(&daemon, "/x").status, 200);
    daemon.signal(2);
    assert_eq!(daemon.wait(), 0);
}

#[test]
fn what_nobody_is_at_work_on_is_not_watched() {
    let made = bundle(&greeting(0, "hello"));
    let refused = Daemon::of(&made).arg("--watch").fails();
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.stderr.contains("was packed already"), "{refused:?}");
    let data = TempDir::new();
    let refused = Daemon::of_nothing()
        .data_dir(data.path())
        .arg("--watch")
        .fails();
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(
        refused.stderr.contains("name what is to be watched"),
        "{refused:?}"
    );
    // Where keys are installed, what runs is signed with one of them.
    let work = Work::new("one");
    let refused = Daemon::of(&work.file)
        .env("PATH", path_with_precompile())
        .arg("--watch")
        .fails();
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.stderr.contains("keys are installed"), "{refused:?}");
}
