//! Deployments: the file, the bundle that it becomes, and what a device makes of either.

mod back;
mod damage;
mod endpoints;
mod keeping;
mod large;
mod leaving;
mod live;
mod ports;
mod room;
mod trial;
mod trust;
mod variables;
mod watch;
mod week;
mod words;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::cli::path_with_precompile;
use crate::support::{
    Daemon, Output, TempDir, artifact, ask, bundle, eventually, get, key_dir, pack, precompile,
    request, target, zlayer,
};

/// A deployment of `visit-counter`, which greets in its own way.
fn greeting(release: u64, greeting: &str) -> String {
    format!(
        "version: v1\ndeployment: visits\nrelease: {release}\nservices:\n  counter:\n    image: {}\n    \
         env:\n      greeting: \"{greeting}\"\n",
        artifact("visit-counter").display()
    )
}

/// `zlayer VERB` for a data folder, with the suite's key trusted.
fn verb(words: &[&str], data: &TempDir) -> Output {
    let mut all: Vec<PathBuf> = words.iter().map(PathBuf::from).collect();
    all.extend(["--data-dir".into(), data.path().to_owned()]);
    if words[0] == "install" || words[0] == "rollback" {
        all.extend(["--keys".into(), key_dir().to_owned()]);
    }
    zlayer(all)
}

fn install(bundle: &Path, data: &TempDir) -> Output {
    verb(&["install", bundle.to_str().unwrap()], data)
}

/// A daemon that serves what is installed.
fn serving(data: &TempDir) -> Daemon {
    Daemon::of_nothing().data_dir(data.path()).start()
}

fn status(data: &TempDir) -> Value {
    serde_json::from_str(&ask(data, "/status").text()).unwrap()
}

#[test]
fn the_guides_deployment_is_served_with_its_variables_from_the_device() {
    // The keys and the structure of the guide's own, with files for its images.
    let image = |guest: &str| artifact(guest).display().to_string();
    let text = format!(
        r#"
version: v1
deployment: my-wasm-app

services:
  api-handler:
    rtype: service
    image:
      name: {}
    env:
      - name: LOG_LEVEL
        value: debug
      - name: API_KEY
        value: "${{API_KEY}}"
    endpoints:
      - name: http
        protocol: http
        port: 8080
        expose: public
    scale:
      mode: adaptive
      min: 2
      max: 10
    health:
      check:
        type: http
        url: /health
        expect_status: 200

  auth-plugin:
    rtype: service
    image:
      name: {}
    env:
      - name: jwt_secret
        value: "${{JWT_SECRET}}"

  rate-limiter:
    rtype: service
    image:
      name: {}
    env:
      - name: rate_limits.default
        value: "100"
      - name: rate_limits.premium
        value: "1000"
"#,
        image("visit-counter"),
        image("jwt-authenticator"),
        image("per-client-limiter"),
    );
    let made = bundle(&text);
    let refused = Daemon::of(&made).fails();
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(
        refused.stderr.contains("API_KEY, JWT_SECRET"),
        "{refused:?}"
    );
    let data = TempDir::new();
    let daemon = Daemon::of(&made)
        .env("API_KEY", "k-hunter2")
        .env("JWT_SECRET", "j-hunter2")
        .args(["--memory-max", "128Mi"])
        .data_dir(data.path())
        .start();
    // No token, no answer; and the port is the flag's, which wins over the file's.
    assert_eq!(get(&daemon, "/").status, 401);
    assert_ne!(daemon.addr().port(), 8080);
    assert!(daemon.addr().ip().is_unspecified(), "{}", daemon.addr());
    eventually("two instances, and health", || {
        let status = status(&data);
        let service = &status["plugins"][0];
        service["instances"]["idle"] == 2 && service["health"] == "healthy"
    });
    let status = status(&data);
    let names: Vec<&Value> = { status["plugins"].as_array().unwrap().iter() }
        .map(|plugin| &plugin["name"])
        .collect();
    assert_eq!(names, ["api-handler", "auth-plugin", "rate-limiter"]);
    assert_eq!(status["plugins"][0]["instances"]["max"], 10);
    let said = format!("{status} {} {}", daemon.log(), daemon.stdout());
    assert!(!said.contains("hunter2"), "{said}");
}

#[test]
fn what_the_device_knows_is_masked_wherever_it_is_said() {
    let text = greeting(0, "Bearer ${TOKEN}");
    let daemon = Daemon::of(bundle(&text))
        .env("TOKEN", "hunter2-of-this-device")
        .start();
    // The client who says it gets it back; the plugin writes the path into the log.
    let answer = get(&daemon, "/hunter2-of-this-device").text();
    assert_eq!(
        answer,
        "Bearer hunter2-of-this-device 1 of /hunter2-of-this-device\n"
    );
    daemon.wait_for_log("visit 1 of /");
    assert!(!daemon.log().contains("hunter2"), "{}", daemon.log());
}

