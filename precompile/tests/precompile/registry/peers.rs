//! Tools of others: what we push they pull, and what they push we pull.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{folder, plain, read, real_registry, run, skipped, tool};
use crate::support::{Run, TempDir};

/// Runs a tool to its end, with a home of its own.
fn peer(program: &Path, dir: &TempDir, words: &[&str]) {
    let output = Command::new(program)
        .args(words)
        .current_dir(dir.path())
        .env("HOME", dir.path())
        .env_remove("http_proxy")
        .env_remove("HTTP_PROXY")
        .output()
        .unwrap();
    let said = [&output.stdout[..], &output.stderr].concat();
    assert!(
        output.status.success(),
        "{} {words:?}: {}",
        program.display(),
        String::from_utf8_lossy(&said)
    );
}

fn skopeo() -> Option<PathBuf> {
    let found = tool("skopeo", "bin");
    if found.is_none() {
        skipped("there is no skopeo (`cargo boards setup` installs it)");
    }
    found
}

/// `skopeo copy` between places that need no TLS, whatever the machine's own policy says.
fn copy(skopeo: &Path, dir: &TempDir, from: &str, to: &str) {
    let words = [
        "--insecure-policy",
        "copy",
        "--all",
        "--src-tls-verify=false",
        "--dest-tls-verify=false",
        from,
        to,
    ];
    peer(skopeo, dir, &words);
}

#[test]
fn skopeo_carries_components_artifacts_and_bundles_there_and_back() {
    let Some(skopeo) = skopeo() else { return };
    let dir = folder();
    let Some(registry) = real_registry(&dir, None) else {
        return;
    };
    Run::new(
        &dir,
        &["build", "web.wasm", "--target", "x86_64,aarch64,armv7"],
    )
    .expect(0);
    let deployment = "version: v1\ndeployment: app\nservices:\n  web:\n    image: ./web.wasm\n";
    dir.file("deployment.yaml", deployment);
    Run::new(&dir, &["pack", "deployment.yaml", "--target", "armv7"]).expect(0);
    let compiled = ["web.x86_64.cwasm", "web.aarch64.cwasm", "web.armv7.cwasm"];
    for (name, files, expected) in [
        ("component", &["web.wasm"][..], "web.wasm"),
        ("compiled", &compiled, "web.armv7.cwasm"),
        ("bundle", &["app.armv7.zlb"], "app.armv7.zlb"),
    ] {
        let place = |way: &str| format!("{}/{way}/{name}:v1", registry.address);
        let ours = place("ours");
        plain(&dir, &[&["push"], files, &[ours.as_str()]].concat()).expect(0);
        // Into a folder, which is where its own copy is read from.
        let layout = format!("oci:{name}:v1");
        copy(&skopeo, &dir, &format!("docker://{ours}"), &layout);
        let theirs = place("theirs");
        copy(&skopeo, &dir, &layout, &format!("docker://{theirs}"));
        plain(&dir, &["pull", &theirs, "--target", "armv7", "-o", "back"]).expect(0);
        assert_eq!(read(&dir, "back"), read(&dir, expected), "{name}");
    }
}

#[test]
fn skopeo_pushes_what_export_writes() {
    let Some(skopeo) = skopeo() else { return };
    let dir = folder();
    let Some(registry) = real_registry(&dir, None) else {
        return;
    };
    let name = "ghcr.io/myorg/web:v1";
    let words = ["export", "web.wasm", "--name", name, "-o", "out", "--json"];
    let exported = run(&dir, &words, &[]).expect(0).json();
    let place = format!("{}/exported/web:v1", registry.address);
    copy(
        &skopeo,
        &dir,
        &format!("oci:out:{name}"),
        &format!("docker://{place}"),
    );
    let pulled = plain(&dir, &["pull", &place, "-o", "back.wasm", "--json"])
        .expect(0)
        .json();
    assert_eq!(pulled["digest"], exported["digest"]);
    assert_eq!(read(&dir, "back.wasm"), read(&dir, "web.wasm"));
}

#[test]
fn wkg_pulls_what_is_pushed_and_pushes_what_is_pulled() {
    let Some(wkg) = tool("wkg", "bin") else {
        skipped(
            "there is no wkg (`cargo boards setup` installs it where crates.io can be reached)",
        );
        return;
    };
    let dir = folder();
    let Some(registry) = real_registry(&dir, None) else {
        return;
    };
    let address = registry.address.as_str();
    let ours = format!("{address}/ours/web:v1");
    plain(&dir, &["push", "web.wasm", &ours]).expect(0);
    let words = [
        "oci",
        "pull",
        "--insecure",
        address,
        "-o",
        "theirs.wasm",
        &ours,
    ];
    peer(&wkg, &dir, &words);
    assert_eq!(read(&dir, "theirs.wasm"), read(&dir, "web.wasm"));
    let theirs = format!("{address}/theirs/web:v1");
    peer(
        &wkg,
        &dir,
        &["oci", "push", "--insecure", address, &theirs, "web.wasm"],
    );
    plain(&dir, &["pull", &theirs, "-o", "back.wasm"]).expect(0);
    assert_eq!(read(&dir, "back.wasm"), read(&dir, "web.wasm"));
}
