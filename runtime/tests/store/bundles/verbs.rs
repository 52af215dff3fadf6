//! The verbs of `zlayer` that install bundles, seen from the command line.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use zlayer_bundle::{Blob, BundleHead, Manifest, Target, TrustStore, seal, seal_bundle};
use zlayer_runtime::data_dir::DataDir;
use zlayer_runtime::generations::Generations;

use super::{PROFILE, key};
use crate::support::{Folder, skipped};

/// A device, and a folder of bundles for it.
struct Device {
    folder: Folder,
}

impl Device {
    fn new() -> Device {
        let folder = Folder::new();
        std::fs::write(folder.0.join("key.pub"), key().public().to_text("")).unwrap();
        Device { folder }
    }

    fn data(&self) -> PathBuf {
        self.folder.0.join("data")
    }

    /// A bundle of one plugin.
    fn bundle(&self, target: Target, release: u64, version: &str, is_signed: bool) -> PathBuf {
        let key = is_signed.then(key);
        let manifest = Manifest::new("hello", version, target, PROFILE);
        let artifact = seal(vec![7; 5000], manifest, key.as_ref()).unwrap();
        let head = super::head(release, vec![Blob::of(&artifact)]);
        let mut manifest = head.manifest().clone();
        manifest.target = target;
        let head = seal_bundle(&manifest, key.as_ref()).unwrap();
        let path = self
            .folder
            .0
            .join(format!("{release}-{target}-{version}-{is_signed}.zlb"));
        std::fs::write(&path, [head, artifact].concat()).unwrap();
        path
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_zlayer"));
        command.args(words).arg("--data-dir").arg(self.data());
        if ["install", "rollback"].contains(&words[0]) {
            command.arg("--keys").arg(self.folder.0.join("key.pub"));
        }
        command
    }

    /// Its exit code, and all that it said.
    fn run(&self, words: &[&str]) -> (i32, String) {
        told(&self.command(words).stdin(Stdio::null()).output().unwrap())
    }

    fn install(&self, bundle: &Path) -> (i32, String) {
        self.run(&["install", bundle.to_str().unwrap()])
    }
}

