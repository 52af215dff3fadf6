//! Random sequences of everything that a namespace can do, with restarts, reboots and clocks that jump,
//! compared with a plain map.
//!
//! `ZLAYER_SEED` repeats one sequence; without it as many are tried as a few seconds have room for.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use smol::block_on;
use zlayer_runtime::keyvalue::{
    Durability, KeyValue, KvError, Namespace, Quota, Reading, Settings, TimeSource,
};
use zlayer_runtime::memory::Budget;

use crate::support::{Folder, Random, number};

/// How long sequences are tried for each durability, and how many at least.
const TIME: (Duration, u64) = (Duration::from_secs(4), 5);
/// A commit that takes longer than this hangs.
const PATIENCE: Duration = Duration::from_secs(120);
/// Steps of a sequence.
const STEPS: u64 = 300;
/// Bytes that a key takes in a list beside its own.
const LIST_ENTRY_BYTES: usize = 32;

#[test]
fn random_sequences_do_what_a_plain_map_does_in_memory() {
    try_sequences(Durability::Memory);
}

#[test]
fn random_sequences_do_what_a_plain_map_does_with_interval() {
    try_sequences(Durability::INTERVAL);
}

#[test]
fn random_sequences_do_what_a_plain_map_does_with_sync() {
    try_sequences(Durability::Sync);
}

fn try_sequences(durability: Durability) {
    let began = Instant::now();
    let seeds: Box<dyn Iterator<Item = u64>> = match number("ZLAYER_SEED") {
        Some(seed) => Box::new(std::iter::once(seed)),
        None => Box::new((1..).take_while(move |&seed| seed <= TIME.1 || began.elapsed() < TIME.0)),
    };
    let mut count = 0;
    for seed in seeds {
        let sequence = std::panic::AssertUnwindSafe(|| Sequence::new(seed, durability).run());
        if let Err(panic) = std::panic::catch_unwind(sequence) {
            eprintln!("model: {durability:?}, repeat with ZLAYER_SEED={seed}");
            std::panic::resume_unwind(panic);
        }
        count += 1;
    }
    println!("model: {durability:?}, {count} sequences of {STEPS} steps");
}

/// A clock that only the test moves.
struct Clock(Mutex<Reading>);

impl TimeSource for Clock {
    fn read(&self) -> Reading {
        *self.0.lock().unwrap()
    }
}

/// The contract, in the plainest way.
#[derive(Default)]
struct Model {
    keys: BTreeMap<String, (Vec<u8>, Option<u64>)>,
    /// The store's own time.
    now: u64,
}

impl Model {
    fn live(&self, key: &str) -> Option<&(Vec<u8>, Option<u64>)> {
        self.keys
            .get(key)
            .filter(|(_, expires)| expires.is_none_or(|at| at > self.now))
    }

    fn value(&self, key: &str) -> Option<Vec<u8>> {
        self.live(key).map(|(value, _)| value.clone())
    }

    fn expires(&self, key: &str) -> Option<u64> {
        self.live(key).and_then(|(_, expires)| *expires)
    }

    /// Whether a key that expired may still count, because the last count was costly and not long ago.
    fn has_expired(&self) -> bool {
        self.keys.keys().any(|key| self.live(key).is_none())
    }

    fn fits(&self, key: &str, value: &[u8], expires: Option<u64>, quota: &Quota) -> bool {
        let size = |key: &str, value: &[u8], expires: Option<u64>| {
            (key.len() + value.len() + if expires.is_some() { 9 } else { 1 }) as u64
        };
        let others: Vec<u64> = self
            .keys
            .keys()
            .filter(|&other| other != key)
            .filter_map(|other| {
                let (value, expires) = self.live(other)?;
                Some(size(other, value, *expires))
            })
            .collect();
        let bytes = others.iter().sum::<u64>() + size(key, value, expires);
        bytes <= quota.bytes && (others.len() as u64) < quota.keys
    }

    fn list(&self, prefix: &str) -> Vec<String> {
        let live = self.keys.keys().filter(|key| self.live(key).is_some());
        live.filter(|key| key.starts_with(prefix))
            .cloned()
            .collect()
    }
}

