//! Bundles: `pack` makes them of a `deployment.yaml`, `inspect` and `diff` read them.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Cursor, Read as _};
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use serde_json::json;
use zlayer_bundle::{
    BundleHead, BundleManifest, Profile, Target, TrustStore, VerifiedArtifact, copy_blob,
};

use crate::support::{Run, TempDir, module};

/// A handler and two stages before it. Values are of every kind that is shown in its own way.
const APP: &str = "
version: v1
deployment: app
release: 3
services:
  auth:
    image: ./auth.wasm
    service_type: wasm_authenticator
    env:
      REGION: north
      TOKEN: ${API_TOKEN}
    wasm:
      services: [web]
      request_timeout: 5s
  shape:
    image: ./shape.wasm
  web:
    image: ./web.wasm
    wasm:
      min_instances: 2
      secrets: [key]
      allowed_hosts: [api.example]
";

/// A folder with `deployment.yaml` of this text, the plugins that it names and a key pair `k`.
fn folder(deployment: &str) -> TempDir {
    let dir = TempDir::new();
    for (name, world) in [
        ("auth", "zlayer-authenticator"),
        ("shape", "zlayer-transformer"),
        ("web", "zlayer-plugin"),
        ("route", "zlayer-router"),
        ("cache", "zlayer-cache"),
    ] {
        let file = format!("{name}.wasm");
        if deployment.contains(&file) {
            dir.file(&file, plugin(world));
        }
    }
    dir.file("deployment.yaml", deployment);
    Run::new(&dir, &["keygen", "--name", "k"]).expect(0);
    dir
}

/// As [`module`], made once for all tests: that takes longer than most of what they do.
fn plugin(world: &'static str) -> Vec<u8> {
    static MADE: Mutex<BTreeMap<&str, Vec<u8>>> = Mutex::new(BTreeMap::new());
    let mut made = MADE.lock().unwrap();
    let plugin = made.entry(world).or_insert_with(|| module(world, &[]));
    plugin.clone()
}

/// A deployment of one service, a handler, with these lines below it.
fn one(more: &str) -> String {
    format!("version: v1\ndeployment: app\nservices:\n  web:\n    image: ./web.wasm\n{more}")
}

fn pack(dir: &TempDir, more: &[&str]) -> Run {
    let words = [
        "pack",
        "deployment.yaml",
        "--target",
        "x86_64",
        "--key",
        "k.key",
    ];
    Run::new(dir, &[&words, more].concat())
}

fn bundle(dir: &TempDir, name: &str) -> Vec<u8> {
    std::fs::read(dir.path().join(name)).unwrap()
}

fn trust(dir: &TempDir) -> TrustStore {
    let mut trust = TrustStore::empty();
    trust.load(&dir.path().join("k.pub")).unwrap();
    trust
}

/// The head of a bundle and its blobs, checked as a device would.
fn unpack(bytes: &[u8], trust: &TrustStore) -> (BundleManifest, Vec<Vec<u8>>) {
    let mut from = Cursor::new(bytes);
    let head = BundleHead::read(&mut from).unwrap().verify(trust).unwrap();
    let manifest = head.manifest().clone();
    let blobs = manifest.blobs.iter().map(|blob| {
        let mut copy = Vec::new();
        copy_blob(blob, &mut from, &mut copy).unwrap();
        copy
    });
    let blobs = blobs.collect();
    assert_eq!(
        from.read(&mut [0]).unwrap(),
        0,
        "bytes behind the last blob"
    );
    (manifest, blobs)
}

