//! `cargo boards guests`: builds the plugins below `tests/guests` and `examples`.
//!
//! Every one of them becomes the component `target/guests/NAME.wasm`, every WIT file
//! in `tests/guests/bad` becomes `target/guests/bad/NAME.wasm`, and a few are
//! crafted of others (`guests/crafted.rs`). A toolchain
//! with the target `wasm32-wasip2` builds components by itself. Where rustup
//! cannot fetch that target, Debian's Rust builds the standard library from
//! source for `wasm32-unknown-unknown` and the modules are wrapped here. Both
//! ways give the same plugins as long as a guest asks WASI through bindings
//! and not through the standard library.

mod crafted;

use std::env::consts::EXE_SUFFIX;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use wit_component::{ComponentEncoder, StringEncoding};
use wit_parser::{ManglingAndAbi, Resolve};

const DEBIAN_CARGO: &str = "/usr/bin/cargo";
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";

/// The folders of plugins, each a workspace of its own. Both are built into one folder by name.
const WORKSPACES: [&str; 2] = ["examples", "tests/guests"];

/// What a cargo that runs us leaves in the environment, and what would bend
/// another cargo's build.
const INHERITED: [&str; 9] = [
    "CARGO",
    "CARGO_BUILD_TARGET",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_TARGET_DIR",
    "LD_LIBRARY_PATH",
    "RUSTC",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTC_WRAPPER",
    "RUSTFLAGS",
];

/// How the guests are compiled on this machine.
#[derive(Debug, PartialEq)]
enum Way {
    /// The host toolchain has `wasm32-wasip2`: its linker writes components.
    Wasip2,
    /// Debian's Rust with the standard library's source, and this linker.
    BuildStd {
        /// An LLVM linker that knows WebAssembly.
        linker: PathBuf,
    },
}

/// Builds every guest and prints where they are.
pub(crate) fn main(root: &Path) -> Result<()> {
    let guests = build(root)?;
    for guest in &guests {
        let size = fs::metadata(guest)
            .with_context(|| format!("cannot look at {}", guest.display()))?
            .len();
        println!(
            "{:>9}  {}",
            size,
            guest.strip_prefix(root).unwrap_or(guest).display()
        );
    }
    Ok(())
}

/// Builds every guest below `root` and answers the components' paths, sorted.
pub(crate) fn build(root: &Path) -> Result<Vec<PathBuf>> {
    let way = Way::find(root)?;
    println!("guests: building {way}");
    let output = root.join("target").join("guests");
    fs::create_dir_all(output.join("bad"))
        .with_context(|| format!("cannot make the folder {}", output.display()))?;

    let (mut components, mut made) = (Vec::new(), Vec::new());
    for workspace in WORKSPACES {
        for (name, module) in compile(root, workspace, &way)? {
            let bytes =
                fs::read(&module).with_context(|| format!("cannot read {}", module.display()))?;
            let component = match way {
                Way::Wasip2 => bytes,
                Way::BuildStd { .. } => {
                    wrap(&bytes).with_context(|| format!("the guest {name} is no plugin"))?
                }
            };
            let path = output.join(format!("{name}.wasm"));
            ensure!(
                !components.contains(&path),
                "two plugins are called {name}; the second is in {workspace}"
            );
            components.push(write(path, &component)?);
            made.push((name, component));
        }
    }
    for (name, component) in crafted::all(&made)? {
        components.push(write(output.join(format!("{name}.wasm")), &component)?);
    }
    for source in bad_sources(root)? {
        let component =
            hollow(&source).with_context(|| format!("cannot build {}", source.display()))?;
        let name = source.with_extension("wasm");
        let name = name.file_name().context("a WIT file without a name")?;
        components.push(write(output.join("bad").join(name), &component)?);
    }
    components.sort();
    Ok(components)
}

impl Way {
    fn find(root: &Path) -> Result<Self> {
        let libraries = printed(
            root,
            &["--print", "target-libdir", "--target", "wasm32-wasip2"],
        );
        if libraries.is_some_and(|folder| Path::new(&folder).is_dir()) {
            return Ok(Self::Wasip2);
        }
        ensure!(
            Path::new(DEBIAN_CARGO).exists() && Path::new(DEBIAN_RUSTC).exists(),
            "nothing here can build WebAssembly: neither has rustup the target wasm32-wasip2 \
             nor are Debian's rustc-web, cargo-web and rust-web-src installed. `cargo boards setup` installs either"
        );
        let linker = linker(root).context(
            "no linker for WebAssembly: neither is rust-lld in the host toolchain nor is lld installed. \
             `apt-get install lld` mends it",
        )?;
        Ok(Self::BuildStd { linker })
    }

