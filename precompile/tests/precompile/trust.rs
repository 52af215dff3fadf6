//! Root keys and trust lists: `keygen --root`, `trust-list`, and what other verbs make of a list.

use serde_json::json;
use zlayer_bundle::{EngineVersion, PublicKey, TrustFile};

use crate::support::{Run, TempDir, module};

/// A folder with keys `a` and `b`, root keys `r` and `s`, and a plugin `p` that `a` has signed.
fn folder() -> TempDir {
    let dir = TempDir::new();
    for name in ["a", "b"] {
        Run::new(&dir, &["keygen", "--name", name]).expect(0);
    }
    for name in ["r", "s"] {
        Run::new(&dir, &["keygen", "--root", "--name", name]).expect(0);
    }
    dir.file("p.wasm", module("zlayer-websocket", &[]));
    let words = ["build", "p.wasm", "--target", "x86_64", "--key", "a.key"];
    Run::new(&dir, &words).expect(0);
    dir
}

fn make(dir: &TempDir, words: &[&str]) -> Run {
    let first = ["trust-list", "--root", "r.root.key", "-o", "d.trust"];
    Run::new(dir, &[&first, words].concat())
}

fn id(dir: &TempDir, name: &str) -> String {
    let key = PublicKey::read(&dir.path().join(name)).unwrap();
    key.id().to_string()
}

fn root(dir: &TempDir, name: &str) -> PublicKey {
    PublicKey::read_root(&dir.path().join(name)).unwrap()
}

fn read(dir: &TempDir, name: &str) -> TrustFile {
    TrustFile::read(&std::fs::read(dir.path().join(name)).unwrap()).unwrap()
}

#[test]
fn a_list_says_what_its_flags_say() {
    let dir = folder();
    let key = id(&dir, "a.pub");
    let digest = "ab".repeat(32);
    let words = [
        "--number",
        "7",
        "--trust",
        "b.pub",
        "--engine-floor",
        "48.0.1",
    ];
    let more = ["--revoke", &key, "--revoke", &digest, "--json"];
    let made = make(&dir, &[&words[..], &more].concat()).expect(0).json();
    assert_eq!(made["number"], 7);
    let verified = read(&dir, "d.trust")
        .verify(&[root(&dir, "r.root")])
        .unwrap();
    let list = verified.list();
    assert_eq!(
        list.keys,
        [PublicKey::read(&dir.path().join("b.pub")).unwrap()]
    );
    assert_eq!(list.revoked_keys[0].to_string(), key);
    assert_eq!(list.revoked_digests, [[0xab; 32]]);
    assert_eq!(list.engine_floor, "48.0.1".parse::<EngineVersion>().ok());
    // The same flags give the same bytes.
    let first = std::fs::read(dir.path().join("d.trust")).unwrap();
    make(&dir, &[&words[..], &more].concat()).expect(0);
    assert_eq!(first, std::fs::read(dir.path().join("d.trust")).unwrap());
    let shown = Run::new(&dir, &["inspect", "d.trust", "--json"])
        .expect(0)
        .json();
    assert_eq!(shown["kind"], "trust list");
    assert_eq!(shown["revoked_keys"], json!([key]));
    assert_eq!(shown["engine_floor"], "48.0.1");
    let shown = Run::new(&dir, &["inspect", "d.trust"]).expect(0).stdout;
    assert!(
        shown.contains(&format!("revokes         key {key}\n")),
        "{shown}"
    );
}

