//! The store through its namespaces, each on a folder of its own.

mod large;

use std::sync::atomic::{AtomicU64, Ordering};

use smol::block_on;

use super::*;
use crate::data_dir::temporary_folder;

/// A folder that goes with the test, and a clock that only the test moves.
struct Device {
    folder: PathBuf,
    clock: Arc<Clock>,
    budget: Arc<Budget>,
}

#[derive(Default)]
struct Clock {
    uptime: AtomicU64,
    wall: AtomicU64,
    boot: AtomicU64,
}

impl TimeSource for Clock {
    fn read(&self) -> Reading {
        let boot = u128::from(self.boot.load(Ordering::SeqCst)) + 1;
        Reading {
            uptime: self.uptime.load(Ordering::SeqCst),
            wall: self.wall.load(Ordering::SeqCst),
            boot: boot.to_be_bytes(),
            trusted: false,
        }
    }
}

impl Device {
    fn new() -> Device {
        Device {
            folder: temporary_folder().unwrap(),
            clock: Arc::default(),
            budget: Budget::new(16 << 20),
        }
    }

    fn start(&self) -> KeyValue {
        let clock: Arc<dyn TimeSource> = self.clock.clone();
        KeyValue::open(&self.folder.join("kv"), &self.budget, clock).unwrap()
    }

    fn open(&self, settings: &Settings) -> (KeyValue, Namespace) {
        let store = self.start();
        let namespace = block_on(store.namespace("test", settings, None)).unwrap();
        (store, namespace)
    }

    fn pass(&self, time: Duration) {
        let nanos = entry::nanos(time);
        self.clock.uptime.fetch_add(nanos, Ordering::SeqCst);
        self.clock.wall.fetch_add(nanos, Ordering::SeqCst);
    }