    /// The cargo call up to its flags, in the folder of the guests.
    fn cargo(&self, guests: &Path) -> Command {
        let mut command = match self {
            Self::Wasip2 => Command::new("cargo"),
            Self::BuildStd { .. } => Command::new(DEBIAN_CARGO),
        };
        command.current_dir(guests);
        for name in INHERITED {
            command.env_remove(name);
        }
        match self {
            Self::Wasip2 => {
                command.args(["build", "--target", "wasm32-wasip2"]);
            }
            Self::BuildStd { linker } => {
                // The flag is for nightly compilers; Debian's is the same code.
                command
                    .env("RUSTC_BOOTSTRAP", "1")
                    .env("RUSTC", DEBIAN_RUSTC);
                command.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker);
                command.args([
                    "build",
                    "--target",
                    "wasm32-unknown-unknown",
                    "-Zbuild-std=std,panic_abort",
                ]);
            }
        }
        command
    }
}

impl std::fmt::Display for Way {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Wasip2 => f.write_str("with the toolchain's target wasm32-wasip2"),
            Self::BuildStd { linker } => write!(
                f,
                "with Debian's Rust and -Zbuild-std for wasm32-unknown-unknown, linked by {}, \
                 because the toolchain lacks wasm32-wasip2",
                linker.file_name().unwrap_or_default().display()
            ),
        }
    }
}

/// Runs cargo in the folder `workspace` and answers each plugin's name and the file that came of it.
fn compile(root: &Path, workspace: &str, way: &Way) -> Result<Vec<(String, PathBuf)>> {
    let output = way
        .cargo(&root.join(workspace))
        .args([
            "--release",
            "--locked",
            "--workspace",
            "--lib",
            "--examples",
            "--message-format",
            "json-render-diagnostics",
        ])
        .arg("--target-dir")
        .arg(root.join("target").join("guests-build"))
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run cargo")?;
    ensure!(
        output.status.success(),
        "the plugins in {workspace} do not build: see cargo's message above"
    );
    let messages =
        String::from_utf8(output.stdout).context("cargo printed something that is not UTF-8")?;
    artifacts(&messages)
}

/// Name and `.wasm` file of every artifact in cargo's messages: a package is named after itself, and
/// an `[[example]]`, of which a package may have several, after its target.
fn artifacts(messages: &str) -> Result<Vec<(String, PathBuf)>> {
    let mut found = Vec::new();
    for line in messages.lines() {
        let message: serde_json::Value =
            serde_json::from_str(line).context("cargo printed a line that is not JSON")?;
        if message["reason"] != "compiler-artifact" {
            continue;
        }
        let files = message["filenames"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|file| file.as_str());
        let Some(file) = files.into_iter().find(|file| file.ends_with(".wasm")) else {
            continue;
        };
        let name = match message["target"]["kind"][0].as_str() {
            Some("example") => message["target"]["name"].as_str().map(str::to_owned),
            // A library has underscores for hyphens; its manifest's folder has the package's name.
            _ => message["manifest_path"]
                .as_str()
                .and_then(|manifest| Path::new(manifest).parent()?.file_name())
                .map(|folder| folder.to_string_lossy().into_owned()),
        };
        let name = name.with_context(|| format!("cargo gave {file} no name"))?;
        found.push((name, PathBuf::from(file)));
    }
    ensure!(!found.is_empty(), "cargo built no guest");
    Ok(found)
}

/// A component from a core module that carries its own type.
fn wrap(module: &[u8]) -> Result<Vec<u8>> {
    ComponentEncoder::default()
        .module(module)?
        .validate(true)
        .encode()
}

/// A component with the only world of the WIT file `source` as its type, whose
/// functions all trap.
fn hollow(source: &Path) -> Result<Vec<u8>> {
    let mut resolve = Resolve::default();
    let package = resolve.push_file(source)?;
    let world = resolve.select_world(&[package], None)?;
    let mut module = wit_component::dummy_module(&resolve, world, ManglingAndAbi::Standard32);
    wit_component::embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)?;
    wrap(&module)
}

