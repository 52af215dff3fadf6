//! A board, with everything inherited filled in and checked.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use zlayer_bundle::{BoardSettings, ByteSize, Profile, Target};

use crate::file::BoardFile;

/// A board that plugins are built for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Board {
    /// Its name, which is its folder's.
    pub name: String,
    /// Which artifacts and which device binary it runs.
    pub target: Target,
    /// The engine settings that its artifacts are compiled with.
    pub profile: Profile,
    /// Processor features beyond the target's baseline, by the compiler's names.
    pub cpu_flags: Vec<String>,
    /// Threads that its daemon serves with. `None` leaves the choice to the daemon.
    pub threads: Option<u8>,
    /// Its daemon's memory budget. `None` leaves the choice to the daemon.
    pub memory_max: Option<ByteSize>,
}

impl Board {
    /// Reads the board `name` from the folder `boards`.
    ///
    /// # Errors
    ///
    /// When there is no such board, with those that there are; or its file, or one that it inherits
    /// from, is malformed or asks for what no device can have. File and key are named.
    pub fn load(boards: &Path, name: &str) -> Result<Board> {
        let known = Board::names(boards)?;
        if !known.iter().any(|known| known == name) {
            bail!(
                "unknown board `{}`: {} has {}",
                name.escape_debug(),
                boards.display(),
                known.join(", ")
            );
        }
        let file = format!("{name}/board.toml");
        let keys = BoardFile::read_with_inherited(boards, &file)?;
        let target = keys.target.with_context(|| {
            format!("{file} has no `target`, and nothing that it inherits from has one")
        })?;
        let board = Board {
            name: name.to_owned(),
            target,
            profile: keys.profile.unwrap_or_default(),
            cpu_flags: keys.cpu_flags.unwrap_or_default(),
            threads: keys.threads,
            memory_max: keys.memory_max,
        };
        board
            .check()
            .with_context(|| format!("in {file} or in what it inherits"))?;
        Ok(board)
    }

    /// Reads every board in the folder `boards`, sorted by name.
    ///
    /// # Errors
    ///
    /// As for [`Board::load`].
    pub fn load_all(boards: &Path) -> Result<Vec<Board>> {
        let names = Board::names(boards)?;
        names.iter().map(|name| Board::load(boards, name)).collect()
    }

