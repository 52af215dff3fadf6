//! Files that somebody or something has damaged: bits that changed, ends that are missing, zeros, one
//! file in the place of another. Whatever the daemon finds, it serves; what it says is there is whole.
//!
//! On a device a panic ends the process. Where fjall panics while it opens a database, a mark has the
//! next process put that aside; no other panic may come of a damaged file, or the daemon would never
//! come up again. So each child ends at its first panic, and a second one has to manage. Neither may
//! take more memory than a small device has because a damaged length says so.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};

use rustix::process::{Resource, Rlimit, setrlimit};
use smol::block_on;
use zlayer_runtime::keyvalue::{Durability, Namespace};

use crate::support::{Child, Folder, Random, number, open, sealed, seed, unsealed, with};

/// Damaged stores, unless `ZLAYER_DAMAGES` says another number.
const STORES: u64 = 60;
/// Keys, and changes of them: some memtables, so that there are tables, and the child compacts them.
const KEYS: u64 = 150;
const CHANGES: u64 = 450;
/// Every change whose number is a multiple of this has a value of 20 KiB.
const LONG: u64 = 97;
/// Bytes of address space of a child: it has some threads, and little else.
const MEMORY: u64 = 1 << 30;

#[test]
fn a_damaged_file_ends_no_process_but_for_once() {
    let seed = seed();
    println!("ZLAYER_SEED={seed}");
    let mut random = Random::new(seed);
    let whole = Folder::quick();
    make(&whole.0);
    for round in 0..number("ZLAYER_DAMAGES").unwrap_or(STORES) {
        let folder = Folder::quick();
        copy(&whole.0, &folder.0);
        let mut told = Vec::new();
        for _ in 0..=random.below(3) {
            told.push(damage(&folder.0, &mut random));
        }
        let told = format!("round {round}: {}", told.join(", "));
        let first = run(&folder.0);
        if let Err(said) = first {
            let is_marked = folder.0.join("panicked").exists();
            assert!(is_marked, "{told}: every process would end so: {said}");
            let second = run(&folder.0);
            assert_eq!(second, Ok(()), "{told}: the second process ends, too");
        }
    }
}

/// Starts a child on a store. The error is what it said where it did not reach its end.
fn run(folder: &Path) -> Result<(), String> {
    let output = Child::command("damage::child", folder).output().unwrap();
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let signal = output.status.signal();
    Err(format!("signal {signal:?}: {said}"))
}

#[test]
#[ignore = "it is a child of another test"]
fn child() {
    let Some(folder) = Child::folder() else {
        return;
    };
    let limit = Rlimit {
        current: Some(MEMORY),
        maximum: Some(MEMORY),
    };
    setrlimit(Resource::As, limit).unwrap();
    // As on a device.
    std::panic::set_hook(Box::new(|panic| {
        eprintln!("{panic}");
        std::process::abort();
    }));
    let store = open(&folder);
    let settings = with(Durability::INTERVAL);
    // A store that cannot be opened says so, and is no reason to end.
    let Ok(namespace) = block_on(store.namespace("n", &settings, None)) else {
        return;
    };
    check(&namespace);
    for change in 0..CHANGES / 2 {
        // It may say no.
        let _ = block_on(namespace.set(&key(change), &sealed(change * LONG), None));
    }
    check(&namespace);
    store.close();
}

fn key(change: u64) -> String {
    format!("key-{}", change % KEYS)
}

/// Whatever can be read is what was once written.
fn check(namespace: &Namespace) {
    for one in 0..KEYS {
        if let Ok(Some(value)) = block_on(namespace.get(&key(one))) {
            let found = unsealed(&value).map(|found| found / LONG % KEYS);
            assert_eq!(found, Ok(one));
        }
    }
    let _ = block_on(namespace.list_keys("", usize::MAX));
}

/// Makes a store with some tables and a journal.
fn make(folder: &Path) {
    let store = open(folder);
    let settings = with(Durability::INTERVAL);
    let namespace = block_on(store.namespace("n", &settings, None)).unwrap();
    for change in 0..CHANGES {
        block_on(namespace.set(&key(change), &sealed(change * LONG), None)).unwrap();
    }
    store.close();
    drop((namespace, store));
    let paths = files(folder);
    let is_table = |path: &&PathBuf| path.to_str().unwrap().contains("keyspaces/1/tables/");
    assert!(paths.iter().filter(is_table).count() > 1, "{paths:?}");
    // Journals are made at their full length. What they hold is what is to be damaged.
    for path in paths
        .iter()
        .filter(|path| path.extension().is_some_and(|one| one == "jnl"))
    {
        let content = fs::read(path).unwrap();
        let end = content
            .rchunks(4096)
            .position(|part| part.iter().any(|&byte| byte != 0));
        let zeros = end.map_or(content.len(), |parts| parts * 4096);
        let file = fs::File::options().write(true).open(path).unwrap();
        file.set_len((content.len() - zeros) as u64).unwrap();
    }
}

/// All files below a folder, in an order that stays.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => found.push(path),
        }
    }
    found.sort();
    found
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.path().is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(fs::copy(entry.path(), target).unwrap()),
        }
    }
}

/// Damages one file, and says how.
fn damage(folder: &Path, random: &mut Random) -> String {
    let paths = files(folder);
    let mut pick = || paths[usize::try_from(random.below(paths.len() as u64)).unwrap()].clone();
    let (path, other) = (pick(), pick());
    let mut content = fs::read(&path).unwrap();
    let below =
        |random: &mut Random, end: usize| usize::try_from(random.below(end as u64)).unwrap();
    let at = below(random, content.len());
    let end = (at + below(random, 4096)).min(content.len());
    let what = match random.below(7) {
        0 => {
            content.truncate(at);
            "is cut"
        }
        1 => {
            content[at..end].fill(0);
            "has zeros"
        }
        2 => {
            content[at..end].fill(0xff);
            "has ones"
        }
        3 => {
            content = fs::read(&other).unwrap();
            "is another file"
        }
        4 => {
            let piece = content[at..end].to_vec();
            content.extend(piece);
            "has grown"
        }
        _ if content.is_empty() => "is as it was",
        _ => {
            for _ in 0..=random.below(3) {
                let at = below(random, content.len());
                content[at] ^= 1 << random.below(8);
            }
            "has other bits"
        }
    };
    fs::write(&path, content).unwrap();
    let name = path.strip_prefix(folder).unwrap();
    format!("{} {what}", name.display())
}