#[test]
fn a_deployment_becomes_one_signed_file_that_a_device_takes() {
    let dir = folder(APP);
    let run = pack(&dir, &[]).expect(0);
    assert!(run.stdout.starts_with("app.x86_64.zlb  "), "{}", run.stdout);
    for part in [
        "(key file)",
        "auth 0.0.0: authenticator\n",
        "web 0.0.0: handler\n",
        "API_TOKEN",
        "2 instances of web",
        "neither a board nor `device.memory_max` says",
    ] {
        assert!(run.stdout.contains(part), "{part} in {}", run.stdout);
    }
    let trust = trust(&dir);
    let (manifest, blobs) = unpack(&bundle(&dir, "app.x86_64.zlb"), &trust);
    assert_eq!(
        (manifest.target, manifest.profile),
        (Target::X86_64, Profile::Compact)
    );
    assert_eq!(
        (manifest.deployment.release, manifest.artifacts),
        (3, vec![0, 1, 2])
    );
    for (blob, name) in blobs.iter().zip(["auth", "shape", "web"]) {
        let file = std::fs::File::open(dir.file("blob", blob)).unwrap();
        let artifact =
            VerifiedArtifact::verify(file, &trust, Target::X86_64, Profile::Compact).unwrap();
        assert_eq!(artifact.manifest().name, name);
    }
}

#[test]
fn pack_says_the_same_in_json() {
    let dir = folder(APP);
    let run = pack(&dir, &["--json", "--release", "9", "-o", "out.zlb"]).expect(0);
    let json = run.json();
    assert_eq!(json["path"], "out.zlb");
    assert_eq!(json["bytes"], bundle(&dir, "out.zlb").len());
    assert_eq!(
        (&json["release"], &json["target"]),
        (&json!(9), &json!("x86_64"))
    );
    assert_eq!(json["services"][0]["roles"], json!(["authenticator"]));
    assert_eq!(json["services"][2]["name"], "web");
    assert_eq!(json["variables"], json!(["API_TOKEN"]));
    assert_eq!(json["memory"]["ceiling"], json!(null));
    let rows = json["memory"]["rows"].as_array().unwrap();
    let counted = rows.iter().filter(|row| row["counts"] == true);
    let sum: u64 = counted.map(|row| row["bytes"].as_u64().unwrap()).sum();
    assert_eq!(json["memory"]["sum"], sum);
}

#[test]
fn the_same_deployment_key_and_target_give_the_same_bytes() {
    let (first, second) = (folder(APP), folder(APP));
    std::fs::copy(first.path().join("k.key"), second.path().join("k.key")).unwrap();
    for dir in [&first, &second] {
        pack(dir, &["-o", "a.zlb"]).expect(0);
    }
    assert!(bundle(&first, "a.zlb") == bundle(&second, "a.zlb"));
    pack(&first, &["-o", "b.zlb"]).expect(0);
    assert!(bundle(&first, "a.zlb") == bundle(&first, "b.zlb"));
}

#[test]
fn an_image_of_several_services_is_there_once() {
    let twice = format!("{}  other:\n    image: ./web.wasm\n", one(""));
    let dir = folder(&twice);
    pack(&dir, &[]).expect(0);
    let (manifest, blobs) = unpack(&bundle(&dir, "app.x86_64.zlb"), &trust(&dir));
    assert_eq!((manifest.artifacts, blobs.len()), (vec![0, 0], 1));
}

#[test]
fn a_compiled_plugin_is_taken_as_it_is_and_signed_where_nobody_has() {
    let dir = folder(&one("").replace("web.wasm", "web.x86_64.cwasm"));
    dir.file("web.wasm", plugin("zlayer-plugin"));
    let build = |more: &[&str]| {
        let words = ["build", "web.wasm", "--target", "x86_64"];
        Run::new(&dir, &[&words, more].concat()).expect(0);
        bundle(&dir, "web.x86_64.cwasm")
    };
    let artifact = || {
        unpack(&bundle(&dir, "app.x86_64.zlb"), &trust(&dir))
            .1
            .remove(0)
    };
    // By another key than the bundle's.
    let signed = build(&[]);
    let run = pack(&dir, &[]).expect(0);
    assert!(
        run.stdout.contains("keeps its signature by key"),
        "{}",
        run.stdout
    );
    assert!(artifact() == signed);
    let own = build(&["--key", "k.key"]);
    let run = pack(&dir, &[]).expect(0);
    assert!(
        !run.stdout.contains("keeps its signature"),
        "{}",
        run.stdout
    );
    assert!(artifact() == own);
    build(&["--unsigned"]);
    pack(&dir, &[]).expect(0);
    assert!(artifact() == own);

    let words = [
        "pack",
        "deployment.yaml",
        "--key",
        "k.key",
        "--target",
        "aarch64",
    ];
    let run = Run::new(&dir, &words).expect(19);
    assert!(run.stderr.contains("web.x86_64.cwasm"), "{}", run.stderr);
    let run = pack(&dir, &["--profile", "wide"]).expect(21);
    assert!(run.stderr.contains("wide"), "{}", run.stderr);
    let mut damaged = own;
    damaged[5000] ^= 1;
    dir.file("web.x86_64.cwasm", damaged);
    pack(&dir, &[]).expect(18);
}

