//! The trailer behind the engine's artifact: manifest, signature block, footer.

use std::fs::File;
use std::io;

use crate::digest::CodeDigest;
use crate::signature::{SIGNATURE, SignatureState, check, sign};
use crate::{ArtifactError, MAX_MANIFEST, Manifest, SecretKey};

/// The trailer format that this crate writes, and the only one that it reads.
const FORMAT: u16 = 1;

/// The last bytes of every artifact. The line feed shows a transfer that rewrote line ends.
const MAGIC: [u8; 8] = *b"ZLCWASM\n";

/// Length of the footer, in bytes: artifact length (8), manifest length (4), signature
/// length (2), format (2), magic (8), all little-endian.
const FOOTER: usize = 24;

/// What every signed message begins with, so that a signature made for anything else
/// can never be taken for one over an artifact.
const DOMAIN: &[u8] = b"zlayer artifact v1\0";

/// What stands behind the engine's artifact, read but not trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trailer {
    /// What the artifact says about itself.
    pub manifest: Manifest,
    /// Who signed that, if anybody did.
    pub signature: SignatureState,
}

impl Trailer {
    /// Reads the trailer of a whole artifact in memory.
    ///
    /// # Errors
    ///
    /// When there is no trailer, or it does not make sense. A bad signature is not an
    /// error here but a [`SignatureState`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Trailer, ArtifactError> {
        Trailer::read_with(bytes.len() as u64, |offset, buffer| {
            let start = usize::try_from(offset).map_err(io::Error::other)?;
            let found = start
                .checked_add(buffer.len())
                .and_then(|end| bytes.get(start..end));
            buffer.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
            Ok(())
        })
    }

    /// Reads the trailer of a file. Neither uses nor moves the file's cursor.
    pub(crate) fn from_file(file: &File) -> Result<Trailer, ArtifactError> {
        use std::os::unix::fs::FileExt as _;
        let len = file.metadata()?.len();
        Trailer::read_with(len, |offset, buffer| file.read_exact_at(buffer, offset))
    }

    /// Reads the trailer of `len` bytes that `read_at` gives access to.
    fn read_with(
        len: u64,
        read_at: impl Fn(u64, &mut [u8]) -> io::Result<()>,
    ) -> Result<Trailer, ArtifactError> {
        let Some(footer_at) = len.checked_sub(FOOTER as u64) else {
            return Err(missing(len, &read_at));
        };
        let mut bytes = [0; FOOTER];
        read_at(footer_at, &mut bytes)?;
        if bytes[FOOTER - MAGIC.len()..] != MAGIC {
            return Err(missing(len, &read_at));
        }
        let footer = Footer::decode(&bytes);
        if footer.format != FORMAT {
            return Err(ArtifactError::UnknownFormat {
                found: footer.format,
                known: FORMAT,
            });
        }
        // Checked before anything is allocated, and against the real length: nothing may
        // hide between the parts, or behind them.
        let manifest_len = footer.manifest_len as usize;
        let signature_len = usize::from(footer.signature_len);
        if manifest_len > MAX_MANIFEST {
            return Err(ArtifactError::Manifest(format!(
                "takes {manifest_len} bytes and the limit is {MAX_MANIFEST}"
            )));
        }
        let trailer_len = manifest_len + signature_len + FOOTER;
        if (signature_len != 0 && signature_len != SIGNATURE)
            || footer.artifact_len.checked_add(trailer_len as u64) != Some(len)
        {
            return Err(ArtifactError::Truncated);
        }

        let mut manifest_bytes = vec![0; manifest_len];
        read_at(footer.artifact_len, &mut manifest_bytes)?;
        let signature = if signature_len == 0 {
            SignatureState::Unsigned
        } else {
            let mut block = [0; SIGNATURE];
            read_at(footer.artifact_len + manifest_len as u64, &mut block)?;
            check(&block, &signed_message(&bytes, &manifest_bytes))
        };
        let manifest = Manifest::decode(&manifest_bytes)?;
        if manifest.artifact_len != footer.artifact_len {
            return Err(ArtifactError::Manifest(format!(
                "describes {} bytes of code, and there are {}",
                manifest.artifact_len, footer.artifact_len
            )));
        }
        Ok(Trailer {
            manifest,
            signature,
        })
    }
}

