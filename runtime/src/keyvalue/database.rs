//! The fjall database: its settings for a small device, and how it comes up after anything.
//!
//! The store's folder holds
//! - `db`: fjall's own. One without a file `complete` in it was never finished and is made anew;
//! - `aside`: what could not be read, under numbered names;
//! - `db.version-N`: a database of another version that the owner had taken out of the way ([`super::format`]);
//! - `reserve`: room for removals from a full disk, empty while it is given up ([`super::reserve`]);
//! - `probe`: there only while it is tried whether the disk takes data again ([`super::keeper`]);
//! - `panicked`: there only until the next start, where fjall's panic on `db` ended the process.

mod aside;
mod in_parts;
mod shrink;

use std::fs::{self, File};
use std::io;
use std::ops::Bound;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use fjall::compaction::Leveled;
use fjall::{AbstractTree, Keyspace, KeyspaceCreateOptions, PersistMode, Slice};

use super::Sizes;
use super::clock::{Anchor, StoreClock};
use super::expiry::Expiry;
use super::format::other_version;
use super::journal;
use super::parts::PART_KEY;
use super::place::Place;
use super::written::KEEPER;
pub(super) use aside::asides;
use aside::{TAIL, file_name, new_aside, put_aside, sync_folder};
use in_parts::PartChanges;

/// Bytes of one table. Small tables keep small what a compaction has to rewrite.
const TABLE_BYTES: u64 = 2 << 20;
/// One worker flushes and compacts: a device has few cores, and better things to do with them.
const WORKERS: usize = 1;
/// The key of the clock's anchor. No namespace has an empty name, so no key of a plugin starts with
/// a zero byte.
const ANCHOR_KEY: &[u8] = b"\0clock";
const KEYSPACE: &str = "plugins";

/// An open database.
#[derive(Clone)]
pub(super) struct Database {
    inner: fjall::Database,
    keyspace: Keyspace,
    memtable_bytes: u64,
    place: Arc<Place>,
    /// Whether there may be values in parts. Where there are none, a commit need not look for those
    /// that it replaces.
    has_parts: Arc<AtomicBool>,
    part_changes: Arc<PartChanges>,
    /// Bytes that compactions have written anew.
    rewritten: Arc<AtomicU64>,
}

/// Why a database could not be opened.
#[derive(Debug)]
pub(super) enum OpenError {
    /// The disk failed; a later try may succeed.
    Disk(String),
    /// The database on the disk is damaged. It was put aside, so that a new one can be made.
    PutAside,
}

