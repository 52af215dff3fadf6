//! Machine code that was compiled before, for whoever packs the same plugins again and again.
//!
//! What lies there becomes a part of signed artifacts, so the folder is for the account alone, as its keys are.

use std::fs::{self, DirBuilder, File};
use std::io::Read;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context as _, Result};
use zlayer_bundle::{ENGINE_VERSION, Exposure, fingerprint, own_account};

use crate::{Problem, Refused, Settings, write_atomically};

/// How many are kept; those that were used least lately make room.
const KEPT: usize = 32;
/// The largest that is kept and read, in bytes.
const BYTES_MAX: u64 = 256 << 20;

/// A folder of compiled plugins.
pub(crate) struct Kept<'a> {
    folder: &'a Path,
}

impl<'a> Kept<'a> {
    /// Opens it, and makes it if it is missing.
    ///
    /// # Errors
    ///
    /// It cannot be made, or others could put something there.
    pub(crate) fn open(folder: &'a Path) -> Result<Kept<'a>> {
        let failed = || format!("cannot use {}", folder.display());
        let mut making = DirBuilder::new();
        making.recursive(true).mode(0o700);
        making.create(folder).with_context(failed)?;
        let found = fs::metadata(folder).with_context(failed)?;
        match Exposure::of(&found, own_account()) {
            None => Ok(Kept { folder }),
            Some(exposure) => Err(Refused::from(Problem::new(
                folder.display().to_string(),
                format!("{exposure}, and what lies there would be signed"),
                format!("run `{}`, or name another folder", exposure.mend(folder)),
            ))
            .into()),
        }
    }

    /// The code of a component, by whatever made it: what is there, else what `compile` makes, which is kept.
    ///
    /// # Errors
    ///
    /// What `compile` says.
    pub(crate) fn code(
        &self,
        component: &[u8],
        settings: &Settings,
        compile: impl FnOnce() -> Result<Vec<u8>>,
    ) -> Result<Vec<u8>> {
        let path = self.path_of(component, settings);
        if let Some(code) = read(&path) {
            return Ok(code);
        }
        let code = compile()?;
        // Who cannot keep it compiles it once more the next time.
        if write_atomically(&path, &marked(&code), 0o600).is_ok() {
            self.forget_some();
        }
        Ok(code)
    }

    fn path_of(&self, component: &[u8], settings: &Settings) -> PathBuf {
        let Settings {
            target,
            profile,
            cpu_flags,
            ..
        } = settings;
        // A tool that was built anew may compile otherwise.
        let tool = std::env::current_exe().and_then(fs::metadata);
        let tool = tool.map(|tool| (tool.len(), tool.modified().ok()));
        let made_by = format!(
            "{target} {profile:?} {cpu_flags:?} {ENGINE_VERSION} {} {:?}",
            env!("CARGO_PKG_VERSION"),
            tool.ok()
        );
        let name = fingerprint(&[made_by.as_bytes(), component]);
        self.folder.join(format!("{name}.code"))
    }

    fn forget_some(&self) {
        let entries = fs::read_dir(self.folder).into_iter().flatten().flatten();
        let mut all: Vec<(SystemTime, PathBuf)> = entries
            .map(|entry| {
                let used = entry.metadata().and_then(|found| found.modified());
                (used.unwrap_or(SystemTime::UNIX_EPOCH), entry.path())
            })
            .collect();
        all.sort();
        let too_many = all.len().saturating_sub(KEPT);
        for (_, path) in &all[..too_many] {
            // Another one may have removed it, and what stays goes the next time.
            let _ = fs::remove_file(path);
        }
    }
}

/// What is written: the code behind what tells that it is whole.
fn marked(code: &[u8]) -> Vec<u8> {
    [fingerprint(&[code]).as_bytes(), code].concat()
}

/// Code that was kept, if it is whole.
fn read(path: &Path) -> Option<Vec<u8>> {
    let file = File::open(path).ok()?;
    // Those that were not used for longest make room.
    let _ = file.set_modified(SystemTime::now());
    let mut bytes = Vec::new();
    file.take(BYTES_MAX).read_to_end(&mut bytes).ok()?;
    let mark = fingerprint(&[]).len();
    let (found, code) = bytes.split_at_checked(mark)?;
    (fingerprint(&[code]).as_bytes() == found).then(|| code.to_vec())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use std::cell::Cell;
    use std::os::unix::fs::PermissionsExt;

    use zlayer_bundle::{Profile, Target};

    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("kept-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        folder
    }

    #[test]
    fn what_was_compiled_is_not_compiled_again_unless_something_is_different_or_broken() {
        let folder = folder("again");
        let kept = Kept::open(&folder).unwrap();
        let compiled = Cell::new(0);
        let code = |component: &[u8], settings: &Settings| {
            let compile = || {
                compiled.set(compiled.get() + 1);
                Ok(component.to_vec())
            };
            let code = kept.code(component, settings, compile).unwrap();
            assert_eq!(code, component);
            compiled.get()
        };
        let settings = Settings::new(Target::Aarch64, Profile::default());
        assert_eq!(code(b"a", &settings), 1);
        assert_eq!(code(b"a", &settings), 1);
        assert_eq!(code(b"b", &settings), 2);
        let other = Settings::new(Target::X86_64, Profile::default());
        assert_eq!(code(b"a", &other), 3);
        let flags = Settings {
            cpu_flags: vec!["x".to_owned()],
            ..settings.clone()
        };
        assert_eq!(code(b"a", &flags), 4);
        for entry in fs::read_dir(&folder).unwrap().flatten() {
            let mut bytes = fs::read(entry.path()).unwrap();
            *bytes.last_mut().unwrap() ^= 1;
            fs::write(entry.path(), bytes).unwrap();
        }
        assert_eq!(code(b"a", &settings), 5);
        for number in 0..=KEPT as u32 {
            code(&number.to_le_bytes(), &settings);
        }
        assert_eq!(fs::read_dir(&folder).unwrap().count(), KEPT);
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_folder_that_others_can_write_to_is_refused() {
        let folder = folder("others");
        fs::create_dir(&folder).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
        let told = Kept::open(&folder).err().unwrap().to_string();
        assert!(told.contains("would be signed"), "{told}");
        fs::remove_dir_all(&folder).unwrap();
    }
}
