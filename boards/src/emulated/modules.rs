//! The kernel's modules: which files a machine loads to see its disks and its network, and in which
//! order.
//!
//! `depmod` writes what depends on what when a kernel is installed. One that was only unpacked has no such
//! list, but each module names what it needs in its section `.modinfo`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

/// The modules that lie in a folder, and those that are part of the kernel's own file.
pub(super) struct Modules {
    files: BTreeMap<String, PathBuf>,
    built_in: BTreeSet<String>,
}

/// A module to load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Module {
    /// As `lsmod` prints it.
    pub(super) name: String,
    /// Its file's content, not compressed.
    pub(super) content: Vec<u8>,
}

impl Modules {
    /// Those in `folder`, which is `lib/modules/VERSION` of the kernel's package.
    pub(super) fn read(folder: &Path) -> Result<Modules> {
        let list = folder.join("modules.builtin");
        let list =
            fs::read_to_string(&list).with_context(|| format!("cannot read {}", list.display()))?;
        let mut modules = Modules {
            files: BTreeMap::new(),
            built_in: list
                .lines()
                .filter_map(|line| name(Path::new(line)))
                .collect(),
        };
        modules.add(folder)?;
        Ok(modules)
    }

    fn add(&mut self, folder: &Path) -> Result<()> {
        let read = || format!("cannot read {}", folder.display());
        for entry in fs::read_dir(folder).with_context(read)? {
            let entry = entry.with_context(read)?;
            let path = entry.path();
            if entry.file_type().with_context(read)?.is_dir() {
                self.add(&path)?;
            } else if let Some(name) = name(&path) {
                self.files.insert(name, path);
            }
        }
        Ok(())
    }

    /// The modules of these names and all that they depend on, each behind those that it needs. One that
    /// is part of the kernel is not to be loaded.
    ///
    /// # Errors
    ///
    /// There is no such module.
    pub(super) fn with_dependencies(&self, names: &[&str]) -> Result<Vec<Module>> {
        let mut found = Vec::new();
        for name in names {
            self.collect(name, &mut Vec::new(), &mut found)?;
        }
        Ok(found)
    }

    /// Whether the kernel has it, in its own file or beside it.
    pub(super) fn has(&self, name: &str) -> bool {
        self.files.contains_key(name) || self.built_in.contains(name)
    }

    /// `above` are those that are waiting for this one.
    fn collect(&self, name: &str, above: &mut Vec<String>, found: &mut Vec<Module>) -> Result<()> {
        let is_there = found.iter().any(|module| module.name == name);
        if is_there || self.built_in.contains(name) {
            return Ok(());
        }
        let Some(path) = self.files.get(name) else {
            bail!("the kernel has no module {name}");
        };
        ensure!(
            !above.iter().any(|other| other == name),
            "the module {name} depends on itself"
        );
        let content = content(path)?;
        above.push(name.to_owned());
        for dependency in dependencies(&content) {
            self.collect(&dependency, above, found)?;
        }
        above.pop();
        found.push(Module {
            name: name.to_owned(),
            content,
        });
        Ok(())
    }
}

/// What a module of this file is called: `-` and `_` are the same to the kernel, which shows `_`.
fn name(path: &Path) -> Option<String> {
    let file = path.file_name()?.to_str()?;
    let stem = file
        .strip_suffix(".ko")
        .or_else(|| file.strip_suffix(".ko.xz"))?;
    Some(stem.replace('-', "_"))
}