    /// The names of the boards in the folder `boards`, sorted.
    ///
    /// # Errors
    ///
    /// When the folder cannot be read.
    pub fn names(boards: &Path) -> Result<Vec<String>> {
        let cannot = || format!("cannot read the boards in {}", boards.display());
        let mut names = Vec::new();
        for entry in fs::read_dir(boards).with_context(cannot)? {
            let entry = entry.with_context(cannot)?;
            if entry.path().join("board.toml").is_file() {
                names.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
        names.sort();
        Ok(names)
    }

    /// What its daemon is to know of it.
    pub fn settings(&self) -> BoardSettings {
        BoardSettings {
            name: self.name.clone(),
            threads: self.threads,
            memory_max: self.memory_max.map(|size| size.0),
        }
    }

    fn check(&self) -> Result<()> {
        self.profile.check(self.target)?;
        ensure!(
            self.cpu_flags.is_empty() || !self.target.is_interpreted(),
            "`cpu_flags` mean nothing to the bytecode that target {} runs: leave them out",
            self.target
        );
        self.settings().check(self.target)?;
        Ok(())
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use std::path::PathBuf;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// A folder of boards that goes when the test ends.
    struct Folder(PathBuf);

    impl Folder {
        fn new(files: &[(&str, &str)]) -> Folder {
            static COUNT: AtomicU32 = AtomicU32::new(0);
            let count = COUNT.fetch_add(1, Ordering::Relaxed);
            let name = format!("zlayer-board-{}-{count}", std::process::id());
            let path = std::env::temp_dir().join(name);
            for (file, text) in files {
                let file = path.join(file);
                fs::create_dir_all(file.parent().unwrap()).unwrap();
                fs::write(file, text).unwrap();
            }
            Folder(path)
        }

        fn error(&self) -> String {
            format!("{:#}", Board::load(&self.0, "b").unwrap_err())
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            // Nothing to do about a leftover in the temporary folder.
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn every_board_in_the_repository_loads() {
        let boards = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let boards = Board::load_all(&boards).unwrap();
        let names: Vec<&str> = boards.iter().map(|board| board.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "generic-aarch64",
                "generic-armv7",
                "generic-x86_64",
                "raspberry-pi-3",
                "raspberry-pi-4",
                "raspberry-pi-zero-2w"
            ]
        );
    }

    #[test]
    fn own_keys_win_over_inherited_ones() {
        let folder = Folder::new(&[
            ("b/board.toml", "inherit = 'common/x.toml'\nthreads = 2\n"),
            (
                "common/x.toml",
                "inherit = 'common/y.toml'\nthreads = 4\nprofile = 'wide'\n",
            ),
            (
                "common/y.toml",
                "target = 'aarch64'\nprofile = 'compact'\nmemory_max = '48Mi'\n\
                 cpu_flags = ['has_lse']",
            ),
        ]);
        assert_eq!(
            Board::load(&folder.0, "b").unwrap(),
            Board {
                name: "b".to_owned(),
                target: Target::Aarch64,
                profile: Profile::Wide,
                cpu_flags: vec!["has_lse".to_owned()],
                threads: Some(2),
                memory_max: Some(ByteSize(48 << 20)),
            }
        );
    }

    #[test]
    fn what_an_editor_puts_in_front_of_a_text_is_none_of_it() {
        let folder = Folder::new(&[("b/board.toml", "\u{feff}target = 'armv7'")]);
        assert_eq!(Board::load(&folder.0, "b").unwrap().target, Target::Armv7);
    }

    #[test]
    fn what_is_not_set_is_left_to_compiler_and_daemon() {
        let folder = Folder::new(&[("b/board.toml", "target = 'armv7'")]);
        let board = Board::load(&folder.0, "b").unwrap();
        assert_eq!(board.profile, Profile::Compact);
        assert_eq!(
            board.settings(),
            BoardSettings {
                name: "b".to_owned(),
                threads: None,
                memory_max: None,
            }
        );
    }

    #[test]
    fn an_unknown_board_lists_the_known_ones() {
        let text = "target = 'armv7'";
        let folder = Folder::new(&[("a/board.toml", text), ("b/board.toml", text)]);
        for name in ["c", "", ".", "../b", "a/../b"] {
            let error = Board::load(&folder.0, name).unwrap_err().to_string();
            assert!(error.contains("has a, b"), "{error}");
        }
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_file_and_line() {
        let text = "target = 'aarch64'\nprofile = 'compact'\nmemory_maximum = '48Mi'\n";
        for files in [
            &[("b/board.toml", text)][..],
            &[
                ("b/board.toml", "inherit = 'common/x.toml'"),
                ("common/x.toml", text),
            ],
        ] {
            let error = Folder::new(files).error();
            let file = files.last().unwrap().0;
            for part in [file, "line 3", "memory_maximum", "memory_max`"] {
                assert!(error.contains(part), "{part} in {error}");
            }
        }
    }

    #[test]
    fn a_bad_value_is_refused_with_its_line() {
        for (line, part) in [
            ("target = 'mips'", "mips"),
            ("target = 7", "string or table"),
            ("target = ", "TOML parse error"),
            ("profile = 'narrow'", "narrow"),
            ("threads = 300", "300"),
            ("threads = -1", "-1"),
            ("memory_max = '48 Mi'", "'48 Mi' is not a size"),
            ("memory_max = 48", "string"),
            ("cpu_flags = 'has_lse'", "sequence"),
        ] {
            let folder = Folder::new(&[("b/board.toml", &format!("# a comment\n{line}\n"))]);
            let error = folder.error();
            assert!(
                error.contains("line 2") && error.contains(part) && error.contains("b/board.toml"),
                "{line}: {error}"
            );
        }
    }

    #[test]
    fn a_circle_an_escape_and_a_missing_file_are_named() {
        for (inherit, part) in [
            ("b/board.toml", "circle"),
            ("../x.toml", "below boards/"),
            ("/x.toml", "below boards/"),
            ("common/none.toml", "common/none.toml"),
        ] {
            let text = format!("inherit = '{inherit}'");
            let error = Folder::new(&[("b/board.toml", &text)]).error();
            assert!(error.contains(part), "{inherit}: {error}");
        }
    }

    #[test]
    fn a_board_without_target_or_with_what_no_device_can_have_is_refused() {
        for (text, part) in [
            ("profile = 'compact'", "no `target`"),
            ("target = 'armv7'\nprofile = 'wide'", "use profile compact"),
            ("target = 'armv7'\ncpu_flags = ['has_lse']", "`cpu_flags`"),
            ("target = 'armv7'\nthreads = 0", "`threads` is 0"),
            ("target = 'armv7'\nthreads = 65", "from 1 to 64"),
            ("target = 'armv7'\nmemory_max = '8Mi'", "at least 12Mi"),
            (
                "target = 'armv7'\nmemory_max = '8Gi'",
                "`memory_max` is 8Gi",
            ),
        ] {
            let error = Folder::new(&[("b/board.toml", text)]).error();
            assert!(
                error.contains(part) && error.contains("b/board.toml"),
                "{text}: {error}"
            );
        }
    }
}
