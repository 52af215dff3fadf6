//! Which devices `--target` and `--profile` mean, for the verbs that take them.

use anyhow::Result;
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
}
