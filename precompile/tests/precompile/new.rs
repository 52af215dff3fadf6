//! `new`: what it makes builds, and passes the test that it brings along.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use zlayer_bundle::Role;

use crate::support::{Run, TempDir};

/// Every file below `folder`, by its path there.
fn tree(folder: &Path) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.strip_prefix(folder).unwrap().to_str().unwrap();
            files.insert(name.to_owned(), fs::read_to_string(&path).unwrap());
        }
    }
    files
}

/// Makes a plugin called `my-plugin` in a folder of its own.
fn make(role: Role, language: &str) -> (TempDir, PathBuf) {
    let dir = TempDir::new();
    let words = [
        "new",
        "my-plugin",
        "--role",
        role.name(),
        "--lang",
        language,
    ];
    Run::new(&dir, &words).expect(0);
    let folder = dir.path().join("my-plugin");
    (dir, folder)
}

fn assert_success(what: &str, output: &Output) {
    assert!(
        output.status.success(),
        "{what}\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn a_plugin_is_whole_and_says_how_to_go_on() {
    for (language, own) in [
        (
            "rust",
            &["Cargo.toml", "src/lib.rs", "wit/rust/src/double.rs"][..],
        ),
        (
            "js",
            &[
                "package.json",
                "src/main.js",
                "src/plugin.js",
                "test/plugin.test.js",
            ],
        ),
        ("python", &["app.py", "host_double.py", "test_app.py"]),
    ] {
        for role in Role::ALL {
            let (_dir, folder) = make(role, language);
            let files = tree(&folder);
            let contract = zlayer_precompile::contract_files();
            let wanted = own.iter().copied().chain(contract.map(|(path, _)| path));
            for path in wanted.chain(["README.md", ".gitignore"]) {
                let text = files.get(path).map_or("", String::as_str);
                assert!(!text.is_empty(), "{role} in {language} has no {path}");
            }
            for (path, text) in &files {
                for mark in ["@NAME@", "@FILE@", "@ROLE@", "@WORLD@", "\n=====\n"] {
                    assert!(
                        !text.contains(mark),
                        "{mark} in {path} of {role} in {language}"
                    );
                }
            }
            let readme = &files["README.md"];
            assert!(readme.starts_with("# my-plugin\n"), "{readme}");
        }
    }
}

#[test]
fn a_program_is_told_what_was_made() {
    let dir = TempDir::new();
    let words = ["new", "gate", "--role=authenticator", "-o", "a/b", "--json"];
    let told = Run::new(&dir, &words).expect(0).json();
    assert_eq!(told["folder"], "a/b/gate");
    assert_eq!(
        (&told["role"], &told["language"]),
        (&"authenticator".into(), &"rust".into())
    );
    assert_eq!(told["commands"][1], "cargo test");
    let files = told["files"].as_array().unwrap();
    assert_eq!(files.len(), tree(&dir.path().join("a/b/gate")).len());
}

#[test]
fn nothing_is_overwritten() {
    let (dir, folder) = make(Role::Cache, "rust");
    fs::write(folder.join("src/lib.rs"), "mine").unwrap();
    let words = ["new", "my-plugin", "--role", "router"];
    let run = Run::new(&dir, &words).expect(1);
    assert!(
        run.stderr.contains("my-plugin: it is there already"),
        "{}",
        run.stderr
    );
    assert_eq!(
        fs::read_to_string(folder.join("src/lib.rs")).unwrap(),
        "mine"
    );
}

#[test]
fn what_is_no_name_role_or_language_is_refused_and_nothing_is_made() {
    let dir = TempDir::new();
    for (words, part) in [
        (
            &["new", "../up", "--role", "router"][..],
            "no name for a plugin",
        ),
        (
            &["new", "My_Plugin", "--role", "router"],
            "no name for a plugin",
        ),
        (&["new", "fn", "--role", "router"], "word of Rust"),
        (&["new", "gate", "--role", "guard"], "guard"),
        (
            &["new", "gate", "--role", "router", "--lang", "cobol"],
            "rust, js, python",
        ),
        (&["new", "gate"], "--role"),
        (&["new"], "name"),
    ] {
        let run = Run::new(&dir, words).expect(2);
        assert!(run.stderr.contains(part), "{part} in {}", run.stderr);
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

/// What is built for other plugins lies here, for the host and for WebAssembly: only the plugin itself and
/// the crate that it uses are left to build.
fn target(name: &str) -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    target.join(name)
}

/// Cargo in the plugin's folder.
fn cargo(folder: &Path, words: &[&str], target_dir: &Path) -> Output {
    let mut command = Command::new("cargo");
    command.args(words).current_dir(folder);
    command.arg("--target-dir").arg(target_dir);
    for name in [
        "CARGO_ENCODED_RUSTFLAGS",
        "RUSTFLAGS",
        "CARGO_BUILD_TARGET",
        "RUSTC_WRAPPER",
    ] {
        command.env_remove(name);
    }
    command.output().unwrap()
}

/// All roles in one folder, one after the other: but for the plugin's own source they are the same, and
/// what they have in common is built once.
#[test]
fn every_rust_plugin_passes_its_test_and_is_a_plugin_of_its_role() {
    let (_first, folder) = make(Role::Handler, "rust");
    let common = tree(&folder);
    // Always the same path, so that cargo finds what it built the last time.
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("new-plugin");
    let _ = fs::remove_dir_all(&place);
    for (path, text) in &common {
        let path = place.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    fs::copy(root.join("wit/rust/Cargo.lock"), place.join("Cargo.lock")).unwrap();
    for role in Role::ALL {
        let (dir, folder) = make(role, "rust");
        let mut own = tree(&folder);
        fs::write(place.join("src/lib.rs"), &own["src/lib.rs"]).unwrap();
        for file in ["src/lib.rs", "README.md", "Cargo.toml"] {
            own.remove(file);
        }
        assert!(
            own.iter().all(|(path, text)| common[path] == *text),
            "{role}"
        );
        let tested = cargo(&place, &["test"], &target("guests-host"));
        assert_success(role.name(), &tested);
        if !has_wasm() {
            println!("skipped: the toolchain has no wasm32-wasip2, so {role} was not built for it");
            continue;
        }
        let words = ["build", "--release", "--target", "wasm32-wasip2"];
        let components = target("guests-build");
        assert_success(role.name(), &cargo(&place, &words, &components));
        let built = components.join("wasm32-wasip2/release/my_plugin.wasm");
        let run = Run::new(&dir, &["validate", built.to_str().unwrap(), "--json"]).expect(0);
        assert_eq!(run.json()["roles"], serde_json::json!([role.name()]));
    }
}

/// Whether the toolchain can build plugins.
fn has_wasm() -> bool {
    let words = ["--print", "target-libdir", "--target", "wasm32-wasip2"];
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let asked = Command::new("rustc").args(words).current_dir(root).output();
    asked.is_ok_and(|output| {
        let folder = String::from_utf8_lossy(&output.stdout);
        output.status.success() && Path::new(folder.trim()).is_dir()
    })
}

/// Runs the test of a plugin of each role, where this machine has what runs it.
fn each_role_passes(language: &str, program: &str, words: &[&str]) {
    if Command::new(program).arg("--version").output().is_err() {
        println!("skipped: there is no {program} here");
        return;
    }
    for role in Role::ALL {
        let (_dir, folder) = make(role, language);
        let output = Command::new(program)
            .args(words)
            .current_dir(folder)
            .output();
        assert_success(role.name(), &output.unwrap());
    }
}

#[test]
fn every_javascript_plugin_passes_its_test() {
    each_role_passes("js", "node", &["--test"]);
}

#[test]
fn every_python_plugin_passes_its_test() {
    each_role_passes("python", "python3", &["-m", "unittest"]);
}