#[test]
fn nobody_signs_what_is_not_to_be_signed() {
    let dir = folder(&one(""));
    let words = [
        "pack",
        "deployment.yaml",
        "--target",
        "x86_64",
        "--unsigned",
    ];
    let run = Run::new(&dir, &words).expect(0);
    assert!(run.stderr.contains("unsigned bundles"), "{}", run.stderr);
    let mut trust = TrustStore::empty();
    trust.allow_unsigned(true);
    unpack(&bundle(&dir, "app.x86_64.zlb"), &trust);
}

#[test]
fn what_a_device_would_refuse_is_refused_with_its_place_and_nothing_is_written() {
    let stage =
        |name: &str, more: &str| format!("{}  {name}:\n    image: ./{name}.wasm\n{more}", one(""));
    for (deployment, says) in [
        (
            one("").replace("./web.wasm", "web:v1"),
            "'web:v1' is no reference to a registry: it names no registry",
        ),
        (
            one("    service_type: wasm_router\n"),
            "deployment.yaml:6:19: services.web.service_type: wants a component that exports router, and this one is handler",
        ),
        (
            one("    wasm:\n      roles: [router]\n"),
            "deployment.yaml:7:14: services.web.wasm.roles: names router, which the component does not export",
        ),
        (
            one("    wasm:\n      bodies: none\n"),
            "deployment.yaml:7:15: services.web.wasm.bodies: `bodies` is a setting of transformers, and it is handler",
        ),
        (
            stage("auth", "    wasm:\n      services: [nobody]\n"),
            "there is no service 'nobody'",
        ),
        (
            stage("auth", "    wasm:\n      services: [auth]\n"),
            "names 'auth', which is no handler\n  name handlers: web",
        ),
        (
            stage(
                "auth",
                "    wasm:\n      kv_namespace: web\n      kv_durability: sync\n",
            ),
            "wants it kept differently",
        ),
    ] {
        let dir = folder(&deployment);
        let run = pack(&dir, &[]).expect(1);
        assert!(run.stderr.contains(says), "{says} in {}", run.stderr);
        assert!(run.stderr.contains("deployment.yaml:"), "{}", run.stderr);
        assert!(!dir.path().join("app.x86_64.zlb").exists());
    }
    let dir = folder(&one("    wasm:\n      min_instances: many\n"));
    let json = pack(&dir, &["--json"]).expect(1).json();
    assert_eq!(json["error"]["kind"], "refused");
    let item = json["error"]["problems"][0]["item"].as_str().unwrap();
    assert!(item.starts_with("deployment.yaml:7:"), "{item}");
}

#[test]
fn a_file_that_is_not_there_is_trouble_with_files_whichever_it_is() {
    let dir = folder(&one("").replace("./web.wasm", "./gone.wasm"));
    let run = pack(&dir, &[]).expect(3);
    let says = "services.web.image: a relative path counts from /";
    assert!(run.stderr.contains(says), "{}", run.stderr);
    let says = "the folder of deployment.yaml: cannot open gone.wasm";
    assert!(run.stderr.contains(says), "{}", run.stderr);
    fs::remove_file(dir.path().join("deployment.yaml")).unwrap();
    let run = pack(&dir, &[]).expect(3);
    let says = "cannot open deployment.yaml";
    assert!(run.stderr.contains(says), "{}", run.stderr);
}

