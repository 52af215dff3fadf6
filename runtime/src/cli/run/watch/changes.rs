//! Which files somebody is at work on, and when the content of one has changed.
//!
//! The system tells of what happens in their folders: of the folders, since editors and compilers put new files in
//! the places of old ones. Each time, and now and then in any case, the files are looked at, so nothing hangs on
//! what the system tells but how soon a change is seen.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io::{self, PipeReader, PipeWriter, Read};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use zlayer_bundle::{fingerprint, open_regular};

use crate::error::{Error, Result};

/// How long the files have to be left alone before they count as written.
const QUIET: Duration = Duration::from_millis(100);
/// How long that is waited for at the most.
const LONGEST: Duration = Duration::from_secs(2);
/// How often the files are looked at where the system tells of changes.
const LOOK: Duration = Duration::from_secs(10);
/// How often where it does not.
const POLL: Duration = Duration::from_millis(500);
/// The largest file that is read to know its content, as much as the largest plugin; of a larger one the stamp
/// alone counts.
const READ_MAX: u64 = 256 << 20;
/// By how much a file's time may lie behind the clock: the system counts in ticks.
const TICK: Duration = Duration::from_millis(20);
/// Bytes of events that are read at a time.
const EVENTS: usize = 4 << 10;

/// The files, and what they held when they were looked at last.
pub(super) struct Changes {
    files: BTreeMap<PathBuf, Seen>,
    /// The names in their folders that matter.
    names: BTreeSet<OsString>,
    /// What the system tells. None: it does not.
    told: Option<OwnedFd>,
    /// Whether it tells of all files.
    is_told_all: bool,
    /// Those that changed without being waited for.
    missed: Vec<PathBuf>,
    /// Closed when it is over.
    stop: PipeReader,
}

/// Files whose content has changed.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) files: BTreeSet<PathBuf>,
    /// When that was noticed.
    pub(super) since: Instant,
}

impl Change {
    /// The files' names, for people.
    pub(super) fn told(&self) -> String {
        let names = self.files.iter().filter_map(|path| path.file_name());
        let names: Vec<_> = names.map(|name| name.to_string_lossy()).collect();
        names.join(", ")
    }
}

/// What is known of a file.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    /// None: it is not there, or cannot be read.
    stamp: Option<Stamp>,
    content: Option<String>,
}

/// What changes with each change of a file, and sometimes without one.
#[derive(Debug, PartialEq, Eq)]
struct Stamp {
    file: (u64, u64),
    bytes: u64,
    times: [(i64, i64); 2],
}

