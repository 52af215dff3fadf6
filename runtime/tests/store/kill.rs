//! A child writes, reports each attempt and each acknowledgement, and is killed at a random moment. The
//! next one opens what is left, compares it with the reports, and goes on.
//!
//! `ZLAYER_KILLS` says how often (1,000), `ZLAYER_SEED` repeats a run as far as threads let it.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use smol::block_on;
use zlayer_runtime::keyvalue::{Durability, KeyValue, Namespace};

use crate::support::{Child, Folder, Random, number, open, seed, sealed, unsealed, with};

/// Stores that are killed at the same time.
const LANES: u64 = 3;
/// Longest life of a child after it has opened its store.
const LIFE: Duration = Duration::from_millis(25);
/// Once in so many times nobody waits for a commit, and one is waited for before the kill.
const QUIET: u64 = 60;
/// Keys that one thread sets and deletes.
const KEYS: u64 = 8;
/// Keys that take turns in the namespace `interval`.
const RING: u64 = 32;

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
                scope.spawn(move || run_lane(Random::new(seed + lane), kills))
            })
            .collect();
        lanes.into_iter().map(|lane| lane.join().unwrap()).sum()
    });
    println!(
        "kill: {kills} kills, {acknowledged} acknowledged changes, {:?}",
        began.elapsed()
    );
    assert!(
        acknowledged >= kills,
        "too few changes between the kills to show anything: {acknowledged}"
    );
}

/// Kills one store after another over the same folder; answers how many changes were acknowledged.
fn run_lane(mut random: Random, kills: u64) -> u64 {
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
            // While it starts, opens and mends.
            std::thread::sleep(opening.mul_f64(1.2 * fraction));
        } else if said("ready") {
            opening = began.elapsed();
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

/// What is known of one thing that only ever counts upwards.
#[derive(Debug, Default, Clone, Copy)]
struct Known {
    acknowledged: u64,
    attempted: u64,
}

impl Known {
    fn check(&self, name: &str, found: u64) {
        assert!(
            (self.acknowledged..=self.attempted).contains(&found),
            "{name}: found {found}, known {self:?}"
        );
    }
}

/// The reports of one child, a line each: what it found, attempts (`a NAME N`), acknowledgements
/// (`k NAME N`; for the counter N counts). A line is one write, which a kill does not tear apart.
struct Reports(File);

impl Reports {
    fn write(&self, kind: &str, name: &str, number: u64) {
        let line = format!("{kind} {name} {number}\n");
        (&self.0).write_all(line.as_bytes()).unwrap();
    }

    /// The newest reports that have all that their child found, and what they tell.
    fn newest(folder: &Path) -> (BTreeMap<String, Known>, u64, Option<PathBuf>) {
        let mut known: BTreeMap<String, Known> = BTreeMap::new();
        let mut count = 0;
        let Some((number, text)) = (0..=number("ZLAYER_KILL_NUMBER").unwrap())
            .rev()
            .find_map(|number| {
                let text = std::fs::read_to_string(report_path(folder, number)).ok()?;
                text.contains("\nfound all 0\n").then_some((number, text))
            })
        else {
            return (known, 0, None);
        };
        for line in text.split_inclusive('\n') {
            let mut words = line.strip_suffix('\n').unwrap_or_default().split(' ');
            let (Some(kind), Some(name), Some(n)) = (words.next(), words.next(), words.next())
            else {
                continue;
            };
            let n: u64 = n.parse().unwrap();
            let entry = known.entry(name.to_owned()).or_default();
            match (kind, name) {
                ("found", _) => {
                    *entry = Known {
                        acknowledged: n,
                        attempted: n,
                    }
                }
                ("a", "counter") => entry.attempted += n,
                ("k", "counter") => entry.acknowledged += n,
                ("a", _) => entry.attempted = entry.attempted.max(n),
                _ => entry.acknowledged = entry.acknowledged.max(n),
            }
            count += u64::from(kind == "k");
        }
        (known, count, Some(report_path(folder, number)))
    }
}

fn report_path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("report-{number}"))
}

/// What a key of the thread that sets and deletes holds after its `n`th change.
fn is_deleted(n: u64) -> bool {
    n % 4 == 0
}