#[test]
fn a_bundle_is_installed_served_updated_and_gone_back_from() {
    let data = TempDir::new();
    let [first, second] =
        [(1, "one"), (2, "two")].map(|(release, word)| bundle(&greeting(release, word)));
    let answers = |wanted: &str| {
        let daemon = serving(&data);
        let status = status(&data);
        assert_eq!(status["deployment"], "visits");
        assert_eq!(status["release"], status["generation"]);
        let answer = get(&daemon, "/a").text();
        assert_eq!(answer, wanted);
        assert_eq!(daemon.stop(), 0);
    };
    let said = install(&first, &data);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(
        said.stdout.contains("visits release 1 as generation 1"),
        "{said:?}"
    );
    let shown = verb(&["status"], &data);
    assert_eq!(shown.code, 1, "{shown:?}");
    let installed = "no daemon answers; installed is generation 1  visits release 1 (active)";
    assert!(shown.stdout.contains(installed), "{shown:?}");
    answers("one 1 of /a\n");
    // What it stored outlives the update.
    let said = install(&second, &data);
    assert!(
        said.stdout.contains("visits release 2 as generation 2"),
        "{said:?}"
    );
    answers("two 2 of /a\n");
    let shown = verb(&["generations"], &data);
    assert!(shown.stdout.contains("visits"), "{shown:?}");
    let said = verb(&["rollback"], &data);
    assert!(said.stdout.contains("generation 1"), "{said:?}");
    answers("one 3 of /a\n");
    // Back again: it ran here.
    let said = install(&second, &data);
    assert_eq!(said.code, 0, "{said:?}");
    answers("two 4 of /a\n");
    let said = verb(&["uninstall"], &data);
    assert_eq!(said.code, 0, "{said:?}");
    let daemon = serving(&data);
    assert_eq!(get(&daemon, "/a").status, 503);
    assert!(daemon.stdout().contains("nothing is installed"));
}

#[test]
fn an_older_release_and_the_same_one_with_other_content_are_refused() {
    let data = TempDir::new();
    assert_eq!(install(&bundle(&greeting(5, "five")), &data).code, 0);
    for (text, says) in [
        (greeting(4, "four"), "release 4 of 'visits' is older than 5"),
        (greeting(5, "other"), "raise `release`"),
    ] {
        let said = install(&bundle(&text), &data);
        assert_ne!(said.code, 0, "{said:?}");
        assert!(said.stderr.contains(says), "{said:?}");
    }
    let daemon = serving(&data);
    assert_eq!(get(&daemon, "/").text(), "five 1 of /\n");
}

#[test]
fn a_bundle_that_is_damaged_or_not_trusted_is_neither_served_nor_installed() {
    let good = fs::read(bundle(&greeting(0, "hello"))).unwrap();
    let folder = TempDir::new();
    let made = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    let changed = |at: usize| {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        bytes
    };
    let stranger = folder.path().join("stranger");
    let words = ["keygen", "--name", "other", "-o"].map(PathBuf::from);
    assert_eq!(precompile(words.iter().chain([&stranger])).code, 0);
    let signed_by = |key: Option<PathBuf>, name: &str| {
        let file = made("deployment.yaml", greeting(0, "hello").as_bytes());
        let path = folder.path().join(name);
        let mut words: Vec<PathBuf> = vec!["pack".into(), file];
        words.extend(["--target", target(), "-o"].map(PathBuf::from));
        words.push(path.clone());
        match key {
            Some(key) => words.extend(["--key".into(), key]),
            None => words.push("--unsigned".into()),
        }
        let said = precompile(words);
        assert_eq!(said.code, 0, "{said:?}");
        path
    };
    for (path, code) in [
        (made("text.zlb", b"hello, world\n"), 11),
        (made("empty.zlb", b""), 11),
        (made("short.zlb", &good[..40]), 12),
        (made("cut.zlb", &good[..good.len() - 1]), 12),
        (made("long.zlb", &[&good[..], b"x"].concat()), 12),
        (made("format.zlb", &changed(8)), 13),
        (made("signature.zlb", &changed(60)), 17),
        (made("blob.zlb", &changed(good.len() - 2000)), 18),
        (signed_by(None, "unsigned.zlb"), 15),
        (
            signed_by(Some(stranger.join("other.key")), "stranger.zlb"),
            16,
        ),
    ] {
        let data = TempDir::new();
        let said = install(&path, &data);
        assert_eq!(said.code, code, "{}: {said:?}", path.display());
        let shown = verb(&["generations"], &data);
        assert!(shown.stdout.contains("nothing is installed"), "{shown:?}");
        let said = Daemon::of(&path).fails();
        assert_eq!(said.code, code, "{}: {said:?}", path.display());
    }
}

