//! Time from the daemon's start to the first answer with and without the store.

use std::fmt::Write;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::daemon::{ASK_STORE, Daemon, Mode, Place, cleared};
use crate::report::figure;
use crate::stats::{median, range};

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
    key: &'static str,
    label: &'static str,
    /// Milliseconds to the first answer of the plugin alone, in each round.
    plugin: Vec<f64>,
    /// Milliseconds to the first answer of the store.
    store: Vec<f64>,
}

/// All cases.
pub(crate) struct Opening {
    cases: [Case; 3],
    /// Bytes of journal on the disk in the last one.
    journal: u64,
}

/// Starts the daemon over and over.
pub(crate) fn measure(place: &Place, rounds: u32) -> Result<Opening> {
    let kept = place.path("opening-kept");
    let daemon = place.start_and_open(Mode::Interval, &kept)?;
    daemon.fill(0, KEYS, VALUE_BYTES)?;
    daemon.stop()?;
    eprintln!("opening: writing a journal of {} MB", JOURNAL / 1_000_000);
    let killed = place.path("opening-killed");
    let journal = kill_with_journal(place, &killed)?;
    let mut opening = Opening {
        cases: [
            case("empty", "no folder yet (first run)"),
            case("kept", "10,000 keys, ended in order"),
            case("killed", "10,000 keys, kill -9, long journal"),
        ],
        journal,
    };
    for number in 0..rounds {
        eprintln!("opening: round {} of {rounds}", number + 1);
        let fresh = cleared(place.path("opening-new"))?;
        opening.cases[0].start(place, &fresh)?.stop()?;
        opening.cases[1].start(place, &kept)?.stop()?;
        // Each start sees what the kill left, which opening mends.
        let copy = cleared(place.path("opening-copy"))?;
        copy_folder(&killed, &copy)?;
        let daemon = opening.cases[2].start(place, &copy)?;
        let listed = daemon.client()?.get("/list/k/000000")?;
        let count = listed.split(|&byte| byte == b'\n').count() - 1;
        ensure!(count == 100, "{count} keys of 100 are back after the kill");
        daemon.stop()?;
    }
    Ok(opening)
}

/// Fills a folder until its journals are long enough, and kills the daemon: their length.
fn kill_with_journal(place: &Place, data: &Path) -> Result<u64> {
    let daemon = place.start_and_open(Mode::Interval, data)?;
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
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target).with_context(|| target.display().to_string())?;
        }
    }
    Ok(())
}

impl Opening {
    /// Plain text.
    pub(crate) fn write(&self, out: &mut String) -> std::fmt::Result {
        writeln!(
            out,
            "process start to first answer, mode interval; medians (fastest - slowest), ms\n{:40}{:>28}{:>28}",
            "data folder", "of the plugin alone", "of the store"
        )?;
        for case in &self.cases {
            writeln!(
                out,
                "{:40}{:>28}{:>28}",
                case.label,
                spread(&case.plugin),
                spread(&case.store)
            )?;
        }
        writeln!(
            out,
            "journal left by the kill: {} MB",
            figure(Some(self.journal as f64 / 1e6), 1)
        )
    }

    /// The same figures for programs.
    pub(crate) fn json(&self) -> Value {
        let mut figures: serde_json::Map<String, Value> = self
            .cases
            .iter()
            .map(|case| {
                let of = |values: &[f64]| median(values.iter().copied());
                let times = json!({ "plugin_ms": of(&case.plugin), "store_ms": of(&case.store) });
                (case.key.to_owned(), times)
            })
            .collect();
        figures.insert("journal_bytes".to_owned(), json!(self.journal));
        Value::Object(figures)
    }
}

impl Case {
    /// Starts the daemon and notes when it answers.
    fn start(&mut self, place: &Place, data: &Path) -> Result<Daemon> {
        let mut daemon = place.start(Mode::Interval, data)?;
        let plugin = daemon.first_answer(ASK_PLUGIN)?;
        let store = daemon.first_answer(ASK_STORE)?;
        self.plugin.push(plugin);
        self.store.push(store);
        Ok(daemon)
    }
}

fn case(key: &'static str, label: &'static str) -> Case {
    Case {
        key,
        label,
        plugin: Vec::new(),
        store: Vec::new(),
    }
}

fn spread(values: &[f64]) -> String {
    let middle = figure(median(values.iter().copied()), 1);
    match range(values.iter().copied()) {
        Some((low, high)) => format!("{middle} ({low:.1} - {high:.1})"),
        None => middle,
    }
}
