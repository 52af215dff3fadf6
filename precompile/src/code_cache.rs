//! Machine code that was compiled before, by what it was compiled from: a large plugin takes half a minute, and a
//! deployment is packed over and over while one of its plugins is written.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use zlayer_bundle::{Blob, ENGINE_VERSION, Exposure, own_account};

use crate::{Settings, write_pieces_atomically};

/// Bytes that are kept, 512 MiB: some ten plugins with a whole interpreter in each, or hundreds of small ones. What
/// was not used for longest makes room.
const MOST: u64 = 512 << 20;
/// Bytes behind the code: the SHA-256 of its name and of itself.
const SEAL: usize = 32;

/// A folder of compiled code. What is in it becomes native code on devices, so it is the user's alone, and each
/// file is used only if it is whole and stands under its own name.
#[derive(Clone, Debug)]
pub struct CodeCache {
    folder: PathBuf,
    /// The compiler that makes the code. One that was built anew may do something else.
    compiler: String,
}

impl CodeCache {
    /// That of the user who runs this program: `zlayer/code` in `XDG_CACHE_HOME`, or in `.cache` at home. `None`:
    /// there is no home, or nobody knows which program this is.
    pub fn of_user() -> Option<CodeCache> {
        let absolute = |name| {
            let path = PathBuf::from(std::env::var_os(name)?);
            path.is_absolute().then_some(path)
        };
        let cache =
            absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")))?;
        let program = fs::metadata(std::env::current_exe().ok()?).ok()?;
        let built = program.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
        Some(CodeCache {
            folder: cache.join("zlayer/code"),
            compiler: format!(
                "{} {} {}",
                env!("CARGO_PKG_VERSION"),
                program.len(),
                built.as_nanos()
            ),
        })
    }

    /// The code of a component, which `compile` makes if it is not here. It is kept if it can be: who cannot keep it
    /// compiles it again.
    pub(crate) fn code(
        &self,
        component: &[u8],
        settings: &Settings,
        compile: impl FnOnce() -> Result<Vec<u8>>,
    ) -> Result<Vec<u8>> {
        let name = self.name(component, settings);
        if let Some(code) = self.read(&name) {
            return Ok(code);
        }
        let code = compile()?;
        let _ = self.keep(&name, &code);
        Ok(code)
    }

    /// The name of the file for all that the code depends on.
    fn name(&self, component: &[u8], settings: &Settings) -> String {
        let made_from = format!(
            "{}\n{ENGINE_VERSION}\n{} {}\n{}\n{}",
            self.compiler,
            settings.target,
            settings.profile.name(),
            settings.cpu_flags.join(" "),
            Blob::of(component).name()
        );
        Blob::of(made_from.as_bytes()).name()
    }

    /// What is kept under this name, if that is the user's alone, and whole.
    fn read(&self, name: &str) -> Option<Vec<u8>> {
        self.check_folder().ok()?;
        let mut file = File::open(self.folder.join(name)).ok()?;
        let found = file.metadata().ok()?;
        let is_own = found.is_file() && Exposure::of(&found, own_account()).is_none();
        if !is_own || found.len() > MOST {
            return None;
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).ok()?;
        let at = bytes.len().checked_sub(SEAL)?;
        if bytes[at..] != seal(name, &bytes[..at]) {
            return None;
        }
        bytes.truncate(at);
        // What was not used for longest makes room.
        let _ = file.set_modified(SystemTime::now());
        Some(bytes)
    }

    fn keep(&self, name: &str, code: &[u8]) -> Result<()> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.folder)?;
        self.check_folder()?;
        let path = self.folder.join(name);
        write_pieces_atomically(&path, &[code, &seal(name, code)], 0o600)?;
        Ok(make_room(&self.folder, MOST)?)
    }

    /// Whether nobody else can put something there.
    fn check_folder(&self) -> io::Result<()> {
        let found = fs::metadata(&self.folder)?;
        let above = Exposure::above(&self.folder).map(|(_, exposure)| exposure);
        match Exposure::of(&found, own_account()).or(above) {
            None => Ok(()),
            Some(exposure) => Err(io::Error::other(exposure.to_string())),
        }
    }
}

/// What stands behind the code of this name.
fn seal(name: &str, code: &[u8]) -> [u8; SEAL] {
    let both = format!("{name} {}", Blob::of(code).name());
    Blob::of(both.as_bytes()).digest
}

