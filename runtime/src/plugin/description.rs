//! What the engine keeps in memory of a plugin's code: the description of its functions, types and
//! names. The code itself is mapped from the file.
//!
//! A description is decoded when the artifact is loaded, and takes between two and thirty times its
//! size in the file: names and types take most. The compiling side has counted them, and where it
//! found much the manifest says how much that is at the most. That is set aside before the artifact
//! is loaded; what the description takes then is measured.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use zlayer_bundle::{CodeDescription, DESCRIPTION_SECTION, EngineBytes, VerifiedArtifact};

use crate::device;

/// The most sections that are looked at. An artifact has about ten.
const SECTIONS_MAX: u16 = 64;

/// How many times its size a description takes at the most.
const MOST_FACTOR: usize = 30;
/// A plugin's description, not loaded yet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Description(CodeDescription);

impl Description {
    /// Looks for it in an artifact.
    pub(super) fn of(artifact: &VerifiedArtifact) -> Description {
        Description::in_file(artifact.file(), artifact.manifest().engine)
    }

    /// Looks for it in an artifact's file. Where that has none that can be found, all of the file is
    /// taken for it, which the engine will refuse to load.
    fn in_file(artifact: &File, counted: Option<EngineBytes>) -> Description {
        let bytes = section_bytes(artifact).or_else(|| Some(artifact.metadata().ok()?.len()));
        Description(CodeDescription {
            bytes: clamped(bytes.unwrap_or(u64::MAX)),
            counted,
        })
    }

    /// Bytes of memory to set aside before it is loaded.
    pub(super) fn ahead(self) -> usize {
        self.0.ahead()
    }

    /// Bytes of memory of the process before it is loaded, where what it takes is to be measured.
    pub(super) fn before(self) -> Option<usize> {
        (!self.0.is_small()).then(process_bytes).flatten()
    }

    /// Bytes that it takes now that it is loaded, where the process had so many bytes `before`.
    pub(super) fn loaded(self, before: Option<usize>) -> usize {
        if self.0.is_small() {
            return self.ahead();
        }
        let most = self.0.bytes.saturating_mul(MOST_FACTOR);
        match (before, process_bytes()) {
            (Some(before), Some(after)) => after.saturating_sub(before).clamp(self.0.least(), most),
            // A kernel that does not tell (before 4.5): in the middle.
            _ => self.0.bytes.saturating_mul(8),
        }
    }

    /// Bytes that the engine's part of one instance may take, beyond what every instance's share has
    /// room for.
    pub(super) fn instance(self) -> usize {
        self.0.instance()
    }
}

/// Bytes of memory of this process that are not copies of files.
fn process_bytes() -> Option<usize> {
    let status = device::read(Path::new("/proc/self/status"))?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"))?;
    let kibibytes: usize = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1 << 10)
}

fn clamped(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// The size of the section in an ELF file of 64 bits, which artifacts are for every target.
fn section_bytes(file: &File) -> Option<u64> {
    let header: [u8; 64] = read(file, 0)?;
    if !header.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    // The offsets are those of the ELF specification, version 1.2, for 64 bits.
    let table = u64_at(&header, 0x28)?;
    let (size, count) = (u16_at(&header, 0x3a)?, u16_at(&header, 0x3c)?);
    let names = u16_at(&header, 0x3e)?;
    let entry = |index: u16| -> Option<[u8; 64]> {
        read(file, table.checked_add(u64::from(index) * u64::from(size))?)
    };
    let names = u64_at(&entry(names)?, 0x18)?;
    (0..count.min(SECTIONS_MAX)).find_map(|index| {
        let entry = entry(index)?;
        let name = u32_at(&entry, 0)?;
        // With the zero behind it.
        let name: [u8; DESCRIPTION_SECTION.len() + 1] =
            read(file, names.checked_add(u64::from(name))?)?;
        (name.strip_suffix(&[0]) == Some(DESCRIPTION_SECTION.as_bytes()))
            .then(|| u64_at(&entry, 0x20))?
    })
}

fn read<const N: usize>(file: &File, at: u64) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    file.read_exact_at(&mut bytes, at).ok()?;
    Some(bytes)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes
        .get(at..)?
        .first_chunk()
        .copied()
        .map(u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes
        .get(at..)?
        .first_chunk()
        .copied()
        .map(u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes
        .get(at..)?
        .first_chunk()
        .copied()
        .map(u64::from_le_bytes)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// An ELF file with a table of names and the section, of so many bytes.
    fn elf(bytes: u64) -> Vec<u8> {
        let mut file = vec![0; 64];
        file[..6].copy_from_slice(b"\x7fELF\x02\x01");
        let names = b"\0.text\0.wasmtime.info\0";
        file.extend_from_slice(names);
        let table = file.len() as u64;
        file[0x28..0x30].copy_from_slice(&table.to_le_bytes());
        for (at, value) in [(0x3a, 64u16), (0x3c, 3), (0x3e, 1)] {
            file[at..at + 2].copy_from_slice(&value.to_le_bytes());
        }
        for (name, offset, size) in [(1u32, 0u64, 100u64), (0, 64, 22), (7, 0, bytes)] {
            let mut entry = [0; 64];
            entry[..4].copy_from_slice(&name.to_le_bytes());
            entry[0x18..0x20].copy_from_slice(&offset.to_le_bytes());
            entry[0x20..0x28].copy_from_slice(&size.to_le_bytes());
            file.extend_from_slice(&entry);
        }
        file
    }

    fn described(bytes: &[u8]) -> Description {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("zlayer-description-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, bytes).unwrap();
        let described = Description::in_file(&File::open(&path).unwrap(), None);
        std::fs::remove_file(&path).unwrap();
        described
    }

    #[test]
    fn a_description_is_found_and_what_is_none_is_taken_whole() {
        assert_eq!(described(&elf(123_456)).0.bytes, 123_456);
        let mut named_otherwise = elf(1);
        named_otherwise[64 + 7] = b'x';
        for other in [&b""[..], b"\x7fELF", &elf(1)[..100], &named_otherwise] {
            assert_eq!(described(other).0.bytes, other.len());
        }
    }

    #[test]
    fn what_it_takes_is_measured_within_bounds() {
        let small = described(&elf(30_000));
        assert_eq!((small.0.least(), small.loaded(None)), (120_000, 120_000));
        let large = described(&elf(1 << 20));
        assert_eq!((large.0.least(), large.loaded(None)), (2 << 20, 8 << 20));
        assert_eq!(large.loaded(Some(0)).max(30 << 20), 30 << 20);
        assert_eq!(
            large.loaded(process_bytes().map(|now| now + (1 << 20))),
            2 << 20
        );
        assert_eq!(described(&elf(u64::MAX)).0.least(), usize::MAX);
    }

    #[test]
    fn what_was_counted_is_set_aside_before_it_is_loaded() {
        let mut large = described(&elf(1 << 20));
        large.0.counted = Some(EngineBytes {
            description: 20 << 20,
            instance: 0,
        });
        assert_eq!((large.ahead(), large.loaded(None)), (20 << 20, 8 << 20));
    }
}