impl Database {
    /// Opens the database in `folder`, mending what a power cut left.
    pub(super) fn open(
        folder: &Path,
        sizes: &Sizes,
        clock: &Arc<StoreClock>,
    ) -> Result<Database, OpenError> {
        let disk = |error: io::Error| OpenError::Disk(error.to_string());
        let path = folder.join("db");
        let complete = path.join("complete");
        // A disk error must not pass for a missing file: a new database would be made over a good
        // one.
        let exists = |path: &Path| path.try_exists().map_err(disk);
        // Before anything is mended or put aside: it is whole, for whoever can read it.
        if let Some(version) = other_version(&path).map_err(disk)? {
            return Err(OpenError::Disk(format!(
                "version {version} of its format is not that of this program: run the zlayer that wrote it, or \
                 move {} away to begin with an empty store",
                path.display()
            )));
        }
        let made = exists(&complete)?;
        if !made && exists(&path)? {
            if holds_data(&path).map_err(disk)? {
                log::error!(
                    "key-value store: {} is missing, and the database holds data: it is taken as it is",
                    complete.display()
                );
            } else {
                log::warn!("key-value store: its making was cut short; it is made anew");
                fs::remove_dir_all(&path).map_err(disk)?;
            }
        }
        fs::create_dir_all(&path).map_err(disk)?;
        mend_journals(folder, &path).map_err(disk)?;
        // fjall was not written for damaged files: some of them make it panic. Where a panic ends
        // the process, this mark tells the next process what happened.
        let mark = folder.join("panicked");
        if exists(&mark)? {
            put_aside(folder, &path, "fjall panicked on it").map_err(disk)?;
            fs::remove_file(&mark).map_err(disk)?;
            return Err(OpenError::PutAside);
        }
        OPENING.store(true, Ordering::Release);
        let opened = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            Database::open_fjall(&path, sizes, clock)
        }));
        OPENING.store(false, Ordering::Release);
        let why = match opened {
            Ok(Ok(database)) => {
                if !made {
                    sync_and_mark_complete(folder, &path, &complete).map_err(disk)?;
                }
                clock.start(database.anchor());
                return Ok(database);
            }
            Ok(Err(error)) if is_disk(&error) => return Err(OpenError::Disk(reason(&error))),
            Ok(Err(error)) => reason(&error),
            Err(_) => "fjall panicked on it".to_owned(),
        };
        // The mark is needed only if the panic ends the process, and this one did not.
        let _ = fs::remove_file(&mark);
        put_aside(folder, &path, &why).map_err(disk)?;
        Err(OpenError::PutAside)
    }

    fn open_fjall(path: &Path, sizes: &Sizes, clock: &Arc<StoreClock>) -> fjall::Result<Database> {
        let rewritten = Arc::<AtomicU64>::default();
        let expiry: Arc<Expiry> = Arc::new(Expiry {
            clock: Arc::clone(clock),
            rewritten: Arc::clone(&rewritten),
        });
        let inner = fjall::Database::builder(path)
            .cache_size(sizes.cache)
            .worker_threads(WORKERS)
            .max_cached_files(Some(sizes.files))
            .with_compaction_filter_factories(Arc::new(move |_| Some(expiry.clone())))
            .open()?;
        let options = || {
            KeyspaceCreateOptions::default()
                // fjall's own limit must not be reached: its worker checks it only between
                // compactions, so memory could grow while one runs. `commit` checks it instead.
                .max_memtable_size(64 * sizes.memtable)
                .compaction_strategy(Arc::new(
                    Leveled::default().with_table_target_size(TABLE_BYTES),
                ))
        };
        let keyspace = inner.keyspace(KEYSPACE, options)?;
        let has_parts = keyspace.prefix(PART_KEY).next().is_some();
        Ok(Database {
            inner,
            keyspace,
            memtable_bytes: sizes.memtable,
            place: Arc::new(Place::of(path)?),
            has_parts: Arc::new(AtomicBool::new(has_parts)),
            part_changes: Arc::default(),
            rewritten,
        })
    }

    /// Bytes that compactions have written anew since this was last asked.
    pub(super) fn take_rewritten(&self) -> u64 {
        self.rewritten.swap(0, Ordering::Relaxed)
    }

    /// All keys that start with `prefix` and come behind `after`, sorted, with their values, or the
    /// heads of those that are stored in parts.
    pub(super) fn prefix(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
    ) -> impl Iterator<Item = fjall::Result<(Slice, Slice)>> {
        let from = match after {
            Some(after) => Bound::Excluded(after),
            None => Bound::Included(prefix),
        };
        let prefix = prefix.to_vec();
        self.keyspace
            .range::<&[u8], _>((from, Bound::Unbounded))
            .map(|guard| guard.into_inner())
            .take_while(move |item| match item {
                Ok((key, _)) => key.starts_with(&prefix),
                Err(_) => true,
            })
    }

    /// Writes a batch whole, with the store's own `records`, and returns once it is on the disk.
    pub(super) fn commit<'a>(
        &self,
        changes: impl Iterator<Item = (&'a Slice, &'a Option<Slice>)>,
        anchor: Option<Anchor>,
        records: &[(Vec<u8>, [u8; 16])],
    ) -> Result<(), String> {
        let mut batch = self.inner.batch().durability(Some(PersistMode::SyncData));
        let mut bytes = 0;
        for (key, stored) in changes {
            bytes += (key.len() + stored.as_ref().map_or(0, |stored| stored.len())) as u64;
            let change = self.add_change(&mut batch, key, stored.as_ref());
            change.map_err(|error| reason(&error))?;
        }
        self.make_room(bytes).map_err(|error| reason(&error))?;
        if let Some(anchor) = anchor {
            batch.insert(&self.keyspace, ANCHOR_KEY, &anchor.encode()[..]);
        }
        for (key, record) in records {
            batch.insert(&self.keyspace, key.as_slice(), &record[..]);
        }
        batch.commit().map_err(|error| reason(&error))?;
        self.is_in_place()
    }

    /// Whether what was written can be found by who opens the database next: its folder is where it
    /// was, and has a journal.
    fn is_in_place(&self) -> Result<(), String> {
        self.place.check()?;
        let folder = self.place.path();
        match journal::journals(folder) {
            Ok(journals) if !journals.is_empty() => Ok(()),
            Ok(_) => Err(format!(
                "the journals in {} were removed while the daemon runs: start it anew",
                folder.display()
            )),
            // What cannot be looked at for now, as without a descriptor, is written all the same.
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Has the memtable written as a table once it is full, or has no room for `more` bytes. Waits
    /// while the table before is still being written: if data comes in faster than the disk takes
    /// it, it must not gather in memory.
    fn make_room(&self, more: u64) -> fjall::Result<()> {
        let size = self.keyspace.tree.active_memtable().size();
        if size == 0 || size + more <= self.memtable_bytes {
            return Ok(());
        }
        while self.keyspace.sealed_memtable_count() > 0 {
            // This fails when fjall's worker has ended.
            self.inner.persist(PersistMode::Buffer)?;
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        self.keyspace.rotate_memtable()?;
        Ok(())
    }

    fn anchor(&self) -> Option<Anchor> {
        // Without an anchor the store's time starts anew: values live longer, which does less harm
        // than losing them.
        Anchor::decode(&self.get(ANCHOR_KEY).ok()??)
    }
}

/// Set while a database is being opened.
static OPENING: AtomicBool = AtomicBool::new(false);

/// Leaves a mark on the disk when fjall panics while it opens a database, for builds in which a
/// panic ends the process. Only the first store of a process, which is the daemon's, has one.
pub(super) fn mark_panics(folder: &Path) {
    static ONCE: std::sync::Once = std::sync::Once::new();
    let mark = folder.join("panicked");
    ONCE.call_once(|| {
        let earlier = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let ours = std::thread::current().name() == Some(KEEPER);
            if ours && OPENING.load(Ordering::Acquire) {
                let _ = File::create(&mark);
            }
            earlier(panic);
        }));
    });
}

