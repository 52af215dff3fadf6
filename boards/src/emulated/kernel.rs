//! What a machine boots, from Debian: a kernel with its modules and device trees, and the tools of a
//! system in one program.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::debian_package::{unpacked, unpacked_behind};
use crate::target::Target;

/// A kernel as its package has it.
pub(super) struct Kernel {
    /// The file that a boot loader loads.
    pub(super) image: PathBuf,
    /// The folder of its modules.
    pub(super) modules: PathBuf,
    /// The folder of device trees, which may have folders of its own.
    pub(super) trees: PathBuf,
}

impl Kernel {
    /// Debian's for this target; fetched below `under` unless it is there.
    pub(super) fn fetch(target: Target, under: &Path) -> Result<Kernel> {
        let package = match target {
            Target::X86_64 => "linux-image-amd64",
            Target::Aarch64 => "linux-image-arm64",
            Target::Armv7 => "linux-image-armmp",
        };
        let folder = unpacked_behind(target, package, "linux-image-", under)?;
        Ok(Kernel {
            image: only(&folder.join("boot"), "vmlinuz-")?,
            modules: only(&folder.join("lib/modules"), "")?,
            trees: only(&folder.join("usr/lib"), "linux-image-")?,
        })
    }

    /// The device tree of this file name.
    pub(super) fn tree(&self, name: &str) -> Result<PathBuf> {
        // Those for 64 bits lie in a folder of their maker's name.
        let places = [
            self.trees.join(name),
            self.trees.join("broadcom").join(name),
        ];
        let found = places.into_iter().find(|path| path.is_file());
        found.with_context(|| format!("{} has no {name}", self.trees.display()))
    }
}

/// The program that is all the tools of a small system, linked statically.
pub(super) fn busybox(target: Target, under: &Path) -> Result<PathBuf> {
    let folder = unpacked(target, "busybox-static", under)?;
    // Where it is depends on the release: /bin has become a part of /usr.
    let places = ["bin/busybox", "usr/bin/busybox"].map(|path| folder.join(path));
    let found = places.into_iter().find(|path| path.is_file());
    found.with_context(|| format!("{} has no busybox", folder.display()))
}

/// The one entry of a folder that begins with `start`.
fn only(folder: &Path, start: &str) -> Result<PathBuf> {
    let entries =
        fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut found = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            let name = path.file_name().unwrap_or_default();
            name.to_string_lossy().starts_with(start)
        });
    match (found.next(), found.next()) {
        (Some(path), None) => Ok(path),
        (first, _) => anyhow::bail!(
            "{} has {} entries {start}*",
            folder.display(),
            if first.is_some() { "several" } else { "no" }
        ),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;

    #[test]
    fn one_entry_is_found_and_none_or_two_are_errors() {
        let folder =
            std::env::temp_dir().join(format!("zlayer-boards-kernel-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("config-1"), "").unwrap();
        let none = only(&folder, "vmlinuz-").unwrap_err().to_string();
        fs::write(folder.join("vmlinuz-1"), "").unwrap();
        let one = only(&folder, "vmlinuz-");
        fs::write(folder.join("vmlinuz-2"), "").unwrap();
        let two = only(&folder, "vmlinuz-").unwrap_err().to_string();
        fs::remove_dir_all(&folder).unwrap();
        assert!(none.contains("no entries"), "{none}");
        assert!(one.unwrap().ends_with("vmlinuz-1"));
        assert!(two.contains("several entries"), "{two}");
    }
}