#[test]
fn the_next_list_keeps_what_the_one_before_said_and_leads_over_changed_roots() {
    let dir = folder();
    let key = id(&dir, "a.pub");
    let words = ["--number", "3", "--trust", "a.pub", "--next-root", "s.root"];
    make(&dir, &words).expect(0);
    let words = [
        "trust-list",
        "--root",
        "s.root.key",
        "--after",
        "d.trust",
        "-o",
        "e.trust",
    ];
    let words = [&words[..], &["--trust", "b.pub", "--revoke", "a.pub"]].concat();
    Run::new(&dir, &words).expect(0);
    let verified = read(&dir, "e.trust")
        .verify(&[root(&dir, "r.root")])
        .unwrap();
    let list = verified.list();
    assert_eq!(list.number, 4);
    assert_eq!(list.revoked_keys[0].to_string(), key);
    assert_eq!(
        list.keys,
        [PublicKey::read(&dir.path().join("b.pub")).unwrap()]
    );
    assert_eq!(verified.roots(), [root(&dir, "s.root")]);
    // And on: what was said holds, the roots stay.
    let words = [
        "trust-list",
        "--root",
        "s.root.key",
        "--after",
        "e.trust",
        "-o",
        "f.trust",
    ];
    Run::new(&dir, &words).expect(0);
    let verified = read(&dir, "f.trust")
        .verify(&[root(&dir, "r.root")])
        .unwrap();
    assert_eq!(verified.list().number, 5);
    assert_eq!(verified.list().revoked_keys[0].to_string(), key);
    let shown = Run::new(&dir, &["inspect", "f.trust", "--json"])
        .expect(0)
        .json();
    assert_eq!(shown["changes_of_roots"], 1);
}

#[test]
fn what_no_device_would_take_is_not_made() {
    let dir = folder();
    make(&dir, &["--number", "3"]).expect(0);
    std::fs::rename(dir.path().join("d.trust"), dir.path().join("c.trust")).unwrap();
    for (words, code, said) in [
        (&[] as &[&str], 2, "give --number"),
        (&["--number", "0"], 14, "the first one is 1"),
        (&["--number", "3", "--after", "c.trust"], 2, "not higher"),
        (
            &["--number", "4", "--engine-floor", "48"],
            2,
            "three numbers",
        ),
        (
            &["--number", "4", "--revoke", "xyz"],
            2,
            "--revoke: xyz is no id",
        ),
        (
            &["--number", "4", "--trust", "r.root"],
            3,
            "a public root key, and a public key",
        ),
        (
            &["--number", "4", "--next-root", "a.pub"],
            3,
            "a public key, and a public root key",
        ),
        (
            &["--number", "4", "--trust", "a.pub", "--revoke", "a.pub"],
            14,
            "both trusts and revokes",
        ),
    ] {
        let run = make(&dir, words).expect(code);
        assert!(run.stderr.contains(said), "{said}: {}", run.stderr);
    }
    let words = [
        "trust-list",
        "--root",
        "a.key",
        "--number",
        "4",
        "-o",
        "x.trust",
    ];
    let run = Run::new(&dir, &words).expect(3);
    assert!(
        run.stderr.contains("a secret root key is needed"),
        "{}",
        run.stderr
    );
    let words = ["sign", "p.x86_64.cwasm", "--key", "r.root.key"];
    let run = Run::new(&dir, &words).expect(3);
    assert!(
        run.stderr.contains("a secret key is needed"),
        "{}",
        run.stderr
    );
}