#[test]
#[ignore = "the child of the test above"]
fn child() {
    let Some(folder) = Child::folder() else {
        return;
    };
    let store = open(&folder.join("kv"));
    let sync = block_on(store.namespace("sync", &with(Durability::Sync))).unwrap();
    let interval = block_on(store.namespace("interval", &with(Durability::Interval))).unwrap();
    let (known, count, path) = Reports::newest(&folder);
    let found = block_on(verify(&known, &sync, &interval));
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
    let reports = Reports(
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(report_path(&folder, number))
            .unwrap(),
    );
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

/// Compares what is there with what is known of it; answers what is there.
async fn verify(
    known: &BTreeMap<String, Known>,
    sync: &Namespace,
    interval: &Namespace,
) -> BTreeMap<String, u64> {
    let of = |name: &str| known.get(name).copied().unwrap_or_default();
    let mut found = BTreeMap::new();

    let counter = sync.get("counter").await.unwrap();
    let counter = counter.map_or(0, |bytes| u64::from_le_bytes(bytes.try_into().unwrap()));
    of("counter").check("counter", counter);
    found.insert("counter".to_owned(), counter);

    let chain = sync.get("chain").await.unwrap();
    let chain = chain.map_or(0, |value| unsealed(&value).unwrap());
    of("chain").check("chain", chain);
    found.insert("chain".to_owned(), chain);

    for key in 0..KEYS {
        let name = format!("key-{key}");
        let known = of(&name);
        let n = match sync.get(&name).await.unwrap() {
            Some(value) => unsealed(&value).unwrap(),
            // Deleted, by a change that is known.
            None => (known.acknowledged..=known.attempted)
                .find(|&n| is_deleted(n))
                .unwrap_or_else(|| panic!("{name} is gone, known {known:?}")),
        };
        known.check(&name, n);
        found.insert(name, n);
    }

    // Written one after the other: whatever survives, nothing before it is missing.
    let mut slots = Vec::new();
    for slot in 0..RING {
        let value = interval.get(&format!("ring/{slot}")).await.unwrap();
        slots.push(value.map_or(0, |value| unsealed(&value).unwrap()));
    }
    let last = slots.iter().copied().max().unwrap_or(0);
    of("ring").check("ring", last);
    for (slot, &n) in (0..RING).zip(&slots) {
        let expected = (last.saturating_sub(RING - 1)..=last)
            .find(|n| n % RING == slot)
            .unwrap_or(0);
        assert_eq!(n, expected, "ring/{slot} while the last one is {last}");
    }
    found.insert("ring".to_owned(), last);
    found
}

/// Writes from several threads until it is killed.
fn work(
    store: &KeyValue,
    sync: &Namespace,
    interval: &Namespace,
    reports: &Reports,
    found: &BTreeMap<String, u64>,
) {
    let random = Random::new(seed());
    std::thread::scope(|scope| {
        if number("ZLAYER_QUIET") == Some(1) {
            // Nobody waits for a commit here: it has to come by itself.
            scope.spawn(|| wait_for_commits(store, interval, reports, found["ring"]));
            return;
        }
        for _ in 0..2 {
            scope.spawn(|| count(sync, reports));
            scope.spawn(|| swap(sync, reports));
        }
        scope.spawn(move || set_and_delete(sync, reports, found, random));
        scope.spawn(|| fill_ring(sync, interval, reports, found["ring"]));
    });
}

fn count(sync: &Namespace, reports: &Reports) {
    loop {
        reports.write("a", "counter", 1);
        block_on(sync.increment("counter", 1)).unwrap();
        reports.write("k", "counter", 1);
    }
}

fn swap(sync: &Namespace, reports: &Reports) {
    loop {
        let old = block_on(sync.get("chain")).unwrap();
        let next = old.as_deref().map_or(0, |old| unsealed(old).unwrap()) + 1;
        reports.write("a", "chain", next);
        let new = sealed(next);
        let swap = sync.compare_and_swap("chain", old.as_deref(), &new);
        if block_on(swap).unwrap() {
            reports.write("k", "chain", next);
        }
    }
}

fn set_and_delete(
    sync: &Namespace,
    reports: &Reports,
    found: &BTreeMap<String, u64>,
    mut random: Random,
) {
    let mut last: Vec<u64> = (0..KEYS).map(|key| found[&format!("key-{key}")]).collect();
    loop {
        let key = random.below(KEYS);
        let name = format!("key-{key}");
        let n = &mut last[key as usize];
        *n += 1;
        reports.write("a", &name, *n);
        if is_deleted(*n) {
            assert!(block_on(sync.delete(&name)).unwrap(), "{name} was there");
        } else {
            block_on(sync.set(&name, &sealed(*n), None)).unwrap();
        }
        reports.write("k", &name, *n);
    }
}

/// A commit that somebody waits for takes along what was acknowledged before.
fn fill_ring(sync: &Namespace, interval: &Namespace, reports: &Reports, mut n: u64) {
    loop {
        for _ in 0..10 {
            n += 1;
            fill(interval, reports, n);
        }
        block_on(sync.set("mark", &n.to_le_bytes(), None)).unwrap();
        reports.write("k", "ring", n);
    }
}

fn wait_for_commits(store: &KeyValue, interval: &Namespace, reports: &Reports, mut n: u64) {
    let first = n + 1;
    for _ in 0..20 {
        n += 1;
        fill(interval, reports, n);
    }
    // The first batch began after the first change, and holds it at least.
    while store.status().commits == 0 {
        std::thread::sleep(Duration::from_millis(1));
    }
    reports.write("k", "ring", first);
    println!("committed");
    loop {
        n += 1;
        fill(interval, reports, n);
    }
}

fn fill(interval: &Namespace, reports: &Reports, n: u64) {
    reports.write("a", "ring", n);
    let key = format!("ring/{}", n % RING);
    block_on(interval.set(&key, &sealed(n), None)).unwrap();
}
