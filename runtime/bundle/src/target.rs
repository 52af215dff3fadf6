//! The processors that plugins are compiled for.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A processor family that a plugin can be compiled for. The system is always Linux.
///
/// The order of the variants is part of the artifact format: new ones go to the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Target {
    /// 64-bit x86, as native code that needs nothing beyond SSE2 unless a board asks for more.
    X86_64,
    /// 64-bit ARM, as native code for any ARMv8-A, whatever the C library.
    Aarch64,
    /// 32-bit ARM. The compiler has no 32-bit backend, so the artifact holds portable
    /// bytecode that the engine interprets. It suits ARMv6 as well.
    Armv7,
}

impl Target {
    /// Every target, in the order in which they are listed to people.
    pub const ALL: [Target; 3] = [Target::X86_64, Target::Aarch64, Target::Armv7];

    /// The name on the command line, in file names and in manifests.
    pub fn name(self) -> &'static str {
        match self {
            Target::X86_64 => "x86_64",
            Target::Aarch64 => "aarch64",
            Target::Armv7 => "armv7",
        }
    }

    /// The triple that the engine's compiler is asked for.
    pub fn engine_triple(self) -> &'static str {
        match self {
            Target::X86_64 => "x86_64-unknown-linux-gnu",
            Target::Aarch64 => "aarch64-unknown-linux-gnu",
            Target::Armv7 => "pulley32",
        }
    }

    /// Whether artifacts hold bytecode for the engine's interpreter, not machine code.
    pub fn is_interpreted(self) -> bool {
        self == Target::Armv7
    }

    /// The target that the running program was built for. `None` on a system that
    /// plugins are not compiled for.
    pub fn host() -> Option<Target> {
        if !cfg!(all(target_os = "linux", target_endian = "little")) {
            None
        } else if cfg!(target_arch = "x86_64") {
            Some(Target::X86_64)
        } else if cfg!(target_arch = "aarch64") {
            Some(Target::Aarch64)
        } else if cfg!(target_arch = "arm") {
            Some(Target::Armv7)
        } else {
            None
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Target {
    type Err = UnknownTarget;

    /// Reads a target's name, or a Rust target triple that begins with it.
    fn from_str(text: &str) -> Result<Target, UnknownTarget> {
        let first = text.split('-').next().unwrap_or_default();
        Target::ALL
            .into_iter()
            .find(|target| target.name() == first)
            .ok_or_else(|| UnknownTarget(text.to_owned()))
    }
}

/// A name that is no [`Target`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownTarget(pub String);

impl fmt::Display for UnknownTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = Target::ALL.map(Target::name).join(", ");
        write!(
            f,
            "unknown target `{}`: the targets are {known}",
            self.0.escape_debug()
        )
    }
}

impl std::error::Error for UnknownTarget {}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;

    #[test]
    fn names_and_triples_are_read() {
        for target in Target::ALL {
            assert_eq!(target.to_string().parse(), Ok(target));
        }
        assert_eq!("x86_64-unknown-linux-musl".parse(), Ok(Target::X86_64));
        assert_eq!("aarch64-unknown-linux-gnu".parse(), Ok(Target::Aarch64));
        assert_eq!("armv7-unknown-linux-gnueabihf".parse(), Ok(Target::Armv7));
    }

    #[test]
    fn an_unknown_name_lists_the_known_ones() {
        for text in ["", "nonsense", "x86", "armv7l", "-aarch64"] {
            let error = text.parse::<Target>().unwrap_err().to_string();
            assert!(error.contains("x86_64, aarch64, armv7"), "{error}");
            assert!(error.contains(&format!("`{text}`")), "{error}");
        }
    }

    #[test]
    fn json_uses_the_same_names() {
        for target in Target::ALL {
            assert_eq!(
                serde_json::to_string(&target).unwrap(),
                format!("\"{target}\"")
            );
        }
    }

    #[test]
    fn host_is_what_this_test_was_built_for() {
        let name = Target::host().map(Target::name);
        if cfg!(all(target_os = "linux", target_arch = "x86_64")) {
            assert_eq!(name, Some("x86_64"));
        } else if cfg!(all(target_os = "linux", target_arch = "aarch64")) {
            assert_eq!(name, Some("aarch64"));
        } else if cfg!(all(target_os = "linux", target_arch = "arm")) {
            assert_eq!(name, Some("armv7"));
        } else {
            assert_eq!(name, None);
        }
    }
}