#[test]
fn wrong_usage_of_pack_is_told() {
    let dir = folder(&one(""));
    for (more, says) in [
        (&["--unsigned"] as &[&str], "contradict"),
        (&["--target", "armv7"], "one target"),
        (&["--boards-dir", "."], "needs --board"),
        (&["--release", "-1"], "release"),
    ] {
        let run = pack(&dir, more).expect(2);
        assert!(run.stderr.contains(says), "{says} in {}", run.stderr);
    }
}

#[test]
fn what_does_not_fit_the_grants_is_told() {
    let deployment = "
version: v1
deployment: app
services:
  route:
    image: ./route.wasm
  shape:
    image: ./shape.wasm
    wasm:
      capabilities: {secrets: true}
  web:
    image: ./web.wasm
    wasm:
      capabilities: {logging: false}
";
    let dir = folder(deployment);
    let notes = pack(&dir, &["--json"]).expect(0).json()["notes"].clone();
    let notes: Vec<String> = serde_json::from_value(notes).unwrap();
    for says in [
        "service route: is a router, and no host is allowed",
        "service shape: is granted secrets, which it does not import",
        "service web: imports logging, which `capabilities` takes away",
        "service web: may send requests, and no host is allowed",
        "service web: asks for secrets and is given none",
    ] {
        assert!(
            notes.iter().any(|note| note.contains(says)),
            "{says} in {notes:?}"
        );
    }
}

#[test]
fn an_env_that_no_bundle_can_hold_is_told_with_its_largest_entry() {
    let large = "x".repeat(300_000);
    let dir = folder(&one(&format!(
        "    env:\n      small: a\n      large: {large}\n"
    )));
    let run = pack(&dir, &[]).expect(14);
    for part in [
        "the limit is 256 KiB",
        "services.web.env holds the most, 300000 bytes of `large`",
        "write ${NAME}",
    ] {
        assert!(run.stderr.contains(part), "{part} in {}", run.stderr);
    }
    assert!(!run.stderr.contains("xxx"), "{}", run.stderr);
}

#[test]
fn what_does_not_fit_the_board_is_refused_with_what_to_lower() {
    let dir = folder(&one(
        "    wasm:\n      min_instances: 40\n      max_instances: 40\n",
    ));
    let boards = dir.path().join("boards/small");
    std::fs::create_dir_all(&boards).unwrap();
    std::fs::write(
        boards.join("board.toml"),
        "target = 'x86_64'\nmemory_max = '48Mi'\n",
    )
    .unwrap();
    let with_board = |dir: &TempDir, code| {
        let words = [
            "pack",
            "deployment.yaml",
            "--key",
            "k.key",
            "--board",
            "small",
        ];
        Run::new(dir, &words).expect(code)
    };
    let run = with_board(&dir, 1);
    for part in [
        "48Mi (the board small) is less",
        "40 instances of web",
        // The table is the one of a success.
        "mapped from its file and not counted\n",
        "KiB  at least, of 48Mi (the board small)\n",
        "lower `services.web.wasm.min_instances`; ",
        "raise `device.memory_max`",
    ] {
        assert!(run.stderr.contains(part), "{part} in {}", run.stderr);
    }
    // Where nobody says how much there is, there is no verdict, but a hint.
    let run = pack(&dir, &[]).expect(0);
    let hint =
        "KiB, and a daemon takes 64Mi at the most unless it is told: say `device.memory_max`";
    assert!(run.stdout.contains(hint), "{}", run.stdout);
    dir.file("deployment.yaml", one(""));
    let run = pack(&dir, &[]).expect(0);
    assert!(!run.stdout.contains("unless it is told"), "{}", run.stdout);
    let run = with_board(&dir, 0);
    assert!(
        run.stdout.contains("of 48Mi (the board small)"),
        "{}",
        run.stdout
    );
    // The deployment's own word comes first.
    let own = one("").replace(
        "services:",
        "device:\n  memory_max: 12Mi\n  max_connections: 500\nservices:",
    );
    dir.file("deployment.yaml", own);
    let run = with_board(&dir, 0);
    for part in [
        "of 12Mi (`device.memory_max`)",
        "`device.max_connections` 500: there will be",
    ] {
        assert!(run.stdout.contains(part), "{part} in {}", run.stdout);
    }
}