/// The WIT files of plugins that must be refused, sorted.
fn bad_sources(root: &Path) -> Result<Vec<PathBuf>> {
    let folder = root.join("tests").join("guests").join("bad");
    let mut sources = Vec::new();
    for entry in
        fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?
    {
        let path = entry
            .with_context(|| format!("cannot read {}", folder.display()))?
            .path();
        if path.extension().is_some_and(|extension| extension == "wit") {
            sources.push(path);
        }
    }
    sources.sort();
    Ok(sources)
}

/// Writes by way of a second file, so that whoever polls for it sees it whole.
fn write(path: PathBuf, bytes: &[u8]) -> Result<PathBuf> {
    let new = path.with_extension("new");
    fs::write(&new, bytes).with_context(|| format!("cannot write {}", new.display()))?;
    fs::rename(&new, &path).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

/// The first linker that knows WebAssembly: the host toolchain's, else LLVM's.
fn linker(root: &Path) -> Option<PathBuf> {
    let file = format!("rust-lld{EXE_SUFFIX}");
    let own = printed(root, &["--print", "target-libdir"]).and_then(|libraries| {
        let linker = Path::new(&libraries).parent()?.join("bin").join(&file);
        linker.exists().then_some(linker)
    });
    own.or_else(|| {
        let folders = std::env::var_os("PATH")?;
        let candidates = std::env::split_paths(&folders).map(|folder| folder.join("lld"));
        candidates.into_iter().find(|linker| linker.exists())
    })
}

/// What the host toolchain's compiler prints, or none when it has no answer.
fn printed(root: &Path, arguments: &[&str]) -> Option<String> {
    let mut command = Command::new("rustc");
    for name in INHERITED {
        command.env_remove(name);
    }
    let output = command.current_dir(root).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    (output.status.success() && !text.trim().is_empty()).then(|| text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed test should panic")]

    use super::*;

    #[test]
    fn artifacts_are_named_after_their_package_and_examples_after_themselves() {
        let messages = concat!(
            r#"{"reason":"compiler-artifact","manifest_path":"/r/support/Cargo.toml","filenames":["/t/libsupport.rlib"]}"#,
            "\n",
            r#"{"reason":"compiler-artifact","manifest_path":"/r/full-plugin/Cargo.toml","target":{"kind":["cdylib"],"name":"full_plugin"},"filenames":["/t/full_plugin.wasm"]}"#,
            "\n",
            r#"{"reason":"compiler-artifact","manifest_path":"/r/stages/Cargo.toml","target":{"kind":["example"],"name":"stage-auth"},"filenames":["/t/examples/stage_auth.wasm"]}"#,
            "\n",
            r#"{"reason":"build-finished","success":true}"#,
            "\n",
        );
        let expected = [
            ("full-plugin", "/t/full_plugin.wasm"),
            ("stage-auth", "/t/examples/stage_auth.wasm"),
        ]
        .map(|(name, file)| (name.to_owned(), PathBuf::from(file)));
        assert_eq!(artifacts(messages).unwrap(), expected);
    }

    #[test]
    fn a_build_without_guests_is_an_error() {
        assert!(artifacts("{\"reason\":\"build-finished\"}").is_err());
        assert!(artifacts("Compiling hello").is_err());
    }

    #[test]
    fn build_std_uses_debians_compiler_alone() {
        let command = Way::BuildStd {
            linker: PathBuf::from("/x/rust-lld"),
        }
        .cargo(Path::new("/r"));
        assert_eq!(command.get_program(), DEBIAN_CARGO);
        let value = |name: &str| {
            command
                .get_envs()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| value)
        };
        assert_eq!(value("RUSTC"), Some(Some(DEBIAN_RUSTC.as_ref())));
        assert_eq!(value("LD_LIBRARY_PATH"), Some(None));
        assert_eq!(
            value("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER"),
            Some(Some("/x/rust-lld".as_ref()))
        );
    }

    #[test]
    fn bad_plugins_are_components() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let sources = bad_sources(root).unwrap();
        assert!(!sources.is_empty());
        for source in sources {
            let component = hollow(&source).unwrap();
            assert!(matches!(
                wit_component::decode(&component).unwrap(),
                wit_component::DecodedWasm::Component(..)
            ));
        }
    }
}
