//! A file whose content is kept, and read again when it changes.

use std::fs::Metadata;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use zlayer_bundle::open_regular;

use crate::sync;

/// How long a look at the file is good for.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// A file that was changed less than this before it was read may change once more without that
/// showing in its time, which some file systems count in seconds.
const UNSETTLED: Duration = Duration::from_secs(2);

/// A small text file and what its content means.
pub(super) struct Watched<T> {
    path: PathBuf,
    most: usize,
    parse: fn(String) -> T,
    seen: Mutex<Seen<T>>,
}

struct Seen<T> {
    looked: Option<Instant>,
    /// What tells one state of the file from the next. None if there was no file.
    stamp: Option<Stamp>,
    value: Arc<T>,
}

/// Device, inode, size and time of change.
#[derive(PartialEq, Eq)]
struct Stamp([u64; 3], [i64; 2]);

impl Stamp {
    fn new(of: &Metadata) -> Stamp {
        let which = [of.dev(), of.ino(), of.size()];
        Stamp(which, [of.mtime(), of.mtime_nsec()])
    }
}

impl<T: Default + PartialEq> Watched<T> {
    /// Nothing is read before somebody asks. Of a longer file, only the first `most` bytes count.
    pub(super) fn new(path: PathBuf, most: usize, parse: fn(String) -> T) -> Watched<T> {
        Watched {
            path,
            most,
            parse,
            seen: Mutex::new(Seen {
                looked: None,
                stamp: None,
                value: Arc::default(),
            }),
        }
    }

    /// What the file says at `now`. While that does not change, it is always the same [`Arc`].
    ///
    /// A file that is not there means the default. One that cannot be read leaves what it meant
    /// before: somebody may be replacing it.
    pub(super) fn get(&self, now: Instant) -> Arc<T> {
        let mut seen = sync::lock(&self.seen);
        let is_fresh = |looked| now.saturating_duration_since(looked) < LOOK_AGAIN;
        if !seen.looked.is_some_and(is_fresh) {
            seen.looked = Some(now);
            self.look(&mut seen);
        }
        Arc::clone(&seen.value)
    }

    fn look(&self, seen: &mut Seen<T>) {
        let found = std::fs::metadata(&self.path);
        if found
            .as_ref()
            .is_ok_and(|found| seen.stamp == Some(Stamp::new(found)))
        {
            return;
        }
        // Between the two looks it may also have gone.
        let read = found.and_then(|_| self.read());
        let (value, stamp) = match read {
            Ok((text, stamp)) => ((self.parse)(text), stamp),
            Err(error) if error.kind() == ErrorKind::NotFound => (T::default(), None),
            Err(error) => {
                let path = self.path.display();
                log::warn!("cannot read {path}: {error}; what it said before holds");
                return;
            }
        };
        seen.stamp = stamp;
        if *seen.value != value {
            seen.value = Arc::new(value);
        }
    }

    /// The text, and the stamp under which it was read.
    fn read(&self) -> std::io::Result<(String, Option<Stamp>)> {
        // Opening a named pipe would wait for its other end, and with it everybody who asks.
        let (file, metadata) = open_regular(&self.path)?;
        let mut bytes = Vec::new();
        let bound = self.most as u64;
        file.take(bound + 1).read_to_end(&mut bytes)?;
        if bytes.len() > self.most {
            bytes.truncate(self.most);
            log::warn!(
                "{}: only its first {bound} bytes are used",
                self.path.display()
            );
        }
        let text = match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
        };
        // The clock may stand anywhere, but where it says that the file is old, it is settled.
        let age = metadata.modified().ok().and_then(|changed| {
            let now = SystemTime::now();
            now.duration_since(changed)
                .or_else(|_| changed.duration_since(now))
                .ok()
        });
        let settled = age.is_some_and(|age| age > UNSETTLED);
        Ok((text, settled.then(|| Stamp::new(&metadata))))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::super::tests::server::TempFile;
    use super::*;

    #[test]
    fn a_file_is_read_again_when_it_changes_and_not_at_every_look() {
        let file = TempFile::new("one");
        let watched = Watched::new(file.path.clone(), 100, |text| text);
        let start = Instant::now();
        let get = |after: Duration| watched.get(start + after);
        assert_eq!(*get(Duration::ZERO), "one");
        file.write("two");
        assert_eq!(*get(LOOK_AGAIN / 2), "one");
        assert_eq!(*get(LOOK_AGAIN), "two");
        // Same size, and within the same tick of a clock.
        file.write("six");
        let six = get(LOOK_AGAIN * 2);
        assert_eq!(*six, "six");
        file.age();
        let old = get(LOOK_AGAIN * 3);
        assert_eq!(*old, "six");
        assert!(Arc::ptr_eq(&old, &get(LOOK_AGAIN * 4)));
        std::fs::remove_file(&file.path).unwrap();
        assert_eq!(*get(LOOK_AGAIN * 5), "");
        file.write("back");
        assert_eq!(*get(LOOK_AGAIN * 6), "back");
    }

    #[test]
    fn what_cannot_be_read_leaves_what_the_file_said_and_a_long_one_is_cut() {
        let file = TempFile::new("0123456789");
        let watched = Watched::new(file.path.clone(), 4, |text| text);
        let start = Instant::now();
        assert_eq!(*watched.get(start), "0123");
        std::fs::remove_file(&file.path).unwrap();
        std::fs::create_dir(&file.path).unwrap();
        assert_eq!(*watched.get(start + LOOK_AGAIN), "0123");
        std::fs::remove_dir(&file.path).unwrap();
        // A named pipe, whose other end nobody has open.
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        let fifo = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, &file.path, fifo, mode, 0).unwrap();
        assert_eq!(*watched.get(start + LOOK_AGAIN * 2), "0123");
        std::fs::remove_file(&file.path).unwrap();
    }
}