#[test]
fn inspect_shows_what_a_bundle_says() {
    let dir = folder(APP);
    let packed = pack(&dir, &["--json"]).expect(0).json();
    let json = Run::new(&dir, &["inspect", "app.x86_64.zlb", "--json"])
        .expect(0)
        .json();
    assert_eq!(
        (&json["deployment"], &json["release"]),
        (&json!("app"), &json!(3))
    );
    assert_eq!(
        (&json["bytes"], &json["target"]),
        (&packed["bytes"], &packed["target"])
    );
    assert_eq!(json["signature"]["state"], "valid");
    assert_eq!(json["signature"]["trusted"], false);
    assert_eq!(json["variables"], json!(["API_TOKEN"]));
    let auth = &json["services"][0];
    assert_eq!(auth["digest"], packed["services"][0]["digest"]);
    assert_eq!(auth["settings"]["request_timeout"], "5s");
    assert_eq!(auth["settings"]["services"], json!(["web"]));
    assert_eq!(auth["settings"]["env"]["TOKEN"], "${API_TOKEN}");
    assert_eq!(auth["settings"]["max_instances"], json!(null));
    // Without a host nothing is sent.
    assert_eq!(
        auth["granted"],
        json!(["config", "keyvalue", "logging", "secrets"])
    );
    let run = Run::new(&dir, &["inspect", "app.x86_64.zlb"]).expect(0);
    for part in [
        "not among your keys",
        "min_instances 2",
        "env.REGION north",
        "request_timeout 5s",
    ] {
        assert!(run.stdout.contains(part), "{part} in {}", run.stdout);
    }
    // The development key's bundles are trusted on this account.
    Run::new(&dir, &["pack", "deployment.yaml", "--target", "x86_64"]).expect(0);
    let run = Run::new(&dir, &["inspect", "app.x86_64.zlb"]).expect(0);
    assert!(
        run.stdout.contains("trusted by your account"),
        "{}",
        run.stdout
    );
}

#[test]
fn code_that_was_compiled_is_taken_again_but_not_for_a_release() {
    let dir = folder(&one(""));
    let code = || -> Vec<PathBuf> {
        let entries = fs::read_dir(dir.path().join("cache/zlayer/code"));
        let entries = entries.into_iter().flatten();
        entries.map(|entry| entry.unwrap().path()).collect()
    };
    let pack_anew = || {
        let words = ["pack", "deployment.yaml", "--target", "x86_64"];
        Run::new(&dir, &words).expect(0);
        bundle(&dir, "app.x86_64.zlb")
    };
    // Somebody signs it for devices: that is compiled, and nothing is kept of it.
    pack(&dir, &[]).expect(0);
    assert!(code().is_empty());
    let first = pack_anew();
    let [kept] = code().try_into().unwrap();
    // Whoever takes it says so.
    let long_ago = SystemTime::now() - Duration::from_secs(86_400);
    let set_used = || {
        let file = File::options().append(true).open(&kept).unwrap();
        file.set_modified(long_ago).unwrap();
    };
    let is_used = || fs::metadata(&kept).unwrap().modified().unwrap() > long_ago;
    set_used();
    assert_eq!(pack_anew(), first);
    assert!(is_used());
    set_used();
    pack(&dir, &[]).expect(0);
    assert!(!is_used());
    // What is damaged is compiled again.
    let whole = fs::read(&kept).unwrap();
    fs::write(&kept, &whole[..whole.len() - 1]).unwrap();
    assert_eq!(pack_anew(), first);
    assert_eq!(fs::read(&kept).unwrap(), whole);
    // Another plugin of that name is another one.
    dir.file("web.wasm", plugin("zlayer-router"));
    assert_ne!(pack_anew(), first);
    assert_eq!(code().len(), 2);
}

