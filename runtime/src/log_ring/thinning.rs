//! Makes room in the ring: whoever has written most gives first.
//!
//! The oldest segment goes when there is no room for a new one. A plugin that writes all the time
//! would so erase what all others have written. Therefore it is not a segment that goes, but what
//! the one who has most in the ring has in the oldest segment that holds any of it. What others
//! have there stays, in a segment of the same number: that is little, else they would have most.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use zlayer_binlog::{Decoder, Encoder, Event, Record, Segment};

/// The file in which a segment is written anew, before it takes the other one's place.
const WRITTEN_ANEW: &str = "thinned.tmp";
/// How often is reckoned anew what has to go, before whole segments do.
const ROUNDS: usize = 3;
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

/// Has these segments of `folder`, oldest first, take at most `most` bytes and be `count` at most.
pub(super) fn make_room(
    folder: &Path,
    segments: Vec<Segment>,
    most: u64,
    count: usize,
) -> io::Result<()> {
    let mut total: u64 = segments.iter().map(|segment| segment.bytes).sum();
    let too_many = segments.len().saturating_sub(count);
    let mut segments = segments.into_iter();
    for oldest in segments.by_ref().take(too_many) {
        fs::remove_file(&oldest.path)?;
        total -= oldest.bytes;
    }
    let mut left: Vec<Segment> = segments.collect();
    for _ in 0..ROUNDS {
        if total <= most {
            return Ok(());
        }
        left = thin_out(folder, left, most)?;
        // Sizes were reckoned, so there may be a little too much left.
        total = left.iter().map(|segment| segment.bytes).sum();
    }
    for oldest in left {
        if total <= most {
            break;
        }
        fs::remove_file(&oldest.path)?;
        total -= oldest.bytes;
    }
    Ok(())
}

/// Takes out of these segments what whoever has most has in the oldest of them, until what is left
/// takes `most` bytes or so. Returns what is left.
fn thin_out(folder: &Path, segments: Vec<Segment>, most: u64) -> io::Result<Vec<Segment>> {
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
    let mut left = Vec::new();
    for mut one in shares {
        one.segment.bytes = one.write_anew(folder)?;
        if one.segment.bytes > 0 {
            left.push(one.segment);
        }
    }
    Ok(left)
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

    /// Writes the segment without those who gave, if any did. Returns how many bytes it takes.
    fn write_anew(&self, folder: &Path) -> io::Result<u64> {
        let Segment {
            number,
            path,
            bytes,
        } = &self.segment;
        if self.is_unread || !self.is_thinned && !self.bytes.is_empty() {
            return Ok(*bytes);
        }
        if self.bytes.is_empty() {
            return match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(0),
            };
        }
        let content = fs::read(path)?;
        let (mut encoder, mut frames) = (Encoder::default(), Vec::new());
        each_record(&content, &mut |record| {
            if self.bytes.contains_key(record.owner()) {
                encoder.record(record, &mut frames);
            }
        });
        let anew = folder.join(WRITTEN_ANEW);
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&anew)?;
        let start = encoder.start(*number);
        file.write_all(&start)?;
        file.write_all(&frames)?;
        // A process that ends leaves the one or the other: the name changes when the content is there.
        // It is not synced, since whoever logs must not wait for the disk: a power cut soon after may
        // take what was left of the segment.
        fs::rename(&anew, path)?;
        Ok((start.len() + frames.len()) as u64)
    }
}

/// Calls `take` with each whole record.
fn each_record(content: &[u8], take: &mut dyn FnMut(&Record<'_>)) {
    let mut found = |event: Event<'_>| {
        if let Event::Record(record) = event {
            take(&record);
        }
        Ok(())
    };
    let mut decoder = Decoder::default();
    // Only `found` could fail, and does not.
    let _ = decoder.push(content, &mut found);
    let _ = decoder.finish(&mut found);
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;
    use crate::data_dir::temporary_folder;
    use log::Level;
    use zlayer_binlog::segment_name;

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
        make_room(&folder, segments, 1000, 10).unwrap();
        assert!(unread.path.exists() && !noisy.path.exists());
        fs::remove_dir_all(&folder).unwrap();
    }
}