/// The content of a module's file. Debian 13 compresses them, 12 does not.
fn content(path: &Path) -> Result<Vec<u8>> {
    if path.extension().is_none_or(|extension| extension != "xz") {
        return fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    }
    let output = Command::new("xz")
        .arg("-dc")
        .arg(path)
        .stdin(Stdio::null())
        .output()
        .context("cannot start `xz` (Debian package xz-utils)")?;
    ensure!(
        output.status.success(),
        "`xz -dc {}` ended with {}: {}",
        path.display(),
        output.status,
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(output.stdout)
}

/// The names in a module's `depends=`. They stand in a section of texts that each end with a zero byte,
/// where the licence, which every module has, comes before.
fn dependencies(content: &[u8]) -> Vec<String> {
    const FIELD: &[u8] = b"\0depends=";
    let start = content.windows(FIELD.len()).position(|part| part == FIELD);
    let Some(start) = start else {
        return Vec::new();
    };
    let text = &content[start + FIELD.len()..];
    let end = text.iter().position(|byte| *byte == 0);
    let text = String::from_utf8_lossy(&text[..end.unwrap_or(text.len())]);
    let names = text.split(',').filter(|name| !name.is_empty());
    names.map(|name| name.replace('-', "_")).collect()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;

    /// A kernel's folder that goes with the test: modules and what each depends on.
    struct Kernel(PathBuf);

    impl Kernel {
        fn new(test: &str, modules: &[(&str, &str)], built_in: &str) -> Kernel {
            let name = format!("zlayer-boards-modules-{test}-{}", std::process::id());
            let folder = std::env::temp_dir().join(name);
            let inner = folder.join("kernel/drivers/net");
            fs::create_dir_all(&inner).unwrap();
            fs::write(folder.join("modules.builtin"), built_in).unwrap();
            for (name, depends) in modules {
                let text = format!("code\0license=GPL\0depends={depends}\0name={name}\0");
                fs::write(inner.join(format!("{name}.ko")), text).unwrap();
            }
            Kernel(folder)
        }

        fn order(&self, names: &[&str]) -> Result<String> {
            let found = Modules::read(&self.0)?.with_dependencies(names)?;
            let names: Vec<&str> = found.iter().map(|module| module.name.as_str()).collect();
            Ok(names.join(" "))
        }
    }

    impl Drop for Kernel {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn each_module_comes_once_and_behind_what_it_needs() {
        let modules = [
            ("virtio-net", "net-failover,virtio_ring"),
            ("net_failover", "failover"),
            ("failover", ""),
            ("virtio_blk", "virtio_ring"),
            ("virtio_ring", ""),
        ];
        let kernel = Kernel::new("order", &modules, "kernel/fs/ext4/ext4.ko\n");
        assert_eq!(
            kernel.order(&["virtio_net", "virtio_blk", "ext4"]).unwrap(),
            "failover net_failover virtio_ring virtio_net virtio_blk"
        );
        let modules = Modules::read(&kernel.0).unwrap();
        assert!(modules.has("ext4") && modules.has("failover") && !modules.has("xfs"));
    }

    #[test]
    fn a_module_that_is_not_there_is_named() {
        let kernel = Kernel::new("gone", &[("a", "b")], "");
        let error = kernel.order(&["a"]).unwrap_err().to_string();
        assert_eq!(error, "the kernel has no module b");
    }

    #[test]
    fn a_circle_ends() {
        let kernel = Kernel::new("circle", &[("a", "b"), ("b", "a")], "");
        let error = kernel.order(&["a"]).unwrap_err().to_string();
        assert_eq!(error, "the module a depends on itself");
    }

    #[test]
    fn names_are_the_kernels_whatever_the_file_is_called() {
        let of = |path: &str| name(Path::new(path));
        assert_eq!(
            of("kernel/net/net-failover.ko").as_deref(),
            Some("net_failover")
        );
        assert_eq!(of("ext4.ko.xz").as_deref(), Some("ext4"));
        assert_eq!(of("modules.order"), None);
    }

    #[test]
    fn a_module_without_dependencies_has_none() {
        assert!(dependencies(b"a\0license=GPL\0depends=\0x=1\0").is_empty());
        assert!(dependencies(b"no section").is_empty());
        assert_eq!(dependencies(b"\0depends=a,b-c\0"), ["a", "b_c"]);
    }
}