#[test]
fn a_list_by_a_root_key_that_was_replaced_is_not_made() {
    let dir = folder();
    make(&dir, &["--number", "3", "--next-root", "s.root"]).expect(0);
    let after = |root: &str, output: &str| {
        let words = [
            "trust-list",
            "--after",
            "d.trust",
            "--root",
            root,
            "-o",
            output,
        ];
        Run::new(&dir, &words)
    };
    // `r` counts no more once list 3 is there.
    let told = after("r.root.key", "e.trust").expect(16).stderr;
    for part in [
        "no device would take this list",
        "trust list 4 is signed by root key",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert!(!dir.path().join("e.trust").exists());
    after("s.root.key", "e.trust").expect(0);
}

#[test]
fn nothing_comes_after_the_highest_number() {
    let dir = folder();
    let highest = u64::MAX.to_string();
    make(&dir, &["--number", &highest]).expect(0);
    for number in [&[][..], &["--number", "4"], &["--number", &highest]] {
        let words = ["trust-list", "--root", "r.root.key", "--after", "d.trust"];
        let told = Run::new(&dir, &[&words, number, &["-o", "e.trust"]].concat()).expect(2);
        let says = format!("--after: {highest} is the highest number");
        assert!(told.stderr.contains(&says), "{}", told.stderr);
    }
    assert!(!dir.path().join("e.trust").exists());
}

#[test]
fn what_a_list_revokes_is_refused_where_the_list_is_named() {
    let dir = folder();
    let validate = ["validate", "p.x86_64.cwasm", "--trust-list", "d.trust"];
    dir.file(
        "deployment.yaml",
        "version: v1\ndeployment: d\nservices: {p: {image: ./p.wasm}}\n",
    );
    let pack = [
        "pack",
        "deployment.yaml",
        "--target",
        "x86_64",
        "--key",
        "a.key",
        "-o",
        "d.zlb",
    ];
    Run::new(&dir, &pack).expect(0);
    let inspect = ["inspect", "d.zlb", "--trust-list", "d.trust"];
    for (number, words, of_artifact, of_bundle) in [
        ("1", &["--trust", "b.pub"] as &[&str], 0, 0),
        ("2", &["--revoke", "a.pub"], 22, 22),
        ("3", &["--revoke", "p.x86_64.cwasm"], 23, 23),
        ("4", &["--revoke", "d.zlb"], 0, 23),
        ("5", &["--engine-floor", "999.0.0"], 24, 24),
    ] {
        make(&dir, &[&["--number", number], words].concat()).expect(0);
        Run::new(&dir, &validate).expect(of_artifact);
        Run::new(&dir, &inspect).expect(of_bundle);
        // Who packs it is told before a device is.
        let again = [&pack[..], &["--trust-list", "d.trust"]].concat();
        let told = Run::new(&dir, &again).expect(of_bundle);
        let is_told = told.stdout.contains("does not name key");
        assert_eq!(is_told, of_bundle == 0, "{}", told.stdout);
    }
    // The digests that are shown are those that are revoked: that of the bundle, and that of each code.
    let shown = Run::new(&dir, &["inspect", "d.zlb", "--json"])
        .expect(0)
        .json();
    let code = shown["services"][0]["digest"].as_str().unwrap();
    let of_file = Run::new(&dir, &["info", "p.x86_64.cwasm", "--json"])
        .expect(0)
        .json();
    assert_eq!(code, of_file["digest"]);
    make(&dir, &["--number", "6", "--revoke", code]).expect(0);
    Run::new(&dir, &inspect).expect(23);
    Run::new(&dir, &validate).expect(23);
    make(
        &dir,
        &[
            "--number",
            "7",
            "--revoke",
            shown["digest"].as_str().unwrap(),
        ],
    )
    .expect(0);
    Run::new(&dir, &inspect).expect(23);
    let mut bytes = std::fs::read(dir.path().join("d.trust")).unwrap();
    bytes[20] ^= 1;
    dir.file("d.trust", bytes);
    Run::new(&dir, &inspect).expect(17);
}

#[test]
fn no_list_takes_the_place_of_what_it_is_made_of() {
    let dir = folder();
    make(&dir, &["--number", "1"]).expect(0);
    let files = ["r.root.key", "d.trust", "b.pub", "p.x86_64.cwasm", "s.root"];
    let contents = || files.map(|name| std::fs::read(dir.path().join(name)).unwrap());
    let before = contents();
    for output in files {
        let words = [
            "trust-list",
            "--root",
            "r.root.key",
            "--after",
            "d.trust",
            "--trust",
            "b.pub",
            "--revoke",
            "p.x86_64.cwasm",
            "--next-root",
            "s.root",
            "-o",
            output,
        ];
        let run = Run::new(&dir, &words).expect(2);
        assert!(run.stderr.contains("would overwrite"), "{}", run.stderr);
    }
    let sign = ["sign", "p.x86_64.cwasm", "--key", "a.key", "-o", "a.key"];
    let run = Run::new(&dir, &sign).expect(2);
    assert!(
        run.stderr.contains("would overwrite a.key"),
        "{}",
        run.stderr
    );
    std::fs::hard_link(dir.path().join("a.key"), dir.path().join("a.cwasm")).unwrap();
    let build = [
        "build", "p.wasm", "--target", "x86_64", "--key", "a.key", "-o", "a.cwasm",
    ];
    let run = Run::new(&dir, &build).expect(2);
    assert!(
        run.stderr.contains("would overwrite a.key"),
        "{}",
        run.stderr
    );
    assert!(before == contents());
}
