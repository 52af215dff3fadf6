//! Segments that are written anew: what is in their place at any time is whole, whenever the process
//! or the power ends.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use zlayer_binlog::{Decoder, Encoder, Event, Record, Segment};

/// The file in which a segment is written anew, before it takes the other one's place.
pub(super) const WRITTEN_ANEW: &str = "thinned.tmp";

/// Writes `segment` anew, with those records for which `stays` is true. Returns how many bytes it
/// takes.
pub(super) fn keep(
    folder: &Path,
    segment: &Segment,
    stays: impl Fn(&Record<'_>) -> bool,
) -> io::Result<u64> {
    let content = fs::read(&segment.path)?;
    let (mut encoder, mut frames) = (Encoder::default(), Vec::new());
    each_record(&content, &mut |record| {
        if stays(record) {
            encoder.record(record, &mut frames);
        }
    });
    drop(content);
    replace(folder, segment, &encoder.start(segment.number), &frames)
}

/// Puts what `older` has in front of what `younger` has, in the younger one's place. Returns how
/// many bytes that takes.
pub(super) fn join(folder: &Path, older: &Segment, younger: &Segment) -> io::Result<u64> {
    let (mut encoder, mut frames) = (Encoder::default(), Vec::new());
    for segment in [older, younger] {
        let content = fs::read(&segment.path)?;
        each_record(&content, &mut |record| {
            encoder.record(record, &mut frames);
        });
    }
    let written = replace(folder, younger, &encoder.start(younger.number), &frames)?;
    // The new name has to be on the disk before the old one goes. In between, what the older one had
    // is there twice.
    File::open(folder)?.sync_all()?;
    gone(fs::remove_file(&older.path))?;
    Ok(written)
}

/// Gives `segment` this content. It is synced before it takes the place of what was there: else
/// there would be nothing after a power cut, where the new name outlives what it stands for.
fn replace(folder: &Path, segment: &Segment, start: &[u8], frames: &[u8]) -> io::Result<u64> {
    let anew = folder.join(WRITTEN_ANEW);
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&anew)?;
    file.write_all(start)?;
    file.write_all(frames)?;
    file.sync_data()?;
    fs::rename(&anew, &segment.path)?;
    Ok((start.len() + frames.len()) as u64)
}

/// Calls `take` with each whole record.
pub(super) fn each_record(content: &[u8], take: &mut dyn FnMut(&Record<'_>)) {
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

/// What comes of removing a file: it is no error when it has gone already.
pub(super) fn gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