/// Whether two files end in the same trailer, and so hold the same code, if each holds what its
/// trailer says. Neither uses nor moves the files' cursors.
///
/// # Errors
///
/// When one of them cannot be read.
pub fn have_same_trailer(left: &File, right: &File) -> io::Result<bool> {
    use std::os::unix::fs::FileExt as _;
    let len = left.metadata()?.len();
    let Some(footer_at) = len.checked_sub(FOOTER as u64) else {
        return Ok(false);
    };
    if right.metadata()?.len() != len {
        return Ok(false);
    }
    let mut bytes = [0; FOOTER];
    left.read_exact_at(&mut bytes, footer_at)?;
    let footer = Footer::decode(&bytes);
    let trailer_len = (footer.manifest_len as usize)
        .saturating_add(usize::from(footer.signature_len))
        .saturating_add(FOOTER);
    let begin = len.checked_sub(trailer_len as u64);
    let (Some(begin), true) = (begin, trailer_len <= MAX_MANIFEST + SIGNATURE + FOOTER) else {
        return Ok(false);
    };
    if bytes[FOOTER - MAGIC.len()..] != MAGIC {
        return Ok(false);
    }
    let (mut a, mut b) = (vec![0; trailer_len], vec![0; trailer_len]);
    left.read_exact_at(&mut a, begin)?;
    right.read_exact_at(&mut b, begin)?;
    Ok(a == b)
}

/// Puts a trailer behind the engine's artifact and answers the whole file. The manifest's
/// length and digest are set here. Without a key the file is unsigned. The same input
/// always gives the same bytes.
///
/// # Errors
///
/// When the manifest is too large, or holds text that could steer a terminal.
pub fn seal(
    mut artifact: Vec<u8>,
    mut manifest: Manifest,
    key: Option<&SecretKey>,
) -> Result<Vec<u8>, ArtifactError> {
    manifest.artifact_len = artifact.len() as u64;
    manifest.digest = CodeDigest::of(&artifact);
    let manifest_bytes = manifest.encode()?;
    let footer = Footer {
        artifact_len: manifest.artifact_len,
        // `encode` bounds it to far less than a u32 holds.
        manifest_len: manifest_bytes.len() as u32,
        signature_len: if key.is_some() { SIGNATURE as u16 } else { 0 },
        format: FORMAT,
    }
    .encode();
    let block = key.map(|key| sign(key, &signed_message(&footer, &manifest_bytes)));
    artifact.extend_from_slice(&manifest_bytes);
    artifact.extend_from_slice(&block.unwrap_or_default());
    artifact.extend_from_slice(&footer);
    Ok(artifact)
}

/// The fixed-size end of the file.
struct Footer {
    artifact_len: u64,
    manifest_len: u32,
    signature_len: u16,
    format: u16,
}

impl Footer {
    fn encode(&self) -> [u8; FOOTER] {
        let mut bytes = [0; FOOTER];
        bytes[..8].copy_from_slice(&self.artifact_len.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.manifest_len.to_le_bytes());
        bytes[12..14].copy_from_slice(&self.signature_len.to_le_bytes());
        bytes[14..16].copy_from_slice(&self.format.to_le_bytes());
        bytes[16..].copy_from_slice(&MAGIC);
        bytes
    }

    fn decode(b: &[u8; FOOTER]) -> Footer {
        Footer {
            artifact_len: u64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]),
            manifest_len: u32::from_le_bytes([b[8], b[9], b[10], b[11]]),
            signature_len: u16::from_le_bytes([b[12], b[13]]),
            format: u16::from_le_bytes([b[14], b[15]]),
        }
    }
}

/// What a signature covers. The footer's length is fixed, so no two pairs of footer and
/// manifest give the same message.
fn signed_message(footer: &[u8; FOOTER], manifest: &[u8]) -> Vec<u8> {
    [DOMAIN, footer, manifest].concat()
}