#[test]
fn a_damaged_bundle_is_refused_by_its_code() {
    let dir = folder(&one(""));
    pack(&dir, &[]).expect(0);
    let good = bundle(&dir, "app.x86_64.zlb");
    let last = good.len() - 1;
    let mut altered = good.clone();
    altered[last] ^= 1;
    let mut other_format = good.clone();
    other_format[8] = 9;
    for (bytes, code) in [
        (&b"no bundle at all"[..], 11),
        (&good[..last], 12),
        (&[good.as_slice(), b"x"].concat(), 12),
        (&other_format, 13),
        (&altered, 18),
    ] {
        dir.file("bad.zlb", bytes);
        for words in [
            &["inspect", "bad.zlb"][..],
            &["diff", "bad.zlb", "app.x86_64.zlb"],
        ] {
            let run = Run::new(&dir, words).expect(code);
            assert!(run.stderr.contains("bad.zlb"), "{}", run.stderr);
        }
    }
    let json = Run::new(&dir, &["inspect", "bad.zlb", "--json"])
        .expect(18)
        .json();
    assert_eq!(json["error"]["kind"], "bundle");
    Run::new(&dir, &["inspect", "none.zlb"]).expect(3);
}

#[test]
fn diff_tells_what_changes_and_nothing_else() {
    let dir = folder(APP);
    pack(&dir, &["-o", "a.zlb"]).expect(0);
    // Another signer changes nothing of what runs, but its artifacts are others.
    let run = Run::new(&dir, &["diff", "a.zlb", "a.zlb"]).expect(0);
    assert_eq!(run.stdout, "no difference\n");
    let changed = APP
        .replace("release: 3", "release: 4\ndevice:\n  memory_max: 32Mi")
        .replace("request_timeout: 5s", "request_timeout: 1500ms")
        .replace("REGION: north", "REGION: south\n      ZONE: '1'")
        .replace("  shape:\n    image: ./shape.wasm\n", "")
        + "  cache:\n    image: ./cache.wasm\n";
    dir.file("cache.wasm", plugin("zlayer-cache"));
    dir.file("deployment.yaml", changed);
    pack(&dir, &["-o", "b.zlb"]).expect(0);
    let run = Run::new(&dir, &["diff", "a.zlb", "b.zlb"]).expect(0);
    let lines: Vec<&str> = run.stdout.lines().collect();
    assert_eq!(
        lines[..5],
        [
            "release: 3 -> 4",
            "device.memory_max: added, 33554432",
            "services.auth.env.REGION: north -> south",
            "services.auth.env.ZONE: added, 1",
            "services.auth.request_timeout: 5s -> 1500ms",
        ],
        "{}",
        run.stdout
    );
    assert!(
        lines[5].starts_with("services.shape: removed, was 0.0.0 (digest "),
        "{}",
        lines[5]
    );
    assert!(
        lines[6].starts_with("services.cache: added, 0.0.0 (digest "),
        "{}",
        lines[6]
    );
    assert_eq!(lines.len(), 7, "{}", run.stdout);
    let json = Run::new(&dir, &["diff", "a.zlb", "b.zlb", "--json"])
        .expect(0)
        .json();
    assert_eq!(
        (&json["same"], &json["changes"][0]["to"]),
        (&json!(false), &json!(4))
    );
}

#[test]
fn diff_tells_another_plugin_and_another_order() {
    let two = |first: &str, second: &str| {
        format!(
            "version: v1\ndeployment: app\nservices:\n  {first}:\n    image: ./{first}.wasm\n  {second}:\n    image: ./{second}.wasm\n"
        )
    };
    let dir = folder(&two("shape", "web"));
    pack(&dir, &["-o", "a.zlb"]).expect(0);
    dir.file("deployment.yaml", two("web", "shape"));
    dir.file("shape.wasm", plugin("zlayer-cache"));
    pack(&dir, &["-o", "b.zlb"]).expect(0);
    let run = Run::new(&dir, &["diff", "a.zlb", "b.zlb"]).expect(0);
    let lines: Vec<&str> = run.stdout.lines().collect();
    assert_eq!(lines.len(), 2, "{}", run.stdout);
    assert!(
        lines[0].starts_with("services.shape.artifact: 0.0.0 (digest "),
        "{}",
        lines[0]
    );
    assert_eq!(lines[1], "order: shape, web -> web, shape");
}