impl Changes {
    /// Of these files. It is over once the other end is dropped.
    ///
    /// # Errors
    ///
    /// The system gives no pipe.
    pub(super) fn new(files: Vec<PathBuf>) -> Result<(Changes, PipeWriter)> {
        let pipe = io::pipe();
        let (stop, end) =
            pipe.map_err(|error| Error::device("cannot make a pipe to end with", error))?;
        let told = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC);
        let mut changes = Changes {
            files: BTreeMap::new(),
            names: BTreeSet::new(),
            told: told.ok(),
            is_told_all: false,
            missed: Vec::new(),
            stop,
        };
        changes.look_after(files, None);
        Ok((changes, end))
    }

    /// Looks after these files from now on. What they held was read after `since`: one that is new here and was
    /// written later counts as changed.
    pub(super) fn watch(&mut self, files: Vec<PathBuf>, since: SystemTime) {
        self.look_after(files, Some(since));
    }

    fn look_after(&mut self, files: Vec<PathBuf>, since: Option<SystemTime>) {
        let mut known = std::mem::take(&mut self.files);
        for path in files {
            let seen = known.remove(&path).unwrap_or_else(|| {
                if since.is_some_and(|since| is_later(&path, since)) {
                    self.missed.push(path.clone());
                }
                Seen::now(&path, None)
            });
            self.files.insert(path, seen);
        }
        self.listen();
    }

    /// Waits until files have another content and are left alone. None: it is over.
    pub(super) fn wait(&mut self) -> Option<Change> {
        loop {
            let missed = std::mem::take(&mut self.missed);
            let is_missed = !missed.is_empty();
            let mut files: BTreeSet<PathBuf> = missed.into_iter().collect();
            if !is_missed {
                self.hear(if self.is_told_all { LOOK } else { POLL })?;
            }
            let since = Instant::now();
            files.extend(self.look());
            if files.is_empty() {
                continue;
            }
            while since.elapsed() < LONGEST {
                let is_quiet = !self.hear(QUIET)?;
                let more = self.look();
                if is_quiet && more.is_empty() {
                    break;
                }
                files.extend(more);
            }
            return Some(Change { files, since });
        }
    }

    /// Lets some time pass. False: it is over.
    pub(super) fn rest(&self, time: Duration) -> bool {
        let mut stop = [PollFd::new(&self.stop, PollFlags::IN)];
        matches!(poll(&mut stop, Some(&timespec(time))), Ok(0))
    }

    /// Waits for the system to tell of one of the files, at most for so long. Answers whether it did. None: it is
    /// over.
    fn hear(&self, time: Duration) -> Option<bool> {
        let until = Instant::now() + time;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let mut ends = vec![PollFd::new(&self.stop, PollFlags::IN)];
            ends.extend({ self.told.iter() }.map(|told| PollFd::new(told, PollFlags::IN)));
            // What interrupts is no event.
            let count = poll(&mut ends, Some(&timespec(left))).unwrap_or(0);
            if count > 0 && !ends[0].revents().is_empty() {
                return None;
            }
            if count > 0 && self.is_told_of_one() {
                return Some(true);
            }
            if left == Duration::ZERO {
                return Some(false);
            }
        }
    }

    /// Takes in what the system has told. Answers whether one of the files may be meant.
    fn is_told_of_one(&self) -> bool {
        let Some(told) = &self.told else { return false };
        let mut buffer = [MaybeUninit::uninit(); EVENTS];
        let mut events = inotify::Reader::new(told, &mut buffer);
        let mut is_one = false;
        while let Ok(event) = events.next() {
            is_one |= match event.file_name() {
                Some(name) => {
                    let name = std::ffi::OsStr::from_bytes(name.to_bytes());
                    self.names.contains(name)
                }
                // A folder itself, or more than could be told.
                None => true,
            };
        }
        is_one
    }

    /// Looks at all files, and answers those whose content has changed.
    fn look(&mut self) -> Vec<PathBuf> {
        let mut changed = Vec::new();
        for (path, seen) in &mut self.files {
            let now = Seen::now(path, Some(seen));
            if now.content != seen.content {
                changed.push(path.clone());
            }
            *seen = now;
        }
        // A folder may have been put in the place of another.
        self.listen();
        changed
    }

    /// Has the system tell of the files' folders.
    fn listen(&mut self) {
        let Some(told) = &self.told else { return };
        let flags = WatchFlags::MODIFY
            | WatchFlags::CLOSE_WRITE
            | WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::MOVED_FROM
            | WatchFlags::MOVED_TO
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF
            | WatchFlags::ONLYDIR;
        let (mut folders, mut names) = (BTreeSet::new(), BTreeSet::new());
        for path in self.files.keys() {
            // Where it is a link, what it leads to is written.
            let target = fs::canonicalize(path).ok();
            for path in [Some(path.clone()), target].into_iter().flatten() {
                names.extend(path.file_name().map(ToOwned::to_owned));
                folders.insert(folder_of(&path));
            }
        }
        self.is_told_all = folders
            .iter()
            .all(|folder| inotify::add_watch(told, folder, flags).is_ok());
        self.names = names;
    }
}

impl Seen {
    /// What there is to know of a file, which is not read again where its stamp is as it was `before`.
    fn now(path: &Path, before: Option<&Seen>) -> Seen {
        // A pipe is none that could be waited for: it is nothing until a file takes its place.
        let seen = open_regular(path).and_then(|(file, found)| {
            let stamp = Stamp::of(&found);
            match before {
                Some(before) if before.stamp.as_ref() == Some(&stamp) => Ok(Seen {
                    stamp: Some(stamp),
                    content: before.content.clone(),
                }),
                _ => {
                    let content = content(file, &stamp)?;
                    Ok(Seen {
                        stamp: Some(stamp),
                        content: Some(content),
                    })
                }
            }
        });
        seen.unwrap_or_default()
    }
}

