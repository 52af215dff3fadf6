//! Sets of memory settings that a plugin can be compiled with.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Target;

/// A named set of memory settings. Artifact and device must have the same one.
///
/// The order of the variants is part of the artifact format: new ones go to the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// 256 MiB of address space for each linear memory, and explicit bounds checks.
    /// Fits kernels with a 39-bit address space, as on most ARM boards. The default.
    #[default]
    Compact,
    /// 4 GiB of address space for each linear memory, so that the processor's memory
    /// protection does the bounds checks: 1.2 to 1.8 times faster in tight loops.
    /// Only for 64-bit targets with address space to spare.
    Wide,
}

impl Profile {
    /// Every profile.
    pub const ALL: [Profile; 2] = [Profile::Compact, Profile::Wide];

    /// The name on the command line and in manifests.
    pub fn name(self) -> &'static str {
        match self {
            Profile::Compact => "compact",
            Profile::Wide => "wide",
        }
    }

    /// Whether plugins for `target` can be compiled with it.
    ///
    /// # Errors
    ///
    /// When the target has no room for it.
    pub fn check(self, target: Target) -> Result<(), UnsupportedProfile> {
        match (self, target) {
            (Profile::Wide, Target::Armv7) => Err(UnsupportedProfile {
                target,
                profile: self,
            }),
            _ => Ok(()),
        }
    }

    /// The largest linear memory, in bytes, that a plugin can have on `target`.
    pub fn memory_limit(self, target: Target) -> u64 {
        match (self, target) {
            // Interpreted memories may move, so only the 32-bit address space bounds them.
            (_, Target::Armv7) => 1 << 32,
            (Profile::Compact, _) => COMPACT_RESERVATION,
            (Profile::Wide, _) => WIDE_RESERVATION,
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Profile {
    type Err = UnknownProfile;

    fn from_str(text: &str) -> Result<Profile, UnknownProfile> {
        Profile::ALL
            .into_iter()
            .find(|profile| profile.name() == text)
            .ok_or_else(|| UnknownProfile(text.to_owned()))
    }
}

/// Address space for one linear memory under [`Profile::Compact`], in bytes. It is also
/// the largest a memory can grow, since compiled code relies on memories staying in place.
pub(crate) const COMPACT_RESERVATION: u64 = 256 << 20;

/// Address space for one linear memory under [`Profile::Wide`], in bytes: all that a
/// 32-bit index can name, so that no index needs a check.
pub(crate) const WIDE_RESERVATION: u64 = 4 << 30;

/// A profile that a target has no room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnsupportedProfile {
    /// The target that was asked for.
    pub target: Target,
    /// The profile that it cannot have.
    pub profile: Profile,
}

impl fmt::Display for UnsupportedProfile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "profile {} needs a 64-bit target and {} is not one: use profile {}",
            self.profile,
            self.target,
            Profile::Compact
        )
    }
}

impl std::error::Error for UnsupportedProfile {}

/// A name that is no [`Profile`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownProfile(pub String);

impl fmt::Display for UnknownProfile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = Profile::ALL.map(Profile::name).join(", ");
        write!(
            f,
            "unknown profile `{}`: the profiles are {known}",
            self.0.escape_debug()
        )
    }
}

impl std::error::Error for UnknownProfile {}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;

    #[test]
    fn a_target_of_32_bits_has_no_room_for_the_wide_one() {
        for target in Target::ALL {
            for profile in Profile::ALL {
                let wide_armv7 = target == Target::Armv7 && profile == Profile::Wide;
                assert_eq!(profile.check(target).is_err(), wide_armv7);
            }
        }
        let error = Profile::Wide.check(Target::Armv7).unwrap_err().to_string();
        assert!(
            error.contains("armv7") && error.contains("use profile compact"),
            "{error}"
        );
    }

    #[test]
    fn names_are_read_back() {
        for profile in Profile::ALL {
            assert_eq!(profile.to_string().parse(), Ok(profile));
        }
        let error = "huge".parse::<Profile>().unwrap_err().to_string();
        assert!(error.contains("compact, wide"), "{error}");
    }
}