/// Why there is no footer at the end. An engine artifact says in its ELF header where it
/// ends, which tells a copy that was cut short from a file that never had a trailer.
fn missing(len: u64, read_at: &impl Fn(u64, &mut [u8]) -> io::Result<()>) -> ArtifactError {
    /// `EI_OSABI` of the engine's artifacts.
    const OS_ABI: u8 = 200;
    const HEADER: usize = 64;
    let mut header = [0; HEADER];
    let held = header.len().min(usize::try_from(len).unwrap_or(HEADER));
    if let Err(error) = read_at(0, &mut header[..held]) {
        return ArtifactError::Io(error);
    }
    let begins_like_one = header[..4] == *b"\x7fELF" && (held < 8 || header[7] == OS_ABI);
    if !begins_like_one {
        return ArtifactError::NoTrailer;
    }
    let field = |at: usize| u64::from(u16::from_le_bytes([header[at], header[at + 1]]));
    let mut sections_at = [0; 8];
    sections_at.copy_from_slice(&header[40..48]);
    // The engine's writer puts the table of sections last.
    let end = u64::from_le_bytes(sections_at).checked_add(field(58) * field(60));
    if held == HEADER && end == Some(len) {
        ArtifactError::NoTrailer
    } else {
        ArtifactError::Truncated
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;
    use crate::{Profile, Target};

    fn manifest() -> Manifest {
        Manifest::new("hello", "1.0.0", Target::X86_64, Profile::Compact)
    }

    fn key() -> SecretKey {
        SecretKey::from_seed([9; 32])
    }

    #[test]
    fn sealed_files_are_read_back() {
        let signed = seal(vec![5; 100], manifest(), Some(&key())).unwrap();
        let trailer = Trailer::from_bytes(&signed).unwrap();
        assert_eq!(trailer.signature, SignatureState::Valid(key().public()));
        assert_eq!(trailer.manifest.artifact_len, 100);

        let unsigned = seal(vec![5; 100], manifest(), None).unwrap();
        let trailer = Trailer::from_bytes(&unsigned).unwrap();
        assert_eq!(trailer.signature, SignatureState::Unsigned);
        assert_eq!(unsigned[..100], [5; 100]);
    }

    #[test]
    fn files_of_the_same_code_and_signature_have_the_same_trailer() {
        let file = |bytes: &[u8]| {
            use std::io::Write as _;
            static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
            let number = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let name = format!("zlayer-trailer-{}-{number}", std::process::id());
            let path = std::env::temp_dir().join(name);
            File::create(&path).unwrap().write_all(bytes).unwrap();
            let file = File::open(&path).unwrap();
            std::fs::remove_file(&path).unwrap();
            file
        };
        let same =
            |left: &[u8], right: &[u8]| have_same_trailer(&file(left), &file(right)).unwrap();
        let signed = seal(vec![5; 100], manifest(), Some(&key())).unwrap();
        assert!(same(&signed, &signed));
        let stranger = SecretKey::from_seed([8; 32]);
        for other in [
            seal(vec![6; 100], manifest(), Some(&key())).unwrap(),
            seal(vec![5; 101], manifest(), Some(&key())).unwrap(),
            seal(vec![5; 100], manifest(), Some(&stranger)).unwrap(),
            seal(vec![5; 100], manifest(), None).unwrap(),
            signed[..signed.len() - 1].to_vec(),
            vec![],
        ] {
            assert!(!same(&signed, &other) && !same(&other, &signed));
        }
        // Neither are two files without one, or with lengths that cannot be.
        assert!(!same(&[7; 500], &[7; 500]));
        let mut long = [0; FOOTER];
        long[8..14].fill(0xff);
        long[16..].copy_from_slice(&MAGIC);
        assert!(!same(&long, &long));
    }

    #[test]
    fn the_same_input_gives_the_same_bytes() {
        let make = || seal(vec![5; 100], manifest(), Some(&key())).unwrap();
        assert_eq!(make(), make());
    }

    #[test]
    fn other_files_have_no_trailer() {
        for bytes in [
            &b""[..],
            b"\0asm\x0d\0\x01\0",
            &[0; 500],
            b"#!/bin/sh\nexit 0\n",
        ] {
            let error = Trailer::from_bytes(bytes).unwrap_err();
            assert!(matches!(error, ArtifactError::NoTrailer), "{error}");
        }
    }

    /// An ELF header whose section table ends at byte `end`.
    fn elf(end: u64) -> Vec<u8> {
        let mut bytes = vec![0; 64];
        bytes[..4].copy_from_slice(b"\x7fELF");
        bytes[7] = 200;
        bytes[40..48].copy_from_slice(&(end - 2 * 64).to_le_bytes());
        bytes[58..60].copy_from_slice(&64u16.to_le_bytes());
        bytes[60..62].copy_from_slice(&2u16.to_le_bytes());
        bytes.resize(end as usize, 0);
        bytes
    }

    #[test]
    fn a_cut_copy_is_told_from_a_stripped_trailer() {
        let artifact = elf(400);
        let error = Trailer::from_bytes(&artifact).unwrap_err();
        assert!(matches!(error, ArtifactError::NoTrailer), "{error}");
        let file = seal(artifact, manifest(), Some(&key())).unwrap();
        for len in (4..400).chain(401..file.len()) {
            let error = Trailer::from_bytes(&file[..len]).unwrap_err();
            assert!(matches!(error, ArtifactError::Truncated), "{len}: {error}");
        }
    }

    #[test]
    fn a_length_field_cannot_ask_for_memory() {
        let footer = |artifact_len, manifest_len, signature_len| {
            let footer = Footer {
                artifact_len,
                manifest_len,
                signature_len,
                format: FORMAT,
            };
            Trailer::from_bytes(&footer.encode()).unwrap_err()
        };
        assert!(matches!(footer(0, u32::MAX, 0), ArtifactError::Manifest(_)));
        assert!(matches!(footer(u64::MAX, 10, 0), ArtifactError::Truncated));
        assert!(matches!(footer(0, 10, 0), ArtifactError::Truncated));
        assert!(matches!(footer(0, 0, u16::MAX), ArtifactError::Truncated));
        assert!(matches!(footer(0, 0, 0), ArtifactError::Manifest(_)));
    }

    #[test]
    fn an_unknown_format_is_named() {
        let mut file = seal(vec![5; 100], manifest(), None).unwrap();
        let at = file.len() - 10;
        file[at] = 7;
        let error = Trailer::from_bytes(&file).unwrap_err();
        assert!(
            matches!(error, ArtifactError::UnknownFormat { found: 7, .. }),
            "{error}"
        );
    }

    /// A small fixed-seed fuzzer: trailers with a few bytes changed, and plain noise with a
    /// footer behind it. Nothing may panic, and nothing changed may count as signed.
    #[test]
    fn noise_is_refused_without_a_panic() {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = move |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state % below as u64) as usize
        };
        let good = seal(elf(400), manifest(), Some(&key())).unwrap();
        for _ in 0..1_000 {
            let mut file = good.clone();
            for _ in 0..=random(4) {
                let at = 400 + random(file.len() - 400);
                file[at] = file[at].wrapping_add(1 + random(255) as u8);
            }
            if file != good {
                let signed = Trailer::from_bytes(&file).is_ok_and(|t| t.signature.is_valid());
                assert!(!signed);
            }
        }
        for _ in 0..2_000 {
            let noise: Vec<u8> = (0..random(300)).map(|_| random(256) as u8).collect();
            let footer = Footer {
                artifact_len: random(noise.len() + 1) as u64,
                manifest_len: random(noise.len() + 1) as u32,
                signature_len: [0, 96][random(2)],
                format: FORMAT,
            };
            let file = [noise, footer.encode().to_vec()].concat();
            let signed = Trailer::from_bytes(&file).is_ok_and(|t| t.signature.is_valid());
            assert!(!signed);
        }
    }
}
