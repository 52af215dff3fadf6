//! Any text as the file of a board, and behind a zero byte as the one that it may inherit from: what is
//! read is what a device can run with, and what is refused names its file.
#![no_main]

use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use zlayer_board::Board;
use zlayer_bundle::{MEMORY_MIN, THREADS_MAX};

/// Where the boards lie.
static BOARDS: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = std::env::temp_dir().join(format!("zlayer-boards-{}", std::process::id()));
    for name in ["b", "common"] {
        let made = fs::create_dir_all(folder.join(name));
        assert!(made.is_ok(), "{}: {made:?}", folder.display());
    }
    folder
});

fuzz_target!(|input: &[u8]| {
    let mut files = input.splitn(2, |byte| *byte == 0);
    for name in ["b/board.toml", "common/x.toml"] {
        let written = fs::write(BOARDS.join(name), files.next().unwrap_or_default());
        assert!(written.is_ok(), "{written:?}");
    }
    match Board::load(&BOARDS, "b") {
        Ok(board) => {
            assert!(
                board
                    .threads
                    .is_none_or(|threads| (1..=THREADS_MAX).contains(&threads.into()))
            );
            assert!(
                board
                    .memory_max
                    .is_none_or(|size| size.0 >= MEMORY_MIN as u64)
            );
            assert!(board.settings().check(board.target).is_ok());
        }
        Err(error) => {
            let said = format!("{error:#}");
            assert!(
                said.contains("b/board.toml") || said.contains("common/x.toml"),
                "{said}"
            );
        }
    }
});
