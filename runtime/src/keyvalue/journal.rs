//! Checks fjall's journals before fjall opens them.
//!
//! After a power cut the end of a journal may hold anything: half a batch, pages of a later batch
//! without those before them, zeros. fjall cuts off some of these silently and refuses to open on
//! others (a whole batch with a wrong checksum). A device has to start without help, so the journal
//! is cut here at the end of its last whole batch. What follows it is put aside, and the log says
//! so.
//!
//! The layout is private to fjall, so both `Cargo.toml` name the exact release, and tests read what
//! that release writes. It is that of fjall 3.1.13 (`src/journal/entry.rs`): a batch is a start
//! (tag 1, count of items u32, sequence number u64), its items (tag 2, type u8, compression u8,
//! keyspace u64, lengths of key u16, value u32, value on disk u32, key, value; or tag 4, keyspace
//! u64), and an end (tag 3, XXH3 of the items u64, four magic bytes). Integers are little-endian.
//! Zeros follow the last batch, since the file is made at its full length.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::Xxh3;

/// Bytes read at a time.
const BUFFER_BYTES: usize = 32 << 10;
const MAGIC: [u8; 4] = [b'F', b'J', b'L', 3];

/// The damage at the end of a journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Damage {
    pub(super) journal: PathBuf,
    /// Where the last whole batch ends, in bytes from the start.
    pub(super) whole: u64,
    /// Bytes from there to the last byte that is not zero.
    pub(super) bytes: u64,
}

/// All journals in `folder`, oldest first.
pub(super) fn journals(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let number = path
            .file_stem()
            .and_then(|stem| stem.to_str()?.parse::<u64>().ok());
        if let (Some(number), true) = (number, path.extension().is_some_and(|e| e == "jnl")) {
            found.push((number, path));
        }
    }
    found.sort();
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

/// Reads a journal to its end. Returns what follows its last whole batch, if anything does.
pub(super) fn examine(journal: &Path) -> io::Result<Option<Damage>> {
    let mut file = File::open(journal)?;
    let mut reader = Batches {
        left: file.metadata()?.len(),
        inner: BufReader::with_capacity(BUFFER_BYTES, &mut file),
    };
    let length = reader.left;
    let mut whole = 0;
    loop {
        match reader.batch() {
            Ok(()) => whole = length - reader.left,
            Err(error) if is_content(&error) => break,
            Err(error) => return Err(error),
        }
    }
    drop(reader);
    let bytes = last_nonzero(&mut file, whole)?.map_or(0, |last| last + 1 - whole);
    Ok((bytes > 0).then(|| Damage {
        journal: journal.to_owned(),
        whole,
        bytes,
    }))
}

