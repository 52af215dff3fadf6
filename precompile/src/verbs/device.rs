//! Which devices `--target`, `--profile` and `--board` mean, for the verbs that take them.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use zlayer_board::Board;
use zlayer_bundle::{Profile, Target};
use zlayer_precompile::Settings;

use super::usage;

/// What the two flags say, where they are given.
pub(super) struct Devices {
    /// Each once, in the order given.
    pub(super) targets: Vec<Target>,
    pub(super) profile: Option<Profile>,
}

impl Devices {
    /// Reads the flags; a word of `--target` may hold several names with commas.
    pub(super) fn read(target: &[String], profile: Option<&str>) -> Result<Devices> {
        let mut targets = Vec::<Target>::new();
        for name in target.iter().flat_map(|names| names.split(',')) {
            let target = name.trim().parse()?;
            if !targets.contains(&target) {
                targets.push(target);
            }
        }
        let profile = profile.map(str::parse).transpose()?;
        Ok(Devices { targets, profile })
    }

    /// Settings for each of them. Without flags it is this machine that is meant.
    pub(super) fn settings(mut self) -> Result<Vec<Settings>> {
        if self.targets.is_empty() {
            let host = Target::host();
            self.targets.push(
                host.ok_or_else(|| usage("plugins do not run on this machine: give --target"))?,
            );
        }
        let profile = self.profile.unwrap_or_default();
        let of = |target| {
            profile.check(target)?;
            Ok(Settings::new(target, profile))
        };
        self.targets.into_iter().map(of).collect()
    }
    /// As [`Devices::settings`], or those of the board that is named.
    pub(super) fn settings_for(self, boards: &Boards<'_>) -> Result<Vec<Settings>> {
        let Some(name) = boards.board else {
            return match boards.dir {
                Some(_) => Err(usage("--boards-dir needs --board")),
                None => self.settings(),
            };
        };
        let dir = match boards.dir {
            Some(dir) => dir.to_owned(),
            None => boards_dir()?,
        };
        let settings = Settings::from(Board::load(&dir, name)?);
        if self.targets.iter().any(|target| *target != settings.target) {
            let target = settings.target;
            return Err(usage(format!(
                "board {name} has target {target}: leave --target out"
            )));
        }
        if self
            .profile
            .is_some_and(|profile| profile != settings.profile)
        {
            let profile = settings.profile;
            return Err(usage(format!(
                "board {name} has profile {profile}: leave --profile out"
            )));
        }
        Ok(vec![settings])
    }
}

/// What the flags `--board` and `--boards-dir` say.
pub(super) struct Boards<'a> {
    pub(super) board: Option<&'a str>,
    pub(super) dir: Option<&'a Path>,
}

/// The folder of boards: `boards` in the current folder or in one above it, else beside the
/// program.
fn boards_dir() -> Result<PathBuf> {
    let current = std::env::current_dir().context("cannot tell the current folder")?;
    let program = std::env::current_exe().ok();
    current
        .ancestors()
        .chain(program.as_deref().and_then(Path::parent))
        .map(|folder| folder.join("boards"))
        .find(|boards| Board::names(boards).is_ok_and(|names| !names.is_empty()))
        .with_context(|| {
            format!(
                "no folder `boards` in {} or above it: give --boards-dir",
                current.display()
            )
        })
}
