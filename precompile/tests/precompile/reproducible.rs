//! The same input and key give the same bytes, wherever and whenever.

use std::time::{Duration, SystemTime};

use crate::support::{Run, TempDir, module};

#[test]
fn two_builds_are_equal_from_other_folders_and_at_other_times() {
    let plugin = module("zlayer-websocket", &[]);
    let build = |dir: &TempDir, words: &[&str]| {
        Run::new(
            dir,
            &[&["build", "--target", "x86_64,aarch64,armv7"], words].concat(),
        )
        .expect(0);
        ["x86_64", "aarch64", "armv7"]
            .map(|target| std::fs::read(dir.path().join(format!("p.{target}.cwasm"))).unwrap())
    };
    let first = TempDir::new();
    first.file("p.wasm", &plugin);
    Run::new(&first, &["keygen", "--name", "k"]).expect(0);
    let expected = build(&first, &["p.wasm", "--key", "k.key"]);

    // Another folder, an older file, an absolute path.
    let second = TempDir::new();
    let path = second.file("p.wasm", &plugin);
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000))
        .unwrap();
    let key = first.path().join("k.key");
    let words = [path.to_str().unwrap(), "--key", key.to_str().unwrap()];
    assert!(expected == build(&second, &words));
    // And once more over the first.
    assert!(expected == build(&first, &["p.wasm", "--key", "k.key"]));

    // One target alone gives the same file as all of them together.
    let third = TempDir::new();
    Run::new(
        &third,
        &[
            "build",
            path.to_str().unwrap(),
            "--key",
            key.to_str().unwrap(),
            "--target",
            "aarch64",
        ],
    )
    .expect(0);
    assert!(expected[1] == std::fs::read(third.path().join("p.aarch64.cwasm")).unwrap());
}