/// Removes what was not used for longest, until no more than `most` bytes are left. Others may do so at the same
/// time.
fn make_room(folder: &Path, most: u64) -> io::Result<()> {
    let mut all: Vec<(SystemTime, u64, PathBuf)> = Vec::new();
    for entry in fs::read_dir(folder)?.flatten() {
        if let Ok(found) = entry.metadata() {
            let used = found.modified().unwrap_or(UNIX_EPOCH);
            all.push((used, found.size(), entry.path()));
        }
    }
    all.sort();
    let mut sum: u64 = all.iter().map(|(_, bytes, _)| bytes).sum();
    for (_, bytes, path) in all {
        if sum <= most {
            break;
        }
        sum -= bytes;
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use zlayer_bundle::{Profile, Target};

    use super::*;

    struct Home(CodeCache);

    impl Home {
        fn new() -> Home {
            static COUNT: AtomicU32 = AtomicU32::new(0);
            let count = COUNT.fetch_add(1, Ordering::Relaxed);
            let name = format!("zlayer-code-{}-{count}", std::process::id());
            let home = std::env::temp_dir().join(name);
            let _ = fs::remove_dir_all(&home);
            Home(CodeCache {
                folder: home.join("zlayer/code"),
                compiler: "1".to_owned(),
            })
        }

        fn files(&self) -> Vec<PathBuf> {
            let entries = fs::read_dir(&self.0.folder).unwrap();
            entries.map(|entry| entry.unwrap().path()).collect()
        }

        /// The one file that is there.
        fn file(&self) -> PathBuf {
            let [file] = self.files().try_into().unwrap();
            file
        }
    }

    impl Drop for Home {
        fn drop(&mut self) {
            let home = self.0.folder.ancestors().nth(2).unwrap();
            let _ = fs::remove_dir_all(home);
        }
    }

    fn settings() -> Settings {
        Settings::new(Target::X86_64, Profile::Compact)
    }

    /// Whether this has to be compiled.
    fn compiles(cache: &CodeCache, component: &[u8], settings: &Settings) -> bool {
        let mut is_compiled = false;
        let code = cache.code(component, settings, || {
            is_compiled = true;
            Ok(b"code".to_vec())
        });
        assert_eq!(code.unwrap(), b"code");
        is_compiled
    }

    #[test]
    fn the_same_is_compiled_once_and_all_else_by_itself() {
        let home = Home::new();
        assert!(compiles(&home.0, b"a", &settings()));
        assert!(!compiles(&home.0, b"a", &settings()));
        assert!(compiles(&home.0, b"b", &settings()));
        let mut others = [settings(), settings(), settings(), settings()];
        others[0].target = Target::Aarch64;
        others[1].profile = Profile::Wide;
        others[2].cpu_flags = vec!["has_avx".to_owned()];
        others[3].cpu_flags = vec!["has_avx".to_owned(), "has_fma".to_owned()];
        for other in &others {
            assert!(compiles(&home.0, b"a", other), "{other:?}");
            assert!(!compiles(&home.0, b"a", other), "{other:?}");
        }
        let built_anew = CodeCache {
            compiler: "2".to_owned(),
            ..home.0.clone()
        };
        assert!(compiles(&built_anew, b"a", &settings()));
        assert!(!compiles(&home.0, b"a", &settings()));
        let mode = fs::metadata(&home.0.folder).unwrap().mode();
        assert_eq!(mode & 0o777, 0o700);
    }

    #[test]
    fn a_refusal_is_not_kept() {
        let home = Home::new();
        let refused = home.0.code(b"a", &settings(), || anyhow::bail!("refused"));
        assert!(refused.is_err());
        assert!(compiles(&home.0, b"a", &settings()));
    }

    #[test]
    fn what_is_damaged_or_was_moved_is_compiled_again() {
        let home = Home::new();
        compiles(&home.0, b"a", &settings());
        let file = home.file();
        let whole = fs::read(&file).unwrap();
        let mut flipped = whole.clone();
        flipped[1] ^= 1;
        let longer = [&whole[..], b"x"].concat();
        for damaged in [&b""[..], &whole[..SEAL], &whole[1..], &flipped, &longer] {
            fs::write(&file, damaged).unwrap();
            assert!(compiles(&home.0, b"a", &settings()), "{damaged:?}");
            assert_eq!(fs::read(&file).unwrap(), whole);
        }
        let other = home.0.folder.join(home.0.name(b"b", &settings()));
        fs::rename(&file, other).unwrap();
        assert!(compiles(&home.0, b"b", &settings()));
    }

    #[test]
    fn what_others_can_write_to_is_not_used() {
        let home = Home::new();
        compiles(&home.0, b"a", &settings());
        let set = |path: &Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        };
        let file = home.file();
        set(&file, 0o666);
        assert!(compiles(&home.0, b"a", &settings()));
        // It was written anew.
        assert!(!compiles(&home.0, b"a", &settings()));
        let above = home.0.folder.parent().unwrap();
        for folder in [&*home.0.folder, above] {
            set(folder, 0o777);
            assert!(compiles(&home.0, b"a", &settings()));
            assert!(compiles(&home.0, b"b", &settings()));
            assert_eq!(home.files().len(), 1, "it was kept there");
            set(folder, 0o700);
            assert!(!compiles(&home.0, b"a", &settings()));
        }
    }

    #[test]
    fn what_was_not_used_for_longest_makes_room() {
        let home = Home::new();
        for component in [b"a", b"b", b"c"] {
            compiles(&home.0, component, &settings());
            // As if each was used a day before the next one.
            for file in home.files() {
                let file = File::options().append(true).open(file).unwrap();
                let used = file.metadata().unwrap().modified().unwrap();
                file.set_modified(used - Duration::from_secs(86_400))
                    .unwrap();
            }
        }
        assert!(!compiles(&home.0, b"a", &settings()));
        let each = fs::metadata(&home.files()[0]).unwrap().len();
        make_room(&home.0.folder, 3 * each).unwrap();
        assert_eq!(home.files().len(), 3);
        make_room(&home.0.folder, 3 * each - 1).unwrap();
        assert_eq!(home.files().len(), 2);
        assert!(!compiles(&home.0, b"a", &settings()));
        assert!(!compiles(&home.0, b"c", &settings()));
        make_room(&home.0.folder, 0).unwrap();
        assert!(home.files().is_empty());
    }
}
