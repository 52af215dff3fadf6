//! What a board needs, from its folder.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use toml::{Table, Value};
use zlayer_bundle::{Profile, Target};

use crate::Settings;

/// The longest chain of `inherit`. A longer one goes in a circle.
const MAX_INHERIT: usize = 8;

/// A board that plugins are built for.
///
/// `boards/NAME/board.toml` says `target`, `profile` and `cpu_flags`. With `inherit` it
/// names another file under `boards/` that fills in what is left out. The keys that
/// concern only the device are left alone here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Board {
    /// The name of its folder.
    pub name: String,
    /// What its plugins are compiled for.
    pub settings: Settings,
}

impl Board {
    /// Reads the board `name` from the folder of boards `dir`.
    ///
    /// # Errors
    ///
    /// When there is no such board, listing those that there are, or its file is malformed.
    pub fn load(dir: &Path, name: &str) -> Result<Board> {
        let known = list(dir)?;
        if !known.iter().any(|known| known == name) {
            bail!(
                "unknown board `{}`: {} has {}",
                name.escape_debug(),
                dir.display(),
                known.join(", ")
            );
        }
        let path = dir.join(name).join("board.toml");
        let table = read_table(dir, &path)?;
        let settings = parse(&table).with_context(|| format!("in {}", path.display()))?;
        Ok(Board {
            name: name.to_owned(),
            settings,
        })
    }

    /// The folder of boards: `boards` in the current folder or in one above it, else beside
    /// the program.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub fn find_dir() -> Result<PathBuf> {
        let current = std::env::current_dir().context("cannot tell the current folder")?;
        let program = std::env::current_exe().ok();
        current
            .ancestors()
            .chain(program.as_deref().and_then(Path::parent))
            .map(|folder| folder.join("boards"))
            .find(|boards| list(boards).is_ok_and(|names| !names.is_empty()))
            .with_context(|| {
                format!(
                    "no folder `boards` in {} or above it: give --boards-dir",
                    current.display()
                )
            })
    }
}

/// The names of the boards in a folder, sorted.
fn list(dir: &Path) -> Result<Vec<String>> {
    let cannot = || format!("cannot read the boards in {}", dir.display());
    let mut names = Vec::new();
    for entry in std::fs::read_dir(dir).with_context(cannot)? {
        let entry = entry.with_context(cannot)?;
        if entry.path().join("board.toml").is_file() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// Reads a file and whatever it inherits. What it says itself goes first.
fn read_table(dir: &Path, path: &Path) -> Result<Table> {
    let mut path = path.to_owned();
    let mut merged = Table::new();
    for _ in 0..MAX_INHERIT {
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        let mut table: Table = text
            .parse()
            .with_context(|| format!("in {}", path.display()))?;
        let parent = table.remove("inherit");
        for (key, value) in table {
            merged.entry(key).or_insert(value);
        }
        path = match parent {
            None => return Ok(merged),
            Some(Value::String(parent)) => dir.join(parent),
            Some(_) => bail!("`inherit` in {} must be a string", path.display()),
        };
    }
    bail!("the `inherit` entries go in a circle at {}", path.display())
}

fn parse(table: &Table) -> Result<Settings> {
    let text = |key: &str| match table.get(key) {
        Some(Value::String(text)) => Ok(Some(text.as_str())),
        Some(_) => bail!("`{key}` must be a string"),
        None => Ok(None),
    };
    let target: Target = text("target")?.context("`target` is missing")?.parse()?;
    let profile = text("profile")?.map_or(Ok(Profile::default()), str::parse)?;
    let cpu_flags = match table.get("cpu_flags") {
        None => Vec::new(),
        Some(Value::Array(flags)) => flags
            .iter()
            .map(|flag| {
                flag.as_str()
                    .map(str::to_owned)
                    .context("`cpu_flags` must hold strings")
            })
            .collect::<Result<_>>()?,
        Some(_) => bail!("`cpu_flags` must be a list of strings"),
    };
    Ok(Settings {
        target,
        profile,
        cpu_flags,
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;

    /// A folder of boards, from paths and texts.
    fn boards(name: &str, files: &[(&str, &str)]) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("zlayer-boards-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        for (path, text) in files {
            let path = dir.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        dir
    }

    #[test]
    fn a_board_overrides_what_it_inherits() {
        let dir = boards(
            "inherit",
            &[
                (
                    "common/pi.toml",
                    "target = 'aarch64'\nprofile = 'compact'\ncpu_flags = ['has_lse']",
                ),
                (
                    "pi/board.toml",
                    "inherit = 'common/pi.toml'\nprofile = 'wide'\nthreads = 4",
                ),
            ],
        );
        let settings = Board::load(&dir, "pi").unwrap().settings;
        assert_eq!(
            settings,
            Settings {
                target: Target::Aarch64,
                profile: Profile::Wide,
                cpu_flags: vec!["has_lse".to_owned()],
            }
        );
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn an_unknown_board_lists_the_known_ones() {
        let dir = boards(
            "unknown",
            &[
                ("a/board.toml", "target = 'armv7'"),
                ("b/board.toml", "target = 'armv7'"),
            ],
        );
        for name in ["c", "", ".", "../unknown", "a/../b"] {
            let error = Board::load(&dir, name).unwrap_err().to_string();
            assert!(error.contains("has a, b"), "{error}");
        }
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn malformed_boards_name_the_file_and_the_key() {
        for (text, expected) in [
            ("profile = 'wide'", "`target` is missing"),
            ("target = 'z80'", "unknown target `z80`"),
            (
                "target = 'armv7'\nprofile = 'huge'",
                "unknown profile `huge`",
            ),
            ("target = 7", "`target` must be a string"),
            (
                "target = 'armv7'\ncpu_flags = 'x'",
                "`cpu_flags` must be a list",
            ),
            ("target = ", "TOML parse error"),
            ("inherit = 'b/board.toml'", "circle"),
            ("inherit = 'common/none.toml'", "cannot read"),
        ] {
            let dir = boards("malformed", &[("b/board.toml", text)]);
            let error = format!("{:#}", Board::load(&dir, "b").unwrap_err());
            assert!(
                error.contains(expected) && error.contains(".toml"),
                "{text}: {error}"
            );
            std::fs::remove_dir_all(dir).unwrap();
        }
    }

    #[test]
    fn the_boards_of_this_release_load() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../boards");
        let names = list(&dir).unwrap();
        assert!(
            names.iter().any(|name| name == "generic-aarch64"),
            "{names:?}"
        );
        for name in names {
            let board = Board::load(&dir, &name).unwrap();
            assert!(
                zlayer_bundle::engine_config(board.settings.target, board.settings.profile).is_ok()
            );
        }
    }
}
