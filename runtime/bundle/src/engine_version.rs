//! Releases of the engine in their order, and the lowest one whose code may run.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A release of the engine: `MAJOR.MINOR.PATCH`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct EngineVersion {
    /// The first number.
    pub major: u32,
    /// The second.
    pub minor: u32,
    /// The third.
    pub patch: u32,
}

/// Code that an older engine compiled runs nowhere, whoever signed it: CVE-2026-34971 (RUSTSEC-2026-0096) let
/// code for aarch64 out of the sandbox. It is mended in 36.0.7, 42.0.2 and 43.0.1; this is the first release
/// from which on all are.
pub const ENGINE_FLOOR: EngineVersion = EngineVersion {
    major: 43,
    minor: 0,
    patch: 1,
};

/// What was not three numbers with dots between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAnEngineVersion;

impl FromStr for EngineVersion {
    type Err = NotAnEngineVersion;

    fn from_str(text: &str) -> Result<EngineVersion, NotAnEngineVersion> {
        let mut numbers = text.split('.').map(|digits| {
            let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            let canonical = digits == "0" || !digits.starts_with('0');
            let number = (plain && canonical).then(|| digits.parse().ok()).flatten();
            number.ok_or(NotAnEngineVersion)
        });
        let mut next = || numbers.next().unwrap_or(Err(NotAnEngineVersion));
        let version = EngineVersion {
            major: next()?,
            minor: next()?,
            patch: next()?,
        };
        match numbers.next() {
            None => Ok(version),
            Some(_) => Err(NotAnEngineVersion),
        }
    }
}

impl fmt::Display for EngineVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

impl fmt::Display for NotAnEngineVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a release of the engine is three numbers, such as 48.0.8")
    }
}

impl std::error::Error for NotAnEngineVersion {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ENGINE_VERSION;

    #[test]
    fn releases_are_read_strictly_and_ordered_by_number() {
        let read = |text: &str| text.parse::<EngineVersion>();
        for text in ["43.0.1", "0.0.0", "48.10.4294967295"] {
            assert_eq!(read(text).map(|one| one.to_string()), Ok(text.to_owned()));
        }
        for text in [
            "",
            "48",
            "48.0",
            "48.0.1.0",
            "48.0.x",
            "48.0.+1",
            "48.0.01",
            "48.0.1-rc",
            "48.0.4294967296",
        ] {
            assert_eq!(read(text), Err(NotAnEngineVersion), "{text}");
        }
        let number = |text: &str| read(text).ok();
        assert!(number("9.0.0") < number("10.0.0") && number("48.0.9") < number("48.0.10"));
    }

    #[test]
    fn the_linked_engine_is_not_below_its_own_floor() {
        let own = ENGINE_VERSION.parse::<EngineVersion>();
        assert!(own.is_ok_and(|own| own >= ENGINE_FLOOR));
    }
}