impl Stamp {
    fn of(found: &Metadata) -> Stamp {
        Stamp {
            file: (found.dev(), found.ino()),
            bytes: found.len(),
            times: [
                (found.mtime(), found.mtime_nsec()),
                (found.ctime(), found.ctime_nsec()),
            ],
        }
    }
}

fn content(file: File, stamp: &Stamp) -> io::Result<String> {
    if stamp.bytes > READ_MAX {
        return Ok(format!("{stamp:?}"));
    }
    let mut bytes = Vec::new();
    file.take(READ_MAX).read_to_end(&mut bytes)?;
    Ok(fingerprint(&[&bytes]))
}

/// Whether a file was written after this.
fn is_later(path: &Path, since: SystemTime) -> bool {
    let written = fs::metadata(path).and_then(|found| found.modified());
    written.is_ok_and(|written| written + TICK > since)
}

fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

fn timespec(time: Duration) -> Timespec {
    // None of those that are waited for is longer than a timer can tell.
    Timespec::try_from(time).unwrap_or_default()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;
    use crate::data_dir::temporary_folder;

    /// A folder with two files, of which one is looked after.
    fn watched(is_told: bool) -> (PathBuf, PathBuf, Changes, PipeWriter) {
        let folder = temporary_folder().unwrap();
        let file = folder.join("a");
        fs::write(&file, "one").unwrap();
        fs::write(folder.join("b"), "one").unwrap();
        let (mut changes, end) = Changes::new(vec![file.clone()]).unwrap();
        assert!(changes.is_told_all && changes.missed.is_empty());
        if !is_told {
            changes.told = None;
            changes.is_told_all = false;
        }
        (folder, file, changes, end)
    }

    #[test]
    fn a_file_that_is_written_or_replaced_has_changed_whether_the_system_tells_or_not() {
        for is_told in [true, false] {
            let (folder, file, mut changes, _end) = watched(is_told);
            let mut is_seen = || {
                let change = changes.wait().unwrap();
                assert_eq!(change.told(), "a");
            };
            fs::write(&file, "two").unwrap();
            is_seen();
            fs::write(folder.join("new"), "three").unwrap();
            fs::rename(folder.join("new"), &file).unwrap();
            is_seen();
            fs::remove_file(&file).unwrap();
            is_seen();
            fs::write(&file, "three").unwrap();
            is_seen();
            fs::remove_dir_all(&folder).unwrap();
        }
    }

    #[test]
    fn the_same_content_and_other_files_are_no_change() {
        let (folder, file, mut changes, end) = watched(true);
        fs::write(&file, "one").unwrap();
        fs::write(folder.join("b"), "two").unwrap();
        assert_eq!(changes.hear(LOOK), Some(true));
        assert!(changes.look().is_empty());
        // And it is over when it is.
        drop(end);
        assert!(changes.wait().is_none() && !changes.rest(LOOK));
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_file_that_was_written_while_it_was_read_has_changed() {
        let (folder, file, mut changes, _end) = watched(true);
        let (b, began) = (folder.join("b"), SystemTime::now());
        fs::write(&b, "two").unwrap();
        changes.watch(vec![file.clone(), b.clone()], began);
        let change = changes.wait().unwrap();
        assert_eq!(change.files, BTreeSet::from([b.clone()]));
        // What was written long before has not.
        changes.watch(vec![file.clone()], began);
        changes.watch(vec![file, b], SystemTime::now() + Duration::from_secs(60));
        assert!(changes.missed.is_empty());
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn what_a_link_leads_to_is_looked_after() {
        let (folder, _, mut changes, _end) = watched(true);
        let other = temporary_folder().unwrap();
        let link = other.join("link");
        std::os::unix::fs::symlink(folder.join("b"), &link).unwrap();
        let later = SystemTime::now() + Duration::from_secs(60);
        changes.watch(vec![link.clone()], later);
        fs::write(folder.join("b"), "two").unwrap();
        assert_eq!(changes.hear(LOOK), Some(true));
        assert_eq!(changes.wait().unwrap().files, BTreeSet::from([link]));
        fs::remove_dir_all(&folder).unwrap();
        fs::remove_dir_all(&other).unwrap();
    }
}
