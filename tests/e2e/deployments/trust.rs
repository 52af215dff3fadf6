//! Whom a device trusts, as its owner changes it: keys that are rotated and revoked, lists that are brought back, and
//! engines whose code runs no more.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use zlayer_bundle::ENGINE_VERSION;

use crate::support::{
    Daemon, Output, TempDir, ask, eventually, get, guests, precompile, skipped, target, zlayer,
};

/// A build host with signing keys `a` and `b` and root key `r`, and a device that trusts `a` and follows `r`.
pub(super) struct Fleet {
    host: TempDir,
    pub(super) keys: TempDir,
    pub(super) data: TempDir,
}

impl Fleet {
    pub(super) fn new() -> Fleet {
        let fleet = Fleet {
            host: TempDir::new(),
            keys: TempDir::new(),
            data: TempDir::new(),
        };
        for words in [
            &["keygen", "--name", "a"] as &[&str],
            &["keygen", "--name", "b"],
            &["keygen", "--root", "--name", "r"],
        ] {
            fleet.make(words, ".");
        }
        for name in ["a.pub", "r.root"] {
            fs::copy(fleet.file(name), fleet.keys.path().join(name)).unwrap();
        }
        fleet
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.host.path().join(name)
    }

    /// Runs the host tool, which has to make the file of this name.
    pub(super) fn make(&self, words: &[&str], name: &str) -> PathBuf {
        let mut all: Vec<PathBuf> = words.iter().map(PathBuf::from).collect();
        let made = self.file(name);
        all.extend(["-o".into(), made.clone()]);
        let output = precompile(all);
        assert_eq!(output.code, 0, "{output:?}");
        made
    }

    /// A bundle of this release that `key` has signed, and the code in it.
    pub(super) fn bundle(&self, release: u64, key: &str) -> PathBuf {
        let env = format!("greeting: \"{release} by {key}\"");
        self.bundle_of("visit-counter", &env, release, key)
    }

    /// The same of this guest, with what its environment is to be.
    pub(super) fn bundle_of(&self, guest: &str, env: &str, release: u64, key: &str) -> PathBuf {
        let text = format!(
            "version: v1\ndeployment: visits\nrelease: {release}\nservices:\n  counter:\n    image: {}\n    env:\n      \
             {env}\n",
            guests().join(format!("{guest}.wasm")).display()
        );
        let file = self.file("deployment.yaml");
        fs::write(&file, text).unwrap();
        let key = self.file(&format!("{key}.key"));
        let words = ["pack", file.to_str().unwrap(), "--target", target()];
        let words = [&words[..], &["--key", key.to_str().unwrap()]].concat();
        self.make(&words, &format!("{release}.zlb"))
    }

    /// A trust list with this number.
    pub(super) fn list(&self, number: u64, words: &[&str]) -> PathBuf {
        let root = self.file("r.root.key");
        let number = number.to_string();
        let first = ["trust-list", "--root", root.to_str().unwrap()];
        let words = [&first[..], &["--number", &number], words].concat();
        self.make(&words, &format!("{number}.trust"))
    }

    /// Trusts `b` and revokes `a`.
    pub(super) fn rotation(&self, number: u64) -> PathBuf {
        let [a, b] = ["a.pub", "b.pub"].map(|name| self.file(name).display().to_string());
        self.list(number, &["--trust", &b, "--revoke", &a])
    }

    pub(super) fn on_device(&self, verb: &str, words: &[PathBuf]) -> Output {
        let mut all = vec![PathBuf::from(verb)];
        all.extend_from_slice(words);
        all.extend(["--data-dir".into(), self.data.path().to_owned()]);
        all.extend(["--keys".into(), self.keys.path().to_owned()]);
        zlayer(all)
    }

    pub(super) fn daemon(&self) -> crate::support::Builder {
        Daemon::of_nothing()
            .keys(Some(self.keys.path()))
            .data_dir(self.data.path())
    }

    #[track_caller]
    fn answers(&self, wanted: &str) {
        let daemon = self.daemon().start();
        let answer = get(&daemon, "/").text();
        assert!(answer.starts_with(wanted), "{answer}");
        assert_eq!(daemon.stop(), 0);
    }
}

#[track_caller]
pub(super) fn expect(output: &Output, code: i32, said: &str) {
    assert_eq!(output.code, code, "{output:?}");
    let all = format!("{}{}", output.stdout, output.stderr);
    assert!(all.contains(said), "{said}: {output:?}");
}

