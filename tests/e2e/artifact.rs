//! Artifacts: whose code runs, and everything that keeps a file from being served.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Seek, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use zlayer_bundle::{Manifest, Profile, PublicKey, SecretKey, Target, Trailer, seal};

use crate::interfaces::files_below;
use crate::support::{
    Daemon, Output, TempDir, artifact, get, guests, key_dir, key_file, precompile, target,
};

/// Length of the trailer's last part and of its signature block, in bytes.
const FOOTER: usize = 24;
const SIGNATURE: usize = 96;

/// An artifact taken apart.
struct Parts {
    bytes: Vec<u8>,
    manifest: Manifest,
    /// Where the code ends and the manifest begins.
    code: usize,
}

impl Parts {
    fn of_hello() -> Parts {
        let bytes = fs::read(artifact("hello")).unwrap();
        let manifest = Trailer::from_bytes(&bytes).unwrap().manifest;
        let code = manifest.artifact_len as usize;
        Parts {
            bytes,
            manifest,
            code,
        }
    }

    fn code(&self) -> Vec<u8> {
        self.bytes[..self.code].to_vec()
    }
}

/// A file with these bytes, in a folder that goes with the value.
pub(crate) struct Made {
    folder: TempDir,
    pub(crate) file: PathBuf,
}

impl Made {
    pub(crate) fn of(bytes: impl AsRef<[u8]>) -> Made {
        let folder = TempDir::new();
        let file = folder.path().join("plugin.cwasm");
        fs::write(&file, bytes).unwrap();
        Made { folder, file }
    }

    /// Runs the file, which must be refused with a message that names it, before anything is served.
    pub(crate) fn refused(&self) -> Output {
        refused(&self.file)
    }
}

pub(crate) fn refused(file: &Path) -> Output {
    let output = Daemon::of(file).fails();
    assert_eq!(output.stdout, "", "served: {output:?}");
    let said = last_line(&output);
    assert!(said.starts_with("zlayer: "), "{output:?}");
    assert!(
        said.contains(&file.display().to_string()),
        "not named: {output:?}"
    );
    output
}

/// What is said last, behind any log records.
fn last_line(output: &Output) -> &str {
    output.stderr.lines().last().unwrap_or_default()
}

/// A key that is none of the suite's.
fn strange_key() -> SecretKey {
    SecretKey::from_seed([0x5a; 32])
}

fn suite_key() -> SecretKey {
    SecretKey::read(&key_file()).unwrap()
}

fn this_target() -> Target {
    target().parse().unwrap()
}

/// Where the sections of the code lie: name, offset, size.
fn sections(elf: &[u8]) -> Vec<(String, usize, usize)> {
    let number = |at: usize, size: usize| {
        let bytes = elf[at..at + size].iter().rev();
        bytes.fold(0usize, |number, byte| number << 8 | usize::from(*byte))
    };
    // The fields of ELF64, little-endian.
    let (table, size, count, names) = (number(40, 8), number(58, 2), number(60, 2), number(62, 2));
    let header = |index: usize| table + index * size;
    let names_at = number(header(names) + 24, 8);
    let mut found = vec![("the table of sections".to_owned(), table, size * count)];
    for index in 1..count {
        /// A section that takes no room in the file.
        const NOBITS: usize = 8;
        let at = header(index);
        let name_at = names_at + number(at, 4);
        let end = name_at + elf[name_at..].iter().position(|byte| *byte == 0).unwrap();
        let name = String::from_utf8_lossy(&elf[name_at..end]).into_owned();
        let (offset, size) = (number(at + 24, 8), number(at + 32, 8));
        if number(at + 4, 4) != NOBITS && size > 0 {
            found.push((name, offset, size));
        }
    }
    found
}

