//! Board profiles: `boards/NAME/board.toml`, with what several boards share in `boards/common/`.

use std::fmt;
use std::fs;
use std::num::NonZeroU8;
use std::path::{Component, Path};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use crate::byte_size::ByteSize;
use crate::target::Target;

/// How many fragments may stand behind a board. More is a circle.
const MAX_INHERITANCE: usize = 4;

/// What a board is, with everything inherited filled in and checked.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Profile {
    /// The board's name: its folder's.
    pub(crate) name: String,
    /// Which artifacts and which device binary it runs.
    pub(crate) target: Target,
    /// The engine settings that its artifacts are compiled for.
    pub(crate) engine: EngineProfile,
    /// Processor features beyond the target's baseline, in Cranelift's names.
    pub(crate) cpu_flags: Vec<String>,
    /// Threads of the daemon; its own choice when not given.
    pub(crate) threads: Option<NonZeroU8>,
    /// The daemon's memory budget; its own choice when not given.
    pub(crate) memory_max: Option<ByteSize>,
}

/// The named engine settings; what they are stands in the crate `zlayer-bundle`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum EngineProfile {
    /// Little address space, explicit bounds checks.
    Compact,
    /// 4 GiB of address space per memory, bounds checks left to the processor; 64-bit only.
    Wide,
}

impl fmt::Display for EngineProfile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            EngineProfile::Compact => "compact",
            EngineProfile::Wide => "wide",
        })
    }
}

/// A file as it stands: every key may be left to a fragment.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawProfile {
    /// A fragment, relative to `boards/`, whose keys hold where this file has none.
    inherit: Option<String>,
    target: Option<Target>,
    profile: Option<EngineProfile>,
    cpu_flags: Option<Vec<String>>,
    threads: Option<NonZeroU8>,
    memory_max: Option<ByteSize>,
}

impl RawProfile {
    fn read(boards: &Path, file: &str) -> Result<RawProfile> {
        let path = boards.join(file);
        let text = fs::read_to_string(&path)
            .with_context(|| format!("cannot read the board file {}", path.display()))?;
        toml::from_str(&text).with_context(|| format!("in the board file {}", path.display()))
    }

    /// Own keys first, then the fragment's.
    fn over(self, base: RawProfile) -> RawProfile {
        RawProfile {
            inherit: base.inherit,
            target: self.target.or(base.target),
            profile: self.profile.or(base.profile),
            cpu_flags: self.cpu_flags.or(base.cpu_flags),
            threads: self.threads.or(base.threads),
            memory_max: self.memory_max.or(base.memory_max),
        }
    }
}

impl Profile {
    /// Reads the board `name` from the folder of boards.
    pub(crate) fn load(boards: &Path, name: &str) -> Result<Profile> {
        let file = format!("{name}/board.toml");
        let mut raw = RawProfile::read(boards, &file)?;
        let mut fragments = 0;
        while let Some(fragment) = raw.inherit.take() {
            fragments += 1;
            ensure!(
                fragments <= MAX_INHERITANCE,
                "{file} inherits more than {MAX_INHERITANCE} fragments: is `{fragment}` in a circle?"
            );
            ensure!(
                Path::new(&fragment)
                    .components()
                    .all(|c| matches!(c, Component::Normal(_))),
                "{file} inherits `{fragment}`: name a file below boards/, like common/pi-64.toml"
            );
            let base = RawProfile::read(boards, &fragment)
                .with_context(|| format!("{file} inherits `{fragment}`"))?;
            raw = raw.over(base);
        }
        let missing = |key| format!("{file} has no `{key}`, nor has anything that it inherits");
        let profile = Profile {
            name: name.to_owned(),
            target: raw.target.with_context(|| missing("target"))?,
            engine: raw.profile.with_context(|| missing("profile"))?,
            cpu_flags: raw.cpu_flags.unwrap_or_default(),
            threads: raw.threads,
            memory_max: raw.memory_max,
        };
        profile
            .check()
            .with_context(|| format!("{file} contradicts itself"))?;
        Ok(profile)
    }

    /// Every board there is, by name.
    pub(crate) fn load_all(boards: &Path) -> Result<Vec<Profile>> {
        let entries =
            fs::read_dir(boards).with_context(|| format!("cannot list {}", boards.display()))?;
        let mut profiles = Vec::new();
        for entry in entries {
            let entry = entry?;
            if entry.path().join("board.toml").is_file() {
                profiles.push(Profile::load(boards, &entry.file_name().to_string_lossy())?);
            }
        }
        profiles.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(profiles)
    }