struct Sequence {
    random: Random,
    settings: Settings,
    /// Before the folder: it ends before that goes.
    open: Option<(KeyValue, Namespace)>,
    folder: Folder,
    clock: Arc<Clock>,
    model: Model,
    step: u64,
}

impl Sequence {
    fn new(seed: u64, durability: Durability) -> Sequence {
        let mut random = Random::new(seed);
        let clock = Arc::new(Clock(Mutex::new(Reading {
            uptime: 5_000_000_000,
            wall: 1_800_000_000_000_000_000,
            boot: [1; 16],
            trusted: random.once_in(2),
        })));
        // The database has values of 32 KiB and more in parts.
        let largest = if random.once_in(4) { 70_000 } else { 256 };
        let mut sequence = Sequence {
            random,
            settings: Settings {
                durability,
                quota: Quota {
                    value_bytes: largest,
                    bytes: 6 * largest as u64,
                    keys: 10,
                    list_bytes: 260,
                },
                ..Settings::default()
            },
            folder: Folder::quick(),
            clock,
            open: None,
            model: Model::default(),
            step: 0,
        };
        sequence.start();
        sequence
    }

    fn start(&mut self) {
        let clock: Arc<dyn TimeSource> = self.clock.clone();
        let folder = self.folder.0.join("kv");
        let store = KeyValue::open(&folder, &Budget::new(16 << 20), clock).unwrap();
        let namespace = block_on(store.namespace("model", &self.settings, None)).unwrap();
        self.open = Some((store, namespace));
    }

    fn run(mut self) {
        for step in 0..STEPS {
            self.step = step;
            match self.random.below(100) {
                0..25 => self.set(),
                25..40 => self.increment(),
                40..52 => self.swap(),
                52..60 => self.delete(),
                60..72 => self.get(),
                72..80 => self.list(),
                80..94 => self.pass(),
                94..96 => self.jump(),
                96..98 => self.restart(false),
                _ => self.restart(true),
            }
        }
        for key in self.model.keys.keys().cloned().collect::<Vec<_>>() {
            let found = block_on(self.kv().get(&key)).unwrap();
            assert_eq!(found, self.model.value(&key), "{key} in the end");
        }
    }

    /// Bytes of the largest value that may be stored.
    fn largest(&self) -> usize {
        self.settings.quota.value_bytes
    }

    fn kv(&self) -> &Namespace {
        &self.open.as_ref().unwrap().1
    }

    fn key(&mut self) -> String {
        match self.random.below(60) {
            0 => String::new(),
            1 => "not a\nkey".to_owned(),
            2 => "x".repeat(1025),
            3 => "x".repeat(1024),
            4 => "é+ =/日本".to_owned(),
            n => format!("{}/{}", if n % 3 == 0 { "even" } else { "odd" }, n % 8),
        }
    }

    fn value(&mut self) -> Vec<u8> {
        let largest = self.largest();
        match self.random.below(8) {
            0 => self.random.below(1000).to_string().into_bytes(),
            1 => format!("-{}", self.random.below(1000)).into_bytes(),
            2 => self.random.next().to_le_bytes().to_vec(),
            3 => i64::MAX.to_string().into_bytes(),
            4 => vec![0xff; self.random.below(200) as usize],
            5 => vec![b'v'; largest + 1],
            _ => vec![b'v'; self.random.below(largest as u64 + 1) as usize],
        }
    }

    /// Compares what a change answered with what it should, and keeps the model in step.
    fn changed<T: std::fmt::Debug + PartialEq>(
        &mut self,
        what: &str,
        key: &str,
        answer: Result<T, KvError>,
        expected: Result<T, KvError>,
        new: Option<(Vec<u8>, Option<u64>)>,
    ) {
        let expected = match (&new, expected) {
            _ if is_invalid(key) => Err(KvError::InvalidKey),
            (Some((value, _)), _) if value.len() > self.largest() => Err(KvError::ValueTooLarge),
            (Some((value, expires)), Ok(expected)) => {
                match self.model.fits(key, value, *expires, &self.settings.quota) {
                    true => Ok(expected),
                    false => Err(KvError::QuotaExceeded),
                }
            }
            (_, expected) => expected,
        };
        let late = answer == Err(KvError::QuotaExceeded) && self.model.has_expired();
        if !late {
            assert_eq!(answer, expected, "step {}: {what} {key}", self.step);
        }
        if let (Ok(_), Some(new)) = (&answer, new) {
            self.model.keys.insert(key.to_owned(), new);
        }
    }

