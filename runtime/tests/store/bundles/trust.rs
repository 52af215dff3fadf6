//! Trust lists, seen from the command line of a device: what they let in and keep out, and which of them count.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use zlayer_bundle::{
    Blob, Manifest, SecretKey, Target, TrustList, seal, seal_bundle, seal_trust_list,
};
use zlayer_runtime::data_dir::DataDir;

use super::PROFILE;
use crate::support::Folder;

/// A device that trusts key 1, and follows root key 9.
struct Device {
    folder: Folder,
}

fn key(seed: u8) -> SecretKey {
    SecretKey::from_seed([seed; 32])
}

impl Device {
    fn new() -> Device {
        let device = Device {
            folder: Folder::new(),
        };
        std::fs::create_dir(device.keys()).unwrap();
        device.has_key("a.pub", &key(1).public().to_text(""));
        device.has_key("fleet.root", &key(9).public().to_root_text(""));
        device
    }

    fn keys(&self) -> PathBuf {
        self.folder.0.join("keys")
    }

    fn data(&self) -> PathBuf {
        self.folder.0.join("data")
    }

    fn has_key(&self, name: &str, text: &str) {
        std::fs::write(self.keys().join(name), text).unwrap();
    }

    fn file(&self, name: &str, bytes: &[u8]) -> String {
        let path = self.folder.0.join(name);
        std::fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// Its exit code, and all that it said.
    fn run(&self, words: &[&str]) -> (i32, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_zlayer"));
        command.args(words).arg("--data-dir").arg(self.data());
        if words[0] != "generations" {
            command.arg("--keys").arg(self.keys());
        }
        let output = command.stdin(Stdio::null()).output().unwrap();
        let said = [&output.stdout[..], &output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        (output.status.code().unwrap(), said)
    }

    /// Installs a bundle of one plugin that key `by` has signed, and whose code was compiled by `engine`.
    fn install(&self, release: u64, by: u8, engine: Option<&str>) -> (i32, String) {
        let host = Target::host().unwrap();
        let mut manifest = Manifest::new("hello", "1.0.0", host, PROFILE);
        if let Some(engine) = engine {
            manifest.engine_version = engine.to_owned();
        }
        let artifact = seal(code(release), manifest, Some(&key(by))).unwrap();
        let mut manifest = super::head(release, vec![Blob::of(&artifact)])
            .manifest()
            .clone();
        manifest.target = host;
        let head = seal_bundle(&manifest, Some(&key(by))).unwrap();
        let path = self.file("app.zlb", &[head, artifact].concat());
        self.run(&["install", &path])
    }

    /// Installs a trust list of root key 9.
    fn trust(&self, list: TrustList) -> (i32, String) {
        self.trust_bytes(&sealed(list, 9))
    }

    fn trust_bytes(&self, bytes: &[u8]) -> (i32, String) {
        let path = self.file("device.trust", bytes);
        self.run(&["trust", &path])
    }
}

fn code(release: u64) -> Vec<u8> {
    vec![release as u8; 5000]
}

fn sealed(mut list: TrustList, by: u8) -> Vec<u8> {
    list.sort();
    seal_trust_list(&list, Some(&key(by))).unwrap()
}

fn numbered(number: u64) -> TrustList {
    TrustList {
        number,
        ..TrustList::default()
    }
}

/// Trusts key 2 and revokes key 1.
fn rotation(number: u64) -> TrustList {
    TrustList {
        keys: vec![key(2).public()],
        revoked_keys: vec![key(1).public().id()],
        ..numbered(number)
    }
}

#[track_caller]
fn expect((code, said): (i32, String), wanted: i32, words: &str) {
    assert_eq!(code, wanted, "{said}");
    assert!(said.contains(words), "{said}");
}

#[test]
fn a_rotated_key_lets_in_and_keeps_out_and_nobody_goes_back_behind_it() {
    let device = Device::new();
    expect(device.install(1, 1, None), 0, "as generation 1");
    expect(device.install(2, 2, None), 16, "not trusted here");
    let (code, said) = device.trust(rotation(7));
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("trust list 7 counts in"), "{said}");
    // Who would be surprised by it is told at once.
    assert!(
        said.contains("generation 1, which is active, is refused from the next start on"),
        "{said}"
    );
    expect(device.install(2, 2, None), 0, "as generation 2");
    expect(device.install(3, 1, None), 22, "which trust list 7 revokes");
    let (code, said) = device.run(&["rollback"]);
    assert_eq!(code, 22, "{said}");
    assert!(
        said.contains("generation 1: ") && said.contains("trust list 7 revokes"),
        "{said}"
    );
    let (code, said) = device.run(&["generations"]);
    assert!(
        code == 0 && said.contains("2  edge release 2 (active)"),
        "{said}"
    );
}

#[test]
fn older_replayed_and_foreign_lists_are_told_apart_and_change_nothing() {
    let device = Device::new();
    expect(device.trust(rotation(7)), 0, "trust list 7 counts");
    expect(device.trust(rotation(7)), 0, "trust list 7 counts");
    let mut damaged = sealed(rotation(8), 9);
    damaged[30] ^= 1;
    for (bytes, code, words) in [
        (sealed(numbered(6), 9), 25, "trust list 6 is older than 7"),
        (
            sealed(numbered(7), 9),
            26,
            "installed here with other content",
        ),
        (sealed(numbered(8), 5), 16, "none of those that count here"),
        (sealed(numbered(8), 1), 16, "none of those that count here"),
        (
            seal_trust_list(&numbered(8), None).unwrap(),
            15,
            "no signature",
        ),
        (damaged, 17, "damaged or changed"),
        (sealed(numbered(8), 9)[..60].to_vec(), 12, "ends too early"),
        (b"hello\n".to_vec(), 11, "it is no trust list but text"),
        (b"PK\x03\x04".to_vec(), 11, "zlayer-precompile trust-list"),
    ] {
        expect(device.trust_bytes(&bytes), code, words);
    }
    let id = key(1).public().id().to_string();
    expect(
        device.run(&["trust"]),
        0,
        &format!("revokes         key {id}\n"),
    );
    expect(device.install(1, 1, None), 22, "trust list 7 revokes");
    // A newer one replaces it as a whole.
    expect(device.trust(numbered(8)), 0, "trust list 8 counts");
    expect(device.install(1, 1, None), 0, "as generation 1");
    expect(device.install(2, 2, None), 16, "not trusted here");
}

#[test]
fn without_a_root_key_no_list_counts_and_all_is_as_ever() {
    let device = Device::new();
    std::fs::remove_file(device.keys().join("fleet.root")).unwrap();
    expect(
        device.trust(rotation(7)),
        16,
        "no root key is installed here",
    );
    expect(device.run(&["trust"]), 0, "no trust list is installed in");
    expect(device.install(1, 1, None), 0, "as generation 1");
    // Where one counts, taking the root key away does not undo it.
    device.has_key("fleet.root", &key(9).public().to_root_text(""));
    expect(device.trust(rotation(7)), 0, "trust list 7 counts");
    std::fs::remove_file(device.keys().join("fleet.root")).unwrap();
    expect(device.install(2, 1, None), 16, "so nothing is trusted");
    let words = ["rollback", "--to", "1"];
    expect(device.run(&words), 16, "so nothing is trusted");
}

#[test]
fn code_and_bundles_are_revoked_by_what_they_are() {
    let device = Device::new();
    let revoked = seal(
        code(2),
        Manifest::new("x", "1", Target::X86_64, PROFILE),
        None,
    )
    .unwrap();
    let revoked = zlayer_bundle::Trailer::from_bytes(&revoked).unwrap();
    let list = TrustList {
        revoked_digests: vec![revoked.manifest.digest],
        ..numbered(1)
    };
    expect(device.trust(list), 0, "trust list 1 counts");
    expect(device.install(1, 1, None), 0, "as generation 1");
    expect(device.install(2, 1, None), 23, "revokes this very code");
    // What is installed already is held to it as well.
    expect(device.install(3, 1, None), 0, "as generation 2");
    let first = std::fs::read(device.data().join("deployment/generations/1")).unwrap();
    let list = TrustList {
        revoked_digests: vec![Blob::of(&first).digest],
        ..numbered(2)
    };
    expect(device.trust(list), 0, "trust list 2 counts");
    expect(
        device.run(&["rollback"]),
        23,
        "generation 1: trust list 2 revokes",
    );
}

#[test]
fn old_engines_are_below_the_floor_and_so_may_be_this_one() {
    let device = Device::new();
    expect(
        device.install(1, 1, Some("42.0.1")),
        24,
        "compiled by engine 42.0.1, and none below 43.0.1 runs here",
    );
    expect(device.install(1, 1, Some("47.0.0")), 20, "47.0.0");
    let list = TrustList {
        engine_floor: "48.0.0".parse().ok(),
        ..numbered(1)
    };
    expect(device.trust(list), 0, "trust list 1 counts");
    expect(
        device.install(1, 1, Some("47.0.0")),
        24,
        "none below 48.0.0 runs here by trust list 1",
    );
    expect(device.install(1, 1, None), 0, "as generation 1");
    let list = TrustList {
        engine_floor: "999.0.0".parse().ok(),
        ..numbered(2)
    };
    expect(device.trust(list), 0, "until zlayer itself is updated");
    expect(device.install(2, 1, None), 24, "update zlayer itself");
}

#[test]
fn a_list_is_not_put_into_the_folder_of_a_daemon_behind_its_back() {
    let device = Device::new();
    expect(device.trust(numbered(1)), 0, "trust list 1 counts");
    let serving = DataDir::open(Some(&device.data()), None).unwrap();
    expect(device.trust(numbered(2)), 1, "another zlayer uses it");
    // To look is nobody's harm.
    expect(device.run(&["trust"]), 0, "number          1\n");
    drop(serving);
    expect(device.trust(numbered(2)), 0, "trust list 2 counts");
}