#[test]
fn what_is_served_without_being_installed_leaves_nothing_of_others_behind() {
    let data = TempDir::new();
    let blobs = || {
        let folder = fs::read_dir(data.path().join("deployment/blobs"));
        folder.map_or(0, Iterator::count)
    };
    let serve = |builder: crate::support::Builder| {
        assert_eq!(builder.data_dir(data.path()).start().stop(), 0);
    };
    let other = |guest: &str| {
        let file = artifact(guest);
        bundle(&format!(
            "version: v1\ndeployment: other\nservices:\n  a: {{image: {}}}\n",
            file.display()
        ))
    };
    serve(Daemon::builder("hello"));
    assert!(data.path().join("artifact.cwasm").exists());
    serve(Daemon::of(other("hello")));
    assert!(!data.path().join("artifact.cwasm").exists());
    serve(Daemon::of(other("visit-counter")));
    assert_eq!(blobs(), 1);
    // What is installed stays, whatever else is served meanwhile.
    assert_eq!(install(&bundle(&greeting(0, "kept")), &data).code, 0);
    serve(Daemon::of(other("hello")));
    assert_eq!(blobs(), 2);
    let daemon = serving(&data);
    assert_eq!(get(&daemon, "/").text(), "kept 1 of /\n");
    drop(daemon);
    assert_eq!(verb(&["uninstall"], &data).code, 0);
    assert_eq!(blobs(), 0);
}

#[test]
fn a_deployment_is_compiled_and_served_where_the_compiler_is() {
    let folder = TempDir::new();
    let file = folder.path().join("deployment.yaml");
    let wasm = crate::support::guests().join("visit-counter.wasm");
    let text = greeting(0, "compiled").replace(
        &artifact("visit-counter").display().to_string(),
        &wasm.display().to_string(),
    );
    fs::write(&file, &text).unwrap();
    let start = || {
        Daemon::of(&file)
            .keys(None)
            .env("PATH", path_with_precompile())
    };
    let daemon = start().start();
    assert_eq!(get(&daemon, "/x").text(), "compiled 1 of /x\n");
    drop(daemon);
    // A slip of the pen is told with its place, and what was meant.
    fs::write(
        &file,
        text.replace("greeting:", "greeting: x\n    wams: {}\n    env2:"),
    )
    .unwrap();
    let said = start().fails();
    assert!(said.stderr.contains("deployment.yaml:9:5"), "{said:?}");
    assert!(said.stderr.contains("did you mean `wasm`"), "{said:?}");
}

#[test]
fn a_flag_wins_over_the_device_and_a_service_over_a_flag() {
    let text = greeting(0, "own") + "device: {port: 1, bind: 203.0.113.1, max_body: 10}\n";
    let daemon = Daemon::of(bundle(&text))
        .args([
            "--bind",
            "127.0.0.1",
            "--max-body",
            "1Mi",
            "--config",
            "greeting=usual",
        ])
        .start();
    let response = request(&daemon, "POST", "/", &[], &[b'x'; 100]);
    assert_eq!(response.text(), "own 1 of /\n");
    let text = greeting(0, "own") + "device: {max_body: 10}\n";
    let daemon = Daemon::of(bundle(&text)).start();
    assert_eq!(request(&daemon, "POST", "/", &[], &[b'x'; 100]).status, 413);
}

#[test]
fn what_a_device_would_refuse_is_refused_where_it_is_packed() {
    let folder = TempDir::new();
    let file = folder.path().join("deployment.yaml");
    let image = artifact("visit-counter").display().to_string();
    let refused = |service: &str| {
        let text = format!(
            "version: v1\ndeployment: d\nservices:\n  a:\n    image: {image}\n    {service}\n"
        );
        fs::write(&file, text).unwrap();
        let said = pack(&file, &folder.path().join("a.zlb"));
        assert_ne!(said.code, 0, "{said:?}");
        said.stderr
    };
    for (service, says) in [
        ("service_type: wasm_router", "service_type"),
        ("wasm: {roles: [router]}", "router"),
        ("wasm: {bodies: none}", "bodies"),
        ("wasm: {services: [b]}", "'b'"),
        ("env: [{name: key, value: hunter2, secret: true}]", "${"),
    ] {
        let told = refused(service);
        assert!(told.contains(says), "{service}: {told}");
        assert!(!told.contains("hunter2"), "{told}");
    }
}
