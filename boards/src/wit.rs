//! `cargo boards wit`: the WASI packages in `wit/deps`.
//!
//! The contract's worlds include WASI. Its WIT comes from the published crate
//! that the device links, so that the two cannot drift apart. Nobody copies it
//! by hand: [`generate`] reads it there and prints it here, and [`check`]
//! fails when what lies in `wit/deps` is anything else.
//!
//! Unstable items and comments are left out: the first because the device
//! does not offer them, the second because they are WASI's to publish.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use wit_component::WitPrinter;
use wit_parser::Resolve;

/// The crate that carries the WIT of `wasi:http` and of all that it needs.
const SOURCE_CRATE: &str = "wasmtime-wasi-http";

/// The WASI packages that the worlds of the contract reach.
const PACKAGES: [&str; 7] = [
    "cli",
    "clocks",
    "filesystem",
    "http",
    "io",
    "random",
    "sockets",
];

/// Writes `wit/deps` below `root`, one file for each WASI package, and removes
/// what else lies there.
pub(crate) fn generate(root: &Path) -> Result<()> {
    let wanted = render(root)?;
    let folder = deps_folder(root);
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    for name in present(&folder)?.into_keys() {
        if !wanted.contains_key(&name) {
            let stray = folder.join(&name);
            fs::remove_file(&stray).with_context(|| {
                format!(
                    "cannot remove {}, which does not belong there",
                    stray.display()
                )
            })?;
        }
    }
    for (name, text) in &wanted {
        let file = folder.join(name);
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
    }
    println!("wit: wrote {} WASI packages to wit/deps", wanted.len());
    Ok(())
}

/// Fails when `wit/deps` below `root` is not what [`generate`] would write.
pub(crate) fn check(root: &Path) -> Result<()> {
    let differences = compare(&render(root)?, &present(&deps_folder(root))?);
    ensure!(
        differences.is_empty(),
        "wit/deps is out of date: {}. Run `cargo boards wit` and commit the result",
        differences.join(", ")
    );
    println!("wit: wit/deps is up to date");
    Ok(())
}

fn deps_folder(root: &Path) -> PathBuf {
    root.join("wit").join("deps")
}

/// File name to text, as `wit/deps` ought to be.
fn render(root: &Path) -> Result<BTreeMap<String, String>> {
    let (version, source) = locate(root)?;
    let mut resolve = Resolve::default();
    resolve
        .push_dir(source.join("wit"))
        .with_context(|| format!("the WIT inside {SOURCE_CRATE} {version} does not parse"))?;

    let mut files = BTreeMap::new();
    for (name, &package) in &resolve.package_names {
        if name.namespace != "wasi" {
            continue;
        }
        ensure!(
            PACKAGES.contains(&name.name.as_str()),
            "{SOURCE_CRATE} {version} brings the package {name}, which is not known here: \
             add it to PACKAGES or leave it out on purpose"
        );
        let mut printer = WitPrinter::default();
        printer.emit_docs(false);
        printer
            .print(&resolve, package, &[])
            .with_context(|| format!("cannot print the package {name}"))?;
        let text = format!(
            "// From {SOURCE_CRATE} {version}, by `cargo boards wit`. Do not edit.\n{}\n",
            printer.output.to_string().trim_end()
        );
        files.insert(format!("{}.wit", name.name), text);
    }
    for package in PACKAGES {
        ensure!(
            files.contains_key(&format!("{package}.wit")),
            "{SOURCE_CRATE} {version} does not bring wasi:{package}: mend PACKAGES or the crate's version"
        );
    }
    Ok(files)
}

