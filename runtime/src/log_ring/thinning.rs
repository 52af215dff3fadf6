//! Makes room in the ring: whoever has written most gives first.
//!
//! The oldest segment would have to go when there is no room for a new one. A plugin that writes all
//! the time would so erase what all others have written. Therefore it is not a segment that goes,
//! but what the one who has most in the ring has in the oldest segment that holds any of it. What
//! others have there stays, in a segment of the same number: that is little, else they would have
//! most. What the daemon tells of a plugin counts as the plugin's, so that one that fails all the
//! time does not erase the daemon's own records.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use zlayer_binlog::Segment;

use super::rewriting::{each_record, gone, keep};

/// Bytes that a record takes beside its texts, roughly.
const RECORD_BYTES: u64 = 24;

/// A segment, and how many of its bytes belong to whom: see [`Record::owner`].
struct Shares {
    segment: Segment,
    bytes: BTreeMap<String, u64>,
    is_thinned: bool,
    /// It cannot be read now, as where this process has no descriptor left: it stays as it is.
    is_unread: bool,
}

/// Takes out of these segments, oldest first, what whoever has most has in the oldest of them, until
/// what is left takes `most` bytes or so.
pub(super) fn thin_out(folder: &Path, segments: Vec<Segment>, most: u64) -> io::Result<()> {
    let mut total: u64 = segments.iter().map(|segment| segment.bytes).sum();
    let mut shares: Vec<Shares> = segments.into_iter().map(Shares::of).collect();
    while total > most {
        let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
        for (who, bytes) in shares.iter().flat_map(|one| &one.bytes) {
            *sums.entry(who).or_default() += bytes;
        }
        let Some((who, _)) = sums.into_iter().max_by_key(|(_, bytes)| *bytes) else {
            break;
        };
        let who = who.to_owned();
        let Some(oldest) = shares.iter_mut().find(|one| one.bytes.contains_key(&who)) else {
            break;
        };
        total -= oldest.bytes.remove(&who).unwrap_or(0).min(total);
        oldest.is_thinned = true;
    }
    shares.iter().try_for_each(|one| one.write_anew(folder))
}

impl Shares {
    /// Looks who has written what in a segment. What makes no sense belongs to nobody.
    fn of(segment: Segment) -> Shares {
        let mut bytes: BTreeMap<String, u64> = BTreeMap::new();
        let mut all = 0;
        let content = fs::read(&segment.path);
        // A file that has just gone holds nothing.
        let is_gone = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
        let is_unread = content.as_ref().is_err_and(|error| !is_gone(error));
        let content = content.unwrap_or_default();
        each_record(&content, &mut |record| {
            let texts = record
                .fields
                .iter()
                .map(|(key, value)| key.len() + value.len());
            let size = texts.sum::<usize>() + record.message.len();
            let size = size as u64 + RECORD_BYTES;
            let who = record.owner();
            match bytes.get_mut(who) {
                Some(sum) => *sum += size,
                None => drop(bytes.insert(who.to_owned(), size)),
            }
            all += size;
        });
        // As parts of what the file really takes.
        for part in bytes.values_mut() {
            let real = u128::from(*part) * u128::from(segment.bytes) / u128::from(all.max(1));
            *part = u64::try_from(real).unwrap_or(u64::MAX);
        }
        Shares {
            segment,
            bytes,
            is_thinned: false,
            is_unread,
        }
    }

    /// Writes the segment without those who gave, if any did.
    fn write_anew(&self, folder: &Path) -> io::Result<()> {
        if self.is_unread {
            return Ok(());
        }
        if self.bytes.is_empty() {
            return gone(fs::remove_file(&self.segment.path));
        }
        if self.is_thinned {
            keep(folder, &self.segment, |record| {
                self.bytes.contains_key(record.owner())
            })?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;
    use crate::data_dir::temporary_folder;
    use log::Level;
    use zlayer_binlog::{Encoder, Record, segment_name};

    /// A segment in which one plugin has written so many records.
    fn written(folder: &Path, number: u32, plugin: &str, count: usize) -> Segment {
        let mut encoder = Encoder::default();
        let mut content = encoder.start(number);
        let target = format!("plugin {plugin}");
        for _ in 0..count {
            let record = Record::new(Record::now(), Level::Info, &target, "what has happened");
            encoder.record(&record, &mut content);
        }
        let path = folder.join(segment_name(number));
        fs::write(&path, &content).unwrap();
        Segment {
            number,
            path,
            bytes: content.len() as u64,
        }
    }

    #[test]
    fn what_cannot_be_read_now_stays_while_there_is_room_for_it() {
        let folder = temporary_folder().unwrap();
        // Nobody can read a folder as a file.
        let path = folder.join(segment_name(1));
        fs::create_dir(&path).unwrap();
        let unread = Segment {
            number: 1,
            path,
            bytes: 1000,
        };
        let noisy = written(&folder, 2, "noisy", 100);
        let gone = Segment {
            number: 3,
            path: folder.join(segment_name(3)),
            bytes: 10,
        };
        let segments = vec![unread.clone(), noisy.clone(), gone];
        thin_out(&folder, segments, 1000).unwrap();
        assert!(unread.path.exists() && !noisy.path.exists());
        fs::remove_dir_all(&folder).unwrap();
    }
}
