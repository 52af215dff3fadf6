//! Landlock: which folders the daemon may use at all, whatever the modes of files say.
//!
//! Descriptors that are open stay as they are, and code may be mapped through them: nothing here is
//! about plugins that are mapped. Programs cannot be started, since no folder allows it.

use std::fs;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset,
    RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};

use super::Needs;

/// The rights that are spoken about: those of Linux 6.10 (version 5). Older kernels know fewer, and
/// whichever they know are held.
const KNOWN: ABI = ABI::V5;

/// Folders in which files are read. Whole folders, since certificates and what services tell are
/// replaced by new files of the same name.
const READ: &[&str] = &[
    "/etc",
    // What the process and the machine take and have: status, memory, control groups.
    "/proc",
    "/sys",
    "/run/systemd/resolve",
    "/run/systemd/timesync",
    "/run/resolvconf",
    "/run/NetworkManager",
    "/run/connman",
    // Where the links of /etc/ssl/certs lead on Debian and on SUSE.
    "/usr/share/ca-certificates",
    "/usr/local/share/ca-certificates",
    "/var/lib/ca-certificates",
];
/// What names are looked up by. Whoever runs the network replaces them, and where the root is read-only
/// they are links: into `/run` (Buildroot, Yocto) or `/tmp` (OpenWrt), to a file that may not be there yet.
const NAMES: &[&str] = &["/etc/resolv.conf", "/etc/hosts"];
/// How many links in a row are followed to a file. OpenWrt has two, and certificates may have as many.
const LINKS: usize = 8;
/// Files that a library may want to read or write at any time.
const DEVICES: &[&str] = &["/dev/null", "/dev/urandom"];

/// Gives up all files but those that `needs` names. Fails with the reason where the kernel cannot.
pub(super) fn restrict(needs: &Needs<'_>) -> Result<(), String> {
    let all = AccessFs::from_all(KNOWN);
    let ruleset = Ruleset::default()
        // Without it, which came in Linux 5.19, nothing could be moved from one folder to another,
        // as the store does with a damaged database.
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::Refer)
        .map(|ruleset| ruleset.set_compatibility(CompatLevel::BestEffort));
    let ruleset = ruleset.map_err(|_| "this kernel has none of 5.19 or later".to_owned())?;
    let restricted = ruleset
        .handle_access(all)
        .and_then(|ruleset| ruleset.scope(Scope::Signal | Scope::AbstractUnixSocket))
        .and_then(Ruleset::create)
        .and_then(|created| allow(created, needs))
        .and_then(RulesetCreated::restrict_self);
    match restricted {
        Ok(status) if status.ruleset == RulesetStatus::NotEnforced => {
            Err("this kernel has none of 5.19 or later".to_owned())
        }
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

fn allow(created: RulesetCreated, needs: &Needs<'_>) -> Result<RulesetCreated, RulesetError> {
    // No device is ever made, nor anything started that lies there.
    let never = AccessFs::Execute | AccessFs::MakeBlock | AccessFs::MakeChar | AccessFs::IoctlDev;
    let anything = AccessFs::from_all(KNOWN) & !never;
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let mut created = one(created, needs.data, anything)?;
    for path in READ {
        created = one(created, Path::new(path), read)?;
    }
    for path in DEVICES {
        created = one(
            created,
            Path::new(path),
            AccessFs::ReadFile | AccessFs::WriteFile,
        )?;
    }
    let names = NAMES.iter().map(Path::new);
    for file in names.chain(needs.read.iter().map(PathBuf::as_path)) {
        let folders = folders_of(file).into_iter();
        for folder in folders.filter(|folder| !READ.iter().any(|read| folder == Path::new(read))) {
            created = one(created, &folder, read)?;
        }
    }
    if let Some(above) = needs.data.parent().filter(|_| needs.is_temporary) {
        // Folders that are empty, that is.
        created = one(created, above, AccessFs::RemoveDir.into())?;
    }
    Ok(created)
}

/// The folders of a file, for whoever renews it: its own, and where it is a link, those on the way to what
/// it stands for, whether or not that is there by now.
fn folders_of(file: &Path) -> Vec<PathBuf> {
    let mut file = file.to_owned();
    let mut folders = Vec::new();
    while let Some(folder) = file.parent().map(Path::to_owned) {
        let next = fs::read_link(&file).map(|target| folder.join(target));
        folders.push(folder);
        match next {
            Ok(next) if folders.len() <= LINKS => file = next,
            _ => break,
        }
    }
    folders
}

/// Adds one rule. What is not there needs none.
fn one(
    created: RulesetCreated,
    path: &Path,
    access: BitFlags<AccessFs>,
) -> Result<RulesetCreated, RulesetError> {
    // A relative path without folders stands for one in the current folder.
    let path = match path.as_os_str().is_empty() {
        true => Path::new("."),
        false => path,
    };
    match PathFd::new(path) {
        Ok(opened) => created.add_rule(PathBeneath::new(opened, access)),
        Err(_) => Ok(created),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::data_dir::temporary_folder;

    #[test]
    fn links_are_followed_to_where_a_file_will_be() {
        let root = temporary_folder().unwrap();
        let below = |path: &str| root.join(path);
        fs::create_dir_all(below("etc")).unwrap();
        // As OpenWrt has it, before the network is up.
        symlink("../tmp/resolv.conf", below("etc/resolv.conf")).unwrap();
        fs::create_dir_all(below("tmp")).unwrap();
        let automatic = below("tmp/resolv.conf.d/resolv.conf.auto");
        symlink(&automatic, below("tmp/resolv.conf")).unwrap();
        assert_eq!(
            folders_of(&below("etc/resolv.conf")),
            [
                below("etc"),
                below("etc/../tmp"),
                below("tmp/resolv.conf.d")
            ]
        );
        symlink("circle", below("circle")).unwrap();
        assert_eq!(folders_of(&below("circle")).len(), LINKS + 1);
        assert_eq!(folders_of(Path::new("roots.pem")), [Path::new("")]);
        fs::remove_dir_all(&root).unwrap();
    }
}
