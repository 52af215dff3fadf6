//! The root certificates that the certificates of upstreams are checked against.

use std::fs;
use std::io::{self, Read as _};
use std::path::Path;

use futures_rustls::rustls::RootCertStore;
use futures_rustls::rustls::pki_types::CertificateDer;
use futures_rustls::rustls::pki_types::pem::PemObject;
use zlayer_bundle::{between_marks, open_regular};

use crate::memory::Reservation;

/// The system's file, where Debian, Alpine, Buildroot and OpenWrt have it.
pub const SYSTEM: &str = "/etc/ssl/certs/ca-certificates.crt";

/// The longest such file in bytes. The system's, with all public authorities, has 0.2 MB.
const FILE_BYTES: u64 = 1 << 20;

/// Why a file of root certificates cannot be used.
#[derive(Debug)]
pub(super) enum RootsError {
    /// The file cannot be read.
    Open(io::Error),
    /// The content of the file is of no use, for this reason.
    Content(String),
    /// There is not enough memory to read it.
    NoMemory,
}

/// Reads a file in PEM. What is kept of it is charged to a reservation from `reserve`.
pub(super) fn read(
    file: &Path,
    reserve: impl Fn(usize) -> Option<Reservation>,
) -> Result<(RootCertStore, Reservation), RootsError> {
    let found = fs::metadata(file).map_err(RootsError::Open)?;
    if !found.is_file() {
        return Err(RootsError::Content("it is not a file".to_owned()));
    }
    if found.len() > FILE_BYTES {
        return Err(RootsError::Content(format!(
            "it has {} KiB; at most {} KiB are read",
            found.len() >> 10,
            FILE_BYTES >> 10
        )));
    }
    // The file itself, and what is kept: names and keys, which are only a part of it.
    let bytes = found.len() as usize;
    let mut memory = reserve(2 * bytes).ok_or(RootsError::NoMemory)?;
    let (opened, _) = open_regular(file).map_err(RootsError::Open)?;
    let mut text = Vec::new();
    { opened.take(FILE_BYTES).read_to_end(&mut text) }.map_err(RootsError::Open)?;
    let certificates: Vec<_> = between_marks(&text)
        .flat_map(CertificateDer::pem_slice_iter)
        .collect::<Result<_, _>>()
        .map_err(|error| RootsError::Content(format!("it is not valid PEM: {error}")))?;
    let mut roots = RootCertStore::empty();
    // Old roots that are malformed by today's rules are skipped and do no harm.
    match roots.add_parsable_certificates(certificates) {
        (0, 0) => return Err(RootsError::Content("there are none".to_owned())),
        (0, wrong) => {
            return Err(RootsError::Content(format!("none of {wrong} can be read")));
        }
        (_, 0) => {}
        (_, wrong) => log::warn!(
            "{wrong} root certificates in {} cannot be read",
            file.display()
        ),
    }
    memory.shrink(bytes);
    Ok((roots, memory))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use std::path::PathBuf;
    use std::sync::Arc;

    use super::*;
    use crate::memory::Budget;

    fn fixture(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("src/upstream/tests/tls")
            .join(name)
    }

    fn refused(file: &Path, budget: &Arc<Budget>) -> String {
        let read = read(file, |bytes| budget.reserve(bytes));
        assert_eq!(budget.used(), 0);
        format!("{:?}", read.err().unwrap())
    }

    #[test]
    fn what_is_kept_is_charged_and_comes_back() {
        let (file, budget) = (fixture("ca.pem"), Budget::new(1 << 20));
        let (roots, held) = read(&file, |bytes| budget.reserve(bytes)).unwrap();
        assert_eq!(roots.len(), 1);
        let length = fs::metadata(&file).unwrap().len() as usize;
        assert_eq!((budget.used(), held.bytes()), (length, length));
        drop(held);
        assert_eq!(budget.used(), 0);
        let small = Budget::new(length);
        assert_eq!(refused(&file, &small), "NoMemory");
    }

    #[test]
    fn a_file_that_is_no_use_is_refused() {
        let budget = Budget::new(64 << 20);
        let folder = std::env::temp_dir().join(format!("zlayer-roots-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let write = |name: &str, bytes: &[u8]| {
            let file = folder.join(name);
            fs::write(&file, bytes).unwrap();
            file
        };
        let pem = |inner: &str| {
            format!("-----BEGIN CERTIFICATE-----\n{inner}\n-----END CERTIFICATE-----\n")
        };
        for (file, reason) in [
            (folder.join("missing"), "Open("),
            (folder.clone(), "not a file"),
            (Path::new("/dev/zero").to_owned(), "not a file"),
            (write("empty", b""), "there are none"),
            (fixture("server.key"), "there are none"),
            (write("noise", &[0xff; 4000]), "there are none"),
            (
                write("base64", pem("*not base64*").as_bytes()),
                "not valid PEM",
            ),
            (
                write("cut", b"-----BEGIN CERTIFICATE-----\nAAAA\n"),
                "not valid PEM",
            ),
            (write("wrong", pem("AAAA").as_bytes()), "none of 1"),
            (write("large", &[b'\n'; (1 << 20) + 1]), "at most 1024 KiB"),
        ] {
            let said = refused(&file, &budget);
            assert!(said.contains(reason), "{}: {said}", file.display());
        }
        // One that is malformed does not keep the others from being used.
        let mut mixed = fs::read(fixture("ca.pem")).unwrap();
        mixed.extend_from_slice(pem("AAAA").as_bytes());
        let (roots, _) = read(&write("mixed", &mixed), |bytes| budget.reserve(bytes)).unwrap();
        assert_eq!(roots.len(), 1);
        // Two files in one, both written by an editor that begins a text with a byte order mark.
        let marked = ["ca.pem", "server.pem"].map(|name| {
            let text = fs::read(fixture(name)).unwrap();
            [b"\xef\xbb\xbf", &text[..]].concat()
        });
        let marked = write("marked", &marked.concat());
        let (roots, _) = read(&marked, |bytes| budget.reserve(bytes)).unwrap();
        assert_eq!(roots.len(), 2);
        fs::remove_dir_all(&folder).unwrap();
    }
}
