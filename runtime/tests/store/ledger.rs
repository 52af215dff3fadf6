use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;

use smol::block_on;
use zlayer_runtime::keyvalue::Namespace;

use crate::support::{Random, sealed, unsealed};

/// Keys that one thread sets and deletes.
const KEYS: u64 = 8;
/// Keys that take turns in the namespace `interval`.
const RING: u64 = 32;

/// What is known of everything that a workload changes.
#[derive(Debug, Default, Clone)]
pub(crate) struct Ledger(BTreeMap<String, Known>);

/// What was found in a store.
pub(crate) type Found = BTreeMap<String, u64>;

impl Ledger {
    /// Takes in a line of the reports: what was found at first (`found NAME N`), an attempt
    /// (`a NAME N`), an acknowledgement (`k NAME N`; for the counter N counts). False: it is none.
    pub(crate) fn note(&mut self, line: &str) -> bool {
        let mut words = line.split(' ');
        let (Some(kind), Some(name), Some(Ok(n))) = (
            words.next(),
            words.next(),
            words.next().map(str::parse::<u64>),
        ) else {
            return false;
        };
        let known = self.0.entry(name.to_owned()).or_default();
        match (kind, name) {
            ("found", _) => {
                *known = Known {
                    acknowledged: n,
                    attempted: n,
                };
            }
            ("a", "counter") => known.attempted += n,
            ("k", "counter") => known.acknowledged += n,
            ("a", _) => known.attempted = known.attempted.max(n),
            ("k", _) => known.acknowledged = known.acknowledged.max(n),
            _ => return false,
        }
        true
    }

    /// What of `name` is acknowledged.
    pub(crate) fn acknowledged(&self, name: &str) -> u64 {
        self.0.get(name).map_or(0, |known| known.acknowledged)
    }

    /// Compares what is there with what is known of it; answers what is there.
    pub(crate) async fn verify(&self, sync: &Namespace, interval: &Namespace) -> Found {
        let of = |name: &str| self.0.get(name).copied().unwrap_or_default();
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

/// The reports of a workload. A line is one write, which a kill does not tear apart.
pub(crate) struct Reports(File);

impl Reports {
    pub(crate) fn create(path: &Path) -> Reports {
        let file = OpenOptions::new().create(true).append(true).open(path);
        Reports(file.unwrap())
    }

    pub(crate) fn write(&self, kind: &str, name: &str, number: u64) {
        let line = format!("{kind} {name} {number}\n");
        (&self.0).write_all(line.as_bytes()).unwrap();
    }
}

/// What a key of the thread that sets and deletes holds after its `n`th change.
fn is_deleted(n: u64) -> bool {
    n.is_multiple_of(4)
}

/// One increment.
pub(crate) fn count(sync: &Namespace, reports: &Reports) {
    reports.write("a", "counter", 1);
    block_on(sync.increment("counter", 1)).unwrap();
    reports.write("k", "counter", 1);
}

/// One compare-and-swap, which others may win.
pub(crate) fn swap(sync: &Namespace, reports: &Reports) {
    let old = block_on(sync.get("chain")).unwrap();
    let next = old.as_deref().map_or(0, |old| unsealed(old).unwrap()) + 1;
    reports.write("a", "chain", next);
    let new = sealed(next);
    let swap = sync.compare_and_swap("chain", old.as_deref(), &new);
    if block_on(swap).unwrap() {
        reports.write("k", "chain", next);
    }
}

/// Keys that one thread sets and deletes, and how often it did.
pub(crate) struct Keys(Vec<u64>);

impl Keys {
    pub(crate) fn new(found: &Found) -> Keys {
        Keys((0..KEYS).map(|key| found[&format!("key-{key}")]).collect())
    }

    /// Sets or deletes one of them.
    pub(crate) fn step(&mut self, sync: &Namespace, reports: &Reports, random: &mut Random) {
        let key = random.below(KEYS);
        let name = format!("key-{key}");
        let n = &mut self.0[key as usize];
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

/// A change that nobody waits for; it is not acknowledged as being on the disk.
pub(crate) fn fill(interval: &Namespace, reports: &Reports, n: u64) {
    reports.write("a", "ring", n);
    let key = format!("ring/{}", n % RING);
    block_on(interval.set(&key, &sealed(n), None)).unwrap();
}

/// Waits for a commit, which takes along all that was acknowledged before it.
pub(crate) fn mark(sync: &Namespace, reports: &Reports, n: u64) {
    block_on(sync.set("mark", &n.to_le_bytes(), None)).unwrap();
    reports.write("k", "ring", n);
}