/// The version and the folder of [`SOURCE_CRATE`] as the workspace's lock file
/// pins it.
fn locate(root: &Path) -> Result<(String, PathBuf)> {
    // Cargo tells its own path to what it runs.
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args([
            "metadata",
            "--format-version",
            "1",
            "--locked",
            "--manifest-path",
        ])
        .arg(root.join("Cargo.toml"))
        .output()
        .context("cannot run cargo to look up the WASI crates")?;
    if !output.status.success() {
        bail!(
            "`cargo metadata` failed: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    let metadata: serde_json::Value =
        serde_json::from_slice(&output.stdout).context("`cargo metadata` did not print JSON")?;
    let packages = metadata["packages"]
        .as_array()
        .context("`cargo metadata` lists no packages")?;
    let found: Vec<_> = packages
        .iter()
        .filter(|package| package["name"] == SOURCE_CRATE)
        .collect();
    let [package] = found[..] else {
        bail!(
            "the workspace needs {SOURCE_CRATE} in exactly one version, but has it in {}",
            found.len()
        );
    };
    let version = package["version"]
        .as_str()
        .context("a package without a version")?;
    let manifest = package["manifest_path"]
        .as_str()
        .context("a package without a manifest")?;
    let folder = Path::new(manifest)
        .parent()
        .context("a manifest outside any folder")?;
    Ok((version.to_owned(), folder.to_owned()))
}

/// File name to text, as `wit/deps` is. A missing folder is an empty one.
fn present(folder: &Path) -> Result<BTreeMap<String, String>> {
    let mut files = BTreeMap::new();
    if !folder.exists() {
        return Ok(files);
    }
    let entries =
        fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    for entry in entries {
        let path = entry
            .with_context(|| format!("cannot read {}", folder.display()))?
            .path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        // Lossy: a file that is not text differs from the wanted one all the same.
        let bytes = fs::read(&path).with_context(|| {
            format!(
                "cannot read {}: only files belong into wit/deps",
                path.display()
            )
        })?;
        files.insert(name, String::from_utf8_lossy(&bytes).into_owned());
    }
    Ok(files)
}

/// What differs, a short phrase for each file.
fn compare(wanted: &BTreeMap<String, String>, present: &BTreeMap<String, String>) -> Vec<String> {
    let mut differences = Vec::new();
    for (name, text) in wanted {
        match present.get(name) {
            None => differences.push(format!("{name} is missing")),
            Some(found) if found != text => differences.push(format!("{name} differs")),
            Some(_) => {}
        }
    }
    let strays = present.keys().filter(|name| !wanted.contains_key(*name));
    differences.extend(strays.map(|name| format!("{name} does not belong there")));
    differences
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed test should panic")]

    use std::collections::BTreeSet;

    use super::*;
    use wit_parser::{PackageId, WorldItem, WorldKey};

    /// World, WASI worlds that it includes, host interfaces, exports.
    type Row = (
        &'static str,
        &'static [&'static str],
        &'static [&'static str],
        &'static str,
    );

    const CLI: &str = "cli";
    const HTTP: &str = "http";

    /// The contract's table of worlds. Plugins out there were built against it.
    const WORLDS: [Row; 9] = [
        (
            "zlayer-plugin",
            &[CLI, HTTP],
            &["config", "keyvalue", "logging", "secrets", "metrics"],
            "handler",
        ),
        (
            "zlayer-http-handler",
            &[HTTP],
            &["config", "keyvalue", "logging"],
            "wasi:http/incoming-handler",
        ),
        ("zlayer-transformer", &[CLI], &["logging"], "transformer"),
        (
            "zlayer-authenticator",
            &[HTTP],
            &["config", "keyvalue", "logging", "secrets"],
            "authenticator",
        ),
        (
            "zlayer-rate-limiter",
            &[CLI],
            &["config", "keyvalue", "logging", "metrics"],
            "rate-limiter",
        ),
        (
            "zlayer-middleware",
            &[HTTP],
            &["config", "logging"],
            "middleware",
        ),
        (
            "zlayer-router",
            &[HTTP],
            &["config", "keyvalue", "logging"],
            "router",
        ),
        (
            "zlayer-cache",
            &[],
            &["config", "keyvalue", "logging", "metrics"],
            "caching",
        ),
        (
            "zlayer-websocket",
            &[],
            &["config", "keyvalue", "logging", "secrets", "metrics"],
            "websocket",
        ),
    ];

    /// Interfaces without functions: they come along with whoever uses their types.
    const TYPES: [&str; 4] = ["common", "plugin-metadata", "request-types", "http-types"];

    fn root() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .unwrap()
            .to_owned()
    }

    fn contract() -> (Resolve, PackageId) {
        let mut resolve = Resolve::default();
        let (package, _) = resolve.push_dir(root().join("wit")).unwrap();
        (resolve, package)
    }

    fn wasi_world(resolve: &Resolve, package: &str) -> BTreeSet<String> {
        let (_, &id) = resolve
            .package_names
            .iter()
            .find(|(name, _)| name.namespace == "wasi" && name.name == package)
            .unwrap();
        let world = resolve.packages[id].worlds["imports"];
        names(resolve, &resolve.worlds[world].imports)
    }

    fn names<'a>(
        resolve: &Resolve,
        items: impl IntoIterator<Item = (&'a WorldKey, &'a WorldItem)>,
    ) -> BTreeSet<String> {
        items
            .into_iter()
            .map(|(key, _)| resolve.name_world_key(key))
            .collect()
    }

    fn zlayer(name: &str) -> String {
        format!("zlayer:plugin/{name}@0.1.0")
    }

    #[test]
    fn the_contract_encodes() {
        let (resolve, package) = contract();
        assert_eq!(
            resolve.packages[package].name.to_string(),
            "zlayer:plugin@0.1.0"
        );
        let bytes = wit_component::encode(&resolve, package).unwrap();
        assert!(matches!(
            wit_component::decode(&bytes).unwrap(),
            wit_component::DecodedWasm::WitPackage(..)
        ));
    }

    #[test]
    fn worlds_are_those_of_the_contract() {
        let (resolve, package) = contract();
        let worlds = &resolve.packages[package].worlds;
        let expected: BTreeSet<_> = WORLDS.iter().map(|row| row.0).collect();
        let found: BTreeSet<_> = worlds.keys().map(String::as_str).collect();
        assert_eq!(found, expected);

        for (name, wasi, host, export) in WORLDS {
            let world = &resolve.worlds[worlds[name]];
            let types: BTreeSet<_> = TYPES.iter().map(|name| zlayer(name)).collect();
            let found: BTreeSet<_> = names(&resolve, &world.imports)
                .difference(&types)
                .cloned()
                .collect();
            let mut expected: BTreeSet<_> = host.iter().map(|name| zlayer(name)).collect();
            for package in wasi {
                expected.extend(wasi_world(&resolve, package));
            }
            // What an exported interface takes its types from is imported too.
            if export.starts_with("wasi:http/") {
                assert!(
                    expected
                        .iter()
                        .any(|name| name.starts_with("wasi:http/types@"))
                );
            }
            assert_eq!(found, expected, "imports of {name}");

            let exports = names(&resolve, &world.exports);
            let expected = if export.starts_with("wasi:") {
                format!("{export}@")
            } else {
                zlayer(export)
            };
            assert_eq!(exports.len(), 1, "exports of {name}: {exports:?}");
            assert!(
                exports.iter().all(|found| found.starts_with(&expected)),
                "{name} exports {exports:?}"
            );
        }
    }

    #[test]
    fn type_interfaces_have_no_functions() {
        let (resolve, package) = contract();
        for (name, &id) in &resolve.packages[package].interfaces {
            let interface = &resolve.interfaces[id];
            assert_eq!(
                interface.functions.is_empty(),
                TYPES.contains(&name.as_str()),
                "{name}"
            );
        }
    }

    #[test]
    fn every_item_is_documented() {
        let (resolve, package) = contract();
        let package = &resolve.packages[package];
        assert!(package.docs.contents.is_some());
        for (name, &id) in &package.worlds {
            assert!(resolve.worlds[id].docs.contents.is_some(), "world {name}");
        }
        for (name, &id) in &package.interfaces {
            let interface = &resolve.interfaces[id];
            assert!(interface.docs.contents.is_some(), "interface {name}");
            for (function, item) in &interface.functions {
                assert!(item.docs.contents.is_some(), "{name}.{function}");
            }
            for (ty, &id) in &interface.types {
                // A type taken over by `use` is documented where it is defined.
                let used = matches!(
                    resolve.types[id].kind,
                    wit_parser::TypeDefKind::Type(wit_parser::Type::Id(_))
                );
                assert!(
                    used || resolve.types[id].docs.contents.is_some(),
                    "{name}.{ty}"
                );
            }
        }
    }

    #[test]
    fn deps_are_what_would_be_generated() {
        check(&root()).unwrap();
    }

    #[test]
    fn differences_are_told_file_by_file() {
        let map = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs
                .iter()
                .map(|(name, text)| (name.to_string(), text.to_string()))
                .collect()
        };
        let wanted = map(&[("cli.wit", "a"), ("http.wit", "b"), ("io.wit", "c")]);
        assert!(compare(&wanted, &wanted).is_empty());
        let present = map(&[("cli.wit", "a"), ("http.wit", "x"), ("notes.txt", "n")]);
        assert_eq!(
            compare(&wanted, &present),
            [
                "http.wit differs",
                "io.wit is missing",
                "notes.txt does not belong there"
            ]
        );
    }
}
