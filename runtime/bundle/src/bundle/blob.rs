//! The files in a bundle.

use std::io::{self, Read, Write};

use ring::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};

use super::BundleError;
use crate::hex;

/// A file in a bundle, by its content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blob {
    /// Its length in bytes.
    pub len: u64,
    /// Its SHA-256.
    pub digest: [u8; 32],
}

impl Blob {
    /// That of these bytes.
    pub fn of(bytes: &[u8]) -> Blob {
        let mut context = Context::new(&SHA256);
        context.update(bytes);
        Blob {
            len: bytes.len() as u64,
            digest: finish(context),
        }
    }

    /// The name of its file where blobs are kept: its digest in lower-case hexadecimal digits.
    pub fn name(&self) -> String {
        hex::encode(&self.digest)
    }
}

/// Copies a blob from a bundle, piece by piece.
///
/// # Errors
///
/// What comes ends early, is not the blob ([`BundleError::Altered`]), or cannot be written. What was written
/// until then is of no use.
pub fn copy_blob(
    blob: &Blob,
    from: &mut impl Read,
    to: &mut impl Write,
) -> Result<(), BundleError> {
    /// Bytes read at a time.
    const PIECE: usize = 64 << 10;
    let mut buffer = vec![0; PIECE];
    let mut context = Context::new(&SHA256);
    let mut left = blob.len;
    while left > 0 {
        let most = usize::try_from(left).map_or(PIECE, |left| left.min(PIECE));
        let count = match from.read(&mut buffer[..most]) {
            Ok(0) => return Err(BundleError::Truncated),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(BundleError::Io(error)),
        };
        context.update(&buffer[..count]);
        to.write_all(&buffer[..count]).map_err(BundleError::Write)?;
        left -= count as u64;
    }
    match finish(context) == blob.digest {
        true => Ok(()),
        false => Err(BundleError::Altered),
    }
}

fn finish(context: Context) -> [u8; 32] {
    let mut digest = [0; 32];
    digest.copy_from_slice(context.finish().as_ref());
    digest
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;

    #[test]
    fn a_blob_is_copied_if_it_is_the_one() {
        let code: Vec<u8> = (0..200_000_u32).map(|n| (n % 251) as u8).collect();
        let blob = Blob::of(&code);
        assert_eq!(blob.name().len(), 64);
        let copy = |bytes: &[u8]| {
            let mut from = bytes;
            let mut to = Vec::new();
            copy_blob(&blob, &mut from, &mut to).map(|()| (to, from.len()))
        };
        let more = [code.clone(), b"next".to_vec()].concat();
        assert_eq!(copy(&more).unwrap(), (code.clone(), 4));
        assert!(matches!(
            copy(&code[1..]).unwrap_err(),
            BundleError::Truncated
        ));
        assert!(matches!(
            copy(&more[1..]).unwrap_err(),
            BundleError::Altered
        ));
    }
}
