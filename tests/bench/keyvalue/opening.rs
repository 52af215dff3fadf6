//! Time from the daemon's start to the first response with and without the store.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::bench::Run;
use crate::keyvalue::daemon::{ASK_STORE, Daemon, Mode, Store, cleared};
use crate::stats::{median, range};
use crate::table::Table;

/// A path of the guest that needs no store.
const ASK_PLUGIN: &str = "/instance";

const VALUE_BYTES: u64 = 100;
const KEYS: u64 = 10_000;
/// Bytes of journal that are to be read again after the kill.
const JOURNAL: u64 = 60_000_000;
/// Passes over all keys that surely write as much; each writes more than a megabyte.
const PASSES: u32 = 200;

/// What the daemon finds when it starts.
struct Case {
    label: &'static str,
    /// Milliseconds to the first response of the plugin alone, in each round.
    plugin: Vec<f64>,
    /// Milliseconds to the first response of the store.
    store: Vec<f64>,
}

/// All cases.
struct Opening {
    cases: [Case; 3],
    /// Bytes of journal on the disk in the last one.
    journal: u64,
}

/// Starts the daemon over and over.
pub(crate) fn measure(run: &mut Run, store: &Store) -> Result<()> {
    let kept = store.path("opening-kept");
    let daemon = store.start_and_open(Mode::Interval, &kept)?;
    daemon.fill(0, KEYS, VALUE_BYTES)?;
    daemon.stop()?;
    run.progress(format_args!(
        "writing a journal of {} MB",
        JOURNAL / 1_000_000
    ));
    let killed = store.path("opening-killed");
    let journal = kill_with_journal(store, &killed)?;
    let mut opening = Opening {
        cases: [
            case("no folder yet (first run)"),
            case("10,000 keys, ended in order"),
            case("10,000 keys, kill -9, long journal"),
        ],
        journal,
    };
    for number in 1..=run.rounds {
        run.round(number, "opening");
        let fresh = cleared(store.path("opening-new"))?;
        opening.cases[0].start(store, &fresh)?.stop()?;
        opening.cases[1].start(store, &kept)?.stop()?;
        // Each start sees what the kill left, which opening mends.
        let copy = cleared(store.path("opening-copy"))?;
        copy_folder(&killed, &copy)?;
        let daemon = opening.cases[2].start(store, &copy)?;
        let listed = daemon.body("/list/k/000000")?;
        let count = listed.split(|&byte| byte == b'\n').count() - 1;
        ensure!(count == 100, "{count} keys of 100 are back after the kill");
        daemon.stop()?;
    }
    run.table(opening.table());
    run.table(opening.journal());
    Ok(())
}

/// Fills a folder until its journals are long enough, and kills the daemon: their length.
fn kill_with_journal(store: &Store, data: &Path) -> Result<u64> {
    let daemon = store.start_and_open(Mode::Interval, data)?;
    let database = data.join("kv/db");
    let mut length = 0;
    for _ in 0..PASSES {
        daemon.fill(0, KEYS, VALUE_BYTES)?;
        length = journals(&database)?;
        if length >= JOURNAL {
            break;
        }
    }
    ensure!(
        length >= JOURNAL,
        "the journals in {} stay at {length} bytes",
        database.display()
    );
    // Dropping kills.
    drop(daemon);
    journals(&database)
}

/// Bytes that the journals have on the disk; fjall makes them longer than they are filled.
fn journals(database: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(database).with_context(|| database.display().to_string())? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "jnl") {
            // A journal may go while the list is read. A block of this count has 512 bytes (stat(2)).
            bytes += fs::metadata(&path).map_or(0, |found| found.blocks() * 512);
        }
    }
    Ok(bytes)
}

fn copy_folder(from: &Path, to: &PathBuf) -> Result<()> {
    fs::create_dir_all(to).with_context(|| to.display().to_string())?;
    for entry in fs::read_dir(from).with_context(|| from.display().to_string())? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        let kind = entry.file_type()?;
        if kind.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else if kind.is_file() {
            // Not the admin socket, which a kill leaves behind too.
            fs::copy(entry.path(), &target).with_context(|| target.display().to_string())?;
        }
    }
    Ok(())
}

impl Opening {
    fn table(&self) -> Table {
        let title = "process start to first response, mode interval, ms";
        let columns = [
            "without the store",
            "without the store, fastest",
            "without the store, slowest",
            "from the store",
            "from the store, fastest",
            "from the store, slowest",
        ];
        let mut table = Table::new("opening", title, &columns);
        for case in &self.cases {
            let spread = |values: &[f64]| {
                let all = range(values.iter().copied());
                let middle = median(values.iter().copied());
                [middle, all.map(|(low, _)| low), all.map(|(_, high)| high)]
            };
            let mut cells = spread(&case.plugin).to_vec();
            cells.extend(spread(&case.store));
            table.row(case.label, cells);
        }
        table
    }

    fn journal(&self) -> Table {
        let mut table = Table::new("journal", "journal that the kill left", &["MB"]);
        table.row("journal", [Some(self.journal as f64 / 1e6)]);
        table
    }
}

impl Case {
    /// Starts the daemon and notes when it responds.
    fn start(&mut self, store: &Store, data: &Path) -> Result<Daemon> {
        let mut daemon = store.start(Mode::Interval, data)?;
        let plugin = daemon.first_response(ASK_PLUGIN)?;
        let store = daemon.first_response(ASK_STORE)?;
        self.plugin.push(plugin);
        self.store.push(store);
        Ok(daemon)
    }
}

fn case(label: &'static str) -> Case {
    Case {
        label,
        plugin: Vec::new(),
        store: Vec::new(),
    }
}
