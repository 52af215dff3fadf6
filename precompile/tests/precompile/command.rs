//! The program: verbs, exit codes, JSON, keys and files.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::json;
use zlayer_bundle::{Profile, Target, TrustStore, VerifiedArtifact};

use crate::support::{Run, TempDir, module, module_from_text};

/// A folder with a good plugin `p.wasm` in it.
fn with_plugin() -> TempDir {
    let dir = TempDir::new();
    dir.file("p.wasm", module("zlayer-websocket", &[]));
    dir
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn files(dir: &TempDir) -> Vec<String> {
    let entries = std::fs::read_dir(dir.path()).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_first_build_makes_a_key_and_an_artifact_that_it_trusts() {
    let dir = with_plugin();
    let run = Run::new(&dir, &["build", "p.wasm", "--target=x86_64"]).expect(0);
    assert!(
        run.stderr.contains("made a development key"),
        "{}",
        run.stderr
    );
    assert!(run.stdout.starts_with("p.x86_64.cwasm  "), "{}", run.stdout);
    assert!(run.stdout.contains("(development key)"), "{}", run.stdout);
    // What was compiled is kept for the next time, beside the key that it may be used with.
    assert_eq!(files(&dir), ["cache", "config", "p.wasm", "p.x86_64.cwasm"]);
    let path = dir.path().join("p.x86_64.cwasm");
    assert_eq!(mode(&path), 0o644);
    let keys = dir.path().join("config/zlayer/keys");
    assert_eq!((mode(&keys), mode(&keys.join("dev.key"))), (0o700, 0o600));

    let mut trust = TrustStore::empty();
    assert!(trust.load(&keys).unwrap().is_empty());
    let file = std::fs::File::open(&path).unwrap();
    let verified =
        VerifiedArtifact::verify(file, &trust, Target::X86_64, Profile::Compact).unwrap();
    assert_eq!(verified.manifest().name, "p");
    assert_eq!(verified.manifest().version, "0.0.0");

    let run = Run::new(&dir, &["build", "p.wasm", "--target", "x86_64"]).expect(0);
    assert!(
        !run.stderr.contains("made a development key"),
        "{}",
        run.stderr
    );
}

#[test]
fn json_says_the_same() {
    let dir = with_plugin();
    let words = [
        "build",
        "p.wasm",
        "--target",
        "armv7,x86_64",
        "--json",
        "--plugin-version",
        "1.4",
    ];
    let build = Run::new(&dir, &words).expect(0).json();
    assert_eq!(build["version"], "1.4");
    assert_eq!(build["roles"], json!(["websocket"]));
    assert_eq!(build["artifacts"][0]["target"], "armv7");
    assert_eq!(build["artifacts"][1]["target"], "x86_64");
    let size = std::fs::metadata(dir.path().join("p.armv7.cwasm"))
        .unwrap()
        .len();
    assert_eq!(build["artifacts"][0]["bytes"], size);

    let validate = Run::new(&dir, &["validate", "p.wasm", "--json"])
        .expect(0)
        .json();
    assert_eq!(
        (&validate["valid"], &validate["kind"]),
        (&json!(true), &json!("plugin"))
    );
    let validate = Run::new(&dir, &["validate", "--json", "p.armv7.cwasm"])
        .expect(0)
        .json();
    assert_eq!(validate["signature"]["state"], "valid");
    assert_eq!(validate["signature"]["trusted"], true);
    assert_eq!(validate["signature"]["key_id"], build["signer"]["key_id"]);

    let info = Run::new(&dir, &["info", "p.wasm", "--sizes", "--json"])
        .expect(0)
        .json();
    assert_eq!(info["imports"], build["imports"]);
    assert_eq!(info["exports"], json!(["zlayer:plugin/websocket@0.1.0"]));
    assert!(info["compiled_bytes"]["aarch64"].as_u64().unwrap() > 0);
    let info = Run::new(&dir, &["info", "p.armv7.cwasm", "--json"])
        .expect(0)
        .json();
    assert_eq!(info["version"], "1.4");
    assert_eq!(info["target"], "armv7");
    assert_eq!(info["digest"].as_str().unwrap().len(), 64);

    let keygen = Run::new(&dir, &["keygen", "--json"]).expect(0).json();
    assert_eq!(keygen["key_id"].as_str().unwrap().len(), 16);
    let sign = Run::new(
        &dir,
        &["sign", "p.armv7.cwasm", "--key", "zlayer.key", "--json"],
    );
    assert_eq!(sign.expect(0).json()["key_id"], keygen["key_id"]);
    assert_eq!(
        Run::new(&dir, &["--version", "--json"]).expect(0).json()["engine"],
        "48.0.8"
    );

    for (words, code, kind) in [
        (&["validate", "none.wasm", "--json"][..], 3, "host"),
        (&["build", "--json"], 2, "usage"),
        (
            &["build", "p.wasm", "--json", "--target", "z80"],
            2,
            "usage",
        ),
        (&["build", "p.armv7.cwasm", "--json"], 1, "refused"),
    ] {
        let error = Run::new(&dir, words).expect(code).json();
        assert_eq!(
            (&error["error"]["code"], &error["error"]["kind"]),
            (&json!(code), &json!(kind))
        );
        assert!(!error["error"]["message"].as_str().unwrap().is_empty());
    }
    let error = Run::new(&dir, &["build", "p.armv7.cwasm", "--json"]).json();
    assert!(
        error["error"]["problems"][0]["mend"]
            .as_str()
            .unwrap()
            .contains(".wasm")
    );
}

#[test]
fn wrong_usage_exits_with_2_and_says_what_would_be_right() {
    let dir = with_plugin();
    for (words, expected) in [
        (&[][..], "a verb is missing"),
        (&["compile"], "compile"),
        (&["build"], "plugin"),
        (&["build", "p.wasm", "--speed"], "--speed"),
        (
            &["build", "p.wasm", "--target", "nonsense"],
            "x86_64, aarch64, armv7",
        ),
        (
            &["build", "p.wasm", "--target", ""],
            "the word behind --target is empty",
        ),
        (&["build", "p.wasm", "--profile=huge"], "compact, wide"),
        (
            &["build", "p.wasm", "--target", "armv7", "--profile", "wide"],
            "64-bit",
        ),
        (
            &["build", "p.wasm", "--unsigned", "--key", "k"],
            "contradict",
        ),
        (&["build", "p.wasm", "--boards-dir", "."], "needs --board"),
        (&["build", ""], "word 2 of the command line is empty"),
        (&["build", "p.wasm", "-o", ""], "is empty"),
        (
            &["build", "p.wasm", "--key", ""],
            "the word behind --key is empty",
        ),
        (
            &["pack", "d.yaml", "--target=armv7", "--boards-dir="],
            "the word behind --boards-dir is empty",
        ),
        (&["keygen", "--name", "../x"], "--name"),
        (&["sign", "x.cwasm"], "--key"),
    ] {
        let run = Run::new(&dir, words).expect(2);
        assert!(run.stderr.contains(expected), "{words:?}: {}", run.stderr);
        assert!(run.stdout.is_empty());
    }
    assert_eq!(
        files(&dir),
        ["p.wasm"],
        "wrong usage must leave nothing behind"
    );
    let help = Run::new(&dir, &["build", "--help"]).expect(0);
    assert!(help.stdout.contains("--target"), "{}", help.stdout);
    let version = Run::new(&dir, &["--version"]).expect(0);
    assert!(
        version.stdout.contains("engine 48.0.8"),
        "{}",
        version.stdout
    );
}

#[test]
fn inputs_that_are_no_plugin_are_refused() {
    let dir = TempDir::new();
    dir.file("empty.wasm", b"");
    dir.file("text.wasm", b"hello");
    dir.file(
        "module.wasm",
        wat::parse_str(r#"(module (import "env" "f" (func)))"#).unwrap(),
    );
    dir.file("none.wasm", wat::parse_str("(component)").unwrap());
    std::fs::create_dir(dir.path().join("folder.wasm")).unwrap();
    for (name, code, expected) in [
        ("empty.wasm", 1, "the file is empty"),
        ("text.wasm", 1, "not WebAssembly"),
        ("module.wasm", 1, "import `f` from `env`"),
        ("none.wasm", 1, "no role"),
        ("folder.wasm", 1, "a folder"),
        ("missing.wasm", 3, "missing.wasm"),
    ] {
        for verb in ["build", "validate", "info"] {
            let run = Run::new(&dir, &[verb, name]).expect(code);
            assert!(
                run.stderr.contains(expected),
                "{verb} {name}: {}",
                run.stderr
            );
        }
    }
    assert!(
        !dir.path().join("config").exists(),
        "a refused input needs no key"
    );
}

#[test]
fn a_folder_that_cannot_be_written_to_is_named() {
    let dir = with_plugin();
    dir.file("file", b"");
    for output in ["file", "file/below", "/proc/none"] {
        let run = Run::new(
            &dir,
            &["build", "p.wasm", "--target", "armv7", "-o", output],
        )
        .expect(3);
        assert!(run.stderr.contains(output), "{}", run.stderr);
    }
}

#[test]
fn keys_that_are_exposed_or_malformed_are_refused() {
    let dir = with_plugin();
    Run::new(&dir, &["keygen", "--name", "k"]).expect(0);
    let key = dir.path().join("k.key");
    assert_eq!(mode(&key), 0o600);
    Run::new(&dir, &["keygen", "--name", "k"]).expect(3);

    let build = |key: &str| {
        let words = ["build", "p.wasm", "--target", "armv7", "--key", key];
        Run::new(&dir, &words).expect(3).stderr
    };
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o640)).unwrap();
    assert!(build("k.key").contains("chmod 600"));
    // As it was made: public.
    assert!(build("k.pub").contains("a public key, and a secret key is needed"));
    std::fs::set_permissions(dir.file("bad", "x"), std::fs::Permissions::from_mode(0o600)).unwrap();
    assert!(build("bad").contains("malformed"));
    let none = build("none.key");
    assert!(none.contains("none.key"), "{none}");
    assert_eq!(none.matches("No such file").count(), 1, "{none}");
}

#[test]
fn a_name_that_steers_terminals_is_refused_before_anything_is_made() {
    let dir = with_plugin();
    std::fs::rename(dir.path().join("p.wasm"), dir.path().join("p\nq.wasm")).unwrap();
    let run = Run::new(&dir, &["build", "p\nq.wasm", "--target", "armv7"]).expect(1);
    assert!(run.stderr.contains("rename the file"), "{}", run.stderr);
}

#[test]
fn signatures_are_replaced_and_their_state_is_shown() {
    let dir = with_plugin();
    let run = Run::new(
        &dir,
        &["build", "p.wasm", "--target", "armv7", "--unsigned"],
    )
    .expect(0);
    assert!(run.stderr.contains("not signed"), "{}", run.stderr);
    let run = Run::new(&dir, &["validate", "p.armv7.cwasm"]).expect(0);
    assert!(run.stdout.contains("signature: none"), "{}", run.stdout);

    let id = Run::new(&dir, &["keygen", "--name", "k", "--json"])
        .expect(0)
        .json();
    let id = id["key_id"].as_str().unwrap().to_owned();
    Run::new(
        &dir,
        &[
            "sign",
            "p.armv7.cwasm",
            "--key",
            "k.key",
            "-o",
            "signed.cwasm",
        ],
    )
    .expect(0);
    let run = Run::new(&dir, &["validate", "signed.cwasm"]).expect(0);
    assert!(
        run.stdout
            .contains(&format!("valid, by key {id}, not among")),
        "{}",
        run.stdout
    );
    // Signing the same bytes gives what building with the key gives.
    Run::new(
        &dir,
        &["build", "p.wasm", "--target", "armv7", "--key", "k.key"],
    )
    .expect(0);
    let read = |name: &str| std::fs::read(dir.path().join(name)).unwrap();
    assert!(read("signed.cwasm") == read("p.armv7.cwasm"));

    // Damage, each with its own exit code, by both verbs that look at it.
    let good = read("signed.cwasm");
    let mut altered = good.clone();
    altered[1000] ^= 1;
    dir.file("altered.cwasm", altered);
    // The manifest begins with its format, then the name and the version, each behind its length.
    let format = u8::try_from(zlayer_bundle::MANIFEST_FORMAT).unwrap();
    let head = [&[format], b"\x01p\x050.0".as_slice()].concat();
    let name = good
        .windows(head.len())
        .rposition(|window| window == head)
        .unwrap();
    let mut renamed = good.clone();
    renamed[name + 2] = b'q';
    dir.file("renamed.cwasm", renamed);
    dir.file("cut.cwasm", &good[..good.len() - 1]);
    dir.file("stripped.cwasm", &good[..artifact_len(&good)]);
    for (name, code) in [
        ("altered", 18),
        ("renamed", 17),
        ("cut", 12),
        ("stripped", 11),
    ] {
        let name = format!("{name}.cwasm");
        let run = Run::new(&dir, &["validate", &name]).expect(code);
        assert!(run.stderr.contains(&name), "{}", run.stderr);
        if code != 17 {
            Run::new(&dir, &["sign", &name, "--key", "k.key"]).expect(code);
        }
    }
}

/// Length of the engine's part, from the footer.
fn artifact_len(file: &[u8]) -> usize {
    let at = file.len() - 24;
    u64::from_le_bytes(file[at..at + 8].try_into().unwrap()) as usize
}

#[test]
fn a_board_gives_target_profile_flags_and_what_its_daemon_runs_with() {
    let dir = with_plugin();
    let boards = dir.path().join("boards");
    std::fs::create_dir_all(boards.join("b")).unwrap();
    let text = "target = 'aarch64'\nprofile = 'wide'\ncpu_flags = ['has_lse']\nthreads = 4\n\
                memory_max = '256Mi'";
    std::fs::write(boards.join("b/board.toml"), text).unwrap();
    Run::new(&dir, &["build", "p.wasm", "--board", "b"]).expect(0);
    let info = Run::new(&dir, &["info", "p.aarch64.cwasm", "--json"])
        .expect(0)
        .json();
    assert_eq!(info["profile"], "wide");
    assert_eq!(info["cpu_flags"], json!(["has_lse"]));
    let board = json!({"name": "b", "threads": 4, "memory_max": 256 << 20});
    assert_eq!(info["board"], board);
    let info = Run::new(&dir, &["info", "p.aarch64.cwasm"]).expect(0);
    let line = "board      b (threads 4, memory_max 256Mi)\n";
    assert!(info.stdout.contains(line), "{}", info.stdout);

    for (words, code, expected) in [
        (&["--board", "c"][..], 3, "has b"),
        (&["--board", "b", "--target", "armv7"], 2, "target aarch64"),
        (&["--board", "b", "--profile", "compact"], 2, "profile wide"),
        (&["--board", "b", "--boards-dir", "none"], 3, "none"),
    ] {
        let run = Run::new(&dir, &[&["build", "p.wasm"], words].concat()).expect(code);
        assert!(run.stderr.contains(expected), "{words:?}: {}", run.stderr);
    }

    let asked_too_much = text.replace("threads = 4", "threads = 65");
    std::fs::write(boards.join("b/board.toml"), asked_too_much).unwrap();
    let run = Run::new(&dir, &["build", "p.wasm", "--board", "b"]).expect(3);
    for part in ["b/board.toml", "`threads` is 65", "from 1 to 64"] {
        assert!(run.stderr.contains(part), "{part}: {}", run.stderr);
    }
}

#[test]
fn what_does_not_fit_its_roles_is_told() {
    let dir = TempDir::new();
    // A transformer whose author had it import secrets.
    let edits = [(
        "import logging;\n    export transformer;",
        "import logging; import secrets; export transformer;",
    )];
    dir.file("p.wasm", module("zlayer-transformer", &edits));
    let told = "imports secrets, which is not in the world zlayer-transformer: denied without `wasm.capabilities: {secrets: true}` in the service p";
    Run::new(&dir, &["build", "p.wasm", "--target", "armv7"]).expect(0);
    for file in ["p.wasm", "p.armv7.cwasm"] {
        for verb in ["validate", "info"] {
            let run = Run::new(&dir, &[verb, file]).expect(0);
            assert!(run.stdout.contains(told), "{verb} {file}: {}", run.stdout);
            let json = Run::new(&dir, &[verb, file, "--json"]).expect(0).json();
            assert_eq!(json["grants"]["beyond"], json!(["secrets"]), "{json}");
            assert_eq!(json["grants"]["granted"], json!(["logging"]), "{json}");
            assert_eq!(json["grants"]["notes"][0], told, "{json}");
        }
    }
}

#[test]
fn the_signer_is_checked_against_the_keys_that_are_named() {
    let dir = with_plugin();
    for name in ["own", "other"] {
        Run::new(&dir, &["keygen", "--name", name, "-o", name]).expect(0);
    }
    let build = ["build", "p.wasm", "--target", "armv7"];
    Run::new(
        &dir,
        &[&build[..], &["--key", "own/own.key", "-o", "signed"]].concat(),
    )
    .expect(0);
    Run::new(
        &dir,
        &[&build[..], &["--unsigned", "-o", "unsigned"]].concat(),
    )
    .expect(0);
    for (file, keys, code) in [
        ("signed/p.armv7.cwasm", &["own"][..], 0),
        ("signed/p.armv7.cwasm", &["own/own.pub"], 0),
        ("signed/p.armv7.cwasm", &["other", "own"], 0),
        ("signed/p.armv7.cwasm", &["other"], 16),
        ("signed/p.armv7.cwasm", &["nowhere"], 16),
        ("unsigned/p.armv7.cwasm", &["own"], 15),
        ("unsigned/p.armv7.cwasm", &[], 0),
        // Nobody signs what is not compiled.
        ("p.wasm", &["own"], 1),
    ] {
        let keys = keys.iter().flat_map(|key| ["--keys", *key]);
        let words: Vec<&str> = ["validate", file].into_iter().chain(keys).collect();
        Run::new(&dir, &words).expect(code);
    }
}

/// A cache plugin with `more` in its module, whose memory starts with so many pages of 64 KiB.
fn cache_plugin(more: &str, pages: u32) -> Vec<u8> {
    let text = format!(
        r#"(module
        {more}
        (memory (export "memory") {pages})
        (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) unreachable)
        (func (export "zlayer:plugin/caching@0.1.0#cache-policy")
            (param i32 i32 i32 i32 i32 i32 i32) (result i32) unreachable)
        (func (export "zlayer:plugin/caching@0.1.0#cache-key")
            (param i32 i32 i32 i32 i32 i32) (result i32) unreachable))"#
    );
    module_from_text("zlayer-cache", &text)
}