/// Whether a journal begins with a whole batch.
pub(super) fn holds_batch(journal: &Path) -> io::Result<bool> {
    let file = File::open(journal)?;
    let mut reader = Batches {
        left: file.metadata()?.len(),
        inner: BufReader::with_capacity(BUFFER_BYTES, file),
    };
    match reader.batch() {
        Ok(()) => Ok(true),
        Err(error) if is_content(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Copies what follows the last whole batch to `aside`, and cuts it off the journal. Returns whether
/// the copy could be made: a full disk has no room for it.
pub(super) fn mend(damage: &Damage, aside: &Path) -> io::Result<bool> {
    let mut journal = OpenOptions::new()
        .read(true)
        .write(true)
        .open(&damage.journal)?;
    journal.seek(SeekFrom::Start(damage.whole))?;
    let copied = File::create(aside).and_then(|mut kept| {
        io::copy(&mut (&journal).take(damage.bytes), &mut kept)?;
        kept.sync_all()?;
        // The folder is synced as well, so that the copy has its name before the journal loses the
        // bytes.
        aside
            .parent()
            .map_or(Ok(()), |folder| File::open(folder)?.sync_all())
    });
    if let Err(error) = &copied {
        // Half a copy would only fill the disk further.
        let _ = std::fs::remove_file(aside);
        // The journal is cut even so: a store that opens is worth more than its torn end.
        log::error!(
            "key-value store: cannot keep what is cut off in {}: {error}",
            aside.display()
        );
    }
    journal.set_len(damage.whole)?;
    journal.sync_all()?;
    Ok(copied.is_ok())
}

/// Whether the content of the journal caused the error, and not the disk.
fn is_content(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidData, UnexpectedEof};
    matches!(error.kind(), InvalidData | UnexpectedEof)
}

/// Reads batch by batch and keeps nothing of them.
struct Batches<R> {
    inner: R,
    /// Bytes to the end of the file. No length that the file names may go beyond.
    left: u64,
}

impl<R: Read> Batches<R> {
    /// Fails with `InvalidData` or `UnexpectedEof` if no whole batch follows.
    fn batch(&mut self) -> io::Result<()> {
        let [tag] = self.bytes()?;
        if tag != 1 {
            return Err(invalid());
        }
        let count = u32::from_le_bytes(self.bytes()?);
        self.bytes::<8>()?;
        let mut hash = Xxh3::new();
        for _ in 0..count {
            self.item(&mut hash)?;
        }
        let [tag] = self.bytes()?;
        let sum = u64::from_le_bytes(self.bytes()?);
        let magic = self.bytes()?;
        if (tag, sum, magic) != (3, hash.digest(), MAGIC) {
            return Err(invalid());
        }
        Ok(())
    }

    fn item(&mut self, hash: &mut Xxh3) -> io::Result<()> {
        let [tag] = self.bytes()?;
        hash.update(&[tag]);
        match tag {
            2 => {
                let head: [u8; 20] = self.bytes()?;
                hash.update(&head);
                let [
                    kind,
                    compression,
                    _,
                    _,
                    _,
                    _,
                    _,
                    _,
                    _,
                    _,
                    key @ ..,
                    a,
                    b,
                    c,
                    d,
                    e,
                    f,
                    g,
                    h,
                ] = head;
                let value = u32::from_le_bytes([a, b, c, d]);
                // Only what this build can read: a value or one of two kinds of tombstone, not
                // compressed.
                if kind > 2 || compression != 0 || value != u32::from_le_bytes([e, f, g, h]) {
                    return Err(invalid());
                }
                self.skip(u64::from(u16::from_le_bytes(key)) + u64::from(value), hash)
            }
            4 => {
                hash.update(&self.bytes::<8>()?);
                Ok(())
            }
            _ => Err(invalid()),
        }
    }

    fn bytes<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.inner.read_exact(&mut bytes)?;
        self.left = self.left.saturating_sub(N as u64);
        Ok(bytes)
    }

    fn skip(&mut self, mut count: u64, hash: &mut Xxh3) -> io::Result<()> {
        if count > self.left {
            return Err(invalid());
        }
        let mut buffer = [0; 1024];
        while count > 0 {
            let part = buffer
                .len()
                .min(usize::try_from(count).unwrap_or(usize::MAX));
            self.inner.read_exact(&mut buffer[..part])?;
            hash.update(&buffer[..part]);
            count -= part as u64;
            self.left -= part as u64;
        }
        Ok(())
    }
}

fn invalid() -> io::Error {
    io::ErrorKind::InvalidData.into()
}

/// The position of the last byte at or after `start` that is not zero.
fn last_nonzero(file: &mut File, start: u64) -> io::Result<Option<u64>> {
    let mut at = start;
    let mut last = None;
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        // The rest of the file may be a hole that was never written: its blocks are not read.
        at = match rustix::fs::seek(&*file, rustix::fs::SeekFrom::Data(at)) {
            Ok(data) => data,
            Err(rustix::io::Errno::NXIO) => return Ok(last),
            // The file system has no holes.
            Err(_) => at,
        };
        file.seek(SeekFrom::Start(at))?;
        let count = file.read(&mut buffer)?;
        if count == 0 {
            return Ok(last);
        }
        if let Some(found) = buffer[..count].iter().rposition(|&byte| byte != 0) {
            last = Some(at + found as u64);
        }
        at += count as u64;
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    mod written_by_fjall;

    use super::*;
    use crate::data_dir::temporary_folder;

    /// A batch as fjall writes it, with a value of `length` bytes.
    fn batch(key: &[u8], length: usize) -> Vec<u8> {
        let mut item = vec![2, 0, 0];
        item.extend_from_slice(&1u64.to_le_bytes());
        item.extend_from_slice(&(key.len() as u16).to_le_bytes());
        item.extend_from_slice(&(length as u32).to_le_bytes());
        item.extend_from_slice(&(length as u32).to_le_bytes());
        item.extend_from_slice(key);
        item.extend(std::iter::repeat_n(7, length));
        let mut hash = Xxh3::new();
        hash.update(&item);
        let mut batch = vec![1];
        batch.extend_from_slice(&1u32.to_le_bytes());
        batch.extend_from_slice(&42u64.to_le_bytes());
        batch.extend_from_slice(&item);
        batch.push(3);
        batch.extend_from_slice(&hash.digest().to_le_bytes());
        batch.extend_from_slice(&MAGIC);
        batch
    }

    fn examined(content: &[u8]) -> Option<(u64, u64)> {
        let folder = temporary_folder().unwrap();
        let path = folder.join("0.jnl");
        std::fs::write(&path, content).unwrap();
        let damage = examine(&path).unwrap();
        if let Some(damage) = &damage {
            assert!(mend(damage, &folder.join("aside")).unwrap());
            let tail = &content[damage.whole as usize..][..damage.bytes as usize];
            assert_eq!(std::fs::read(folder.join("aside")).unwrap(), tail);
            assert_eq!(
                std::fs::read(&path).unwrap(),
                &content[..damage.whole as usize]
            );
            assert_eq!(examine(&path).unwrap(), None);
        }
        std::fs::remove_dir_all(&folder).unwrap();
        damage.map(|damage| (damage.whole, damage.bytes))
    }

    #[test]
    fn whole_journals_with_and_without_zeros_behind_are_left_alone() {
        let mut content = batch(b"key", 10);
        content.extend(batch(b"other", 3000));
        assert_eq!(examined(&content), None);
        content.resize(content.len() + 100_000, 0);
        assert_eq!(examined(&content), None);
        assert_eq!(examined(b""), None);
        assert_eq!(examined(&[0; 50_000]), None);
    }

    #[test]
    fn a_torn_tail_that_cannot_be_kept_is_cut_all_the_same() {
        let folder = temporary_folder().unwrap();
        let path = folder.join("0.jnl");
        let first = batch(b"key", 10);
        std::fs::write(&path, [&first[..], &batch(b"other", 30)[..20]].concat()).unwrap();
        let damage = examine(&path).unwrap().unwrap();
        let kept = mend(&damage, &folder.join("missing").join("aside")).unwrap();
        assert!(!kept && std::fs::read(&path).unwrap() == first);
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_torn_tail_is_cut_at_the_last_whole_batch_wherever_it_is_torn() {
        let first = batch(b"key", 10);
        let second = batch(b"other", 30);
        for length in 1..second.len() {
            let content = [&first, &second[..length]].concat();
            let last = second[..length].iter().rposition(|&b| b != 0).unwrap();
            assert_eq!(
                examined(&content),
                Some((first.len() as u64, last as u64 + 1))
            );
        }
    }

    #[test]
    fn every_changed_bit_of_the_last_batch_cuts_it_off() {
        let first = batch(b"key", 10);
        let second = batch(b"other", 30);
        for place in 0..second.len() * 8 {
            // The sequence number is under no checksum; fjall reads it as it stands.
            if (5..13).contains(&(place / 8)) {
                continue;
            }
            let mut changed = second.clone();
            changed[place / 8] ^= 1 << (place % 8);
            let content = [&first[..], &changed].concat();
            let (whole, _) = examined(&content).unwrap();
            assert_eq!(whole, first.len() as u64, "bit {place}");
        }
    }

    #[test]
    fn lengths_that_lie_ask_for_no_memory() {
        let mut content = batch(b"key", 10);
        content.extend(batch(b"k", 1));
        let place = content.len() - batch(b"k", 1).len() + 13 + 13;
        content[place..place + 8].fill(0xff);
        assert!(examined(&content).is_some());
    }
}
