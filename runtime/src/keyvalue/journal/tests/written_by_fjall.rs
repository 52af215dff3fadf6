//! Journals that fjall itself has written, read by our reader: it knows a format that is private
//! to fjall, and nothing but these tests shows that both still mean the same.

use std::fs;

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use super::super::*;
use crate::data_dir::temporary_folder;

/// The releases whose format `journal.rs` describes. The codes for kinds of values and for
/// compression are those of lsm-tree.
const READ_HERE: [(&str, &str); 2] = [("fjall", "3.1.13"), ("lsm-tree", "3.1.10")];

/// A database and its journal.
struct Written {
    folder: PathBuf,
    /// What is in the journal, without the zeros behind it.
    content: Vec<u8>,
    /// Where each batch ends, in bytes from the start.
    ends: Vec<u64>,
}

impl Drop for Written {
    fn drop(&mut self) {
        // Nothing to do about a leftover in the temporary folder.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn open(folder: &Path) -> (Database, Keyspace) {
    let database = Database::builder(folder).worker_threads(1).open().unwrap();
    let keyspace = database
        .keyspace("plugins", KeyspaceCreateOptions::default)
        .unwrap();
    (database, keyspace)
}

/// Writes one batch of every kind, and notes where each ends. A batch ends with the last byte that
/// is not zero, since the last of its four magic bytes is none: that needs no reader.
fn written() -> Written {
    let folder = temporary_folder().unwrap();
    let (database, keyspace) = open(&folder);
    let other = database
        .keyspace("other", KeyspaceCreateOptions::default)
        .unwrap();
    let [journal] = &journals(&folder).unwrap()[..] else {
        panic!("a new database has one journal");
    };
    let mut ends = Vec::new();
    let mut note_end = || {
        database.persist(PersistMode::SyncAll).unwrap();
        let last = last_nonzero(&mut File::open(journal).unwrap(), 0).unwrap();
        ends.push(last.unwrap() + 1);
    };

    keyspace.insert("single", "value").unwrap();
    note_end();
    keyspace.remove("single").unwrap();
    note_end();
    let mut several = database.batch();
    for number in 0..100_u32 {
        several.insert(&keyspace, number.to_be_bytes(), number.to_string());
    }
    several.remove(&keyspace, 7_u32.to_be_bytes());
    several.insert(&other, "in another keyspace", "");
    several.commit().unwrap();
    note_end();
    // More than our reader and fjall's writer have buffers for.
    keyspace.insert("large", vec![0; 100_000]).unwrap();
    note_end();
    other.clear().unwrap();
    note_end();
    let mut last = database.batch();
    last.insert(&keyspace, "last", "of them");
    last.remove(&keyspace, "single");
    last.commit().unwrap();
    note_end();

    let mut content = Vec::new();
    let used = *ends.last().unwrap();
    let file = File::open(journal).unwrap();
    file.take(used).read_to_end(&mut content).unwrap();
    Written {
        folder,
        content,
        ends,
    }
}

#[test]
fn every_batch_is_found_whole() {
    let written = written();
    let mut reader = Batches {
        inner: &written.content[..],
        left: written.content.len() as u64,
    };
    let mut found = Vec::new();
    while reader.left > 0 {
        reader.batch().unwrap();
        found.push(written.content.len() as u64 - reader.left);
    }
    assert_eq!(found, written.ends);
    // With the zeros behind it, as it lies there.
    for journal in journals(&written.folder).unwrap() {
        assert!(holds_batch(&journal).unwrap());
        assert_eq!(examine(&journal).unwrap(), None);
    }
}

#[test]
fn wherever_the_last_batch_is_cut_the_one_before_ends_the_journal() {
    let written = written();
    let [.., whole, end] = written.ends[..] else {
        panic!("there are several batches");
    };
    let journal = written.folder.join("cut.jnl");
    for cut in whole + 1..end {
        fs::write(&journal, &written.content[..cut as usize]).unwrap();
        let damage = examine(&journal).unwrap().unwrap();
        assert_eq!(damage.whole, whole, "cut at {cut}");
    }
}

#[test]
fn fjall_opens_a_journal_that_was_mended_and_has_all_but_the_torn_batch() {
    let written = written();
    let [.., whole, end] = written.ends[..] else {
        panic!("there are several batches");
    };
    let [journal] = &journals(&written.folder).unwrap()[..] else {
        panic!("nothing began a second journal");
    };
    fs::write(journal, &written.content[..(whole + end) as usize / 2]).unwrap();
    let damage = examine(journal).unwrap().unwrap();
    assert!(mend(&damage, &written.folder.join("aside")).unwrap());
    assert_eq!(fs::metadata(journal).unwrap().len(), whole);
    let (_database, keyspace) = open(&written.folder);
    assert_eq!(
        keyspace.get("large").unwrap().map(|value| value.len()),
        Some(100_000)
    );
    assert_eq!(keyspace.get("last").unwrap(), None);
}

#[test]
fn the_releases_read_here_are_the_ones_in_the_lock_file() {
    let lock = include_str!("../../../../../Cargo.lock");
    for (package, read_here) in READ_HERE {
        let head = format!("name = \"{package}\"\nversion = \"");
        let locked: Vec<_> = lock
            .split(&head)
            .skip(1)
            .filter_map(|rest| rest.split('"').next())
            .collect();
        assert_eq!(
            locked,
            [read_here],
            "{package}: compare its journal's format with journal.rs, and name the release here \
             and in both Cargo.toml"
        );
    }
}
