//! The binary log's way to flash: a buffer in memory and a ring of segment files.
//!
//! Flash wears out, so records gather in memory. They are written when the buffer is full, when one
//! is severe, or when the oldest has waited long enough ([`RingLimits`]). What was written survives
//! the end of the process, however it comes; an error survives a power cut, too, once it was
//! synced. A folder that cannot be written to disturbs nobody: records wait in the buffer, then are
//! dropped and counted, and the log says how many as soon as it can be written again.
//!
//! [`LogRing::write`] may be called from any thread and never waits for the disk to sync:
//! [`LogRing::flush_in_time`] has that done by a thread for blocking work.

mod files;
mod state;
mod thinning;

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use event_listener::Event;
use futures_lite::future::or;
use smol::Timer;
use zlayer_binlog::Record;

use files::{Files, Sync};
use state::RingState;

use crate::blocking::unblock;
use crate::sync;

/// Memory that a ring takes at most: its buffer, its table of strings, and one record on its way. When
/// a new segment begins, old ones are read and written anew one by one: that takes up to twice a
/// segment for the moment, beside this.
pub const MEMORY_SHARE: usize = 96 << 10;

/// The ring's sizes and times.
#[derive(Debug, Clone)]
pub struct RingLimits {
    /// Bytes of records that wait in memory (default 16 KiB, which is more than one record takes).
    pub buffer_bytes: usize,
    /// Bytes of one segment file (default 256 KiB).
    pub segment_bytes: usize,
    /// Bytes of all segment files (default 1 MiB). Of the plugins and the daemon, whoever has written
    /// most of them makes room, with the oldest first.
    pub ring_bytes: u64,
    /// Number of segment files (default 256). Each start of the daemon begins one, so this many
    /// restarts can be told apart even when little was written, and a daemon that fails at each
    /// start does not soon erase the reason.
    pub segments: usize,
    /// Bytes a minute that are written in the long run (default 1 MiB), because flash wears out. As
    /// many as the ring holds may be written at once, the last quarter of them only for errors.
    /// Records beyond that are counted as lost, but a plugin that has written little, or the daemon,
    /// has a sixteenth of both for itself.
    pub minute_bytes: u64,
    /// Longest time that a record waits in memory (default 10 s).
    pub flush: Duration,
    /// Least time between two writes for warnings (default 1 s). An error is written at once.
    pub warn: Duration,
    /// Least time between two commits to the disk, which errors ask for (default 1 s).
    pub sync: Duration,
    /// How long to wait when a write has failed (default 5 s).
    pub retry: Duration,
}

impl Default for RingLimits {
    fn default() -> Self {
        RingLimits {
            buffer_bytes: 16 << 10,
            segment_bytes: 256 << 10,
            ring_bytes: 1 << 20,
            segments: 256,
            minute_bytes: 1 << 20,
            flush: Duration::from_secs(10),
            warn: Duration::from_secs(1),
            sync: Duration::from_secs(1),
            retry: Duration::from_secs(5),
        }
    }
}

/// The ring. It takes records before it has a folder: they wait in the buffer.
#[derive(Debug, Default)]
pub struct LogRing {
    state: Mutex<RingState>,
    /// Notified when something has to be done earlier than it seemed.
    sooner: Event,
}

impl LogRing {
    /// A ring with these limits and no folder yet.
    pub fn new(limits: RingLimits) -> LogRing {
        let ring = LogRing::default();
        ring.lock().limits = limits;
        ring
    }

    /// From now on records go to `folder`, which is made when the first one is written.
    pub fn open(&self, folder: PathBuf) {
        let mut state = self.lock();
        let limits = state.limits.clone();
        state.files = Some(Files::new(folder, limits));
        drop(state);
        self.sooner.notify(usize::MAX);
    }

    /// Takes one record, at the time `now`.
    pub fn write(&self, record: &Record<'_>, now: Instant) {
        let mut state = self.lock();
        let before = state.due();
        state.add_record(record, now);
        let after = state.due();
        drop(state);
        if after.is_some_and(|after| before.is_none_or(|before| after < before)) {
            self.sooner.notify(usize::MAX);
        }
    }