/// Cuts the torn ends off all journals, so that fjall can open the database.
fn mend_journals(folder: &Path, database: &Path) -> io::Result<()> {
    for path in journal::journals(database)? {
        let Some(damage) = journal::examine(&path)? else {
            continue;
        };
        let name = format!("{}{TAIL}", file_name(&path));
        let aside = new_aside(folder, &name)?;
        let kept = match journal::mend(&damage, &aside)? {
            true => format!(", and kept in {}", aside.display()),
            false => String::new(),
        };
        log::warn!(
            "key-value store: the last {} bytes of {} are no whole batch: they were cut short while they were written, or \
             damaged since. They are cut off{kept}",
            damage.bytes,
            path.display()
        );
    }
    Ok(())
}

/// Whether anything was ever written to a database: a batch in a journal, or a table.
fn holds_data(database: &Path) -> io::Result<bool> {
    for path in journal::journals(database)? {
        if journal::holds_batch(&path)? {
            return Ok(true);
        }
    }
    let keyspaces = match fs::read_dir(database.join("keyspaces")) {
        Ok(keyspaces) => keyspaces,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    for keyspace in keyspaces {
        let keyspace = keyspace?;
        // fjall keeps the names of keyspaces in one of its own, which is number 0.
        if keyspace.file_name() == "0" {
            continue;
        }
        match fs::read_dir(keyspace.path().join("tables")) {
            Ok(mut tables) => {
                if tables.next().transpose()?.is_some() {
                    return Ok(true);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}

/// Puts every name in a new database onto the disk, and marks it complete. fjall syncs what its
/// folders hold, but not the folder that holds the keyspaces'. Where a file system promises no more
/// than POSIX, a keyspace could be gone after a power cut, and its data with it.
fn sync_and_mark_complete(folder: &Path, database: &Path, complete: &Path) -> io::Result<()> {
    sync_folder(&database.join("keyspaces"))?;
    File::create(complete)?.sync_all()?;
    sync_folder(database)?;
    sync_folder(folder)?;
    match folder.parent() {
        Some(parent) if parent != Path::new("") => sync_folder(parent),
        _ => Ok(()),
    }
}

/// Bytes that a folder takes on the disk. Blocks are counted, not lengths: fjall makes its journals
/// at their full length before it fills them.
pub(super) fn disk_bytes(folder: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let found = match entry.metadata() {
            Ok(found) => found,
            // A compaction has just removed this table.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        bytes += found.blocks() * 512;
        if found.is_dir() {
            bytes += disk_bytes(&entry.path())?;
        }
    }
    Ok(bytes)
}

/// Whether the disk is at fault, so that the data on it may well be whole.
fn is_disk(error: &fjall::Error) -> bool {
    use io::ErrorKind::{InvalidData, NotFound, UnexpectedEof};
    let fault = |error: &io::Error| !matches!(error.kind(), UnexpectedEof | InvalidData | NotFound);
    match error {
        fjall::Error::Io(error) | fjall::Error::Storage(fjall::LsmError::Io(error)) => fault(error),
        fjall::Error::Locked | fjall::Error::Poisoned => true,
        _ => false,
    }
}

/// fjall's error text, without its own name in front.
fn reason(error: &fjall::Error) -> String {
    match error {
        fjall::Error::Io(error) | fjall::Error::Storage(fjall::LsmError::Io(error)) => {
            error.to_string()
        }
        fjall::Error::Storage(error) => format!("{error:?}"),
        fjall::Error::Poisoned => "an earlier write failed".to_owned(),
        error => format!("{error:?}"),
    }
}
