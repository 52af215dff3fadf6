//! A child writes, reports each attempt and each acknowledgement, and is killed at a random moment. The
//! next one opens what is left, compares it with the reports, and goes on.
//!
//! `ZLAYER_KILLS` says how often (1,000), `ZLAYER_SEED` repeats a run as far as threads let it.

use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use smol::block_on;
use zlayer_runtime::keyvalue::{Durability, KeyValue, Namespace};

use crate::ledger::{self, Found, Keys, Ledger, Reports};
use crate::support::{Child, Folder, Random, number, open, seed, with};

/// Stores that are killed at the same time.
const LANES: u64 = 3;
/// A store is begun anew after so many kills: it grows, and being made has to survive kills, too.
const GENERATION: u64 = 40;
/// Longest life of a child after it has opened its store.
const LIFE: Duration = Duration::from_millis(25);
/// Once in so many times nobody waits for a commit, and one is waited for before the kill.
const QUIET: u64 = 60;

#[test]
fn nothing_acknowledged_is_lost_however_often_it_is_killed() {
    let kills = number("ZLAYER_KILLS").unwrap_or(1000);
    let seed = seed();
    println!("kill: ZLAYER_SEED={seed}");
    let began = Instant::now();
    let acknowledged: u64 = std::thread::scope(|scope| {
        let lanes: Vec<_> = (0..LANES)
            .map(|lane| {
                let kills = kills / LANES + u64::from(lane < kills % LANES);
                scope.spawn(move || run_lane(seed + lane, kills))
            })
            .collect();
        lanes.into_iter().map(|lane| lane.join().unwrap()).sum()
    });
    println!(
        "kill: {kills} kills, {acknowledged} acknowledged changes, {:?}",
        began.elapsed()
    );
    assert!(
        acknowledged >= kills / 20,
        "too few changes between the kills to show anything: {acknowledged}"
    );
}

/// Kills one store after another; answers how many changes were acknowledged.
fn run_lane(seed: u64, mut kills: u64) -> u64 {
    let mut random = Random::new(seed);
    let mut acknowledged = 0;
    while kills > 0 {
        let now = kills.min(GENERATION);
        acknowledged += run_generation(&mut random, now);
        kills -= now;
    }
    acknowledged
}

/// Kills stores over the same folder.
fn run_generation(random: &mut Random, kills: u64) -> u64 {
    let folder = Folder::quick();
    let mut opening = Duration::from_millis(50);
    for kill in 0..kills {
        let quiet = random.once_in(QUIET);
        let mut child = Child::command("kill::child", &folder.0)
            .env("ZLAYER_SEED", random.next().to_string())
            .env("ZLAYER_QUIET", u64::from(quiet).to_string())
            .env("ZLAYER_KILL_NUMBER", kill.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let began = Instant::now();
        let fraction = random.below(1000) as f64 / 1000.0;
        let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut said = |word| output.any(|line| line.unwrap().ends_with(word));
        if quiet {
            said("committed");
        } else if random.once_in(4) {
            // At any moment while it starts, opens and mends: which one is all that this time decides.
            std::thread::sleep(opening.mul_f64(1.2 * fraction));
        } else if said("ready") {
            opening = began.elapsed();
            // At any moment of its work, likewise.
            std::thread::sleep(LIFE.mul_f64(fraction));
        }
        child.kill().unwrap();
        let status = child.wait().unwrap();
        assert_eq!(
            status.signal(),
            Some(9),
            "kill {kill}: the child ended by itself: {status}"
        );
    }
    // The last word: what is there is what it should be, and a quiet end works, too.
    let status = Child::command("kill::child", &folder.0)
        .env("ZLAYER_KILL_NUMBER", kills.to_string())
        .env("ZLAYER_CHECK_ONLY", "1")
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success(), "the last check failed: {status}");
    let total = std::fs::read_to_string(folder.0.join("total")).unwrap();
    total.parse().unwrap()
}