    /// Does what is due at the time `now`, and waits for the disk. Returns what went wrong, once.
    pub fn work(&self, now: Instant) -> Option<String> {
        let mut state = self.lock();
        if state.flush_at.is_some_and(|at| at <= now) {
            state.flush(now);
        }
        let mut sync = None;
        if state.sync_at.is_some_and(|at| at <= now) {
            (state.sync_at, state.synced) = (None, Some(now));
            sync = state.files.as_mut().and_then(Files::unsynced);
        }
        let trouble = state.trouble.take();
        drop(state);
        commit(sync, trouble)
    }

    /// Writes and syncs everything, and takes no more records. Returns what went wrong.
    pub fn close(&self) -> Option<String> {
        let now = Instant::now();
        let mut state = self.lock();
        (state.retry_at, state.spared_reported) = (None, None);
        state.flush(now);
        if state.retry_at.is_none() {
            // This writes the record that tells of lost records, if there were any.
            state.flush(now);
        }
        state.closed = true;
        state.buffer = Vec::new();
        let sync = state.files.as_mut().and_then(Files::unsynced);
        let trouble = state.trouble.take();
        drop(state);
        commit(sync, trouble)
    }

    /// Writes records before they have waited too long, and calls `report` with what goes wrong.
    /// Never ends.
    pub async fn flush_in_time(&'static self, report: fn(&str)) {
        loop {
            let sooner = self.sooner.listen();
            let due = self.lock().due();
            match due {
                None => sooner.await,
                Some(at) => {
                    let timer = async {
                        Timer::at(at).await;
                    };
                    or(sooner, timer).await;
                }
            }
            let now = Instant::now();
            if self.lock().due().is_some_and(|at| at <= now)
                && let Some(trouble) = unblock(move || self.work(now)).await
            {
                report(&trouble);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, RingState> {
        sync::lock(&self.state)
    }
}

/// Syncs the disk. It does so without the lock, so that nobody who logs has to wait. Returns what
/// went wrong, now or before.
fn commit(sync: Option<Sync>, before: Option<String>) -> Option<String> {
    let failed = sync.and_then(|sync| sync.run().err());
    before.or(failed.map(|error| format!("the log cannot be committed to the disk: {error}")))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;
    use crate::data_dir::temporary_folder;
    use log::Level;
    use zlayer_binlog::{Encoder, Filter, read, segment_name, segments};

    const SECOND: Duration = Duration::from_secs(1);

    fn limits() -> RingLimits {
        RingLimits {
            segment_bytes: 4096,
            ring_bytes: 16 << 10,
            segments: 8,
            buffer_bytes: 1024,
            minute_bytes: 1 << 30,
            ..RingLimits::default()
        }
    }

    fn record(level: Level, message: &str) -> Record<'_> {
        Record::new(Record::now(), level, "plugin p", message)
    }

    /// What a reader of the folder sees now, message by message; nothing may be torn.
    fn read_back(folder: &std::path::Path) -> Vec<String> {
        let mut messages = Vec::new();
        let mut show = |record: &Record<'_>| {
            messages.push(record.message.clone().into_owned());
            Ok(())
        };
        let filter = Filter::default();
        let mut complain = |text: &str| panic!("{text}");
        match read(
            &[folder.to_owned()],
            &filter,
            false,
            &mut show,
            &mut complain,
        ) {
            Ok(()) | Err(zlayer_binlog::ReadError::NoLog(_)) => messages,
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn severity_and_time_decide_when_the_flash_is_written() {
        let folder = temporary_folder().unwrap();
        let (ring, start) = (LogRing::default(), Instant::now());
        ring.write(&record(Level::Info, "early"), start);
        ring.open(folder.clone());
        ring.write(&record(Level::Info, "info"), start);
        assert_eq!(ring.work(start + 9 * SECOND), None);
        assert!(read_back(&folder).is_empty());
        ring.work(start + 10 * SECOND);
        assert_eq!(read_back(&folder), ["early", "info"]);

        let start = start + 20 * SECOND;
        ring.write(&record(Level::Warn, "warn 1"), start);
        assert_eq!(read_back(&folder).len(), 3);
        ring.write(&record(Level::Warn, "warn 2"), start);
        assert_eq!(read_back(&folder).len(), 3);
        assert_eq!(ring.lock().due(), Some(start + SECOND));
        ring.work(start + SECOND);
        assert_eq!(read_back(&folder).len(), 4);

        ring.write(&record(Level::Info, "before"), start + SECOND);
        ring.write(&record(Level::Error, "error"), start + SECOND);
        assert_eq!(read_back(&folder)[4..], ["before", "error"]);
        // It is synced at once, the next one a second later.
        assert_eq!(ring.lock().due(), Some(start + SECOND));
        ring.work(start + SECOND);
        assert_eq!(ring.lock().due(), None);
        ring.write(&record(Level::Error, "again"), start + SECOND);
        assert_eq!(ring.lock().due(), Some(start + 2 * SECOND));
        assert_eq!(read_back(&folder).len(), 7);
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn the_ring_is_bounded_and_keeps_the_youngest() {
        let folder = temporary_folder().unwrap();
        let ring = LogRing::new(limits());
        ring.open(folder.clone());
        let now = Instant::now();
        for i in 0..5000 {
            let message = format!("message number {i}");
            // What the flash is spared is another test's matter.
            ring.lock().spent = 0;
            ring.write(&record(Level::Info, &message), now);
        }
        assert_eq!(ring.close(), None);
        let found = segments(&folder).unwrap();
        let bytes: u64 = found.iter().map(|segment| segment.bytes).sum();
        assert!((8 << 10..=16 << 10).contains(&bytes), "{bytes}");
        assert!(found.iter().all(|segment| segment.bytes <= 4096));
        let messages = read_back(&folder);
        let first = 5000 - messages.len();
        let expected: Vec<String> = (first..5000)
            .map(|i| format!("message number {i}"))
            .collect();
        assert_eq!(messages, expected);
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn who_writes_much_erases_nothing_of_others() {
        let folder = temporary_folder().unwrap();
        let ring = LogRing::new(RingLimits {
            // What is left of a segment is one, too.
            segments: 64,
            ..limits()
        });
        ring.open(folder.clone());
        let now = Instant::now();
        let write = |target: &str, message: &str| {
            let record = Record::new(Record::now(), Level::Info, target, message);
            ring.write(&record, now);
        };
        write("zlayer_runtime", "first");
        for i in 0..5000 {
            ring.lock().spent = 0;
            write("plugin noisy", &format!("message number {i}"));
            if i % 1000 == 500 {
                write("plugin quiet", &format!("quiet {i}"));
                write("zlayer_runtime", &format!("own {i}"));
            }
        }
        assert_eq!(ring.close(), None);
        let bytes: u64 = segments(&folder).unwrap().iter().map(|one| one.bytes).sum();
        assert!(bytes <= 16 << 10, "{bytes}");
        let messages = read_back(&folder);
        let others: Vec<&str> = messages
            .iter()
            .map(String::as_str)
            .filter(|message| !message.starts_with("message"))
            .collect();
        let mut expected = vec!["first".to_owned()];
        for i in [500, 1500, 2500, 3500, 4500] {
            expected.extend([format!("quiet {i}"), format!("own {i}")]);
        }
        assert_eq!(others, expected);
        // The noisy one has its youngest.
        let noisy = messages.len() - others.len();
        assert!(noisy > 100, "{noisy}");
        assert!(messages.contains(&"message number 4999".to_owned()));
        assert!(messages.contains(&format!("message number {}", 5000 - noisy)));
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn who_writes_much_takes_no_writes_from_others() {
        let folder = temporary_folder().unwrap();
        let ring = LogRing::new(RingLimits {
            ring_bytes: 64 << 10,
            segments: 64,
            minute_bytes: 6000,
            ..limits()
        });
        ring.open(folder.clone());
        let now = Instant::now();
        let write = |target: &str, message: &str| {
            let record = Record::new(Record::now(), Level::Error, target, message);
            ring.write(&record, now);
        };
        for i in 0..5000 {
            write("plugin noisy", &format!("message number {i}"));
        }
        for i in 0..20 {
            write("plugin quiet", &format!("quiet {i}"));
            write("zlayer_runtime", &format!("own {i}"));
        }
        assert_eq!(ring.close(), None);
        let messages = read_back(&folder);
        for who in ["quiet", "own"] {
            let kept = messages.iter().filter(|one| one.starts_with(who));
            assert_eq!(kept.count(), 20, "{who}");
        }
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn no_more_is_written_in_a_minute_than_the_flash_is_meant_to_take() {
        let folder = temporary_folder().unwrap();
        let ring = LogRing::new(RingLimits {
            ring_bytes: 64 << 10,
            segments: 64,
            minute_bytes: 6000,
            ..limits()
        });
        ring.open(folder.clone());
        let start = Instant::now();
        let flood = |level: Level, at: Instant| {
            let spent = ring.lock().spent;
            for i in 0..5000 {
                ring.write(&record(level, &format!("message number {i}")), at);
            }
            ring.lock().spent - spent
        };
        let (most, margin) = (64 << 10, 200);
        let infos = flood(Level::Info, start);
        assert!(
            (most / 4 * 3 - margin..=most / 4 * 3).contains(&infos),
            "{infos}"
        );
        let errors = flood(Level::Error, start);
        assert!(
            (most / 4 - margin..=most / 4 + margin).contains(&errors),
            "{errors}"
        );
        assert!(ring.lock().spent <= most);
        // Ten seconds earn a sixth of it, and that is for errors.
        let before = ring.lock().spent;
        ring.write(&record(Level::Info, "no"), start + 10 * SECOND);
        assert_eq!(ring.lock().spent, before - 1000);
        ring.write(&record(Level::Error, "late"), start + 10 * SECOND);
        assert!(ring.lock().spent > before - 1000);
        assert_eq!(ring.close(), None);
        let messages = read_back(&folder);
        let told = |message: &&String| message.contains(" records lost: ");
        assert!(messages.iter().any(|message| message == "late"));
        assert!(
            messages.iter().rfind(told).is_some(),
            "{:?}",
            messages.last()
        );
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn each_start_begins_a_segment_and_old_ones_go_by_number() {
        let folder = temporary_folder().unwrap();
        std::fs::write(folder.join("notes.txt"), "not ours").unwrap();
        // Names of segments, and the last one of all.
        for number in [1, 2] {
            std::fs::create_dir(folder.join(segment_name(number))).unwrap();
        }
        std::fs::write(folder.join(segment_name(u32::MAX)), "not ours").unwrap();
        for start in 0..12 {
            let ring = LogRing::new(limits());
            ring.open(folder.clone());
            let message = format!("start {start}");
            ring.write(&record(Level::Info, &message), Instant::now());
            assert_eq!(ring.close(), None);
        }
        let numbers: Vec<u32> = segments(&folder)
            .unwrap()
            .iter()
            .map(|s| s.number)
            .collect();
        assert_eq!(numbers, (7..=14).collect::<Vec<_>>());
        assert_eq!(read_back(&folder)[0], "start 4");
        assert!(folder.join("notes.txt").exists());
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_folder_that_cannot_be_written_costs_records_and_these_are_counted() {
        let folder = temporary_folder().unwrap();
        let place = folder.join("log");
        std::fs::write(&place, "in the way").unwrap();
        let ring = LogRing::new(limits());
        let start = Instant::now();
        ring.open(place.clone());
        for i in 0..1000 {
            ring.write(&record(Level::Error, &format!("error {i}")), start);
        }
        let trouble = ring.work(start + SECOND).unwrap();
        assert!(trouble.contains(&place.display().to_string()), "{trouble}");
        // Told once, however often it is tried.
        assert_eq!(ring.work(start + 5 * SECOND), None);
        assert!(ring.lock().buffer.len() <= 1024);

        std::fs::remove_file(&place).unwrap();
        ring.work(start + 20 * SECOND);
        assert_eq!(ring.close(), None);
        let messages = read_back(&place);
        let (last, kept) = messages.split_last().unwrap();
        assert_eq!(kept[0], "error 0");
        let lost = 1000 - kept.len();
        assert!(lost > 0);
        assert_eq!(
            *last,
            format!("{lost} records lost: the log could not be written")
        );
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn the_longest_record_fits_into_the_buffer() {
        let long = "x".repeat(100_000);
        let mut record = record(Level::Info, &long);
        record.target = long.as_str().into();
        record.request = Some(long.as_str().into());
        record.fields = vec![("key".into(), "value".into()); 10_000];
        assert!(Encoder::default().bound(&record) <= RingLimits::default().buffer_bytes);
    }
}