    fn set(&mut self) {
        let (key, value) = (self.key(), self.value());
        let value = if is_invalid(&key) { Vec::new() } else { value };
        let ttl = match self.random.below(6) {
            0 => Some(Duration::ZERO),
            1 | 2 => Some(Duration::from_secs(self.random.below(7200))),
            _ => None,
        };
        let answer = block_on(self.kv().set(&key, &value, ttl));
        let expires = ttl.map(|ttl| self.model.now + ttl.as_nanos() as u64);
        let done = answer.is_ok();
        self.changed("set", &key, answer, Ok(()), Some((value, expires)));
        if done && ttl == Some(Duration::ZERO) {
            // It had to fit, and is gone at once.
            self.model.keys.remove(&key);
        }
    }

    fn increment(&mut self) {
        let key = self.key();
        let delta = match self.random.below(6) {
            0 => i64::MAX,
            1 => i64::MIN,
            n => n as i64 - 3,
        };
        let answer = block_on(self.kv().increment(&key, delta));
        let old = self.model.value(&key);
        let text = old.as_deref().and_then(|old| std::str::from_utf8(old).ok());
        let decimal = text
            .filter(|text| {
                let digits = text.strip_prefix('-').unwrap_or(text);
                !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
            })
            .and_then(|text| text.parse::<i64>().ok());
        let number = match (&old, decimal) {
            (None, _) => Some(0),
            (_, Some(number)) => Some(number),
            (Some(bytes), None) => <[u8; 8]>::try_from(bytes.as_slice())
                .ok()
                .map(i64::from_le_bytes),
        };
        let Some(number) = number else {
            let expected = Err(KvError::Storage("not a number".to_owned()));
            return self.changed("increment", &key, answer, expected, None);
        };
        let sum = number.saturating_add(delta);
        let value = match decimal {
            Some(_) => sum.to_string().into_bytes(),
            None => sum.to_le_bytes().to_vec(),
        };
        let new = Some((value, self.model.expires(&key)));
        self.changed("increment", &key, answer, Ok(sum), new);
    }

    fn swap(&mut self) {
        let key = self.key();
        let value = if is_invalid(&key) {
            Vec::new()
        } else {
            self.value()
        };
        let expected = match self.random.below(4) {
            0 => None,
            1 => Some(vec![b'?'; 3]),
            _ => self.model.value(&key),
        };
        let swap = self
            .kv()
            .compare_and_swap(&key, expected.as_deref(), &value);
        let answer = block_on(swap);
        let swaps = expected == self.model.value(&key);
        let new =
            (swaps || value.len() > self.largest()).then(|| (value, self.model.expires(&key)));
        self.changed("swap", &key, answer, Ok(swaps), new);
    }

    fn delete(&mut self) {
        let key = self.key();
        let answer = block_on(self.kv().delete(&key));
        let alive = self.model.live(&key).is_some();
        self.changed("delete", &key, answer, Ok(alive), None);
        self.model.keys.remove(&key);
    }

    fn get(&mut self) {
        let key = self.key();
        let value = self.model.value(&key);
        let exists = block_on(self.kv().exists(&key));
        assert_eq!(
            exists.unwrap_or(false),
            value.is_some(),
            "step {}: exists {key}",
            self.step
        );
        let text = block_on(self.kv().get_string(&key));
        match value.clone().map(String::from_utf8) {
            _ if is_invalid(&key) => assert_eq!(text, Err(KvError::InvalidKey)),
            None => assert_eq!(text, Ok(None), "step {}: {key}", self.step),
            Some(Ok(value)) => assert_eq!(text, Ok(Some(value)), "step {}: {key}", self.step),
            Some(Err(_)) => assert!(matches!(text, Err(KvError::Storage(_))), "{text:?}"),
        }
        let found = block_on(self.kv().get(&key));
        self.changed("get", &key, found, Ok(value), None);
    }

