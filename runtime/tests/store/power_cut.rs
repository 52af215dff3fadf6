//! A child's writes, syncs and renames are recorded; the disk is played up to any point of them, power is
//! cut with all kinds of losses, and the store has to open with what was acknowledged.
//!
//! `ZLAYER_POWER_CUTS=all` plays every point with every loss; `ZLAYER_SEED` repeats a run.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use smol::block_on;
use zlayer_runtime::keyvalue::{Durability, StoreState};

use crate::disk::{Disk, Kind, Loss};
use crate::ledger::{self, Found, Keys, Ledger, Reports};
use crate::support::{Child, Folder, Random, number, open, seed, skipped, with};
use crate::trace::{Op, record};

/// How long the quick run cuts power, and how many times at least.
const QUICK: (Duration, usize) = (Duration::from_secs(40), 100);
/// Points that one round of the quick run plays.
const ROUND: u64 = 100;
/// How often the recorded child opens its store.
const OPENINGS: u64 = 5;
/// Changes between two openings.
const CHANGES: u64 = 120;

#[test]
fn it_opens_after_any_power_cut_with_all_that_was_acknowledged() {
    let seed = seed();
    println!("power cut: ZLAYER_SEED={seed}");
    let work = Folder::new();
    let folder = work.0.join("disk");
    std::fs::create_dir(&folder).unwrap();
    let mut child = Child::command("power_cut::child", &folder);
    child.env("ZLAYER_SEED", seed.to_string());
    let ops = match record(&child, &folder) {
        Ok(ops) => ops,
        Err(why) => {
            return skipped(
                "it_opens_after_any_power_cut_with_all_that_was_acknowledged",
                &why,
            );
        }
    };
    std::fs::remove_dir_all(&folder).unwrap();
    install_log();
    let points: Vec<usize> = (1..ops.len())
        .filter(|&at| !matches!(ops[at], Op::Report(_)))
        .collect();
    println!("power cut: {} operations recorded", points.len());
    let began = Instant::now();
    let mut random = Random::new(seed);
    let mut cuts = 0;
    let mut torn = 0;
    let all = std::env::var("ZLAYER_POWER_CUTS").is_ok_and(|cuts| cuts == "all");
    let kinds = [Kind::Journal, Kind::Strict];
    for round in 0.. {
        // About every tenth cut tears something; where luck had none do so, it goes on for a while.
        let enough = torn > 0 || cuts >= 10 * QUICK.1;
        if all && round == 2 || !all && cuts >= QUICK.1 && enough && began.elapsed() > QUICK.0 {
            break;
        }
        let kind = kinds[round % 2];
        let mut disk = Disk::new(kind, &folder);
        let mut ledger = Ledger::default();
        for (at, op) in ops.iter().enumerate() {
            let is_point = !matches!(op, Op::Report(_)) && at > 0;
            let once_in = (points.len() as u64 / ROUND).max(1);
            if is_point && (all || random.once_in(once_in)) {
                let loss = Loss::ALL[random.below(Loss::ALL.len() as u64) as usize];
                let one = [loss];
                for &loss in if all { &Loss::ALL[..] } else { &one } {
                    let name = format!("seed {seed}, {kind:?}, before operation {at}, {loss:?}");
                    torn += usize::from(cut(&disk, &ledger, loss, &mut random, &name));
                    cuts += 1;
                }
            }
            if let Op::Report(line) = op {
                assert!(ledger.note(line), "report {line:?}");
            }
            disk.apply(op);
        }
    }
    println!(
        "power cut: {cuts} cuts, {torn} with something put aside, {:?}",
        began.elapsed()
    );
    assert!(torn > 0, "no cut ever tore a journal");
}

/// Cuts the power, opens what is left, and compares; true if something was put aside.
fn cut(disk: &Disk, ledger: &Ledger, loss: Loss, random: &mut Random, name: &str) -> bool {
    let folder = Folder::quick();
    disk.cut(&folder.0, loss, random);
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let (found, torn) = check(&folder.0, ledger);
        if random.once_in(4) {
            // It goes on writing, and opens again.
            let mut more = Ledger::default();
            let reports = folder.0.join("more");
            write_on(&folder.0, &found, &Reports::create(&reports));
            for (name, n) in &found {
                more.note(&format!("found {name} {n}"));
            }
            for line in std::fs::read_to_string(&reports).unwrap().lines() {
                assert!(more.note(line));
            }
            check(&folder.0, &more);
        }
        torn
    }));
    match result {
        Ok(torn) => torn,
        Err(panic) => {
            eprintln!("power cut: {name}: kept in {}", folder.0.display());
            for line in logged(&folder.0) {
                eprintln!("  {line}");
            }
            std::panic::resume_unwind(panic);
        }
    }
}

