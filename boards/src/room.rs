//! Whether the disk has room for a run: a build that fills it ends with whatever error the compiler, the
//! linker or a test makes of that, an hour later.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::byte_size::megabytes;
use crate::command::Cmd;
use crate::target::{BuildTarget, Target};

/// Bytes that the target folder takes at most in a full run. One was measured to leave 9.1 GB, 1.2 GB
/// of it incremental state that is not written any more; 0.6 GB are Arm kernels for whole machines, 0.9 GB
/// what programs of others are built in, which goes again, and the rest is for code to come.
pub(crate) const FULL_RUN: u64 = 10_500_000_000;

/// The same for a quick run, which has no device builds: 1.1 to 1.4 GB each, and 0.8 GB for the host.
pub(crate) const QUICK_RUN: u64 = 5_000_000_000;

/// Bytes that are written even where everything was built before: what has changed is built anew
/// beside it.
const LEAST: u64 = 2_000_000_000;

/// Below this many free bytes a full run clears away what a device build leaves behind.
const TIGHT: u64 = 20_000_000_000;

/// The disk that holds the target folder, as a run finds it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Room {
    /// The target folder; it need not be there yet.
    folder: PathBuf,
    /// Bytes on its disk that may be written.
    free: u64,
    /// Bytes that the folder holds already: a run finds them built, or overwrites them.
    held: u64,
}

impl Room {
    /// Asks `df` and `du`, which every system with a compiler has.
    pub(crate) fn of(target_dir: &Path) -> Result<Room> {
        let exists = |folder: &&Path| folder.is_dir();
        let there = target_dir
            .ancestors()
            .find(exists)
            .with_context(|| format!("no folder above {} exists", target_dir.display()))?;
        let ask = |program: &str, flags: &str| {
            let path = there.to_string_lossy();
            Cmd::new(program, flags)
                .arg(path)
                .output(Path::new("."))
                .with_context(|| format!("`{program} {flags} {}` failed", there.display()))
        };
        let text = ask("df", "-Pk")?;
        let free = free_of(&text).with_context(|| format!("`df -Pk` printed:\n{text}"))?;
        let held = match there == target_dir {
            true => held_of(&ask("du", "-sk")?).context("`du -sk` printed no number")?,
            false => 0,
        };
        Ok(Room {
            folder: target_dir.to_owned(),
            free,
            held,
        })
    }

    /// Fails when a run that takes `run` bytes in all would fill the disk.
    pub(crate) fn check(&self, run: u64) -> Result<()> {
        let needed = run.saturating_sub(self.held).max(LEAST);
        ensure!(
            self.free >= needed,
            "this run needs {} more on the disk of {}, which has {} free: make room there (`cargo clean` \
             gives back the {} that older builds hold), or set CARGO_TARGET_DIR to a folder on a larger disk",
            megabytes(needed),
            self.folder.display(),
            megabytes(self.free),
            megabytes(self.held),
        );
        Ok(())
    }

    /// Whether space is worth more than the minutes that the next device build would save by finding
    /// its parts built.
    pub(crate) fn is_tight(&self) -> bool {
        self.free < TIGHT
    }
}

/// Removes all that cargo keeps of a target's build but the binary: nothing else looks at it, and three
/// targets' would lie there until the end.
pub(crate) fn clear(target: Target, profile: &str, target_dir: &Path) -> Result<()> {
    let binary = target.binary(target_dir, profile);
    let folder = binary.parent().unwrap_or(target_dir);
    // Without `.fingerprint` cargo knows nothing of a build, and begins anew.
    for name in [".fingerprint", "build", "deps"] {
        let path = folder.join(name);
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("cannot remove {}", path.display()));
            }
            _ => {}
        }
    }
    Ok(())
}

