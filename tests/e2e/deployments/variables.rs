//! What is read anew while the daemon serves, of files that the account of `--user` may read and of those that root alone
//! may: what the device knows of a deployment's variables, and its keys.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

use super::live::{confirmed, hostile, installed, refused};
use super::{greeting, install, serving, verb};
use crate::https::source;
use crate::support::{Builder, Daemon, TempDir, bundle, eventually, get, key_dir, skipped};

/// An account that nobody here has.
const USER: u32 = 54_321;

/// Whether this is root, who can become another account. Says so where it is not.
fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        skipped("only root can become another account");
    }
    root
}

/// A device whose root starts the daemon for another account: its data folder, keys that the account may read, and a
/// folder of root's own.
struct Device {
    data: TempDir,
    keys: TempDir,
    own: TempDir,
}

impl Device {
    fn new() -> Device {
        let device = Device {
            data: TempDir::new(),
            keys: TempDir::new(),
            own: TempDir::new(),
        };
        let key = device.keys.path().join("suite.pub");
        fs::copy(key_dir().join("suite.pub"), key).unwrap();
        mode(device.keys.path(), 0o755);
        mode(device.own.path(), 0o755);
        device
    }

    fn secrets(&self) -> PathBuf {
        self.own.path().join("secrets")
    }

    /// Replaces the secrets file, as most editors do.
    fn know(&self, text: &str) {
        put(&self.own.path().join("next"), text, 0o600);
        fs::rename(self.own.path().join("next"), self.secrets()).unwrap();
    }

    fn daemon(&self) -> Builder {
        Daemon::of_nothing()
            .data_dir(self.data.path())
            .keys(Some(self.keys.path()))
            .args(["--user", &USER.to_string()])
    }

    fn with_secrets(&self) -> Builder {
        self.daemon().arg("--secrets-file").arg(self.secrets())
    }
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn put(path: &Path, text: &str, bits: u32) {
    fs::write(path, text).unwrap();
    mode(path, bits);
}

#[track_caller]
fn answers(daemon: &Daemon, wanted: &str) {
    let answer = get(daemon, "/").text();
    assert!(answer.starts_with(wanted), "{wanted}: {answer}");
}

#[test]
fn what_root_read_at_the_start_serves_what_is_installed_later() {
    if !is_root() {
        return;
    }
    let device = Device::new();
    device.know("WORD=hunter2-a\nOTHER=hunter2-b\n");
    let made = bundle(&greeting(1, "${WORD}"));
    assert_eq!(install(&made, &device.data).code, 0);
    let daemon = device.with_secrets().start();
    daemon.wait_for_log("so changes of it hold from the next start");
    answers(&daemon, "hunter2-a ");
    installed(&bundle(&greeting(2, "${WORD}+${OTHER}")), &device.data);
    answers(&daemon, "hunter2-a+hunter2-b ");
    daemon.wait_for_log("so what root read at the start is used");
    let said = verb(&["rollback"], &device.data);
    assert_eq!(said.code, 0, "{said:?}");
    answers(&daemon, "hunter2-a ");
    // A change holds once the account may read it.
    device.know("WORD=hunter2-c\nNEW=hunter2-d\n");
    let made = bundle(&greeting(3, "${WORD}+${NEW}+${NEWER}"));
    let mends = format!("chown {USER} {}", device.secrets().display());
    refused(&made, &device.data, "wants to know NEW, NEWER, and this");
    refused(&made, &device.data, &mends);
    chown(device.secrets(), Some(USER), Some(USER)).unwrap();
    refused(&made, &device.data, "wants to know NEWER, and this");
    installed(&bundle(&greeting(3, "${WORD}+${NEW}")), &device.data);
    answers(&daemon, "hunter2-c+hunter2-d ");
    assert!(!daemon.log().contains("hunter2"), "{}", daemon.log());
}

#[test]
fn a_secrets_file_of_the_account_is_read_anew() {
    if !is_root() {
        return;
    }
    let device = Device::new();
    let know = |text: &str| {
        device.know(text);
        chown(device.secrets(), Some(USER), Some(USER)).unwrap();
    };
    know("WORD=hunter2-a\n");
    let made = bundle(&greeting(1, "${WORD}"));
    assert_eq!(install(&made, &device.data).code, 0);
    let daemon = device.with_secrets().start();
    answers(&daemon, "hunter2-a ");
    know("WORD=hunter2-b\nOTHER=hunter2-c\n");
    installed(&bundle(&greeting(2, "${WORD}+${OTHER}")), &device.data);
    answers(&daemon, "hunter2-b+hunter2-c ");
    assert!(!daemon.log().contains("at the start"), "{}", daemon.log());
    // One that is root's by now is named with what mends that.
    device.know("WORD=hunter2-d\n");
    let mends = format!("`chown {USER} {}`", device.secrets().display());
    refused(&bundle(&greeting(3, "${WORD}")), &device.data, &mends);
    answers(&daemon, "hunter2-b+hunter2-c ");
    assert_eq!(daemon.stop(), 0);
    // A stranger's is refused at the start.
    chown(device.secrets(), Some(USER + 1), None).unwrap();
    let refused = device.with_secrets().fails();
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.stderr.contains(&mends), "{refused:?}");
}

