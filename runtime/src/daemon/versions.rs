//! Which versions of plugins a device has run, so that nobody brings an older one back.
//!
//! An old release is signed as well as a new one, with the faults that the new one mends. So a version
//! that is older than the highest one of the same name that ran here is refused, unless those very
//! bytes ran here before: going back to what one had is allowed.

#[cfg(test)]
#[expect(
    unreachable_pub,
    reason = "the fuzz targets reach it from another crate"
)]
pub mod fuzz;
mod order;
mod seen;

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use zlayer_bundle::{Manifest, without_mark};

use crate::data_dir::DataDir;
use crate::error::{Error, Result};
use order::{Version, compare};
use seen::Seen;

/// The file in the data folder: a line for each artifact, `DIGEST VERSION NAME`, the latest last.
const FILE: &str = "versions";
/// Artifacts of one plugin that are remembered: the highest version, and those that ran last.
const OF_ONE: usize = 16;
/// Artifacts that are remembered in all: four for each plugin that a daemon may have. A line takes some 100
/// bytes.
const ALL: usize = 256;
/// Bytes of the file that are read; more than is ever written.
const FILE_BYTES: u64 = 1 << 20;

/// What ran here.
pub(super) struct Versions {
    path: PathBuf,
    seen: Vec<Seen>,
    /// How many of them ran here before. Those behind are to run now, beside one another: none of them counts
    /// against another.
    before: usize,
    is_changed: bool,
}

impl Versions {
    /// Reads what is remembered in a data folder.
    ///
    /// # Errors
    ///
    /// The file cannot be read: a missing one is none, a damaged one is told.
    pub(super) fn open(data: &DataDir) -> Result<Versions> {
        let path = data.path().join(FILE);
        let unreadable = |error| Error::device(format!("cannot read {}", path.display()), error);
        let text = match read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(unreadable(error)),
        };
        let seen: Vec<Seen> = text.lines().filter_map(Seen::read).collect();
        if seen.len() < text.lines().count() {
            log::warn!("{}: lines that make no sense are left out", path.display());
        }
        Ok(Versions {
            path,
            before: seen.len(),
            seen,
            is_changed: false,
        })
    }

    /// Whether the plugin may run, and remembers it from then on. Nothing is written before
    /// [`Versions::keep`].
    ///
    /// # Errors
    ///
    /// A higher version ran here, and these bytes did not.
    pub(super) fn admit(&mut self, manifest: &Manifest) -> Result<()> {
        let this = Seen::new(manifest.digest_text(), &manifest.version, &manifest.name);
        let known = self.seen.contains(&this);
        if !known && let Some(higher) = higher_than(&self.seen[..self.before], &this) {
            return Err(Error::Plugin {
                name: this.name.clone(),
                reason: format!(
                    "version {} is older than {higher}, which ran here, and never ran here itself: install a newer one, \
                     or, to go back all the same, take the lines of {} out of {}",
                    this.version,
                    this.name,
                    self.path.display()
                ),
            });
        }
        if !known {
            self.seen.push(this);
            self.is_changed = true;
        }
        Ok(())
    }

    /// Writes down what was admitted, if that is new.
    pub(super) fn keep(&mut self) {
        if !self.is_changed {
            return;
        }
        self.forget_some();
        let mut text = String::new();
        for seen in &self.seen {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{seen}");
        }
        match self.write(&text) {
            Ok(()) => {
                self.is_changed = false;
                self.before = self.seen.len();
            }
            // The plugins that are here have been admitted; what comes later may be an older one.
            Err(error) => log::error!(
                "cannot write {}: {error}; an older version of a plugin would not be noticed",
                self.path.display()
            ),
        }
    }

    /// Keeps the file short: of each plugin the highest version, and the latest of all others.
    fn forget_some(&mut self) {
        let mut kept: Vec<Seen> = Vec::new();
        for (place, seen) in self.seen.iter().enumerate().rev() {
            let later = self.seen[place + 1..].iter();
            let of_one = { later }.filter(|one| one.name == seen.name).count();
            let is_highest = Version::read(&seen.version).is_some()
                && higher_than(&self.seen, seen).is_none()
                && !kept.iter().any(|later| is_as_high(later, seen));
            if is_highest || (of_one < OF_ONE && kept.len() < ALL) {
                kept.push(seen.clone());
            }
        }
        kept.reverse();
        self.seen = kept;
    }

    /// Replaces the file as a whole: a power cut leaves the old one or the new one.
    fn write(&self, text: &str) -> io::Result<()> {
        let new = self.path.with_extension("new");
        let _ = fs::remove_file(&new);
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, &self.path)?;
        match self.path.parent() {
            Some(folder) => File::open(folder)?.sync_all(),
            None => Ok(()),
        }
    }
}

/// Whether `later` stands for a highest version as well as `seen` does: whatever is refused on
/// account of the one is refused on account of the other.
fn is_as_high(later: &Seen, seen: &Seen) -> bool {
    later.name == seen.name
        && Version::read(&later.version).is_some()
        && compare(&later.version, &seen.version).is_eq()
}

/// What the file says. Bytes that are no text, as worn flash has them, spoil their lines alone: a
/// device that starts is worth more than what it remembers.
fn read(path: &PathBuf) -> io::Result<String> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    let file = File::open(path)?;
    file.take(FILE_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(without_mark(&bytes)).into_owned())
}

