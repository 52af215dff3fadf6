//! Disks: file systems in files, made without being root.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::command::Cmd;

/// What `init.sh` and those who speak to it call: the tools of busybox by their names.
const TOOLS: [&str; 27] = [
    "cat", "df", "dmesg", "env", "false", "findfs", "grep", "head", "ifconfig", "kill", "ls",
    "mount", "nc", "nproc", "poweroff", "rm", "route", "seq", "sh", "sleep", "stty", "sync",
    "tail", "timeout", "true", "uname", "usleep",
];

/// Folders that are there to be mounted on, or written to.
const FOLDERS: [&str; 7] = ["proc", "sys", "dev", "run", "data", "bin", "sbin"];

/// The system that runs the shell.
const INIT: &str = include_str!("init.sh");

/// A file of the machine's system.
pub(crate) struct Placed {
    /// Where it lies there.
    pub(crate) path: String,
    /// Where it is here.
    pub(crate) source: PathBuf,
    pub(crate) is_program: bool,
}

/// A disk with the machine's system: busybox, and these files. `folder` is where it is put together.
pub(super) fn system(
    image: &Path,
    megabytes: u32,
    folder: &Path,
    busybox: &Path,
    files: &[Placed],
) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("cannot remove {}", folder.display()));
        }
        _ => {}
    }
    for name in FOLDERS {
        make_folder(&folder.join(name))?;
    }
    put(busybox, &folder.join("bin/busybox"), true)?;
    for tool in TOOLS {
        let link = folder.join("bin").join(tool);
        symlink("busybox", &link).with_context(|| format!("cannot make {}", link.display()))?;
    }
    let init = folder.join("sbin/init");
    fs::write(&init, INIT).with_context(|| format!("cannot write {}", init.display()))?;
    set_mode(&init, true)?;
    for file in files {
        let to = folder.join(file.path.trim_start_matches('/'));
        if let Some(parent) = to.parent() {
            make_folder(parent)?;
        }
        put(&file.source, &to, file.is_program)?;
    }
    format(image, megabytes, "zlayer-root", Some(folder))
}

/// A disk with nothing on it.
pub(super) fn empty(image: &Path, megabytes: u32) -> Result<()> {
    format(image, megabytes, "zlayer-data", None)
}

fn format(image: &Path, megabytes: u32, label: &str, content: Option<&Path>) -> Result<()> {
    // New each time: what an earlier run left must not be on it.
    let file = File::create(image).with_context(|| format!("cannot make {}", image.display()))?;
    file.set_len(u64::from(megabytes) << 20)
        .with_context(|| format!("cannot make {} larger", image.display()))?;
    let mut cmd = Cmd::new(mke2fs(), "-q -F -t ext4 -E root_owner=0:0 -L").arg(label);
    if let Some(folder) = content {
        cmd = cmd.arg("-d").arg(folder.to_string_lossy());
    }
    let cmd = cmd.arg(image.to_string_lossy());
    let output = cmd.process().output().context(
        "cannot start `mke2fs` (Debian package e2fsprogs; `cargo boards setup` installs it)",
    )?;
    anyhow::ensure!(
        output.status.success(),
        "`{cmd}` ended with {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}

/// Where the program is: not all users have that folder on their path.
pub(crate) fn mke2fs() -> String {
    let places = ["/usr/sbin/mke2fs", "/sbin/mke2fs"];
    let found = places.into_iter().find(|path| Path::new(path).is_file());
    found.unwrap_or("mke2fs").to_owned()
}

fn make_folder(path: &Path) -> Result<()> {
    fs::create_dir_all(path).with_context(|| format!("cannot make {}", path.display()))
}

fn put(source: &Path, to: &Path, is_program: bool) -> Result<()> {
    fs::copy(source, to)
        .with_context(|| format!("cannot copy {} to {}", source.display(), to.display()))?;
    set_mode(to, is_program)
}

fn set_mode(path: &Path, is_program: bool) -> Result<()> {
    let mode = if is_program { 0o755 } else { 0o644 };
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
        .with_context(|| format!("cannot set the mode of {}", path.display()))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;

    /// Where ext4 has its magic number and the disk's label, from the start of the disk.
    const MAGIC_AT: u64 = 1024 + 0x38;
    const LABEL_AT: u64 = 1024 + 0x78;

    fn bytes(image: &Path, at: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        let file = File::open(image).unwrap();
        file.read_exact_at(&mut bytes, at).unwrap();
        bytes
    }

    #[test]
    fn disks_are_made_with_their_labels_and_files() {
        if Cmd::new(mke2fs(), "-V").process().output().is_err() {
            println!("skipped: no mke2fs here");
            return;
        }
        let name = format!("zlayer-boards-disk-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).unwrap();
        let source = folder.join("program");
        fs::write(&source, "content").unwrap();
        let files = [Placed {
            path: "/usr/bin/program".to_owned(),
            source: source.clone(),
            is_program: true,
        }];
        let image = folder.join("system.ext4");
        let made = system(&image, 8, &folder.join("system"), &source, &files);
        let magic = bytes(&image, MAGIC_AT, 2);
        let label = bytes(&image, LABEL_AT, 16);
        let mode = folder.join("system/usr/bin/program").metadata();
        let size = image.metadata().unwrap().len();
        fs::remove_dir_all(&folder).unwrap();
        made.unwrap();
        assert_eq!(magic, [0x53, 0xef]);
        assert!(label.starts_with(b"zlayer-root\0"), "{label:?}");
        assert_eq!(mode.unwrap().permissions().mode() & 0o777, 0o755);
        assert_eq!(size, 8 << 20);
    }
}
