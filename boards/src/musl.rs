//! The C library that device binaries are linked with: musl, which a static program carries whole.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::Workspace;
use crate::command::Cmd;
use crate::debian_package;
use crate::machine::Machine;
use crate::target::{BuildTarget, Target};

/// Debian's package with the library, its headers and the files that a program starts with.
const PACKAGE: &str = "musl-dev";

/// musl as one folder: `libc.a`, the files that a program begins and ends with, and `libunwind.a`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Musl {
    /// The folder.
    pub(crate) folder: PathBuf,
    /// Its start code knows relative relocations in their short form: musl 1.2.4 and newer.
    pub(crate) relr: bool,
}

impl Musl {
    /// rustup's, which comes with a target's standard library, is the newer one: taken where it is.
    /// It has none for 32-bit ARM, and not every machine has rustup: there it is Debian's, unpacked
    /// under the target folder.
    pub(crate) fn find(target: Target, machine: &Machine, workspace: &Workspace) -> Result<Musl> {
        let triple = target.triple();
        if machine.rustup_targets.contains(triple)
            && let Some(folder) = of_rustup(triple, &workspace.root)
        {
            return Ok(Musl { folder, relr: true });
        }
        let unpacked =
            debian_package::unpacked(target, PACKAGE, &debian_package::folder(workspace))?;
        let folder = unpacked.join("usr/lib").join(debian_name(target));
        ensure!(
            folder.join("rcrt1.o").is_file(),
            "Debian's {PACKAGE} for {target} has no {}/rcrt1.o",
            folder.display()
        );
        // The standard library names it. Nobody unwinds here: an archive of nothing does.
        let unwind = folder.join("libunwind.a");
        fs::write(&unwind, "!<arch>\n")
            .with_context(|| format!("cannot write {}", unwind.display()))?;
        Ok(Musl {
            folder,
            relr: false,
        })
    }
}

fn of_rustup(triple: &str, root: &Path) -> Option<PathBuf> {
    let libraries = Cmd::new("rustc", &format!("--print target-libdir --target {triple}"));
    let folder = Path::new(libraries.output(root)?.trim()).join("self-contained");
    folder.join("rcrt1.o").is_file().then_some(folder)
}

/// Debian's name for what is linked with musl on this processor.
fn debian_name(target: Target) -> &'static str {
    match target {
        Target::X86_64 => "x86_64-linux-musl",
        Target::Aarch64 => "aarch64-linux-musl",
        Target::Armv7 => "arm-linux-musleabihf",
    }
}
