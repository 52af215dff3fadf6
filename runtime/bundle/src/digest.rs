//! The digest of an artifact's code.
//!
//! An artifact for aarch64 is half alignment: its sections begin at 64 KiB, the largest page size
//! of that processor. On small boards, whose processors have no instructions for SHA-256, digesting
//! zeros took more time than anything else between the start and the first response. So the digest
//! says which blocks hold something, and what: SHA-256 over, for each block of 4 KiB that is not
//! all zeros, its number (8 bytes, little-endian) and its bytes, and at the end the length of the
//! code (8 bytes). Two different files never give the same input: the length says how many blocks
//! there are and how long the last one is, and a block that is not named is all zeros.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use ring::digest::{Context, SHA256};

use crate::hex;

/// Bytes of a block; the last one of a file may be shorter.
const BLOCK: usize = 4 << 10;

/// A short name for what consists of these parts: the first half of SHA-256 over them, each behind its
/// length, in hexadecimal digits. Other parts never have the same name.
pub fn fingerprint(parts: &[&[u8]]) -> String {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_le_bytes());
        context.update(part);
    }
    hex::encode(&context.finish().as_ref()[..16])
}

/// A digest that is being made, of bytes that come in order.
pub(crate) struct CodeDigest {
    context: Context,
    /// Bytes that have come.
    length: u64,
}

impl CodeDigest {
    /// Of no bytes yet.
    pub(crate) fn new() -> CodeDigest {
        CodeDigest {
            context: Context::new(&SHA256),
            length: 0,
        }
    }

    /// The digest of bytes in memory.
    pub(crate) fn of(code: &[u8]) -> [u8; 32] {
        let mut digest = CodeDigest::new();
        digest.add(code);
        digest.finish()
    }

    /// The digest of the first `length` bytes of a file. Its cursor is neither used nor moved.
    pub(crate) fn of_file(file: &File, length: u64) -> io::Result<[u8; 32]> {
        /// Bytes read at a time: whole blocks.
        const CHUNK: usize = 16 * BLOCK;
        let mut digest = CodeDigest::new();
        let mut buffer = vec![0; CHUNK];
        while digest.length < length {
            let left = length - digest.length;
            let count = usize::try_from(left).map_or(CHUNK, |left| left.min(CHUNK));
            let chunk = &mut buffer[..count];
            file.read_exact_at(chunk, digest.length)?;
            digest.add(chunk);
        }
        Ok(digest.finish())
    }

    /// Adds whole blocks, or whatever is left of the file.
    fn add(&mut self, bytes: &[u8]) {
        for block in bytes.chunks(BLOCK) {
            if !is_zero(block) {
                let number = self.length / BLOCK as u64;
                self.context.update(&number.to_le_bytes());
                self.context.update(block);
            }
            self.length += block.len() as u64;
        }
    }

    fn finish(mut self) -> [u8; 32] {
        self.context.update(&self.length.to_le_bytes());
        let mut bytes = [0; 32];
        bytes.copy_from_slice(self.context.finish().as_ref());
        bytes
    }
}

/// Word by word, since most blocks show at once that they are not.
fn is_zero(block: &[u8]) -> bool {
    let (words, rest) = block.as_chunks::<8>();
    words.iter().all(|word| u64::from_ne_bytes(*word) == 0) && rest.iter().all(|byte| *byte == 0)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use std::io::Write as _;

    use super::*;

    /// What the digest is said to be, written down once more.
    fn by_the_book(code: &[u8]) -> [u8; 32] {
        let mut input = Vec::new();
        for (number, block) in code.chunks(4096).enumerate() {
            if block.iter().any(|byte| *byte != 0) {
                input.extend((number as u64).to_le_bytes());
                input.extend(block);
            }
        }
        input.extend((code.len() as u64).to_le_bytes());
        ring::digest::digest(&SHA256, &input)
            .as_ref()
            .try_into()
            .unwrap()
    }

    #[test]
    fn it_is_what_it_is_said_to_be_in_memory_and_in_a_file() {
        let mut code = vec![0; 200_000];
        code[3] = 1;
        code[70_000..90_000].fill(7);
        code[199_999] = 9;
        for length in [0, 1, 4_095, 4_096, 4_097, 65_536, 65_537, 150_000, 200_000] {
            let code = &code[..length];
            let path = std::env::temp_dir().join(format!("zlayer-digest-{}", std::process::id()));
            let mut file = File::create(&path).unwrap();
            file.write_all(code).unwrap();
            file.write_all(b"trailer").unwrap();
            let file = File::open(&path).unwrap();
            std::fs::remove_file(&path).unwrap();
            assert_eq!(CodeDigest::of(code), by_the_book(code), "{length}");
            let of_file = CodeDigest::of_file(&file, length as u64).unwrap();
            assert_eq!(of_file, by_the_book(code), "{length}");
        }
    }

    #[test]
    fn zeros_count_where_they_stand_and_how_many_they_are() {
        let mut seen = Vec::new();
        let mut is_new = |code: &[u8]| {
            let digest = CodeDigest::of(code);
            let new = !seen.contains(&digest);
            seen.push(digest);
            new
        };
        for length in [0, 1, 2, 4_096, 8_192, 8_193] {
            assert!(is_new(&vec![0; length]), "{length} zeros");
        }
        for at in [0, 1, 4_095, 4_096, 8_191] {
            let mut code = vec![0; 8_192];
            code[at] = 1;
            assert!(is_new(&code), "a one at {at}");
        }
    }

    #[test]
    fn a_file_that_is_too_short_is_an_error() {
        let file = File::open("/dev/null").unwrap();
        let error = CodeDigest::of_file(&file, 1).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
