//! A board file as it stands, and the chain of files that it inherits from.

use std::fs;
use std::path::{Component, Path};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use zlayer_bundle::{ByteSize, Profile, Target};

/// How many files may stand behind a board. More is a circle.
const MAX_INHERITED: usize = 4;

/// The keys of one file. Each may be left to a file that it inherits from.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BoardFile {
    inherit: Option<String>,
    pub(crate) target: Option<Target>,
    pub(crate) profile: Option<Profile>,
    pub(crate) cpu_flags: Option<Vec<String>>,
    pub(crate) threads: Option<u8>,
    pub(crate) memory_max: Option<ByteSize>,
}

impl BoardFile {
    /// Reads `file`, named from the folder of boards on, and fills in what it inherits.
    pub(crate) fn read_with_inherited(boards: &Path, file: &str) -> Result<BoardFile> {
        let mut read = BoardFile::read(boards, file)?;
        let mut count = 0;
        while let Some(inherited) = read.inherit.take() {
            count += 1;
            ensure!(
                count <= MAX_INHERITED,
                "{file}: `inherit` goes over more than {MAX_INHERITED} files: is `{inherited}` in \
                 a circle?"
            );
            let is_below = |path: &Path| {
                path.components()
                    .all(|part| matches!(part, Component::Normal(_)))
            };
            ensure!(
                is_below(Path::new(&inherited)),
                "{file}: `inherit` is `{inherited}`: name a file below boards/, like \
                 common/pi-64.toml"
            );
            let base = BoardFile::read(boards, &inherited)
                .with_context(|| format!("{file} inherits `{inherited}`"))?;
            read = read.over(base);
        }
        Ok(read)
    }

    fn read(boards: &Path, file: &str) -> Result<BoardFile> {
        let path = boards.join(file);
        let text = fs::read_to_string(&path)
            .with_context(|| format!("cannot read the board file {}", path.display()))?;
        toml::from_str(&text).with_context(|| format!("in the board file {}", path.display()))
    }

    /// Own keys first, then the inherited ones.
    fn over(self, base: BoardFile) -> BoardFile {
        BoardFile {
            inherit: base.inherit,
            target: self.target.or(base.target),
            profile: self.profile.or(base.profile),
            cpu_flags: self.cpu_flags.or(base.cpu_flags),
            threads: self.threads.or(base.threads),
            memory_max: self.memory_max.or(base.memory_max),
        }
    }
}