#[test]
fn a_good_artifact_is_an_elf_file_of_the_engine_and_is_served() {
    let parts = Parts::of_hello();
    // Stock tools read the code and ignore what stands behind it.
    assert_eq!(
        parts.bytes[..7],
        *b"\x7fELF\x02\x01\x01",
        "64-bit, little-endian, version 1"
    );
    assert_eq!(parts.bytes[7], 200, "the engine's own OS ABI");
    let names: Vec<String> = sections(&parts.bytes)
        .into_iter()
        .map(|(name, ..)| name)
        .collect();
    for name in [".text", ".wasmtime.engine"] {
        assert!(
            names.iter().any(|other| other == name),
            "{name} in {names:?}"
        );
    }
    assert_eq!(parts.manifest.target, this_target());
    let daemon = Daemon::start("hello");
    assert_eq!(get(&daemon, "/").status, 200);
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn one_byte_changed_anywhere_in_the_code_is_refused() {
    let parts = Parts::of_hello();
    let mut places = BTreeMap::new();
    for at in [0, 4, 7, 16, 18, 40, 58, 63] {
        places.insert(at, "the ELF header".to_owned());
    }
    let sections = sections(&parts.bytes);
    assert!(sections.len() >= 5, "{sections:?}");
    for (name, offset, size) in &sections {
        for at in [0, size / 2, size - 1] {
            places.insert(offset + at, name.clone());
        }
    }
    // And evenly over all of it.
    const SPREAD: usize = 40;
    for step in 0..SPREAD {
        places.insert(parts.code * step / SPREAD + 100, "somewhere".to_owned());
    }
    assert!(places.len() >= 64, "{} places", places.len());
    let refuse = |(at, name): (&usize, &String)| {
        let mut bytes = parts.bytes.clone();
        bytes[*at] ^= 0x01;
        let output = Made::of(&bytes).refused();
        assert_eq!(output.code, 18, "byte {at}, {name}: {output:?}");
    };
    // Two at a time: each starts a process and waits for it.
    let places: Vec<_> = places.iter().collect();
    std::thread::scope(|scope| {
        let (left, right) = places.split_at(places.len() / 2);
        scope.spawn(move || left.iter().copied().for_each(refuse));
        right.iter().copied().for_each(refuse);
    });
}

#[test]
fn one_byte_changed_anywhere_in_the_trailer_is_refused() {
    let parts = Parts::of_hello();
    let length = parts.bytes.len();
    let (footer, signature) = (length - FOOTER, length - FOOTER - SIGNATURE);
    let manifest = signature - parts.code;
    let mut cases: Vec<(usize, &str, Option<i32>)> = Vec::new();
    for step in 0..12 {
        cases.push((parts.code + manifest * step / 12, "manifest", None));
    }
    cases.push((signature - 1, "end of the manifest", None));
    for at in [0, 31] {
        cases.push((signature + at, "public key", Some(16)));
    }
    for at in [32, 63, 64, 95] {
        cases.push((signature + at, "signature", Some(17)));
    }
    for at in [0, 3, 7] {
        cases.push((footer + at, "length of the code", Some(12)));
    }
    // The last one is more than any manifest takes.
    for (at, code) in [(8, 12), (9, 12), (11, 14)] {
        cases.push((footer + at, "length of the manifest", Some(code)));
    }
    for at in [12, 13] {
        cases.push((footer + at, "length of the signature", Some(12)));
    }
    for at in [14, 15] {
        cases.push((footer + at, "format", Some(13)));
    }
    for at in [16, 20, 23] {
        cases.push((footer + at, "magic", Some(12)));
    }
    for (at, name, code) in cases {
        let mut bytes = parts.bytes.clone();
        bytes[at] ^= 0x10;
        // What becomes of a manifest depends on what stood there: it cannot be read, or is not what was signed.
        let code = code.unwrap_or_else(|| match Trailer::from_bytes(&bytes) {
            Err(error) => error.exit_code().into(),
            Ok(_) => 17,
        });
        let output = Made::of(&bytes).refused();
        assert_eq!(output.code, code, "byte {at}, {name}: {output:?}");
    }
}

#[test]
fn a_file_that_ends_too_early_is_refused() {
    let parts = Parts::of_hello();
    let length = parts.bytes.len();
    let lengths = [
        0,
        1,
        3,
        4,
        7,
        8,
        63,
        64,
        4096,
        length / 3,
        length / 2,
        parts.code - 1,
        parts.code,
        parts.code + 1,
        parts.code + 100,
        length - FOOTER - SIGNATURE,
        length - FOOTER - 1,
        length - FOOTER,
        length - 8,
        length - 1,
    ];
    for kept in lengths {
        let output = Made::of(&parts.bytes[..kept]).refused();
        let expected = match kept {
            0..4 => 11,
            _ if kept == parts.code => 11,
            _ => 12,
        };
        assert_eq!(
            output.code, expected,
            "{kept} of {length} bytes: {output:?}"
        );
    }
}

#[test]
fn a_file_with_something_more_in_it_is_refused() {
    let parts = Parts::of_hello();
    for (more, code) in [
        (&b"\n"[..], 12),
        (&[0; 4096], 12),
        // It looks like the end of a trailer, whose format stands where there was something else.
        (b"ZLCWASM\n", 13),
    ] {
        let output = Made::of([&parts.bytes, more].concat()).refused();
        assert_eq!(output.code, code, "{} bytes behind: {output:?}", more.len());
        let output = Made::of([more, &parts.bytes].concat()).refused();
        assert_eq!(output.code, 12, "{} bytes in front: {output:?}", more.len());
    }
    // Between the parts, with the rest as it was.
    let (code, trailer) = parts.bytes.split_at(parts.code);
    let output = Made::of([code, &[0], trailer].concat()).refused();
    assert_eq!(output.code, 12, "{output:?}");
    // The trailer of one plugin behind the code of another.
    let other = fs::read(artifact("echo")).unwrap();
    let other_code = Trailer::from_bytes(&other).unwrap().manifest.artifact_len as usize;
    let output = Made::of([&other[..other_code], trailer].concat()).refused();
    assert_eq!(output.code, 12, "{output:?}");
}

#[test]
fn each_reason_has_a_code_and_words_of_its_own() {
    let parts = Parts::of_hello();
    let (code, key) = (parts.code(), suite_key());
    let sealed = |change: &dyn Fn(&mut Manifest)| {
        let mut manifest = parts.manifest.clone();
        change(&mut manifest);
        seal(code.clone(), manifest, Some(&key)).unwrap()
    };
    let changed = |at: usize, byte: u8| {
        let mut bytes = parts.bytes.clone();
        bytes[at] = byte;
        bytes
    };
    let length = parts.bytes.len();
    let other_target = Target::ALL
        .into_iter()
        .find(|other| *other != this_target())
        .unwrap();
    let strange = strange_key().public().id().to_string();
    let keys = key_dir().display().to_string();
    let cases: Vec<(i32, &str, Vec<u8>, Vec<&str>)> = vec![
        (
            11,
            "stripped trailer",
            code.clone(),
            vec!["no trailer", "zlayer-precompile build"],
        ),
        (
            12,
            "truncated",
            parts.bytes[..length / 2].to_vec(),
            vec!["too early", "copy it again"],
        ),
        (
            13,
            "other format",
            changed(length - 10, 9),
            vec!["format 9"],
        ),
        (
            14,
            "manifest",
            changed(length - FOOTER + 10, 0xff),
            vec!["manifest"],
        ),
        (
            15,
            "unsigned",
            seal(code.clone(), parts.manifest.clone(), None).unwrap(),
            vec!["no signature", "zlayer-precompile sign"],
        ),
        (
            16,
            "strange key",
            seal(code.clone(), parts.manifest.clone(), Some(&strange_key())).unwrap(),
            vec![&strange, ".pub", &keys],
        ),
        (
            17,
            "bad signature",
            changed(length - FOOTER - 1, 0x55),
            vec!["signature", "changed"],
        ),
        (
            18,
            "altered",
            changed(parts.code / 2, parts.bytes[parts.code / 2] ^ 1),
            vec!["the code"],
        ),
        (
            19,
            "other target",
            sealed(&|manifest| manifest.target = other_target),
            vec![other_target.name(), "--target", target()],
        ),
        (
            20,
            "other engine",
            sealed(&|manifest| manifest.engine_version = "47.0.0".to_owned()),
            vec!["47.0.0", zlayer_bundle::ENGINE_VERSION],
        ),
        (
            24,
            "an engine below the floor",
            sealed(&|manifest| manifest.engine_version = "42.0.1".to_owned()),
            vec!["42.0.1", "43.0.1", "compile it again"],
        ),
        (
            21,
            "other profile",
            sealed(&|manifest| manifest.profile = Profile::Wide),
            vec!["wide", "--profile compact"],
        ),
    ];
    let mut messages = BTreeMap::new();
    for (code, name, bytes, words) in cases {
        let made = Made::of(&bytes);
        let output = made.refused();
        assert_eq!(output.code, code, "{name}: {output:?}");
        for word in words {
            assert!(output.stderr.contains(word), "{name}, {word}: {output:?}");
        }
        let message = last_line(&output).replace(&made.file.display().to_string(), "FILE");
        assert_eq!(
            messages.insert(message, name),
            None,
            "{name} has the words of another"
        );
    }
    assert_eq!(messages.len(), 12);
}

#[test]
fn an_unsigned_artifact_runs_only_where_that_is_allowed_and_the_log_shouts() {
    let folder = TempDir::new();
    let hello = guests().join("hello.wasm");
    let words = ["--target", target(), "--unsigned", "-o"].map(PathBuf::from);
    let built = precompile(
        [PathBuf::from("build"), hello]
            .iter()
            .chain(&words)
            .chain([&folder.path().to_owned()]),
    );
    assert_eq!(built.code, 0, "{built:?}");
    let file = folder.path().join(format!("hello.{}.cwasm", target()));
    assert_eq!(refused(&file).code, 15);

    let daemon = Daemon::of(&file).arg("--allow-unsigned").start();
    assert_eq!(get(&daemon, "/").status, 200);
    daemon.wait_for_log("NOBODY SIGNED");
    let log = daemon.log();
    let line = log.lines().find(|line| line.contains("NOBODY SIGNED"));
    let line = line.unwrap();
    assert!(
        line.contains(" WARN ") && line.contains("--allow-unsigned"),
        "{line}"
    );
    assert!(line.contains(&file.display().to_string()), "{line}");

    // The flag lets in what is not signed, not what is signed by a stranger or was changed.
    let parts = Parts::of_hello();
    let strange = seal(parts.code(), parts.manifest.clone(), Some(&strange_key())).unwrap();
    let mut altered = fs::read(&file).unwrap();
    altered[parts.code / 2] ^= 1;
    for (bytes, code) in [(strange, 16), (altered, 18)] {
        let made = Made::of(bytes);
        let output = Daemon::of(&made.file).arg("--allow-unsigned").fails();
        assert_eq!(output.code, code, "{output:?}");
    }
}

#[test]
fn a_key_is_trusted_where_its_file_is_put() {
    let parts = Parts::of_hello();
    let bytes = seal(parts.code(), parts.manifest.clone(), Some(&strange_key())).unwrap();
    let made = Made::of(bytes);
    let keys = made.folder.path().join("keys");
    let output = Daemon::of(&made.file).keys(Some(&keys)).fails();
    assert_eq!(
        output.code, 16,
        "a folder that is not there trusts nobody: {output:?}"
    );
    fs::create_dir(&keys).unwrap();
    let id = strange_key().public().id().to_string();
    // The secret half is no reason to trust, nor is a file by another name.
    fs::write(keys.join("strange.key"), strange_key().to_text()).unwrap();
    fs::write(
        keys.join("strange.pub.bak"),
        strange_key().public().to_text(""),
    )
    .unwrap();
    let output = Daemon::of(&made.file).keys(Some(&keys)).fails();
    assert_eq!(output.code, 16, "{output:?}");
    assert!(output.stderr.contains(&id), "{output:?}");
    assert!(
        output.stderr.contains(&keys.display().to_string()),
        "{output:?}"
    );

    fs::write(
        keys.join("strange.pub"),
        strange_key().public().to_text("a comment"),
    )
    .unwrap();
    let daemon = Daemon::of(&made.file).keys(Some(&keys)).start();
    assert_eq!(get(&daemon, "/").status, 200);
    // What the suite signed is not trusted by this device.
    let output = Daemon::builder("hello").keys(Some(&keys)).fails();
    assert_eq!(output.code, 16, "{output:?}");
}

#[test]
fn artifacts_for_other_targets_are_refused() {
    let folder = TempDir::new();
    let hello = guests().join("hello.wasm");
    for other in Target::ALL
        .into_iter()
        .filter(|other| *other != this_target())
    {
        let words = ["--target", other.name(), "-o"].map(PathBuf::from);
        let mut all = vec![PathBuf::from("build"), hello.clone()];
        all.extend(words);
        all.extend([folder.path().to_owned(), "--key".into(), key_file()]);
        let built = precompile(&all);
        assert_eq!(built.code, 0, "{built:?}");
        let output = refused(&folder.path().join(format!("hello.{other}.cwasm")));
        assert_eq!(output.code, 19, "{output:?}");
        let words = [other.name(), "--target", target()];
        assert!(
            words.iter().all(|word| output.stderr.contains(word)),
            "{output:?}"
        );
    }
}

#[test]
fn the_wide_profile_is_for_devices_that_are_told_so() {
    let folder = TempDir::new();
    let mut words = vec![PathBuf::from("build"), guests().join("hostile.wasm")];
    words.extend(["--profile", "wide", "--target", target(), "-o"].map(PathBuf::from));
    words.extend([folder.path().to_owned(), "--key".into(), key_file()]);
    let built = precompile(&words);
    if this_target() == Target::Armv7 {
        assert_eq!(built.code, 2, "{built:?}");
        assert!(built.stderr.contains("compact"), "{built:?}");
        return;
    }
    assert_eq!(built.code, 0, "{built:?}");
    let file = folder.path().join(format!("hostile.{}.cwasm", target()));
    assert_eq!(refused(&file).code, 21);
    let daemon = Daemon::of(&file).args(["--profile", "wide"]).start();
    assert_eq!(get(&daemon, "/").status, 200);
    // There is no check before such a read: the processor finds no page there.
    assert_eq!(get(&daemon, "/beyond").status, 500);
    assert_eq!(get(&daemon, "/").status, 200);
    let output = Daemon::builder("hello").args(["--profile", "wide"]).fails();
    assert_eq!(output.code, 21, "{output:?}");
}

#[test]
fn a_served_artifact_may_be_overwritten_shortened_or_removed() {
    let made = Made::of(fs::read(artifact("hello")).unwrap());
    for data in [None, Some(made.folder.path().join("data"))] {
        fs::copy(artifact("hello"), &made.file).unwrap();
        let builder = Daemon::of(&made.file);
        let daemon = match data {
            Some(data) => builder.data_dir(data).start(),
            None => builder.start(),
        };
        let check = |what: &str| {
            for number in 0..20 {
                let path = format!("/{what}/{number}");
                let answer = get(&daemon, &path);
                assert_eq!(answer.status, 200, "{what}");
                assert!(answer.text().contains(&path), "{what}: {answer:?}");
            }
        };
        check("before");
        // In place: the same inode, byte for byte something else.
        let length = fs::metadata(&made.file).unwrap().len() as usize;
        let mut file = fs::OpenOptions::new().write(true).open(&made.file).unwrap();
        file.write_all(&vec![0xcc; length]).unwrap();
        file.sync_all().unwrap();
        check("overwritten");
        file.set_len(0).unwrap();
        check("shortened");
        file.rewind().unwrap();
        file.write_all(b"#!/bin/sh\n").unwrap();
        drop(file);
        fs::remove_file(&made.file).unwrap();
        check("removed");
        assert_eq!(daemon.stop(), 0);
    }
}

#[test]
fn a_newer_artifact_under_the_same_name_is_served_from_the_next_start() {
    let made = Made::of(fs::read(artifact("hello")).unwrap());
    let data = made.folder.path().join("data");
    let start = || Daemon::of(&made.file).data_dir(&data).start();
    let daemon = start();
    let newer = made.folder.path().join("newer");
    fs::copy(artifact("counter"), &newer).unwrap();
    fs::rename(&newer, &made.file).unwrap();
    assert!(
        get(&daemon, "/instance").text().starts_with('{'),
        "still hello"
    );
    assert_eq!(daemon.stop(), 0);
    let daemon = start();
    assert_eq!(get(&daemon, "/instance").text(), "1", "counter now");
    assert_eq!(daemon.stop(), 0);
    // And back again.
    fs::copy(artifact("hello"), &made.file).unwrap();
    assert!(
        get(&start(), "/instance").text().starts_with('{'),
        "hello again"
    );
}

#[test]
fn a_damaged_copy_in_the_data_folder_is_not_trusted() {
    let folder = TempDir::new();
    let start = || Daemon::builder("hello").data_dir(folder.path()).start();
    assert_eq!(get(&start(), "/").status, 200);
    // Whatever the copy is called, it is as long as the artifact.
    let length = fs::metadata(artifact("hello")).unwrap().len();
    let copies: Vec<PathBuf> = files_below(folder.path())
        .into_iter()
        .filter(|file| fs::metadata(file).unwrap().len() == length)
        .collect();
    assert_eq!(copies.len(), 1, "{copies:?}");
    let copy = &copies[0];
    let good = fs::read(artifact("hello")).unwrap();
    let mut bytes = fs::read(copy).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    // Somebody else's, who may write to it; and this user's own, on flash that has worn out.
    for mode in [0o644, 0o400] {
        fs::remove_file(copy).unwrap();
        fs::write(copy, &bytes).unwrap();
        fs::set_permissions(copy, fs::Permissions::from_mode(mode)).unwrap();
        // The good file is there, so the copy is made anew.
        assert_eq!(get(&start(), "/").status, 200);
        assert!(fs::read(copy).unwrap() == good, "mode {mode:o}");
    }
}

#[test]
fn the_same_plugin_and_key_give_the_same_bytes_anywhere() {
    let build = |name: &str| {
        let folder = TempDir::new();
        let source = folder.path().join(name);
        fs::create_dir_all(&source).unwrap();
        // Another file, of another age, in another folder, with another home.
        let plugin = source.join("echo.wasm");
        fs::copy(guests().join("echo.wasm"), &plugin).unwrap();
        let mut words = vec![PathBuf::from("build"), plugin];
        words.extend(["--target", "x86_64,aarch64,armv7", "-o"].map(PathBuf::from));
        words.extend([folder.path().join("out"), "--key".into(), key_file()]);
        let built = precompile(&words);
        assert_eq!(built.code, 0, "{built:?}");
        Target::ALL
            .map(|target| fs::read(folder.path().join(format!("out/echo.{target}.cwasm"))).unwrap())
    };
    let (first, second) = (build("a"), build("another/and deeper"));
    assert!(first == second);
    let ours = Target::ALL
        .iter()
        .position(|target| *target == this_target())
        .unwrap();
    assert!(first[ours] == fs::read(artifact("echo")).unwrap());
}

#[test]
fn sign_replaces_the_signature_and_nothing_else() {
    let folder = TempDir::new();
    let into = folder.path().display().to_string();
    let made = precompile(["keygen", "-o", &into, "--name", "other"]);
    assert_eq!(made.code, 0, "{made:?}");
    let (key, signed) = (format!("{into}/other.key"), format!("{into}/signed.cwasm"));
    let hello = artifact("hello").display().to_string();
    let output = precompile(["sign", &hello, "--key", &key, "-o", &signed]);
    assert_eq!(output.code, 0, "{output:?}");

    let (before, after) = (fs::read(&hello).unwrap(), fs::read(&signed).unwrap());
    let (length, end) = (before.len(), before.len() - FOOTER);
    assert_eq!(after.len(), length);
    let signature = end - SIGNATURE;
    assert!(before[..signature] == after[..signature] && before[end..] == after[end..]);
    assert_ne!(before[signature..end], after[signature..end]);

    assert_eq!(refused(Path::new(&signed)).code, 16);
    let id = PublicKey::read(&folder.path().join("other.pub"))
        .unwrap()
        .id()
        .to_string();
    assert!(refused(Path::new(&signed)).stderr.contains(&id));
    let daemon = Daemon::of(&signed).keys(Some(folder.path())).start();
    assert_eq!(get(&daemon, "/").status, 200);
    // Signed back by the first key, it is the first file again: in place this time.
    let output = precompile(["sign", &signed, "--key", &key_file().display().to_string()]);
    assert_eq!(output.code, 0, "{output:?}");
    assert!(fs::read(&signed).unwrap() == before);
    // A signature never vouches for code that was changed.
    let mut altered = before;
    altered[length / 2] ^= 1;
    fs::write(&signed, &altered).unwrap();
    let output = precompile(["sign", &signed, "--key", &key]);
    assert_eq!(output.code, 18, "{output:?}");
    assert!(
        fs::read(&signed).unwrap() == altered,
        "and the file is left alone"
    );
}

#[test]
fn garbage_that_is_well_signed_is_refused_and_the_daemon_says_so() {
    let parts = Parts::of_hello();
    let garbage = seal(vec![0x90; 64 << 10], parts.manifest, Some(&suite_key())).unwrap();
    let made = Made::of(garbage);
    let output = Daemon::of(&made.file).fails();
    assert_eq!(output.code, 3, "{output:?}");
    assert!(last_line(&output).contains("hello"), "{output:?}");
}

#[test]
fn an_older_version_is_refused_unless_it_ran_on_this_device_before() {
    let folder = TempDir::new();
    let built = |version: &str| {
        let dir = folder.path().join(version);
        let mut words: Vec<PathBuf> = vec!["build".into(), guests().join("hello.wasm")];
        words.extend(["--plugin-version", version, "--target", target()].map(PathBuf::from));
        words.extend(["-o".into(), dir.clone(), "--key".into(), key_file()]);
        let output = precompile(&words);
        assert_eq!(output.code, 0, "{output:?}");
        dir.join(format!("hello.{}.cwasm", target()))
    };
    let [one, middle, two] = ["1.0.0", "1.5.0", "2.0.0"].map(built);
    let data = folder.path().join("data");
    let runs = |file: &Path| Daemon::of(file).data_dir(&data);
    assert_eq!(runs(&one).start().stop(), 0);
    assert_eq!(runs(&two).start().stop(), 0);
    let refused = runs(&middle).fails();
    assert_eq!(refused.code, 3, "{refused:?}");
    let told = "version 1.5.0 is older than 2.0.0, which ran here";
    assert!(refused.stderr.contains(told), "{refused:?}");
    // What this device had it may go back to.
    assert_eq!(runs(&one).start().stop(), 0);
    assert_eq!(runs(&two).start().stop(), 0);
    // Another device knows nothing of it, nor does one that keeps nothing.
    assert_eq!(Daemon::of(&middle).start().stop(), 0);
}