fn check(folder: &Path, ledger: &Ledger) -> (Found, bool) {
    let before = asides(folder);
    let store = open(&folder.join("kv"));
    let sync = block_on(store.namespace("sync", &with(Durability::Sync), None)).unwrap();
    let interval =
        block_on(store.namespace("interval", &with(Durability::INTERVAL), None)).unwrap();
    let found = block_on(ledger.verify(&sync, &interval));
    let status = store.status();
    assert_eq!(status.state, StoreState::Open);
    for aside in &status.aside {
        assert!(aside.is_file(), "a whole database was put aside");
    }
    // What earlier mendings put aside is kept, and what this one does is in the log.
    let kept = status.aside.len() as u64;
    assert!(kept >= ledger.acknowledged("aside"), "{:?}", status.aside);
    let log = logged(folder);
    let mut torn = false;
    for new in status.aside.iter().filter(|aside| !before.contains(aside)) {
        let name = new.display().to_string();
        let said = |line: &String| line.starts_with("WARN") && line.contains(&name);
        assert!(log.iter().any(said), "{name} is not in the log: {log:?}");
        torn = true;
    }
    forget(folder);
    (found, torn)
}

fn asides(folder: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(folder.join("kv/aside")).map_or_else(
        |_| Vec::new(),
        |entries| entries.map(|entry| entry.unwrap().path()).collect(),
    )
}

fn write_on(folder: &Path, found: &Found, reports: &Reports) {
    let store = open(&folder.join("kv"));
    let sync = block_on(store.namespace("sync", &with(Durability::Sync), None)).unwrap();
    let interval =
        block_on(store.namespace("interval", &with(Durability::INTERVAL), None)).unwrap();
    let mut random = Random::new(1);
    let mut keys = Keys::new(found);
    let mut n = found["ring"];
    for _ in 0..5 {
        ledger::count(&sync, reports);
        ledger::swap(&sync, reports);
        keys.step(&sync, reports, &mut random);
        n += 1;
        ledger::fill(&interval, reports, n);
        ledger::mark(&sync, reports, n);
    }
}

#[test]
#[ignore = "the child of the test above"]
fn child() {
    let Some(folder) = Child::folder() else {
        return;
    };
    let reports = Reports::create(&folder.join("reports"));
    let mut random = Random::new(number("ZLAYER_SEED").unwrap());
    let mut ring = 0;
    let mut keys = None;
    for opening in 0..OPENINGS {
        if opening > 1 {
            // What an earlier power cut may have left.
            tear(&folder.join("kv/db"), &mut random);
        }
        let store = open(&folder.join("kv"));
        let sync = block_on(store.namespace("sync", &with(Durability::Sync), None)).unwrap();
        let interval =
            block_on(store.namespace("interval", &with(Durability::INTERVAL), None)).unwrap();
        let keys = keys.get_or_insert_with(|| {
            let nothing = Ledger::default();
            Keys::new(&block_on(nothing.verify(&sync, &interval)))
        });
        reports.write("k", "aside", store.status().aside.len() as u64);
        for change in 0..CHANGES {
            match random.below(6) {
                0 => ledger::count(&sync, &reports),
                1 | 2 => ledger::swap(&sync, &reports),
                3 | 4 => keys.step(&sync, &reports, &mut random),
                _ => ledger::mark(&sync, &reports, ring),
            }
            ring += 1;
            ledger::fill(&interval, &reports, ring);
            if change % 20 == 19 {
                // Enough to have tables written and merged.
                let name = format!("large/{}", random.below(4));
                let large = vec![change as u8; 300_000];
                block_on(sync.set(&name, &large, None)).unwrap();
            }
        }
        store.close();
        reports.write("k", "ring", ring);
    }
}

/// Adds half a batch to the newest journal.
fn tear(database: &Path, random: &mut Random) {
    let mut journals: Vec<PathBuf> = std::fs::read_dir(database)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "jnl"))
        .collect();
    journals.sort_by_key(|path| {
        let stem = path.file_stem().unwrap().to_string_lossy();
        stem.parse::<u64>().unwrap()
    });
    // A fresh journal has its full length already; the zeros of one that was made are no place for this.
    let journal = journals.pop().unwrap();
    if std::fs::metadata(&journal).unwrap().len() >= 64 << 20 {
        return;
    }
    let mut file = std::fs::OpenOptions::new()
        .append(true)
        .open(journal)
        .unwrap();
    let mut torn = vec![1, 2, 0, 0, 0];
    torn.extend(random.next().to_le_bytes());
    file.write_all(&torn).unwrap();
}

/// What was logged, for the folder that each record names.
static LOG: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Capture;

impl log::Log for Capture {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() <= log::Level::Warn
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            let line = format!("{} {}", record.level(), record.args());
            LOG.lock().unwrap().push(line);
        }
    }

    fn flush(&self) {}
}

fn install_log() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        log::set_logger(&Capture).unwrap();
        log::set_max_level(log::LevelFilter::Warn);
    });
}

fn logged(folder: &Path) -> Vec<String> {
    let folder = folder.display().to_string();
    let log = LOG.lock().unwrap();
    log.iter()
        .filter(|line| line.contains(&folder))
        .cloned()
        .collect()
}

fn forget(folder: &Path) {
    let folder = folder.display().to_string();
    LOG.lock().unwrap().retain(|line| !line.contains(&folder));
}
