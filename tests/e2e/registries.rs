//! Registries, through `zlayer`: what it has the build host's tool do, and the page about them.
//!
//! What the tool itself makes of registries is tested beside it.

#[path = "../../precompile/tests/precompile/registry/server.rs"]
mod server;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cli::path_with_precompile;
use crate::support::{
    Daemon, Output, PATIENCE, TempDir, get, guests, private_home, run, skipped, under_qemu,
    zlayer_command,
};
use server::DockerRegistry;

/// Lets registries on this machine do without TLS.
const PLAIN: (&str, &str) = ("ZLAYER_REGISTRY_PLAIN_HTTP", "1");

/// A real registry, or `None` and one line where there is no program for it.
fn registry(folder: &TempDir) -> Option<DockerRegistry> {
    let name = "docker-registry";
    let path = std::env::var_os("PATH").unwrap_or_default();
    let tools = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("tools/debian");
    let unpacked = fs::read_dir(tools).into_iter().flatten().flatten();
    let unpacked = unpacked.map(|one| one.path().join(name).join("usr/bin"));
    let folders: Vec<PathBuf> = std::env::split_paths(&path).chain(unpacked).collect();
    let mut programs = folders.into_iter().map(|folder| folder.join(name));
    match programs.find(|program| program.is_file()) {
        Some(program) => {
            let store = folder.path().join("registry");
            Some(DockerRegistry::start(&program, &store, None))
        }
        None => {
            skipped("there is no docker-registry (`cargo boards test` fetches it)");
            None
        }
    }
}

/// `zlayer wasm ...` in a folder, where `zlayer-precompile` is on PATH.
fn wasm(folder: &TempDir, words: &[&str]) -> Output {
    let mut command = zlayer_command();
    private_home(&mut command, folder.path());
    command.arg("wasm").args(words).current_dir(folder.path());
    command
        .env("PATH", path_with_precompile())
        .env(PLAIN.0, PLAIN.1);
    run(command, PATIENCE)
}

/// A folder with a plugin `web.wasm`, which answers with its name.
fn folder() -> TempDir {
    let folder = TempDir::new();
    fs::copy(guests().join("hello.wasm"), folder.path().join("web.wasm")).unwrap();
    folder
}

#[test]
fn a_plugin_is_pushed_as_the_guide_says_and_served_from_where_it_is() {
    let folder = folder();
    let Some(registry) = registry(&folder) else {
        return;
    };
    let place = format!("{}/myorg/web:v1", registry.address);
    let pushed = wasm(&folder, &["push", "web.wasm", &place]);
    assert_eq!(pushed.code, 0, "{pushed:?}");
    let pulled = wasm(&folder, &["pull", &place, "-o", "back.wasm"]);
    assert_eq!(pulled.code, 0, "{pulled:?}");
    let read = |name: &str| fs::read(folder.path().join(name)).unwrap();
    assert_eq!(read("back.wasm"), read("web.wasm"));

    let file = folder.path().join("deployment.yaml");
    let text = format!("version: v1\ndeployment: app\nservices:\n  web:\n    image: {place}\n");
    fs::write(&file, text).unwrap();
    let daemon = Daemon::of(&file)
        .keys(None)
        .env("PATH", path_with_precompile())
        .env(PLAIN.0, PLAIN.1)
        .start();
    let answer = get(&daemon, "/");
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[test]
fn a_plugin_is_exported_as_a_layout() {
    let folder = folder();
    let words = [
        "export", "web.wasm", "--name", "myapp:v1", "--output", "oci-dir",
    ];
    let exported = wasm(&folder, &words);
    assert_eq!(exported.code, 0, "{exported:?}");
    let index = fs::read_to_string(folder.path().join("oci-dir/index.json")).unwrap();
    assert!(index.contains("myapp:v1"), "{index}");
    let nameless = wasm(&folder, &["export", "web.wasm"]);
    assert_eq!(nameless.code, 2, "{nameless:?}");
    let alone = wasm(&folder, &["push"]);
    assert_eq!(alone.code, 2, "{alone:?}");
}

#[test]
fn a_deployment_whose_image_cannot_be_had_says_why() {
    let folder = folder();
    let Some(registry) = registry(&folder) else {
        return;
    };
    let file = folder.path().join("deployment.yaml");
    let image = format!("{}/myorg/web:v1", registry.address);
    let text = format!("version: v1\ndeployment: app\nservices:\n  web:\n    image: {image}\n");
    fs::write(&file, text).unwrap();
    let told = Daemon::of(&file)
        .keys(None)
        .env("PATH", path_with_precompile())
        .env(PLAIN.0, PLAIN.1)
        .fails();
    assert_eq!(told.code, 1, "{told:?}");
    let wanted = format!("{image} is not there (404)");
    assert!(told.stderr.contains(&wanted), "{told:?}");
}

#[test]
fn the_page_does_what_it_says() {
    if under_qemu() {
        return skipped("a shell calls `zlayer` by its name, natively");
    }
    let folder = folder();
    let Some(registry) = registry(&folder) else {
        return;
    };
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let page = fs::read_to_string(root.join("docs/registries.md")).unwrap();
    let (mut script, mut is_script) = (String::new(), false);
    for line in page.lines() {
        match line {
            "```sh" => is_script = true,
            "```" => is_script = false,
            line if is_script => script += &format!("{line}\n"),
            _ => {}
        }
    }
    // The page's registry is this one, and its deployment stands in the page, too.
    let shown = "R=localhost:5000\n";
    assert!(script.contains(shown), "{script}");
    let script = script.replace(shown, &format!("R={}\n", registry.address));
    let mut command = Command::new("bash");
    private_home(&mut command, folder.path());
    let script = format!("set -euo pipefail\n{script}");
    command.args(["-c", &script]).current_dir(folder.path());
    command.env("PATH", path_with_programs());
    let output = run(command, PATIENCE);
    assert_eq!(output.code, 0, "{script}\n{output:?}");
    for name in ["back.wasm", "app.aarch64.zlb", "web-oci/index.json"] {
        assert!(folder.path().join(name).is_file(), "{name}: {output:?}");
    }
}

/// PATH with `zlayer` and `zlayer-precompile` in front.
fn path_with_programs() -> std::ffi::OsString {
    let program = zlayer_command().get_program().to_owned();
    let own = Path::new(&program).parent().unwrap().to_owned();
    let others = path_with_precompile();
    std::env::join_paths(std::iter::once(own).chain(std::env::split_paths(&others))).unwrap()
}