#[test]
fn no_output_takes_the_place_of_what_is_read() {
    let dir = folder(&one(""));
    std::os::unix::fs::symlink("k.key", dir.path().join("link.zlb")).unwrap();
    fs::hard_link(dir.path().join("web.wasm"), dir.path().join("hard.zlb")).unwrap();
    fs::hard_link(dir.path().join("deployment.yaml"), dir.path().join("d.zlb")).unwrap();
    let files = ["deployment.yaml", "web.wasm", "k.key"];
    let before = files.map(|name| bundle(&dir, name));
    for (words, said) in [
        (["-o", "link.zlb"], "would overwrite k.key"),
        (["-o", "hard.zlb"], "would overwrite web.wasm"),
        (["-o", "d.zlb"], "would overwrite deployment.yaml"),
        (["-o", "deployment.yaml"], "ends with .zlb"),
        (["-o", "k.key"], "ends with .zlb"),
        (["--inputs", "web.wasm"], "would overwrite web.wasm"),
        (["--inputs", "k.key"], "would overwrite k.key"),
    ] {
        let run = pack(&dir, &words).expect(2);
        assert!(run.stderr.contains(said), "{said}: {}", run.stderr);
    }
    assert!(before == files.map(|name| bundle(&dir, name)));
    // A bundle of before is none of them.
    pack(&dir, &["-o", "a.zlb"]).expect(0);
    pack(&dir, &["-o", "a.zlb"]).expect(0);
}

#[test]
fn a_bundle_whose_signature_does_not_fit_is_shown_and_refused() {
    let dir = folder(&one(""));
    pack(&dir, &["-o", "a.zlb"]).expect(0);
    let mut bytes = bundle(&dir, "a.zlb");
    let head = BundleHead::read(&mut Cursor::new(&bytes)).unwrap();
    // The signature's last byte.
    bytes[head.bytes().len() - 1] ^= 1;
    dir.file("b.zlb", bytes);
    let run = Run::new(&dir, &["inspect", "b.zlb"]).expect(17);
    assert!(run.stdout.contains("invalid, by key"), "{}", run.stdout);
    assert!(run.stderr.contains("b.zlb: "), "{}", run.stderr);
    let json = Run::new(&dir, &["inspect", "b.zlb", "--json"])
        .expect(17)
        .json();
    assert_eq!(json["signature"]["state"], "invalid");
    assert_eq!(json["error"]["code"], 17);
    for words in [["diff", "a.zlb", "b.zlb"], ["diff", "b.zlb", "a.zlb"]] {
        let run = Run::new(&dir, &words).expect(17);
        assert_eq!(run.stdout, "no difference\n");
        assert!(run.stderr.contains("b.zlb: "), "{}", run.stderr);
    }
    // Nobody's signature is none that does not fit.
    let words = [
        "pack",
        "deployment.yaml",
        "--target",
        "x86_64",
        "--unsigned",
        "-o",
        "c.zlb",
    ];
    Run::new(&dir, &words).expect(0);
    Run::new(&dir, &["inspect", "c.zlb"]).expect(0);
}

#[test]
fn a_file_of_another_kind_is_told_what_takes_it() {
    let dir = folder(&one(""));
    pack(&dir, &["-o", "a.zlb"]).expect(0);
    for (words, said) in [
        (["pack", "web.wasm"], "give the deployment.yaml"),
        (["pack", "a.zlb"], "give the deployment.yaml"),
        (["info", "a.zlb"], "`zlayer-precompile inspect`"),
        (["validate", "a.zlb"], "`zlayer-precompile inspect`"),
        (["inspect", "web.wasm"], "no bundle"),
    ] {
        let run = Run::new(&dir, &words);
        assert!(
            run.code != 0 && run.stderr.contains(said),
            "{words:?}: {}",
            run.stderr
        );
    }
}