fn told(output: &Output) -> (i32, String) {
    let said = [&output.stdout[..], &output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    (output.status.code().unwrap(), said)
}

#[track_caller]
fn expect((code, said): (i32, String), wanted: i32, words: &str) {
    assert_eq!(code, wanted, "{said}");
    assert!(said.contains(words), "{said}");
}

#[test]
fn bundles_are_installed_gone_back_from_and_removed() {
    let device = Device::new();
    let host = Target::host().unwrap();
    expect(device.run(&["generations"]), 0, "nothing is installed in");
    expect(device.run(&["rollback"]), 1, "nothing is installed in");
    expect(device.run(&["uninstall"]), 1, "nothing is installed in");
    assert!(!device.data().exists(), "a folder was made");
    let first = device.bundle(host, 1, "1.0.0", true);
    let words = "zlayer: installed edge release 1 as generation 1; a daemon with --data-dir ";
    expect(device.install(&first), 0, words);
    let second = device.bundle(host, 2, "1.1.0", true);
    let mut piped = device.command(&["install", "-"]);
    let piped = piped.stdin(std::fs::File::open(&second).unwrap());
    expect(told(&piped.output().unwrap()), 0, "as generation 2");
    let listed = "1  edge release 1\n   service-0: hello 1.0.0\n\
                  2  edge release 2 (active), on trial: not started yet\n";
    expect(device.run(&["generations"]), 0, listed);
    expect(
        device.run(&["rollback"]),
        0,
        "went to generation 1, edge release 1",
    );
    let (code, said) = device.run(&["generations", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&said).unwrap();
    let all = json["generations"].as_array().unwrap();
    assert_eq!((code, all.len()), (0, 2));
    assert_eq!(
        (&all[0]["active"], &all[1]["active"]),
        (&true.into(), &false.into())
    );
    assert_eq!(all[1]["services"][0]["version"], "1.1.0");
    expect(
        device.run(&["rollback", "--to", "9"]),
        1,
        "there is no generation 9",
    );
    expect(device.run(&["uninstall"]), 0, "nothing is installed in");
    expect(
        device.install(&first),
        1,
        "release 1 of 'edge' is older than 2",
    );
}

#[test]
fn generations_and_status_tell_how_each_came_out() {
    let device = Device::new();
    let host = Target::host().unwrap();
    let generations = Generations::of(&device.data());
    let start = || generations.begin(&generations.choose()).unwrap();
    expect(
        device.install(&device.bundle(host, 1, "1.0.0", true)),
        0,
        "",
    );
    start();
    let told = "1  edge release 1 (active), on trial: started once\n";
    expect(device.run(&["generations"]), 0, told);
    generations.confirm(1).unwrap();
    let told = "1  edge release 1 (active), confirmed\n";
    expect(device.run(&["generations"]), 0, told);
    expect(device.run(&["status"]), 1, told);
    start();
    let told = "1  edge release 1 (active), confirmed, started once since\n";
    expect(device.run(&["generations"]), 0, told);
    expect(
        device.install(&device.bundle(host, 2, "1.1.0", true)),
        0,
        "",
    );
    let (_, said) = device.run(&["generations"]);
    assert!(!said.contains("the next start"), "{said}");
    start();
    let told = "as it stands, the next start goes back from generation 2 to 1: it was started once and not confirmed\n";
    expect(device.run(&["generations"]), 0, told);
    expect(device.run(&["status"]), 1, told);
    start();
    let told = "2  edge release 2, failed: it was started once and not confirmed\n";
    expect(device.run(&["generations"]), 0, told);
    let (_, said) = device.run(&["generations", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&said).unwrap();
    let [first, second] = [0, 1].map(|place| &json["generations"][place]);
    assert_eq!(first["confirmed"], true, "{said}");
    assert_eq!(first["starts"], 1);
    assert!(first["failed"].is_null());
    assert_eq!(second["confirmed"], false);
    assert_eq!(second["failed"], "it was started once and not confirmed");
    assert_eq!(json["next_start"]["generation"], 1);
    start();
    start();
    let told = "as it stands, the next start serves nothing: generation 1 was started 3 times and did not last";
    expect(device.run(&["generations"]), 0, told);
    expect(device.run(&["status"]), 1, told);
    let (_, said) = device.run(&["status", "--json"]);
    assert!(
        said.contains("\"next_start\":{\"generation\":null,\"reason\":\"generation 1 was"),
        "{said}"
    );
    // One that failed is not what a plain rollback means.
    expect(device.run(&["rollback"]), 1, "there is no generation in");
    expect(
        device.run(&["rollback", "--to", "2"]),
        0,
        "went to generation 2",
    );
    let told = "2  edge release 2 (active), on trial: not started yet\n";
    expect(device.run(&["generations"]), 0, told);
}

#[test]
fn what_does_not_belong_here_is_refused() {
    let device = Device::new();
    let host = Target::host().unwrap();
    let unsigned = device.bundle(host, 1, "1.0.0", false);
    expect(device.install(&unsigned), 15, "no signature");
    let words = ["install", unsigned.to_str().unwrap(), "--allow-unsigned"];
    expect(device.run(&words), 0, "NOBODY SIGNED THIS BUNDLE");
    expect(device.run(&["rollback", "--to", "1"]), 15, "generation 1: ");
    let elsewhere = match host {
        Target::Armv7 => Target::X86_64,
        _ => Target::Armv7,
    };
    let other = device.bundle(elsewhere, 1, "1.0.0", true);
    expect(device.install(&other), 19, "is needed here");
    let good = device.bundle(host, 1, "1.0.0", true);
    let words = ["install", good.to_str().unwrap(), "--profile", "wide"];
    expect(device.run(&words), 21, "--profile wide");
    let mut short = std::fs::read(&good).unwrap();
    short.pop();
    let cut = device.folder.0.join("cut.zlb");
    std::fs::write(&cut, &short).unwrap();
    expect(device.install(&cut), 12, "ends too early");
    expect(
        device.install(&device.folder.0.join("key.pub")),
        11,
        "it is no bundle but a key",
    );
    // A version that ran here, and was newer than the one that comes with a newer release.
    let line = format!("{} 2.0.0 hello\n", "0".repeat(64));
    std::fs::write(device.data().join("versions"), line).unwrap();
    expect(
        device.install(&good),
        3,
        "version 1.0.0 is older than 2.0.0",
    );
    std::fs::remove_file(device.data().join("versions")).unwrap();
    let serving = DataDir::open(Some(&device.data()), None).unwrap();
    let words = "another zlayer uses it, a daemon or an install: stop it first";
    expect(device.install(&good), 1, words);
    expect(device.run(&["rollback"]), 1, words);
    expect(device.run(&["uninstall"]), 1, words);
    expect(device.run(&["generations"]), 0, "(active)");
    drop(serving);
    expect(device.install(&good), 0, "as generation 2");
}

#[test]
fn what_nobody_signed_is_refused_in_a_signed_bundle_too() {
    // The head is the owner's, the artifact in it somebody else's.
    let device = Device::new();
    let host = Target::host().unwrap();
    let manifest = Manifest::new("hello", "1.0.0", host, PROFILE);
    let artifact = seal(vec![7; 5000], manifest, None).unwrap();
    let head = super::head(1, vec![Blob::of(&artifact)]);
    let mut manifest = head.manifest().clone();
    manifest.target = host;
    let head = seal_bundle(&manifest, Some(&key())).unwrap();
    let mut trust = TrustStore::empty();
    trust.add(key().public());
    let read = BundleHead::read(&mut head.as_slice()).unwrap();
    assert!(read.verify(&trust).is_ok());
    let path = device.folder.0.join("mixed.zlb");
    std::fs::write(&path, [head, artifact].concat()).unwrap();
    expect(device.install(&path), 15, "service 'service-0': ");
}

#[test]
fn root_installs_for_the_account_whose_folder_it_is() {
    if zlayer_bundle::own_account() != 0 {
        return skipped(
            "root_installs_for_the_account_whose_folder_it_is",
            "only root can",
        );
    }
    let device = Device::new();
    let host = Target::host().unwrap();
    std::fs::create_dir(device.data()).unwrap();
    std::os::unix::fs::chown(device.data(), Some(1234), Some(1235)).unwrap();
    for release in 1..=2 {
        let bundle = device.bundle(host, release, "1.0.0", true);
        expect(device.install(&bundle), 0, "installed edge");
    }
    expect(device.run(&["rollback"]), 0, "went to");
    let mut folders = vec![device.data()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let found = path.metadata().unwrap();
            let owner = (found.uid(), found.gid());
            assert_eq!(owner, (1234, 1235), "{}", path.display());
            if found.is_dir() {
                folders.push(path);
            }
        }
    }
}
