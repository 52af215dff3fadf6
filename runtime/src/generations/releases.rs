//! Which releases of deployments were installed, so that nobody brings an older one back.
//!
//! An old release is signed as well as a new one, with the faults that the new one mends.

use std::fmt::Write as _;

use zlayer_bundle::{Blob, Deployment};

use crate::error::{Error, Result};

/// Deployments that are remembered, the latest last. A line takes some 100 bytes, so that the file has its place
/// in memory; a device has one or two.
const ALL: usize = 256;

/// The highest release of each deployment that was ever installed here. As a file it is a line
/// `NAME RELEASE DIGEST` for each, the digest being that of the bundle's head.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Releases(Vec<Release>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Release {
    deployment: String,
    number: u64,
    digest: String,
}

impl Releases {
    /// Reads the file. Lines that make no sense are left out, and answered in their number: a device that
    /// can be mended is worth more than what it remembers.
    pub(super) fn read(bytes: &[u8]) -> (Releases, usize) {
        let text = String::from_utf8_lossy(bytes);
        let all: Vec<_> = text.lines().map(Release::read).collect();
        let damaged = all.iter().filter(|line| line.is_none()).count();
        (Releases(all.into_iter().flatten().collect()), damaged)
    }

    /// The file.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        for one in &self.0 {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{} {} {}", one.deployment, one.number, one.digest);
        }
        text
    }

    /// Whether a deployment may be installed whose bundle begins with this head. Where something `is_kept` beside what
    /// is active, a refusal names the way back to it.
    ///
    /// # Errors
    ///
    /// A higher release of it was installed, or the same one with other content.
    pub(super) fn admit(&self, deployment: &Deployment, head: &[u8], is_kept: bool) -> Result<()> {
        let Some(highest) = self.of(&deployment.name) else {
            return Ok(());
        };
        let (name, release) = (&deployment.name, deployment.release);
        if release < highest.number {
            let counts = match release {
                0 => "has no `release`, and release",
                _ => "is older than",
            };
            let back = match is_kept {
                true => "; to go back to what ran here, use `zlayer rollback`",
                false => "",
            };
            return Err(Error::Refused(format!(
                "release {release} of '{name}' {counts} {}, which was installed here: install that or a newer one{back}",
                highest.number
            )));
        }
        // Who does not count releases may change what they like.
        let is_other = release == highest.number && digest(head) != highest.digest;
        match is_other && release > 0 {
            false => Ok(()),
            true => Err(Error::Refused(format!(
                "release {release} of '{name}' was installed here with other content: raise `release` in its \
                 deployment.yaml, and pack it again"
            ))),
        }
    }

    /// Remembers that it was installed; answers whether that is new.
    pub(super) fn note(&mut self, deployment: &Deployment, head: &[u8]) -> bool {
        let this = Release {
            deployment: deployment.name.clone(),
            number: deployment.release,
            digest: digest(head),
        };
        let known = self.of(&deployment.name);
        // Of those that nobody counts there is no highest one.
        if this.number == 0 || known.is_some_and(|known| known.number >= this.number) {
            return false;
        }
        self.0.retain(|one| one.deployment != this.deployment);
        self.0.push(this);
        let too_many = self.0.len().saturating_sub(ALL);
        self.0.drain(..too_many);
        true
    }

    fn of(&self, deployment: &str) -> Option<&Release> {
        let mut all = self.0.iter();
        all.find(|one| one.deployment == deployment)
    }
}

impl Release {
    /// Reads a line. A name may hold blanks, the others do not.
    fn read(line: &str) -> Option<Release> {
        let (rest, digest) = line.rsplit_once(' ')?;
        let (deployment, number) = rest.rsplit_once(' ')?;
        let is_digest = digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
        Some(Release {
            deployment: deployment.to_owned(),
            number: number.parse().ok()?,
            digest: is_digest.then(|| digest.to_owned())?,
        })
    }
}

fn digest(head: &[u8]) -> String {
    Blob::of(head).name()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;

    fn deployment(name: &str, release: u64) -> Deployment {
        Deployment {
            name: name.to_owned(),
            release,
            ..Deployment::default()
        }
    }

    fn refusal(releases: &Releases, name: &str, release: u64, head: &[u8]) -> String {
        let admitted = releases.admit(&deployment(name, release), head, true);
        admitted.unwrap_err().to_string()
    }

    #[test]
    fn a_device_goes_to_higher_releases() {
        let mut releases = Releases::default();
        assert!(releases.admit(&deployment("a b", 5), b"five", true).is_ok());
        assert!(releases.note(&deployment("a b", 5), b"five"));
        assert!(!releases.note(&deployment("a b", 5), b"five"));
        assert!(!releases.note(&deployment("a b", 4), b"four"));
        let (releases, damaged) = Releases::read(releases.text().as_bytes());
        assert_eq!(damaged, 0);
        assert!(releases.admit(&deployment("a b", 5), b"five", true).is_ok());
        assert!(releases.admit(&deployment("a b", 6), b"six", true).is_ok());
        assert!(
            releases
                .admit(&deployment("other", 1), b"one", true)
                .is_ok()
        );
        let told = refusal(&releases, "a b", 3, b"three");
        assert!(
            told.contains("release 3 of 'a b' is older than 5") && told.contains("rollback"),
            "{told}"
        );
        // Where nothing else is kept, there is no way back.
        let told = releases.admit(&deployment("a b", 3), b"three", false);
        let told = told.unwrap_err().to_string();
        assert!(
            told.contains("is older than 5") && !told.contains("rollback"),
            "{told}"
        );
        let told = refusal(&releases, "a b", 5, b"another");
        assert!(told.contains("raise `release`"), "{told}");
        // It may have been made before its owner began to count.
        let told = refusal(&releases, "a b", 0, b"none");
        assert!(told.contains("has no `release`"), "{told}");
    }

    #[test]
    fn who_does_not_count_is_not_held_to_it() {
        let mut releases = Releases::default();
        assert!(!releases.note(&deployment("d", 0), b"one"));
        assert!(releases.admit(&deployment("d", 0), b"two", true).is_ok());
        assert_eq!(releases.text(), "");
    }

    #[test]
    fn damage_spoils_its_own_lines_alone() {
        let mut releases = Releases::default();
        releases.note(&deployment("", 7), b"seven");
        let torn = [b"\xff\xfe torn\n1 2\n", releases.text().as_bytes(), b"x 1"].concat();
        assert_eq!(Releases::read(&torn), (releases, 3));
    }

    #[test]
    fn the_file_stays_short() {
        let mut releases = Releases::default();
        for number in 0..1000 {
            releases.note(&deployment(&number.to_string(), 1), b"head");
        }
        assert_eq!(releases.0.len(), ALL);
        assert_eq!(releases.0.last().unwrap().deployment, "999");
    }
}
