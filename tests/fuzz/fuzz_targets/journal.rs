//! Any bytes as a journal of the store, and as its records: what is mended is mended once, and nothing
//! is lost by it.
#![cfg_attr(fuzzing, no_main)]

use std::path::PathBuf;
use std::sync::LazyLock;

use zlayer_fuzz::fuzz_target;
use zlayer_fuzz::keyvalue::fuzz::{journal, records};

/// Where the journal lies.
static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = std::env::temp_dir().join(format!("zlayer-journal-{}", std::process::id()));
    let made = std::fs::create_dir(&folder);
    assert!(made.is_ok(), "{}: {made:?}", folder.display());
    folder
});

fuzz_target!(|input: &[u8]| {
    let mended = journal(&FOLDER, input);
    assert!(mended.is_ok(), "{mended:?}");
    records(input);
});