/// The free bytes in what `df -Pk` prints: POSIX fixes the columns, and a heading above them.
fn free_of(text: &str) -> Option<u64> {
    let line = text.lines().nth(1)?;
    // The name in front may hold spaces, and so may the mount point behind: the share of the disk that is
    // used, the one word with a percent sign, stands behind the free space.
    let words: Vec<&str> = line.split_whitespace().collect();
    let share = words.iter().position(|word| is_share(word))?;
    kibibytes(words.get(share.checked_sub(1)?)?)
}

/// The bytes in what `du -sk` prints.
fn held_of(text: &str) -> Option<u64> {
    kibibytes(text.split_whitespace().next()?)
}

fn kibibytes(word: &str) -> Option<u64> {
    word.parse::<u64>().ok()?.checked_mul(1024)
}

fn is_share(word: &str) -> bool {
    let digits = word.strip_suffix('%').unwrap_or_default();
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;
    use crate::target::DEVICE_PROFILE;

    fn room(free: u64, held: u64) -> Room {
        Room {
            folder: "/t".into(),
            free,
            held,
        }
    }

    #[test]
    fn a_full_disk_is_named_before_anything_is_built() {
        assert!(room(FULL_RUN, 0).check(FULL_RUN).is_ok());
        let error = room(3_000_000_000, 1_500_000_000).check(FULL_RUN);
        assert_eq!(
            error.unwrap_err().to_string(),
            "this run needs 9000.00 MB more on the disk of /t, which has 3000.00 MB free: make room there \
             (`cargo clean` gives back the 1500.00 MB that older builds hold), or set CARGO_TARGET_DIR to a \
             folder on a larger disk"
        );
    }

    #[test]
    fn what_is_built_already_needs_no_second_place_but_some() {
        assert!(room(FULL_RUN - 10, 10).check(FULL_RUN).is_ok());
        assert!(room(FULL_RUN - 11, 10).check(FULL_RUN).is_err());
        assert!(room(LEAST, 2 * FULL_RUN).check(FULL_RUN).is_ok());
        assert!(room(LEAST - 1, 2 * FULL_RUN).check(FULL_RUN).is_err());
    }

    #[test]
    fn dfs_columns_are_found_beside_names_with_spaces() {
        let text = "Filesystem 1024-blocks Used Available Capacity Mounted on\n\
                    //host/a share 264073216 56115460 38999004 59% /mnt/a 5 place\n";
        assert_eq!(free_of(text), Some(38_999_004 << 10));
        for text in [
            "",
            "Filesystem\n",
            "Filesystem\n59% /\n",
            "Filesystem\n- 59% /\n",
        ] {
            assert_eq!(free_of(text), None, "{text:?}");
        }
        assert_eq!(held_of("12\t/t\n"), Some(12 << 10));
        assert_eq!(held_of(""), None);
    }

    #[test]
    fn this_disk_is_measured_whether_the_folder_is_there_or_not() {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let room = Room::of(here).unwrap();
        assert!(room.held > 0, "{room:?}");
        let room = Room::of(&here.join("not/there")).unwrap();
        assert_eq!(room.held, 0, "{room:?}");
    }

    #[test]
    fn clearing_leaves_the_binary_alone() {
        let folder =
            std::env::temp_dir().join(format!("zlayer-boards-room-{}", std::process::id()));
        // Left by a process that had our number and failed.
        let _ = fs::remove_dir_all(&folder);
        let binary = Target::Armv7.binary(&folder, DEVICE_PROFILE);
        let device = binary.parent().unwrap();
        fs::create_dir_all(device.join("deps")).unwrap();
        fs::write(device.join("deps/zlayer-1"), "program").unwrap();
        fs::hard_link(device.join("deps/zlayer-1"), &binary).unwrap();
        clear(Target::Armv7, DEVICE_PROFILE, &folder).unwrap();
        assert_eq!(fs::read_to_string(&binary).unwrap(), "program");
        let left = fs::read_dir(device).unwrap().count();
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(left, 1);
    }
}