#[test]
fn a_memory_without_room_is_refused_by_validate_as_by_build() {
    let dir = TempDir::new();
    // 313 MiB.
    dir.file("p.wasm", cache_plugin("", 5008));
    for (devices, code) in [
        (&[][..], 1),
        (&["--target", "x86_64"], 1),
        (&["--target", "armv7,aarch64"], 1),
        (&["--target", "x86_64", "--profile", "wide"], 0),
        (&["--target", "armv7"], 0),
        (&["--target", "armv7", "--profile", "wide"], 2),
        (&["--target", "z80"], 2),
    ] {
        for verb in ["validate", "build"] {
            let words = [&[verb, "p.wasm"], devices].concat();
            let run = Run::new(&dir, &words).expect(code);
            let is_told = run
                .stderr
                .contains("it starts with 313 MiB, and profile compact");
            assert_eq!(is_told, code == 1, "{words:?}: {}", run.stderr);
        }
    }
    let words = ["validate", "p.armv7.cwasm", "--profile", "wide"];
    Run::new(&dir, &words).expect(2);
}

#[test]
fn what_no_device_sets_aside_is_refused_by_validate_and_build() {
    let plugin = |more: &str| cache_plugin(more, 1);
    let dir = TempDir::new();
    dir.file("p.wasm", plugin("(table 20000 funcref) (table 1 funcref)"));
    Run::new(&dir, &["build", "p.wasm", "--target", "armv7"]).expect(0);
    for (more, told) in [
        (
            "(table 20001 funcref)",
            "table elements: an instance has 20001, and devices set aside 20000 at most",
        ),
        (
            &"(table 1 funcref)".repeat(17)[..],
            "tables: an instance has 17, and devices set aside 16 at most",
        ),
    ] {
        dir.file("p.wasm", plugin(more));
        for words in [
            &["validate", "p.wasm"][..],
            &["build", "p.wasm", "--target", "armv7"],
        ] {
            let run = Run::new(&dir, words).expect(1);
            assert!(run.stderr.contains(told), "{}", run.stderr);
        }
    }
}