#[test]
fn a_key_is_rotated_and_what_the_old_one_signed_runs_no_more() {
    let fleet = Fleet::new();
    let (first, second, third) = (
        fleet.bundle(1, "a"),
        fleet.bundle(2, "b"),
        fleet.bundle(3, "a"),
    );
    expect(&fleet.on_device("install", &[first]), 0, "generation 1");
    fleet.answers("1 by a 1 of /");
    let said = fleet.on_device("install", std::slice::from_ref(&second));
    expect(&said, 16, "not trusted here");
    let list = fleet.rotation(1);
    let said = fleet.on_device("trust", &[list]);
    expect(&said, 0, "trust list 1 counts");
    expect(&said, 0, "generation 1, which is active, is refused");
    // A start holds to it what was installed before.
    let refused = fleet.daemon().fails();
    expect(&refused, 22, "which trust list 1 revokes");
    expect(&fleet.on_device("install", &[second]), 0, "generation 2");
    fleet.answers("2 by b 2 of /");
    let said = fleet.on_device("install", &[third]);
    expect(&said, 22, "which trust list 1 revokes");
    let said = fleet.on_device("rollback", &["--to".into(), "1".into()]);
    expect(&said, 22, "generation 1: the bundle is signed by key");
    fleet.answers("2 by b 3 of /");
}