    fn reboot(&self, wall: u64) {
        self.clock.boot.fetch_add(1, Ordering::SeqCst);
        self.clock.uptime.store(1_000_000_000, Ordering::SeqCst);
        self.clock.wall.store(wall, Ordering::SeqCst);
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

const MODES: [Durability; 3] = [Durability::Memory, Durability::INTERVAL, Durability::Sync];
const HOUR: Duration = Duration::from_secs(3600);

fn with(durability: Durability) -> Settings {
    Settings {
        durability,
        ..Settings::default()
    }
}

/// Waits until `condition` holds, for as long as nothing takes that does not hang.
fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(120);
    while !condition() {
        assert!(Instant::now() < end, "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_store_that_nobody_asks_for_is_not_opened_and_the_first_call_opens_it() {
    let device = Device::new();
    let folder = device.folder.join("kv");
    let new = || KeyValue::new(&folder, &device.budget, device.clock.clone());
    let unused = new();
    assert_eq!(unused.status().state, StoreState::Unused);
    unused.close();
    assert!(!folder.exists());
    let late = block_on(unused.namespace("test", &Settings::default(), None));
    assert_eq!(
        late.err(),
        Some(KvError::Storage("the device is shutting down".to_owned()))
    );

    let used = new();
    block_on(used.namespace("test", &Settings::default(), None)).unwrap();
    assert_eq!(used.status().state, StoreState::Open);
    assert!(folder.is_dir());
}

#[test]
fn values_expiries_and_lists_hold_across_a_restart() {
    let device = Device::new();
    for mode in [Durability::INTERVAL, Durability::Sync] {
        let (store, kv) = device.open(&with(mode));
        block_on(async {
            kv.set("a", b"1", None).await.unwrap();
            kv.set("b/x", b"2", Some(HOUR)).await.unwrap();
            kv.set("gone", b"3", Some(Duration::ZERO)).await.unwrap();
            assert_eq!(kv.list_keys("", usize::MAX).await.unwrap(), ["a", "b/x"]);
            assert_eq!(kv.list_keys("b/", usize::MAX).await.unwrap(), ["b/x"]);
        });
        store.close();
        assert!(
            block_on(kv.get("a")).is_err(),
            "a closed store answers nothing"
        );
        drop(kv);
        device.pass(HOUR / 2);
        let (_store, kv) = device.open(&with(mode));
        block_on(async {
            assert_eq!(kv.get("a").await.unwrap().as_deref(), Some(&b"1"[..]));
            assert_eq!(kv.list_keys("", usize::MAX).await.unwrap(), ["a", "b/x"]);
            device.pass(HOUR / 2);
            assert_eq!(kv.list_keys("", usize::MAX).await.unwrap(), ["a"]);
        });
    }
}

#[test]
fn a_clock_that_jumps_expires_nothing_early_and_keeps_nothing_for_ever() {
    let device = Device::new();
    let (store, kv) = device.open(&with(Durability::Sync));
    block_on(kv.set("k", b"1", Some(HOUR))).unwrap();
    // The first synchronisation: from 1970 to today.
    device
        .clock
        .wall
        .store(1_790_000_000_000_000_000, Ordering::SeqCst);
    assert!(block_on(kv.exists("k")).unwrap());
    drop((store, kv));
    // A reboot back into 1970, and again, every ten minutes: in the end it expires.
    for boot in 0.. {
        device.reboot(0);
        let (store, kv) = device.open(&with(Durability::Sync));
        device.pass(HOUR / 6);
        block_on(kv.set("other", b"1", Some(HOUR))).unwrap();
        let alive = block_on(kv.exists("k"));
        drop((store, kv));
        if !alive.unwrap() {
            assert!((4..6).contains(&boot), "after {boot} boots");
            break;
        }
        assert!(boot < 10, "immortal");
    }
}

#[test]
fn an_expired_key_is_absent_to_every_call() {
    for mode in MODES {
        let device = Device::new();
        let (_store, kv) = device.open(&with(mode));
        block_on(async {
            for key in ["get", "exists", "delete", "increment", "swap"] {
                kv.set(key, b"9", Some(HOUR)).await.unwrap();
            }
            device.pass(HOUR);
            assert_eq!(kv.get("get").await.unwrap(), None);
            assert_eq!(kv.exists("exists").await, Ok(false));
            assert!(!kv.delete("delete").await.unwrap());
            assert_eq!(kv.increment("increment", 2).await.unwrap(), 2);
            assert!(!kv.compare_and_swap("swap", Some(b"9"), b"x").await.unwrap());
            assert!(kv.compare_and_swap("swap", None, b"x").await.unwrap());
            let listed = kv.list_keys("", usize::MAX).await.unwrap();
            assert_eq!(listed, ["increment", "swap"]);
            kv.set("short", b"1", Some(HOUR)).await.unwrap();
            assert_eq!(kv.increment("short", 1).await.unwrap(), 2);
            device.pass(HOUR);
            assert_eq!(
                kv.get("short").await.unwrap(),
                None,
                "increment keeps the expiry"
            );
        });
    }
}

#[test]
fn increment_keeps_the_form_it_finds_and_saturates() {
    for mode in MODES {
        let device = Device::new();
        let (_store, kv) = device.open(&with(mode));
        block_on(async {
            assert_eq!(kv.increment("new", -3).await.unwrap(), -3);
            let bytes = kv.get("new").await.unwrap().unwrap();
            assert_eq!(bytes, (-3i64).to_le_bytes());
            kv.set("text", b"41", None).await.unwrap();
            assert_eq!(kv.increment("text", 1).await.unwrap(), 42);
            assert_eq!(kv.get_string("text").await.unwrap().unwrap(), "42");
            let most = i64::MAX.to_string();
            kv.set("max", most.as_bytes(), None).await.unwrap();
            assert_eq!(kv.increment("max", 1).await.unwrap(), i64::MAX);
            kv.set("word", b"hello", None).await.unwrap();
            let not_a_number = Err(KvError::Storage("not a number".to_owned()));
            assert_eq!(kv.increment("word", 1).await, not_a_number);
            kv.set("bytes", &[0xff, 0xfe], None).await.unwrap();
            assert!(matches!(
                kv.get_string("bytes").await,
                Err(KvError::Storage(_))
            ));
        });
    }
}

#[test]
fn limits_refuse_and_leave_everything_as_it_was() {
    for durability in MODES {
        let device = Device::new();
        let quota = Quota {
            value_bytes: 10,
            bytes: 60,
            keys: 3,
            list_bytes: 60,
        };
        let (_store, kv) = device.open(&Settings {
            quota,
            ..with(durability)
        });
        block_on(async {
            for key in ["", "a\n", "é\u{85}", "a\0", &"k".repeat(1025)] {
                assert_eq!(
                    kv.set(key, b"", None).await,
                    Err(KvError::InvalidKey),
                    "{key:?}"
                );
            }
            assert_eq!(
                kv.set("a", &[0; 11], None).await,
                Err(KvError::ValueTooLarge)
            );
            for key in ["a", "b", "c"] {
                kv.set(key, b"0123456789", None).await.unwrap();
            }
            assert_eq!(kv.set("d", b"", None).await, Err(KvError::QuotaExceeded));
            assert_eq!(kv.increment("d", 1).await, Err(KvError::QuotaExceeded));
            assert_eq!(kv.held().1, 3);
            kv.set("a", b"", None).await.unwrap();
            assert!(kv.delete("b").await.unwrap());
            kv.set("d", b"0123456789", Some(HOUR)).await.unwrap();
            device.pass(HOUR);
            kv.set("e", b"1", None)
                .await
                .expect("an expired key makes room");
            let listed = kv.list_keys("", usize::MAX).await;
            assert!(
                matches!(listed, Err(KvError::Storage(_))),
                "a list past its bound"
            );
            assert_eq!(kv.list_keys("c", usize::MAX).await.unwrap(), ["c"]);
            let listed = kv.list_keys("c", 10).await;
            assert!(
                matches!(listed, Err(KvError::Storage(_))),
                "a list past the room"
            );
        });
    }
}

#[test]
fn increments_and_swaps_of_many_threads_are_all_counted() {
    for mode in MODES {
        let device = Device::new();
        let (_store, kv) = device.open(&with(mode));
        let rounds = if mode == Durability::Sync { 50 } else { 500 };
        let worker = || {
            for _ in 0..rounds {
                block_on(kv.increment("n", 1)).unwrap();
                loop {
                    let old = block_on(kv.get("swap")).unwrap();
                    let count = old
                        .as_ref()
                        .map_or(0, |old| u16::from_le_bytes([old[0], old[1]]));
                    let new = (count + 1).to_le_bytes();
                    if block_on(kv.compare_and_swap("swap", old.as_deref(), &new)).unwrap() {
                        break;
                    }
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(worker);
            }
        });
        assert_eq!(block_on(kv.increment("n", 0)).unwrap(), 4 * rounds);
        let swaps = block_on(kv.get("swap")).unwrap().unwrap();
        assert_eq!(swaps, (4 * rounds as u16).to_le_bytes());
    }
}

#[test]
fn a_hot_counter_costs_few_commits_and_waiting_writers_share_them() {
    let device = Device::new();
    let (store, kv) = device.open(&with(Durability::INTERVAL));
    for _ in 0..10_000 {
        block_on(kv.increment("n", 1)).unwrap();
    }
    assert!(store.status().pending_bytes < 1000, "one key, one change");
    assert!(store.status().commits < 100, "{:?}", store.status());
    drop((store, kv));

    let (store, kv) = device.open(&with(Durability::Sync));
    assert_eq!(block_on(kv.increment("n", 0)).unwrap(), 10_000);
    let before = store.status().commits;
    let executor = smol::LocalExecutor::new();
    let waiting: Vec<_> = (0..200)
        .map(|_| executor.spawn(kv.increment("n", 1)))
        .collect();
    block_on(executor.run(async {
        for increment in waiting {
            increment.await.unwrap();
        }
    }));
    let commits = store.status().commits - before;
    assert!(commits < 100, "200 writers took {commits} commits");
}

#[test]
fn what_memory_holds_is_bounded_by_the_budget_and_gone_with_the_process() {
    let device = Device::new();
    let (store, kv) = device.open(&with(Durability::Memory));
    let mut stored = 0;
    while block_on(kv.set(&format!("k{stored}"), &[1; 100_000], None)).is_ok() {
        stored += 1;
    }
    assert!(
        (100..170).contains(&stored),
        "{stored} values of 100 KB in 16 MiB"
    );
    assert!(device.budget.used() <= device.budget.limit());
    assert!(block_on(kv.delete("k0")).unwrap());
    block_on(kv.set("again", &[1; 100_000], None)).unwrap();
    drop((store, kv));
    assert_eq!(device.budget.used(), 0);
    let (_store, kv) = device.open(&with(Durability::Memory));
    assert!(!block_on(kv.exists("k1")).unwrap());
}

#[test]
fn large_values_wait_for_room_and_all_arrive() {
    let device = Device::new();
    let (store, kv) = device.open(&with(Durability::INTERVAL));
    for round in 0..40u8 {
        block_on(kv.set(&format!("k{}", round % 10), &vec![round; 1 << 20], None)).unwrap();
        let unwritten = store.status().pending_bytes;
        assert!(
            unwritten <= 2 * ((1 << 20) + Sizes::within(0).pending),
            "{unwritten}"
        );
    }
    drop((store, kv));
    let (_store, kv) = device.open(&with(Durability::INTERVAL));
    for key in 0..10u8 {
        let value = block_on(kv.get(&format!("k{key}"))).unwrap().unwrap();
        assert_eq!((value.len(), value[0]), (1 << 20, 30 + key));
    }
}

#[test]
fn the_space_of_expired_values_comes_back() {
    let device = Device::new();
    let (store, kv) = device.open(&with(Durability::INTERVAL));
    let tables = || {
        let keyspaces = device.folder.join("kv/db/keyspaces");
        database::disk_bytes(&keyspaces).unwrap()
    };
    let mut most = 0;
    for round in 0..16 {
        for key in 0..2000 {
            let name = format!("{round}-{key}");
            block_on(kv.set(&name, &[round; 1000], Some(HOUR))).unwrap();
        }
        device.pass(HOUR);
        most = most.max(tables());
    }
    assert_eq!(
        kv.held().1,
        32_000,
        "counted when room is wanted, not before"
    );
    assert!(most > 2 << 20, "nothing was ever written: {most} bytes");
    // 32 MB were written; what has expired goes with the next compaction.
    assert!(most < 16 << 20, "{most} bytes of tables");
    drop((store, kv));
}

#[test]
fn a_store_that_cannot_be_opened_answers_storage_and_opens_once_it_can() {
    let device = Device::new();
    std::fs::write(device.folder.join("kv"), b"in the way").unwrap();
    let store = device.start();
    let refused = block_on(store.namespace("x", &Settings::default(), None));
    assert!(matches!(refused, Err(KvError::Storage(_))));
    assert!(matches!(store.status().state, StoreState::Failing(_)));
    std::fs::remove_file(device.folder.join("kv")).unwrap();
    let mut opened = None;
    eventually("a store that opens", || {
        opened = block_on(store.namespace("x", &Settings::default(), None)).ok();
        opened.is_some()
    });
    let opened = opened.unwrap();
    block_on(opened.set("k", b"v", None)).unwrap();
    assert_eq!(store.status().state, StoreState::Open);
}

#[test]
fn a_database_of_another_version_stays_as_it_is_and_nothing_takes_its_place() {
    let device = Device::new();
    let (store, kv) = device.open(&with(Durability::Sync));
    block_on(kv.set("k", b"v", None)).unwrap();
    drop((store, kv));
    let marker = device.folder.join("kv/db/version");
    let own = std::fs::read(&marker).unwrap();
    for version in [2, 4] {
        let other = [&b"FJL"[..], &[version]].concat();
        std::fs::write(&marker, other).unwrap();
        let store = device.start();
        let refused = block_on(store.namespace("x", &Settings::default(), None));
        let Err(KvError::Storage(told)) = refused else {
            panic!("version {version} was opened");
        };
        assert!(
            told.contains(&format!("version {version} of its format")),
            "{told}"
        );
        assert_eq!(store.status().aside, [""; 0].map(std::path::PathBuf::from));
    }
    std::fs::write(&marker, own).unwrap();
    let (_store, kv) = device.open(&with(Durability::Sync));
    assert_eq!(block_on(kv.get("k")).unwrap().unwrap(), b"v");
}

#[test]
fn a_damaged_database_is_put_aside_and_an_empty_one_takes_its_place() {
    let device = Device::new();
    let (store, kv) = device.open(&with(Durability::Sync));
    block_on(kv.set("k", b"v", None)).unwrap();
    drop((store, kv));
    // The list of tables, which nothing but bit rot can damage.
    let keyspace = device.folder.join("kv/db/keyspaces/1/current");
    std::fs::write(keyspace, b"nonsense").unwrap();
    let (store, kv) = device.open(&with(Durability::Sync));
    assert_eq!(block_on(kv.get("k")).unwrap(), None);
    block_on(kv.set("k", b"new", None)).unwrap();
    let aside = store.status().aside;
    assert_eq!(aside.len(), 1, "{aside:?}");
    assert!(aside[0].join("keyspaces/1/current").exists());
}

/// Copies a store as a kill at this moment would leave it.
fn copy_as_killed(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_as_killed(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn a_kill_brings_no_expired_value_back() {
    let device = Device::new();
    let (store, kv) = device.open(&with(Durability::INTERVAL));
    // The device has run for a while before anything expires.
    device.pass(10 * HOUR);
    block_on(kv.set("short", b"1", Some(Duration::from_millis(1)))).unwrap();
    device.pass(Duration::from_millis(2));
    eventually("a commit", || {
        let status = store.status();
        status.pending_bytes == 0 && status.commits > 0
    });
    let killed = Device {
        folder: temporary_folder().unwrap(),
        clock: Arc::clone(&device.clock),
        budget: Budget::new(16 << 20),
    };
    copy_as_killed(&device.folder.join("kv"), &killed.folder.join("kv"));
    let (_store, kv) = killed.open(&with(Durability::INTERVAL));
    assert!(!block_on(kv.exists("short")).unwrap());
}

#[test]
fn a_lost_mark_costs_no_data() {
    let device = Device::new();
    let (store, kv) = device.open(&with(Durability::Sync));
    block_on(kv.set("k", b"v", None)).unwrap();
    drop((store, kv));
    std::fs::remove_file(device.folder.join("kv/db/complete")).unwrap();
    let (_store, kv) = device.open(&with(Durability::Sync));
    assert_eq!(block_on(kv.get("k")).unwrap().unwrap(), b"v");
    assert!(device.folder.join("kv/db/complete").exists());
}

#[test]
fn a_block_that_cannot_be_read_leaves_the_others_of_use() {
    let device = Device::new();
    let (store, kv) = device.open(&with(Durability::INTERVAL));
    for key in 0..4000 {
        block_on(kv.set(&format!("{key:04}"), &[7; 1000], None)).unwrap();
    }
    drop((store, kv));
    let tables = device.folder.join("kv/db/keyspaces/1/tables");
    let table = std::fs::read_dir(tables).unwrap().next().unwrap().unwrap();
    let mut bytes = std::fs::read(table.path()).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 64].fill(0xff);
    std::fs::write(table.path(), bytes).unwrap();
    let (store, kv) = device.open(&with(Durability::INTERVAL));
    let readable = (0..4000).filter(|key| block_on(kv.get(&format!("{key:04}"))).is_ok());
    let readable = readable.count();
    assert!((3900..4000).contains(&readable), "{readable}");
    block_on(kv.set("another", b"v", None)).unwrap();
    assert_eq!(block_on(kv.get("another")).unwrap().unwrap(), b"v");
    assert!(store.status().read_errors > 0);
}

#[test]
fn torn_tails_make_no_database_go_that_was_put_aside() {
    let device = Device::new();
    let damage = |file: &str, bytes: &[u8]| {
        std::fs::write(device.folder.join("kv/db").join(file), bytes).unwrap();
    };
    drop(device.open(&with(Durability::Sync)));
    damage("keyspaces/1/current", b"nonsense");
    for _ in 0..10 {
        drop(device.open(&with(Durability::Sync)));
        damage("0.jnl", b"\x01torn");
    }
    let (store, _kv) = device.open(&with(Durability::Sync));
    let aside = store.status().aside;
    let databases = aside.iter().filter(|path| path.is_dir()).count();
    assert_eq!((databases, aside.len()), (1, 9), "{aside:?}");
}

#[test]
fn a_making_that_was_cut_short_is_made_anew() {
    let device = Device::new();
    let (store, kv) = device.open(&with(Durability::Sync));
    drop((store, kv));
    std::fs::remove_file(device.folder.join("kv/db/complete")).unwrap();
    std::fs::remove_file(device.folder.join("kv/db/0.jnl")).unwrap();
    let (_store, kv) = device.open(&with(Durability::Sync));
    block_on(kv.set("k", b"v", None)).unwrap();
}

#[test]
fn what_a_torn_journal_held_is_kept_aside() {
    let device = Device::new();
    let (store, kv) = device.open(&with(Durability::Sync));
    block_on(kv.set("k", b"v", None)).unwrap();
    drop((store, kv));
    let journal = device.folder.join("kv/db/0.jnl");
    let whole = std::fs::read(&journal).unwrap();
    let end = whole.iter().rposition(|&byte| byte != 0).unwrap() + 1;
    let torn = [&whole[..end], b"\x01torn"].concat();
    std::fs::write(&journal, torn).unwrap();
    let (store, kv) = device.open(&with(Durability::Sync));
    assert_eq!(block_on(kv.get("k")).unwrap().unwrap(), b"v");
    let aside = store.status().aside;
    assert_eq!(aside.len(), 1, "{aside:?}");
    assert_eq!(std::fs::read(&aside[0]).unwrap(), b"\x01torn");
}

#[test]
fn durabilities_are_read_and_shown() {
    for (text, shown) in [
        ("memory", "memory"),
        ("sync", "sync"),
        ("interval", "interval=1s"),
        ("interval=100ms", "interval=100ms"),
        ("interval=60s", "interval=60s"),
        ("interval=60m", "interval=3600s"),
        ("interval=1h", "interval=3600s"),
    ] {
        assert_eq!(text.parse::<Durability>().unwrap().to_string(), shown);
    }
    for (text, says) in [
        ("intervals", "interval=DURATION"),
        ("sync=1s", "no durability"),
        ("interval=", "write it like interval=30s"),
        ("interval=0", "at least 100ms"),
        ("interval=2h", "at most 60m"),
        ("interval=99ms", "at least 100ms"),
        ("interval=61m", "at most 60m"),
    ] {
        let told = text.parse::<Durability>().unwrap_err();
        assert!(told.contains(says), "{text}: {told}");
    }
}

#[test]
fn each_namespaces_changes_are_on_the_disk_within_its_interval() {
    let device = Device::new();
    let hour = with(Durability::Interval(HOUR));
    let (store, slow) = device.open(&hour);
    let brief = with(Durability::Interval(Duration::from_millis(100)));
    let quick = block_on(store.namespace("quick", &brief, None)).unwrap();
    block_on(slow.set("counter", b"1", None)).unwrap();
    assert!(store.status().pending_bytes > 0);
    // Nothing is to be written for an hour; then something is, and takes the other with it.
    block_on(quick.set("k", b"1", None)).unwrap();
    eventually("both on the disk", || store.status().pending_bytes == 0);
    assert_eq!(store.status().commits, 1);
    // Whoever waits for the disk does not wait for the hour.
    let sync = block_on(store.namespace("sync", &with(Durability::Sync), None)).unwrap();
    block_on(slow.set("counter", b"2", None)).unwrap();
    block_on(sync.set("k", b"1", None)).unwrap();
    let status = store.status();
    assert_eq!((status.pending_bytes, status.commits), (0, 2));
    // Nor does whoever needs room, nor the end.
    block_on(slow.set("large", &vec![0; Sizes::within(16 << 20).pending], None)).unwrap();
    assert_eq!(store.status().commits, 2);
    block_on(slow.set("counter", b"3", None)).unwrap();
    // There is room before the commit that made it is counted.
    eventually("the third commit", || store.status().commits == 3);
    assert!(store.status().pending_bytes > 0);
    drop((quick, sync, slow, store));
    let (_store, slow) = device.open(&hour);
    assert_eq!(block_on(slow.get("counter")).unwrap().unwrap(), b"3");
}

#[test]
fn a_large_value_that_changes_all_the_time_is_written_once_an_interval() {
    let device = Device::new();
    let minute = with(Durability::Interval(Duration::from_secs(60)));
    let (store, kv) = device.open(&minute);
    for round in 0..150u8 {
        block_on(kv.set("k", &vec![round; 1 << 20], None)).unwrap();
    }
    assert_eq!(store.status().commits, 0);
    // Another key needs room: what has gathered goes first.
    block_on(kv.set("l", &vec![1; 1 << 20], None)).unwrap();
    assert_eq!(store.status().commits, 1);
    drop((store, kv));
    let (_store, kv) = device.open(&minute);
    assert_eq!(block_on(kv.get("k")).unwrap().unwrap()[0], 149);
}

#[test]
fn who_names_the_same_namespace_shares_its_content_and_its_quota() {
    for durability in MODES {
        let device = Device::new();
        let store = device.start();
        let settings = Settings {
            quota: Quota {
                keys: 10,
                ..Quota::default()
            },
            ..with(durability)
        };
        let open = |name| block_on(store.namespace(name, &settings, None)).unwrap();
        let (one, two, other) = (open("shared"), open("shared"), open("other"));
        block_on(async {
            for key in 0..5 {
                one.set(&format!("one{key}"), b"1", None).await.unwrap();
                two.set(&format!("two{key}"), b"2", None).await.unwrap();
            }
            assert_eq!(two.get("one0").await, Ok(Some(b"1".to_vec())));
            for kv in [&one, &two] {
                assert_eq!(kv.set("k", b"", None).await, Err(KvError::QuotaExceeded));
                assert_eq!(kv.held().1, 10);
            }
            assert_eq!((one.refused(), two.refused(), other.refused()), (2, 2, 0));
            assert_eq!(other.held().1, 0);
            assert_eq!(one.increment("two0", 1).await.ok(), Some(3));
        });
    }
}

#[test]
fn a_day_allows_so_many_bytes_of_writes_to_each_plugin_and_a_restart_changes_nothing() {
    let device = Device::new();
    let settings = with(Durability::INTERVAL);
    let open = |store: &KeyValue, plugin: &str| {
        let writes = store.writes(plugin, 1 << 20);
        let namespace = store.namespace("test", &settings, Some(Arc::clone(&writes)));
        (block_on(namespace).unwrap(), writes)
    };
    let store = device.start();
    let ((spender, writes), (other, _)) = (open(&store, "spender"), open(&store, "other"));
    let set = |kv: &Namespace, key: &str| block_on(kv.set(key, &[0; 100_000], None));
    // Five times 200 KB are a megabyte.
    for key in 0..5 {
        set(&spender, &format!("k{key}")).unwrap();
    }
    assert_eq!(set(&spender, "k5"), Err(KvError::WritesExceeded));
    assert_eq!(block_on(spender.get("k5")), Ok(None));
    assert!(writes.spent() <= writes.day_bytes() && writes.refused() == 1);
    set(&other, "k5").expect("the budget is not its neighbour's");
    assert!(block_on(spender.exists("k5")).unwrap());
    drop((store, spender, other));

    let store = device.start();
    let (spender, writes) = open(&store, "spender");
    assert!(writes.spent() > 900_000, "{}", writes.spent());
    assert_eq!(set(&spender, "k6"), Err(KvError::WritesExceeded));
    device.pass(24 * HOUR);
    set(&spender, "k6").expect("a day later");
    // What memory holds wears nothing out.
    let in_memory = with(Durability::Memory);
    let memory = store.namespace("memory", &in_memory, Some(writes));
    let memory = block_on(memory).unwrap();
    for key in 0..50 {
        set(&memory, &format!("k{key}")).unwrap();
    }
}

#[test]
fn long_lists_and_counts_are_done_in_pieces_and_others_work_meanwhile() {
    for durability in [Durability::Memory, Durability::INTERVAL] {
        let device = Device::new();
        let (_store, kv) = device.open(&Settings {
            quota: Quota {
                keys: 3000,
                ..Quota::default()
            },
            ..with(durability)
        });
        block_on(async {
            for key in 0..3000 {
                let ttl = (key % 3 == 0).then_some(HOUR);
                kv.set(&format!("{key:04}"), b"v", ttl).await.unwrap();
            }
            let mut list = kv.begin_list("", usize::MAX).unwrap();
            let mut pieces = 0;
            while list.read_on().await.unwrap() {
                pieces += 1;
                // Behind what was read, in front of it, and what stays.
                kv.delete("2999").await.unwrap();
                kv.set("0001", b"w", None).await.unwrap();
            }
            let keys = list.into_keys();
            assert!(pieces > 0, "a piece is shorter than all of them");
            assert_eq!(keys.len(), 2999, "{durability}");
            assert!(keys.is_sorted());

            device.pass(HOUR);
            assert_eq!(kv.list_keys("", usize::MAX).await.unwrap().len(), 1999);
            // All who find it full go on with one count, until there is room.
            kv.set("a", b"", None).await.unwrap();
            let full = async |key: &str| kv.set(key, b"", None).await;
            let (one, two) = futures_lite::future::zip(full("b"), full("c")).await;
            one.unwrap();
            two.unwrap();
            assert_eq!(kv.list_keys("", usize::MAX).await.unwrap().len(), 2002);
            if durability != Durability::Memory {
                assert_eq!(kv.held().1, 2002);
            }
        });
    }
}