    /// armv7 devices interpret bytecode: there is no processor to speak of, and 32 bits of address.
    fn check(&self) -> Result<()> {
        if self.target == Target::Armv7 {
            if self.engine == EngineProfile::Wide {
                bail!(
                    "profile = \"wide\" wants a 64-bit target, and target = \"armv7\" is not one"
                );
            }
            if !self.cpu_flags.is_empty() {
                bail!("`cpu_flags` mean nothing to the bytecode that target = \"armv7\" runs");
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;

    fn boards() -> &'static Path {
        Path::new(env!("CARGO_MANIFEST_DIR"))
    }

    /// A folder of boards that goes when the test ends.
    struct Folder(std::path::PathBuf);

    impl Folder {
        fn new(name: &str, files: &[(&str, &str)]) -> Folder {
            let path = std::env::temp_dir().join(format!("boards-{name}-{}", std::process::id()));
            for (file, text) in files {
                let file = path.join(file);
                fs::create_dir_all(file.parent().unwrap()).unwrap();
                fs::write(file, text).unwrap();
            }
            Folder(path)
        }

        fn error(&self) -> String {
            format!("{:#}", Profile::load(&self.0, "b").unwrap_err())
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
        let profiles = Profile::load_all(boards()).unwrap();
        let names: Vec<&str> = profiles
            .iter()
            .map(|profile| profile.name.as_str())
            .collect();
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
        let folder = Folder::new(
            "inherit",
            &[
                ("b/board.toml", "inherit = 'common/x.toml'\nthreads = 2\n"),
                (
                    "common/x.toml",
                    "inherit = 'common/y.toml'\nthreads = 4\nprofile = 'wide'\n",
                ),
                (
                    "common/y.toml",
                    "target = 'aarch64'\nprofile = 'compact'\nmemory_max = '48Mi'\n",
                ),
            ],
        );
        let profile = Profile::load(&folder.0, "b").unwrap();
        assert_eq!(profile.threads, NonZeroU8::new(2));
        assert_eq!(
            (profile.target, profile.engine),
            (Target::Aarch64, EngineProfile::Wide)
        );
        assert_eq!(profile.memory_max, "48Mi".to_owned().try_into().ok());
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_line() {
        let text = "target = 'aarch64'\nprofile = 'compact'\nmemory_maximum = '48Mi'\n";
        let folder = Folder::new("unknown", &[("b/board.toml", text)]);
        let error = folder.error();
        for part in ["b/board.toml", "line 3", "memory_maximum", "memory_max`"] {
            assert!(error.contains(part), "{part} in {error}");
        }
    }

    #[test]
    fn a_bad_value_is_refused_with_its_line() {
        for (line, part) in [
            ("target = 'mips'", "mips"),
            ("profile = 'narrow'", "narrow"),
            ("threads = 0", "nonzero"),
            ("memory_max = '48MB'", "48MB"),
            ("cpu_flags = 'has_lse'", "sequence"),
        ] {
            let folder = Folder::new(
                "value",
                &[("b/board.toml", &format!("# a comment\n{line}\n"))],
            );
            let error = folder.error();
            assert!(
                error.contains("line 2") && error.contains(part),
                "{line}: {error}"
            );
        }
    }

    #[test]
    fn a_circle_an_escape_and_a_missing_fragment_are_named() {
        for (inherit, part) in [
            ("b/board.toml", "circle"),
            ("../x.toml", "below boards/"),
            ("/x.toml", "below boards/"),
            ("common/none.toml", "common/none.toml"),
        ] {
            let text = format!("inherit = '{inherit}'");
            let error = Folder::new("chain", &[("b/board.toml", &text)]).error();
            assert!(error.contains(part), "{inherit}: {error}");
        }
    }

    #[test]
    fn a_board_without_target_or_with_contradictions_is_refused() {
        for (text, part) in [
            ("profile = 'compact'", "no `target`"),
            ("target = 'armv7'", "no `profile`"),
            ("target = 'armv7'\nprofile = 'wide'", "64-bit"),
            (
                "target = 'armv7'\nprofile = 'compact'\ncpu_flags = ['has_lse']",
                "cpu_flags",
            ),
        ] {
            let error = Folder::new("contradiction", &[("b/board.toml", text)]).error();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