#[test]
fn a_daemon_that_serves_heeds_a_list_from_the_next_change_on() {
    let fleet = Fleet::new();
    let old = fleet.list(1, &[]);
    expect(&fleet.on_device("install", &[fleet.bundle(1, "a")]), 0, "1");
    let daemon = fleet.daemon().start();
    let serves = |wanted: &str| {
        let answer = get(&daemon, "/").text();
        assert!(answer.starts_with(wanted), "{answer}");
    };
    serves("1 by a 1 of /");
    let said = fleet.on_device("trust", &[fleet.rotation(2)]);
    expect(&said, 0, "trust list 2 counts from now on");
    expect(&said, 0, "generation 1, which is active, is refused");
    // Nothing is taken from clients.
    serves("1 by a 2 of /");
    expect(
        &fleet.on_device("install", &[fleet.bundle(2, "a")]),
        22,
        "which trust list 2 revokes",
    );
    let said = fleet.on_device("trust", &[old]);
    expect(&said, 25, "trust list 1 is older than 2");
    let said = fleet.on_device("install", &[fleet.bundle(3, "b")]);
    expect(&said, 0, "visits release 3");
    serves("3 by b 3 of /");
    let said = fleet.on_device("rollback", &["--to".into(), "1".into()]);
    expect(&said, 22, "which trust list 2 revokes");
    serves("3 by b 4 of /");
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn lists_and_releases_only_go_up_each_with_words_of_its_own() {
    let fleet = Fleet::new();
    let old = fleet.list(1, &[]);
    expect(&fleet.on_device("trust", &[fleet.rotation(2)]), 0, "list 2");
    let said = fleet.on_device("trust", &[old]);
    expect(&said, 25, "trust list 1 is older than 2");
    let other = fleet.list(2, &[]);
    let said = fleet.on_device("trust", &[other]);
    expect(&said, 26, "with other content");
    let (first, second) = (fleet.bundle(1, "b"), fleet.bundle(2, "b"));
    expect(&fleet.on_device("install", &[second]), 0, "generation 1");
    let said = fleet.on_device("install", &[first]);
    expect(&said, 1, "release 1 of 'visits' is older than 2");
    let shown = fleet.on_device("trust", &[]);
    expect(&shown, 0, "number          2\n");
    fleet.answers("2 by b 1 of /");
}

#[test]
fn whatever_is_served_is_held_to_the_list_of_its_data_folder() {
    let fleet = Fleet::new();
    let bundle = fleet.bundle(1, "a");
    let wasm = guests().join("visit-counter.wasm");
    let key = fleet.file("a.key");
    let words = ["build", wasm.to_str().unwrap(), "--target", target()];
    let words = [&words[..], &["--key", key.to_str().unwrap()]].concat();
    fleet.make(&words, ".");
    let artifact = fleet.file(&format!("visit-counter.{}.cwasm", target()));
    let serve = |file: &PathBuf| {
        Daemon::of(file)
            .keys(Some(fleet.keys.path()))
            .data_dir(fleet.data.path())
    };
    for file in [&bundle, &artifact] {
        assert_eq!(serve(file).start().stop(), 0);
    }
    let plugin = artifact.to_str().unwrap();
    for (number, words, code, said) in [
        (1, ["--revoke", plugin], 23, "revokes"),
        (2, ["--engine-floor", "999.0.0"], 24, "update zlayer itself"),
    ] {
        let list = fleet.list(number, &words);
        expect(&fleet.on_device("trust", &[list]), 0, "counts in");
        for file in [&bundle, &artifact] {
            let refused = serve(file).fails();
            expect(&refused, code, said);
        }
    }
    // A newer list that says nothing of it lets it run again.
    let list = fleet.list(3, &["--engine-floor", ENGINE_VERSION]);
    expect(&fleet.on_device("trust", &[list]), 0, "trust list 3");
    for file in [&bundle, &artifact] {
        assert_eq!(serve(file).start().stop(), 0);
    }
}

#[test]
fn a_list_whose_root_key_is_gone_is_not_passed_over() {
    let fleet = Fleet::new();
    expect(&fleet.on_device("install", &[fleet.bundle(1, "a")]), 0, "1");
    expect(
        &fleet.on_device("trust", &[fleet.list(1, &[])]),
        0,
        "list 1",
    );
    fleet.answers("1 by a 1 of /");
    fs::remove_file(fleet.keys.path().join("r.root")).unwrap();
    let refused = fleet.daemon().fails();
    expect(&refused, 16, "cannot be checked, so nothing is trusted");
}

#[test]
fn who_becomes_another_account_takes_the_list_along() {
    if !rustix::process::geteuid().is_root() {
        return skipped("only root can become another account");
    }
    let fleet = Fleet::new();
    // Both are root's until the first start.
    let said = fleet.on_device("trust", &[fleet.rotation(1)]);
    expect(&said, 0, "trust list 1");
    let said = fleet.on_device("install", &[fleet.bundle(1, "b")]);
    expect(&said, 0, "generation 1");
    mode(fleet.keys.path(), 0o755);
    for visits in 1..=2 {
        let daemon = fleet.daemon().args(["--user", "54321"]).start();
        let answer = get(&daemon, "/").text();
        assert!(
            answer.starts_with(&format!("1 by b {visits} of")),
            "{answer}"
        );
        assert_eq!(daemon.stop(), 0);
    }
    // And root goes on for that account.
    let said = fleet.on_device("trust", &[fleet.list(2, &[])]);
    expect(&said, 0, "generation 1, which is active, is refused");
    let refused = fleet.daemon().args(["--user", "54321"]).fails();
    expect(&refused, 16, "not trusted here");
}

#[test]
fn what_other_accounts_could_exchange_is_told_with_what_mends_it() {
    let fleet = Fleet::new();
    let bundle = fleet.bundle(1, "a");
    mode(&bundle, 0o666);
    let daemon = Daemon::of(&bundle).keys(Some(fleet.keys.path())).start();
    daemon.wait_for_log(&format!("run `chmod go-w {}`", bundle.display()));
    drop(daemon);
    expect(
        &fleet.on_device("trust", &[fleet.list(1, &[])]),
        0,
        "list 1",
    );
    expect(&fleet.on_device("install", &[bundle]), 0, "generation 1");
    for name in ["trust", "deployment/generations/1", "deployment/active"] {
        let file = fleet.data.path().join(name);
        mode(&file, 0o644);
        let mends = format!("&& chmod 400 {}`", file.display());
        match name {
            // It may have revoked anything.
            "trust" => expect(&fleet.daemon().fails(), 10, &mends),
            _ => {
                let daemon = fleet.daemon().start();
                assert_eq!(get(&daemon, "/").status, 503);
                assert!(daemon.stdout().contains(&mends), "{}", daemon.stdout());
                assert_eq!(daemon.stop(), 0);
            }
        }
        mode(&file, 0o400);
    }
    fleet.answers("1 by a 1 of /");
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_restart_after_a_rotation_does_not_go_back_to_what_is_revoked() {
    let fleet = Fleet::new();
    expect(&fleet.on_device("install", &[fleet.bundle(1, "a")]), 0, "");
    let mut daemon = fleet.daemon().timeout("trial", "1s").start();
    eventually("the first is confirmed", || {
        let status = ask(&fleet.data, "/status").text();
        status.contains("\"on_trial\":false")
    });
    expect(&fleet.on_device("trust", &[fleet.rotation(1)]), 0, "");
    let said = fleet.on_device("install", &[fleet.bundle(2, "b")]);
    // Nobody is promised a way that is closed.
    expect(&said, 0, "there is no good generation to go back to");
    let shown = fleet.on_device("generations", &[]);
    expect(&shown, 0, "the next start serves generation 2 all the same");
    expect(&shown, 0, "trust list 1 revokes");
    assert_eq!(daemon.end_at_once(9), 137);
    fleet.answers("2 by b");
}