/// The highest version of the same plugin among `seen`, where that is higher.
fn higher_than<'a>(seen: &'a [Seen], this: &Seen) -> Option<&'a str> {
    let others = seen.iter().filter(|seen| seen.name == this.name);
    let higher = others.filter(|seen| compare(&seen.version, &this.version).is_gt());
    let highest = higher.max_by(|one, other| compare(&one.version, &other.version));
    highest.map(|seen| seen.version.as_str())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use zlayer_bundle::{Profile, Target};

    use super::*;

    fn manifest(name: &str, version: &str, digest: u8) -> Manifest {
        Manifest {
            digest: [digest; 32],
            ..Manifest::new(name, version, Target::Armv7, Profile::Compact)
        }
    }

    /// What a device remembers in a folder of its own.
    struct Device(DataDir);

    impl Device {
        fn new() -> Device {
            Device(DataDir::open(None, None).unwrap())
        }

        /// Starts it with one plugin.
        fn runs(&self, name: &str, version: &str, digest: u8) -> bool {
            let mut versions = Versions::open(&self.0).unwrap();
            let admitted = versions.admit(&manifest(name, version, digest));
            versions.keep();
            admitted.is_ok()
        }
    }

    impl Drop for Device {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(self.0.path());
        }
    }

    #[test]
    fn a_version_with_blanks_is_remembered_as_well() {
        let device = Device::new();
        assert!(device.runs("a", "2.0.0-b c", 1));
        assert!(device.runs("a", "2.0.0-b c", 1));
        assert!(!device.runs("a", "1.0.0", 2));
    }

    #[test]
    fn an_older_version_runs_only_if_it_ran_before() {
        let device = Device::new();
        assert!(device.runs("a b", "1.0.0", 1));
        assert!(device.runs("a b", "2.0.0", 2));
        assert!(device.runs("a b", "1.0.0", 1), "it ran before");
        assert!(!device.runs("a b", "1.0.0", 3), "it is another build");
        assert!(!device.runs("a b", "1.9.9", 4));
        assert!(
            !device.runs("a b", "1.9.9", 2),
            "the same code by an older name"
        );
        assert!(!device.runs("a b", "2.0.0-rc.1", 5));
        assert!(device.runs("a b", "2.0.0", 6), "as high");
        assert!(device.runs("a b", "2.0.0+build", 7));
        assert!(device.runs("other", "0.1.0", 8));
        let mut versions = Versions::open(&device.0).unwrap();
        let refused = versions.admit(&manifest("a b", "1.5.0", 9));
        let told = refused.unwrap_err().to_string();
        assert!(told.contains("1.5.0 is older than 2.0.0"), "{told}");
    }

    #[test]
    fn services_beside_one_another_may_have_a_plugin_in_two_versions() {
        let device = Device::new();
        for _ in 0..2 {
            let mut versions = Versions::open(&device.0).unwrap();
            for (version, digest) in [("2.0.0", 2), ("1.0.0", 1)] {
                assert!(versions.admit(&manifest("p", version, digest)).is_ok());
            }
            versions.keep();
        }
        assert!(
            !device.runs("p", "1.0.0", 3),
            "another build of the older one"
        );
    }

    #[test]
    fn damage_spoils_its_own_lines_alone() {
        let device = Device::new();
        assert!(device.runs("p", "2.0.0", 2));
        let path = device.0.path().join(FILE);
        let whole = fs::read(&path).unwrap();
        // As an editor may leave it whose owner took other lines out.
        fs::write(&path, [b"\xef\xbb\xbf", &whole[..]].concat()).unwrap();
        assert!(!device.runs("p", "1.0.0", 1), "no line was damaged");
        let damaged = [b"\xff\xfe\0\x80 torn\n", &whole[..], b"\xc3"].concat();
        fs::write(&path, damaged).unwrap();
        assert!(!device.runs("p", "1.0.0", 1), "the whole line still counts");
        assert!(device.runs("p", "3.0.0", 3));
        fs::write(&path, [0xff; 4096]).unwrap();
        assert!(device.runs("p", "1.0.0", 1), "nothing is known any more");
    }

    #[test]
    fn the_highest_version_is_remembered_whatever_runs_later() {
        let device = Device::new();
        assert!(device.runs("p", "9.0.0", 255));
        let mut versions = Versions::open(&device.0).unwrap();
        // As versions that cannot be put in order are never refused, they can be many.
        for build in 0..200 {
            versions.admit(&manifest("p", "nightly", build)).unwrap();
        }
        versions.keep();
        let versions = Versions::open(&device.0).unwrap();
        assert_eq!(versions.seen.len(), OF_ONE + 1);
        assert!(!device.runs("p", "8.0.0", 254));
        // So can builds of one version be.
        let mut versions = Versions::open(&device.0).unwrap();
        for build in 0..200 {
            versions.admit(&manifest("p", "9.0.0", build)).unwrap();
        }
        versions.keep();
        let versions = Versions::open(&device.0).unwrap();
        assert_eq!(versions.seen.len(), OF_ONE);
        assert!(!device.runs("p", "8.0.0", 253));
    }

    #[test]
    fn versions_are_put_in_order_as_semver_has_it() {
        let order = [
            "0.0.0",
            "1.0.0-alpha",
            "1.0.0-alpha.1",
            "1.0.0-alpha.beta",
            "1.0.0-beta.2",
            "1.0.0-beta.11",
            "1.0.0-rc.1",
            "1.0.0",
            "1.2.0",
            "1.10.0",
            "2.0.0",
        ];
        for pair in order.windows(2) {
            assert!(compare(pair[0], pair[1]).is_lt(), "{pair:?}");
            assert!(compare(pair[1], pair[0]).is_gt(), "{pair:?}");
        }
        for odd in ["", "1", "1.2", "1.2.3.4", "v1.2.3", "nightly"] {
            assert!(compare(odd, "9.9.9").is_eq(), "{odd}");
        }
    }
}
