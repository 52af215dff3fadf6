//! An artifact in the words of a line of the file: one that ran here, or one that wants to and is compared
//! with those.

use std::fmt;

/// An artifact, by what its line says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) digest: String,
    pub(super) version: String,
    pub(super) name: String,
}

impl Seen {
    /// The artifact with this digest. A line ends its version with a blank, so `_` takes the place of each
    /// that the author wrote; orders are found with that in its place, too, whichever version is compared.
    pub(super) fn new(digest: String, version: &str, name: &str) -> Seen {
        Seen {
            digest,
            version: version.replace(' ', "_"),
            name: name.to_owned(),
        }
    }

    /// Reads a line. A name may hold blanks, the others do not.
    pub(super) fn read(line: &str) -> Option<Seen> {
        let (digest, rest) = line.split_once(' ')?;
        let (version, name) = rest.split_once(' ')?;
        let is_digest = digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
        (is_digest && !name.is_empty()).then(|| Seen {
            digest: digest.to_owned(),
            version: version.to_owned(),
            name: name.to_owned(),
        })
    }
}

impl fmt::Display for Seen {
    /// The line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.digest, self.version, self.name)
    }
}