/// The newest reports that have all that their child found, what they tell, and how many changes
/// were acknowledged.
fn newest(folder: &Path) -> (Ledger, u64, Option<PathBuf>) {
    let mut ledger = Ledger::default();
    let reports = (0..=number("ZLAYER_KILL_NUMBER").unwrap())
        .rev()
        .find_map(|number| {
            let path = report_path(folder, number);
            let text = std::fs::read_to_string(&path).ok()?;
            text.contains("\nfound all 0\n").then_some((path, text))
        });
    let Some((path, text)) = reports else {
        return (ledger, 0, None);
    };
    let mut count = 0;
    for line in text.lines() {
        assert!(ledger.note(line), "report {line:?}");
        count += u64::from(line.starts_with('k'));
    }
    (ledger, count, Some(path))
}

fn report_path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("report-{number}"))
}

#[test]
#[ignore = "the child of the test above"]
fn child() {
    let Some(folder) = Child::folder() else {
        return;
    };
    let store = open(&folder.join("kv"));
    let sync = block_on(store.namespace("sync", &with(Durability::Sync), None)).unwrap();
    let interval =
        block_on(store.namespace("interval", &with(Durability::INTERVAL), None)).unwrap();
    let (ledger, count, path) = newest(&folder);
    let found = block_on(ledger.verify(&sync, &interval));
    let aside = store.status().aside;
    assert!(
        aside.iter().all(|path| path.is_file()),
        "a whole database was put aside: {aside:?}"
    );
    if number("ZLAYER_CHECK_ONLY").is_some() {
        let total = total(&folder) + count;
        std::fs::write(folder.join("total"), total.to_string()).unwrap();
        return;
    }
    let number = number("ZLAYER_KILL_NUMBER").unwrap();
    let reports = Reports::create(&report_path(&folder, number));
    for (name, n) in &found {
        reports.write("found", name, *n);
    }
    let total = total(&folder) + count;
    std::fs::write(folder.join("total.new"), total.to_string()).unwrap();
    std::fs::rename(folder.join("total.new"), folder.join("total")).unwrap();
    reports.write("found", "all", 0);
    if let Some(path) = path {
        std::fs::remove_file(path).unwrap();
    }
    println!("ready");
    work(&store, &sync, &interval, &reports, &found);
}

fn total(folder: &Path) -> u64 {
    std::fs::read_to_string(folder.join("total")).map_or(0, |text| text.parse().unwrap())
}

/// Writes from several threads until it is killed.
fn work(
    store: &KeyValue,
    sync: &Namespace,
    interval: &Namespace,
    reports: &Reports,
    found: &Found,
) {
    let mut random = Random::new(seed());
    std::thread::scope(|scope| {
        if number("ZLAYER_QUIET") == Some(1) {
            // Nobody waits for a commit here: it has to come by itself.
            scope.spawn(|| wait_for_commits(store, interval, reports, found["ring"]));
            return;
        }
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    ledger::count(sync, reports);
                }
            });
            scope.spawn(|| {
                loop {
                    ledger::swap(sync, reports);
                }
            });
        }
        scope.spawn(|| {
            let mut keys = Keys::new(found);
            loop {
                keys.step(sync, reports, &mut random);
            }
        });
        scope.spawn(|| {
            let mut n = found["ring"];
            loop {
                for _ in 0..10 {
                    n += 1;
                    ledger::fill(interval, reports, n);
                }
                ledger::mark(sync, reports, n);
            }
        });
    });
}

fn wait_for_commits(store: &KeyValue, interval: &Namespace, reports: &Reports, mut n: u64) {
    let first = n + 1;
    for _ in 0..20 {
        n += 1;
        ledger::fill(interval, reports, n);
    }
    // The first batch began after the first change, and holds it at least.
    while store.status().commits == 0 {
        std::thread::sleep(Duration::from_millis(1));
    }
    reports.write("k", "ring", first);
    println!("committed");
    loop {
        n += 1;
        ledger::fill(interval, reports, n);
    }
}