#[test]
fn the_way_back_knows_what_root_read_at_the_start() {
    if !is_root() {
        return;
    }
    let device = Device::new();
    device.know("WORD=hunter2-a\n");
    // Nobody else may even enter it.
    mode(device.own.path(), 0o700);
    let made = bundle(&greeting(1, "${WORD}"));
    assert_eq!(install(&made, &device.data).code, 0);
    let daemon = device.with_secrets().timeout("trial", "5s").start();
    confirmed(&device.data, 1);
    installed(&hostile(2, "", ""), &device.data);
    for _ in 0..8 {
        // It may be gone before the last.
        get(&daemon, "/trap");
    }
    eventually("the last good one is served", || {
        get(&daemon, "/").text().starts_with("hunter2-a ")
    });
    assert!(!daemon.log().contains("hunter2"), "{}", daemon.log());
}

#[test]
fn credentials_that_root_alone_may_read_serve_what_is_installed_later() {
    if !is_root() {
        return;
    }
    let device = Device::new();
    let credentials = TempDir::new();
    for (name, text) in [("WORD", "hunter2-a\n"), ("OTHER", "hunter2-b")] {
        put(&credentials.path().join(name), text, 0o400);
    }
    // One that is read by the flag for it, and not as a secret.
    let site = ["second.pem", "second.key"].map(|name| fs::read_to_string(source(name)).unwrap());
    put(&credentials.path().join("site"), &site.concat(), 0o400);
    mode(credentials.path(), 0o500);
    let made = bundle(&greeting(1, "${WORD}"));
    assert_eq!(install(&made, &device.data).code, 0);
    let daemon = device
        .daemon()
        .env("CREDENTIALS_DIRECTORY", credentials.path())
        .args(["--secret-credential", "named=WORD"])
        .args(["--tls-credential", "site", "--tls-port", "0"])
        .start();
    answers(&daemon, "hunter2-a ");
    installed(&bundle(&greeting(2, "${WORD}+${OTHER}")), &device.data);
    answers(&daemon, "hunter2-a+hunter2-b ");
    let made = bundle(&greeting(3, "${ELSEWHERE}"));
    refused(&made, &device.data, "restart the daemon with each");
    assert!(!daemon.log().contains("hunter2"), "{}", daemon.log());
}

#[test]
fn keys_that_the_account_may_not_read_are_told_before_anything_is_installed() {
    if !is_root() {
        return;
    }
    let device = Device::new();
    // The account's from an earlier start.
    chown(device.data.path(), Some(USER), Some(USER)).unwrap();
    mode(device.keys.path(), 0o700);
    let daemon = device.daemon().start();
    let why = format!("--keys: account {USER} cannot read ");
    daemon.wait_for_log(&format!("whatever is installed will be refused: {why}"));
    let made = bundle(&greeting(1, "one"));
    refused(&made, &device.data, &why);
    mode(device.keys.path(), 0o755);
    installed(&made, &device.data);
    answers(&daemon, "one ");
}

#[test]
fn all_that_is_not_known_is_named_with_what_can_be_changed_now() {
    let made = bundle(&greeting(1, "${NOT_HERE} and ${NOT_THERE}"));
    let names = "wants to know NOT_HERE, NOT_THERE, and this device does not: ";
    let refused_at = |daemon: Builder| {
        let refused = daemon.fails();
        assert_eq!(refused.code, 2, "{refused:?}");
        refused.stderr
    };
    let told = refused_at(Daemon::of(&made));
    let mends = format!("{names}set each as a variable of zlayer's environment");
    assert!(told.contains(&mends), "{told}");
    let folder = TempDir::new();
    let secrets = folder.path().join("secrets");
    put(&secrets, "", 0o600);
    let shown = secrets.display();
    let told = refused_at(Daemon::of(&made).arg("--secrets-file").arg(&secrets));
    let mends = format!("{names}write each as a line NAME=VALUE into {shown}, or set it");
    assert!(told.contains(&mends), "{told}");
    // A daemon that runs gets no other environment.
    let data = TempDir::new();
    let daemon = serving(&data);
    refused(
        &made,
        &data,
        &format!("{names}restart the daemon with each as a variable of its environment"),
    );
    assert_eq!(daemon.stop(), 0);
    let with = || Daemon::of_nothing().data_dir(data.path());
    let daemon = with().arg("--secrets-file").arg(&secrets).start();
    refused(
        &made,
        &data,
        &format!("{names}write each as a line NAME=VALUE into {shown}, and try again"),
    );
    put(&secrets, "NOT_HERE=one\nNOT_THERE=two\n", 0o600);
    installed(&made, &data);
    answers(&daemon, "one and two ");
}

#[test]
fn who_installs_where_no_daemon_runs_is_told_what_it_has_to_know() {
    let data = TempDir::new();
    let made = bundle(&greeting(1, "${NOT_HERE} and ${NOT_THERE}"));
    let said = install(&made, &data);
    assert_eq!(said.code, 0, "{said:?}");
    let wanted = "serves it from its next start, and has to know NOT_HERE, NOT_THERE then\n";
    assert!(said.stdout.ends_with(wanted), "{said:?}");
    let said = install(&bundle(&greeting(2, "two")), &data);
    assert!(said.stdout.ends_with("from its next start\n"), "{said:?}");
    let said = verb(&["rollback"], &data);
    assert!(said.stdout.ends_with(wanted), "{said:?}");
}
