//! Any text as the file of a board, and behind a zero byte as the one that it may inherit from: what is
//! read is what stands there, a device can run with it, and what is refused names its file.
#![cfg_attr(fuzzing, no_main)]

use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

use toml::{Table, Value};
use zlayer_board::Board;
use zlayer_bundle::{ByteSize, MEMORY_MIN, THREADS_MAX};
use zlayer_fuzz::fuzz_target;

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
    let own = files.next().unwrap_or_default();
    let inherited = files.next().unwrap_or_default();
    for (name, content) in [("b/board.toml", own), ("common/x.toml", inherited)] {
        let written = fs::write(BOARDS.join(name), content);
        assert!(written.is_ok(), "{written:?}");
    }
    match Board::load(&BOARDS, "b") {
        Ok(board) => {
            is_what_stands_there(&board, &[own, inherited]);
            let threads = board.threads.map(usize::from);
            assert!(threads.is_none_or(|threads| (1..=THREADS_MAX).contains(&threads)));
            let least = MEMORY_MIN as u64;
            assert!(board.memory_max.is_none_or(|size| size.0 >= least));
            assert!(board.settings().check(board.target).is_ok());
        }
        Err(error) => {
            let said = format!("{error:#}");
            let names_file = said.contains("b/board.toml") || said.contains("common/x.toml");
            assert!(names_file, "{said}");
        }
    }
});

/// Reads the files once more, as plainly as can be: the board has each key from the first that has it.
fn is_what_stands_there(board: &Board, files: &[&[u8]]) {
    let tables = files.iter().map_while(|file| {
        let text = std::str::from_utf8(file).ok()?;
        text.parse::<Table>().ok()
    });
    let mut tables: Vec<Table> = tables.collect();
    // A second file is asked only if the first one says so; a third there is not.
    let inherits = tables
        .first()
        .is_some_and(|own| own.contains_key("inherit"));
    tables.truncate(1 + usize::from(inherits));
    assert_eq!(tables.len(), 1 + usize::from(inherits));
    let key = |name: &str| tables.iter().find_map(|table| table.get(name));
    let text = |name: &str| key(name).and_then(Value::as_str);
    assert_eq!(text("target"), Some(board.target.name()));
    assert_eq!(text("profile").unwrap_or("compact"), board.profile.name());
    let threads = key("threads").and_then(Value::as_integer);
    assert_eq!(threads, board.threads.map(i64::from));
    let memory_max = text("memory_max").map(|size| size.parse::<ByteSize>().ok());
    assert_eq!(memory_max, board.memory_max.map(Some));
    let flags = key("cpu_flags").and_then(Value::as_array);
    let flags = flags.into_iter().flatten().filter_map(Value::as_str);
    assert!(flags.eq(board.cpu_flags.iter()));
    let known = [
        "inherit",
        "target",
        "profile",
        "cpu_flags",
        "threads",
        "memory_max",
    ];
    let mut names = tables.iter().flat_map(|table| table.keys());
    assert!(names.all(|name| known.contains(&name.as_str())));
}
