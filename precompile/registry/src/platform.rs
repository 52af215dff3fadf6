//! What registries call the processors that artifacts are for.

use std::fmt;

use serde::{Deserialize, Serialize};
use zlayer_bundle::Target;

/// A processor and a system, as an image index has them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    /// The processor, as Go calls it.
    pub architecture: String,
    /// The system, as Go calls it.
    pub os: String,
    /// Which kind of the processor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

impl Platform {
    /// The platform of a target.
    pub fn of(target: Target) -> Platform {
        let (architecture, variant) = match target {
            Target::X86_64 => ("amd64", None),
            Target::Aarch64 => ("arm64", None),
            Target::Armv7 => ("arm", Some("v7")),
        };
        Platform {
            architecture: architecture.to_owned(),
            os: "linux".to_owned(),
            variant: variant.map(str::to_owned),
        }
    }

    /// Whether this is the platform of a target. Some tools name the variant where there is but one.
    pub fn is(&self, target: Target) -> bool {
        let wanted = Platform::of(target);
        let usual = match target {
            Target::X86_64 => "v1",
            Target::Aarch64 => "v8",
            Target::Armv7 => "v7",
        };
        self.os == wanted.os && self.architecture == wanted.architecture && {
            self.variant.as_deref()
        }
        .is_none_or(|variant| variant == usual)
    }

    /// Whether it stands for WebAssembly, which every device can have compiled.
    pub fn is_wasm(&self) -> bool {
        self.architecture == "wasm"
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_target_is_one_platform() {
        let names = Target::ALL.map(|target| Platform::of(target).to_string());
        assert_eq!(names, ["linux/amd64", "linux/arm64", "linux/arm/v7"]);
        for one in Target::ALL {
            let others = Target::ALL.into_iter().filter(|target| *target != one);
            assert!(Platform::of(one).is(one));
            for other in others {
                assert!(!Platform::of(one).is(other));
            }
        }
    }

    #[test]
    fn a_variant_may_be_named_or_not() {
        let platform = |architecture: &str, variant: Option<&str>| Platform {
            architecture: architecture.to_owned(),
            os: "linux".to_owned(),
            variant: variant.map(str::to_owned),
        };
        assert!(platform("arm64", Some("v8")).is(Target::Aarch64));
        assert!(platform("arm", None).is(Target::Armv7));
        assert!(!platform("arm", Some("v6")).is(Target::Armv7));
    }
}