#[test]
fn a_pipe_is_refused_at_once_wherever_a_file_is_wanted() {
    let dir = with_plugin();
    for name in [
        "a.wasm", "a.cwasm", "a.zlb", "a.yaml", "a.pub", "a.key", "a",
    ] {
        let made = std::process::Command::new("mkfifo")
            .arg(dir.path().join(name))
            .status();
        assert!(made.unwrap().success());
    }
    for (name, image) in [("of.yaml", "a.wasm"), ("good.yaml", "p.wasm")] {
        let text = format!("version: v1\ndeployment: a\nservices:\n  a:\n    image: ./{image}\n");
        dir.file(name, text);
    }
    let words: &[&[&str]] = &[
        &["build", "a.wasm", "--target", "x86_64"],
        &["build", "p.wasm", "--target", "x86_64", "--key", "a.key"],
        &["build", "p.wasm", "--target", "x86_64", "-o", "a.cwasm"],
        &["validate", "a.wasm"],
        &["validate", "a.cwasm"],
        &[
            "pack",
            "good.yaml",
            "--target",
            "x86_64",
            "--trust-list",
            "a",
        ],
        &["pack", "good.yaml", "--target", "x86_64", "-o", "a.zlb"],
        &["info", "a.wasm"],
        &["info", "a.cwasm"],
        &["inspect", "a.zlb"],
        &["diff", "a.zlb", "a.zlb"],
        &["pack", "a.yaml", "--target", "x86_64"],
        &["pack", "of.yaml", "--target", "x86_64"],
        &["explain", "a.wasm", "0x10"],
        &[
            "trust-list",
            "--root",
            "a.key",
            "--revoke",
            "a.zlb",
            "-o",
            "l",
        ],
        &["export", "a.zlb", "-o", "layout", "--name", "a"],
    ];
    for words in words {
        let run = Run::new(&dir, words);
        assert!(run.code != 0, "{words:?}: {}", run.stdout);
        assert!(
            run.stderr.contains("it is a pipe, not a regular file"),
            "{words:?}: {}",
            run.stderr
        );
    }
    // Nor is a device replaced.
    let link = dir.path().join("null.cwasm");
    std::os::unix::fs::symlink("/dev/null", &link).unwrap();
    let words = ["build", "p.wasm", "--target", "x86_64", "-o", "null.cwasm"];
    let run = Run::new(&dir, &words);
    assert!(run.stderr.contains("it is a device"), "{}", run.stderr);
    assert!(link.is_symlink());
}
