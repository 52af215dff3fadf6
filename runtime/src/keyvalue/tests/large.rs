//! Values that are stored in parts.

use super::*;
use entry::Entry;
use parts::{PART_BYTES, PART_KEY};

/// The database itself, while no store has it open.
fn database(device: &Device) -> (fjall::Database, fjall::Keyspace) {
    let inner = fjall::Database::builder(device.folder.join("kv/db"))
        .open()
        .unwrap();
    let keyspace = inner.keyspace("plugins", Default::default).unwrap();
    (inner, keyspace)
}

fn parts(device: &Device) -> usize {
    let (_inner, keyspace) = database(device);
    keyspace.prefix(PART_KEY).count()
}

#[test]
fn values_of_any_size_come_back_and_what_is_replaced_leaves_nothing() {
    for durability in MODES {
        let device = Device::new();
        let (mut store, mut kv) = device.open(&with(durability));
        let sizes = [0, PART_BYTES - 1, PART_BYTES, 1 << 20, 5 * PART_BYTES, 100];
        let expiries = [None, Some(HOUR), None, Some(2 * HOUR), Some(HOUR), None];
        for (round, (bytes, ttl)) in sizes.into_iter().zip(expiries).enumerate() {
            let value: Vec<u8> = (0..bytes)
                .map(|at| (at * 31 + at / 251 + round) as u8)
                .collect();
            block_on(kv.set("k", &value, ttl)).unwrap();
            block_on(kv.set("kk", &value, None)).unwrap();
            if durability != Durability::Memory {
                drop((store, kv));
                (store, kv) = device.open(&with(durability));
            }
            let found = ["k", "kk"].map(|key| block_on(kv.get(key)).unwrap().unwrap());
            assert!(found == [&value[..], &value[..]], "{bytes} bytes");
            let head = if ttl.is_some() { 9 } else { 1 };
            assert_eq!(kv.held(), ((1 + head + 2 + 1 + 2 * bytes) as u64, 2));
            let listed = block_on(kv.list_keys("", usize::MAX)).unwrap();
            assert_eq!(listed, ["k", "kk"]);
        }
        block_on(kv.set("k", &[1; 1 << 20], None)).unwrap();
        assert!(block_on(kv.delete("k")).unwrap());
        drop((store, kv));
        if durability != Durability::Memory {
            assert_eq!(parts(&device), 0);
        }
    }
}

#[test]
fn whoever_reads_while_a_value_is_replaced_sees_one_or_the_other() {
    let device = Device::new();
    let (store, kv) = device.open(&with(Durability::Sync));
    block_on(kv.set("k", &[0; 9 * PART_BYTES], None)).unwrap();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 1..100u8 {
                let bytes = PART_BYTES * (1 + usize::from(round % 9));
                block_on(kv.set("k", &vec![round; bytes], None)).unwrap();
            }
            done.store(true, Ordering::Release);
        });
        while !done.load(Ordering::Acquire) {
            let value = block_on(kv.get("k")).unwrap().unwrap();
            assert!(value.iter().all(|byte| *byte == value[0]));
            assert!(value.len() == PART_BYTES * (1 + usize::from(value[0] % 9)) || value[0] == 0);
        }
    });
    drop((store, kv));
    // 99 is the last: a part for each, and one for the tag that makes it longer.
    assert_eq!(parts(&device), 2);
}

#[test]
fn what_an_earlier_version_stored_whole_is_read_counted_and_replaced() {
    let device = Device::new();
    drop(device.open(&with(Durability::Sync)));
    let (inner, keyspace) = database(&device);
    let value = &vec![7; 1 << 20];
    for (key, expires) in [("test\0old", None), ("test\0replaced", Some(u64::MAX))] {
        let stored = Entry { value, expires }.encode();
        keyspace.insert(key, stored).unwrap();
    }
    drop((keyspace, inner));
    let (store, kv) = device.open(&with(Durability::Sync));
    assert_eq!(kv.held(), (2 * (1 << 20) + 3 + 1 + 8 + 9, 2));
    assert_eq!(block_on(kv.get("old")).unwrap().unwrap(), *value);
    block_on(kv.set("replaced", &[8; 1 << 20], None)).unwrap();
    assert_eq!(kv.held(), (2 * (1 << 20) + 3 + 1 + 8 + 1, 2));
    drop((store, kv));
    let (_store, kv) = device.open(&with(Durability::Sync));
    assert_eq!(block_on(kv.get("old")).unwrap().unwrap(), *value);
    assert_eq!(block_on(kv.get("replaced")).unwrap().unwrap(), [8; 1 << 20]);
}

/// Removes a part of the value of `key`, while no store has the database open.
fn lose_part(device: &Device, key: &str) {
    let (_inner, keyspace) = database(device);
    let prefix = [PART_KEY, b"test\0", key.as_bytes()].concat();
    let mut parts = keyspace.prefix(prefix);
    let part = parts.nth(3).unwrap().key().unwrap();
    drop(parts);
    keyspace.remove(part).unwrap();
}

#[test]
fn a_value_that_lacks_a_part_is_told_to_be_damaged_and_harms_no_other() {
    let device = Device::new();
    let (store, kv) = device.open(&with(Durability::Sync));
    for key in ["a", "b"] {
        block_on(kv.set(key, &[1; 1 << 20], None)).unwrap();
    }
    drop((store, kv));
    lose_part(&device, "a");
    let (_store, kv) = device.open(&with(Durability::Sync));
    let damaged = KvError::Storage("a stored value is damaged".to_owned());
    assert_eq!(block_on(kv.get("a")), Err(damaged));
    assert_eq!(block_on(kv.get("b")).unwrap().unwrap(), [1; 1 << 20]);
    block_on(kv.set("a", b"anew", None)).unwrap();
    assert_eq!(block_on(kv.get("a")).unwrap().unwrap(), b"anew");
}

#[test]
fn a_value_that_lost_a_part_to_its_expiry_before_a_power_cut_took_the_time_back_is_absent() {
    let device = Device::new();
    let (store, kv) = device.open(&with(Durability::Sync));
    block_on(kv.set("k", &[1; 1 << 20], Some(HOUR))).unwrap();
    drop((store, kv));
    lose_part(&device, "k");
    let (_store, kv) = device.open(&with(Durability::Sync));
    assert_eq!(block_on(kv.get("k")), Ok(None));
    block_on(kv.set("k", b"anew", None)).unwrap();
    assert_eq!(block_on(kv.get("k")).unwrap().unwrap(), b"anew");
}

#[test]
fn the_space_of_large_values_that_have_expired_comes_back() {
    let device = Device::new();
    let (store, kv) = device.open(&with(Durability::INTERVAL));
    for round in 0..16u8 {
        for key in 0..20 {
            let name = format!("{round}-{key}");
            block_on(kv.set(&name, &[round; 100_000], Some(HOUR))).unwrap();
        }
        device.pass(HOUR);
    }
    drop((store, kv));
    let bytes = database::disk_bytes(&device.folder.join("kv/db/keyspaces")).unwrap();
    assert!(bytes < 16 << 20, "{bytes} bytes of tables for 32 MB");
}
