//! What is put into a machine: the daemon, plugins compiled for it, the key that they are signed with.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::Workspace;
use crate::byte_size::megabytes;
use crate::command::Cmd;
use crate::debian_package;
use crate::emulated::{Boot, Emulated, Model, PROGRAM, Placed};
use crate::target::{BuildTarget, DEVICE_PROFILE, Target};

/// The plugins that machines are given.
const PLUGINS: [&str; 5] = ["hello", "counter", "hostile", "hostile-plugin", "tables"];

/// Where plugins lie in a machine.
const FOLDER: &str = "/plugins";

/// Everything that was built, and a folder for what a run makes.
pub(super) struct Parts {
    workspace: Workspace,
    folder: PathBuf,
}

impl Parts {
    /// Compiles the plugins for these targets.
    ///
    /// # Errors
    ///
    /// Something is not built yet: the error says all that is missing, and what builds it.
    pub(super) fn find(workspace: &Workspace, targets: &[Target]) -> Result<Parts> {
        let parts = Parts {
            workspace: workspace.clone(),
            folder: workspace.target_dir.join("machines"),
        };
        let mut wanted: Vec<(PathBuf, String)> = targets
            .iter()
            .map(|target| {
                let build = format!("cargo boards build --target {target}");
                (parts.daemon(*target), build)
            })
            .collect();
        wanted.push((
            workspace.precompile(),
            "cargo build --release -p zlayer-precompile".to_owned(),
        ));
        wanted.extend(PLUGINS.map(|plugin| {
            let file = workspace.guests().join(format!("{plugin}.wasm"));
            (file, "cargo boards guests".to_owned())
        }));
        let missing: Vec<String> = wanted
            .iter()
            .filter(|(path, _)| !path.is_file())
            .map(|(path, build)| format!("{} is not there: `{build}` builds it", path.display()))
            .collect();
        if !missing.is_empty() {
            bail!("{}", missing.join("\n"));
        }
        parts.compile(targets)?;
        Ok(parts)
    }

    fn daemon(&self, target: Target) -> PathBuf {
        target.binary(&self.workspace.target_dir, DEVICE_PROFILE)
    }

    /// Makes a key of this run, and compiles and signs each plugin.
    fn compile(&self, targets: &[Target]) -> Result<()> {
        fs::create_dir_all(&self.folder)
            .with_context(|| format!("cannot make {}", self.folder.display()))?;
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let program = text(&self.workspace.precompile());
        let root = &self.workspace.root;
        let key = self.folder.join("machine.key");
        if !key.is_file() {
            Cmd::new(&program, "keygen --name machine -o")
                .arg(text(&self.folder))
                .run(root)?;
        }
        let names: Vec<&str> = targets.iter().map(|target| target.name()).collect();
        for plugin in PLUGINS {
            Cmd::new(&program, "build --target")
                .arg(names.join(","))
                .arg("--key")
                .arg(text(&key))
                .arg("-o")
                .arg(text(&self.folder))
                .arg(text(
                    &self.workspace.guests().join(format!("{plugin}.wasm")),
                ))
                .run(root)?;
        }
        Ok(())
    }

    /// Boots a machine with all of it.
    pub(super) fn boot(&self, model: Model, boot: Boot) -> Result<Emulated> {
        let mut files = vec![
            Placed {
                path: PROGRAM.to_owned(),
                source: self.daemon(model.target),
                is_program: true,
            },
            Placed {
                path: "/etc/zlayer/keys/machine.pub".to_owned(),
                source: self.folder.join("machine.pub"),
                is_program: false,
            },
        ];
        files.extend(PLUGINS.map(|plugin| {
            let file = format!("{plugin}.{}.cwasm", model.target);
            Placed {
                path: format!("{FOLDER}/{plugin}.cwasm"),
                source: self.folder.join(file),
                is_program: false,
            }
        }));
        let packages = debian_package::folder(&self.workspace);
        Emulated::boot(model, boot, &files, &packages, &self.folder.join("disks"))
            .with_context(|| model.to_string())
    }

    /// What is measured.
    pub(super) fn describe(&self, target: Target) -> Result<String> {
        let binary = self.daemon(target);
        let size = fs::metadata(&binary)
            .with_context(|| format!("cannot look at {}", binary.display()))?
            .len();
        Ok(format!("zlayer for {target} ({})", megabytes(size)))
    }
}

/// The emulator with its version, as it tells both.
pub(super) fn emulator(root: &Path) -> Option<String> {
    let text = Cmd::new("qemu-system-arm", "--version").output(root)?;
    version(&text).map(|version| format!("QEMU {version}"))
}

/// The version in `QEMU emulator version 7.2.22 (Debian …)`.
fn version(text: &str) -> Option<&str> {
    let (_, rest) = text.lines().next()?.split_once(" version ")?;
    rest.split_whitespace().next()
}

/// The flag for a plugin.
pub(super) fn plugin(name: &str) -> String {
    format!("--wasm {FOLDER}/{name}.cwasm")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_emulators_version_is_read_without_what_a_distribution_adds() {
        let text = "QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7)\nCopyright (c) 2003-2022\n";
        assert_eq!(version(text), Some("7.2.22"));
        assert_eq!(version(""), None);
    }

    #[test]
    fn what_is_not_built_is_named_with_what_builds_it() {
        let error = Parts::find(&Workspace::example(), &[Target::Armv7]);
        let error = error
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default();
        for part in [
            "cargo boards build --target armv7",
            "cargo build --release -p zlayer-precompile",
            "r/target/guests/hostile.wasm is not there: `cargo boards guests` builds it",
        ] {
            assert!(error.contains(part), "{part} in {error}");
        }
    }
}