    fn list(&mut self) {
        let prefix = ["", "even/", "odd/", "odd/1", "x"][self.random.below(5) as usize];
        let room = match self.random.below(3) {
            0 => self.random.below(200) as usize,
            _ => usize::MAX,
        };
        let listed = block_on(self.kv().list_keys(prefix, room));
        let expected = self.model.list(prefix);
        let bytes: usize = expected
            .iter()
            .map(|key| key.len() + LIST_ENTRY_BYTES)
            .sum();
        if bytes <= room.min(self.settings.quota.list_bytes) {
            assert_eq!(listed, Ok(expected), "step {}: list {prefix}", self.step);
        } else {
            assert!(
                matches!(listed, Err(KvError::Storage(_))),
                "step {}: {listed:?}",
                self.step
            );
        }
    }

    /// Time passes.
    fn pass(&mut self) {
        let time = self.random.below(2000) * 1_000_000_000;
        let mut reading = self.clock.0.lock().unwrap();
        reading.uptime += time;
        reading.wall += time;
        self.model.now += time;
    }

    /// Somebody sets the wall clock, forwards or backwards.
    fn jump(&mut self) {
        let wall = self.random.below(1 << 61);
        self.clock.0.lock().unwrap().wall = wall;
    }

    /// The daemon ends and starts again, on a machine that went on or was off meanwhile.
    fn restart(&mut self, reboot: bool) {
        let killed = if reboot { None } else { self.kill() };
        // Ends the store's threads, and writes what has gathered.
        self.open = None;
        if let Some(killed) = killed {
            let folder = self.folder.0.join("kv");
            std::fs::remove_dir_all(&folder).unwrap();
            std::fs::rename(killed, folder).unwrap();
        }
        {
            let mut reading = self.clock.0.lock().unwrap();
            let then = *reading;
            let passed = self.random.below(500) * 1_000_000_000;
            if reboot {
                reading.boot[0] = reading.boot[0].wrapping_add(1).max(1);
                reading.uptime = passed;
                reading.wall = match self.random.below(3) {
                    0 => 0,
                    _ => then.wall + passed + self.random.below(900) * 1_000_000_000,
                };
                let off = reading.wall.saturating_sub(then.wall);
                self.model.now += match then.trusted {
                    true => off.max(passed),
                    false => passed,
                };
            } else {
                reading.uptime += passed;
                reading.wall += passed;
                self.model.now += passed;
            }
        }
        if self.settings.durability == Durability::Memory {
            self.model.keys.clear();
        }
        self.start();
    }
}

impl Sequence {
    /// Now and then, a copy of the store as a kill at this moment would leave it, with everything committed.
    /// After a reboot it might have forgotten up to ten minutes, which the model does not know.
    fn kill(&mut self) -> Option<PathBuf> {
        let folder = self.folder.0.join("kv");
        let journal = folder.join("db/0.jnl");
        // A new database has a long journal with nothing in it.
        let is_short = std::fs::metadata(journal).is_ok_and(|found| found.len() < 1 << 20);
        let often = match self.settings.durability {
            Durability::Memory => return None,
            // A commit is up to a second away.
            Durability::Interval(_) => 30,
            Durability::Sync => 2,
        };
        if !is_short || !self.random.once_in(often) {
            return None;
        }
        let (store, _) = self.open.as_ref().unwrap();
        let end = Instant::now() + PATIENCE;
        while store.status().pending_bytes > 0 {
            assert!(Instant::now() < end, "never committed");
            std::thread::sleep(Duration::from_millis(5));
        }
        let killed = self.folder.0.join("killed");
        copy(&folder, &killed);
        Some(killed)
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn is_invalid(key: &str) -> bool {
    key.is_empty() || key.len() > 1024 || key.contains('\n')
}
