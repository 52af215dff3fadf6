//! What an artifact built for a board has the daemon run with.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::{Daemon, TempDir, ask, eventually, guests, key_file, precompile, target};

/// A folder of boards for the suite's target.
struct Boards(TempDir);

impl Boards {
    /// Boards by name, with what their files say besides the target.
    fn new(boards: &[(&str, &str)]) -> Boards {
        let folder = TempDir::new();
        for (name, text) in boards {
            let board = folder.path().join(name);
            fs::create_dir(&board).unwrap();
            let text = format!("target = '{}'\n{text}", target());
            fs::write(board.join("board.toml"), text).unwrap();
        }
        Boards(folder)
    }

    /// A guest built for one of them.
    fn build(&self, guest: &str, board: &str) -> PathBuf {
        let output = self.0.path().join(board);
        let mut words: Vec<PathBuf> = vec!["build".into(), guests().join(guest)];
        words[1].set_extension("wasm");
        words.extend(["--board", board, "--boards-dir"].map(PathBuf::from));
        words.push(self.0.path().to_owned());
        words.extend(["-o".into(), output.clone(), "--key".into(), key_file()]);
        let built = precompile(&words);
        assert_eq!(built.code, 0, "{built:?}");
        output.join(format!("{guest}.{}.cwasm", target()))
    }
}

fn status(data: &TempDir) -> Value {
    serde_json::from_str(&ask(data, "/status").text()).unwrap()
}

/// Bytes of the memory budget.
fn memory(data: &TempDir) -> u64 {
    status(data)["memory"]["limit_bytes"].as_u64().unwrap()
}

/// Threads that serve: the one that started all, and those that were started to help it. An
/// emulator keeps their names.
fn threads(daemon: &Daemon) -> usize {
    let name = |task: &Path| fs::read_to_string(task.join("comm")).unwrap_or_default();
    let tasks = fs::read_dir(format!("/proc/{}/task", daemon.pid())).unwrap();
    let names = tasks.flatten().map(|task| name(&task.path()));
    1 + names.filter(|name| name == "worker\n").count()
}

#[test]
fn a_boards_threads_and_memory_are_the_daemons_and_flags_win() {
    let boards = Boards::new(&[("b", "threads = 3\nmemory_max = '32Mi'")]);
    let artifact = boards.build("hello", "b");
    for (flags, wanted) in [
        (&[][..], (3, 32 << 20)),
        (&["--threads", "2"], (2, 32 << 20)),
        (&["--memory-max", "24Mi"], (3, 24 << 20)),
    ] {
        let data = TempDir::new();
        let daemon = Daemon::of(&artifact)
            .data_dir(data.path())
            .args(flags.iter().copied())
            .start();
        assert_eq!(memory(&data), wanted.1, "{flags:?}");
        assert_eq!(status(&data)["threads"], wanted.0, "{flags:?}");
        daemon.wait_for_log("built for the board b (threads 3, memory_max 32Mi)");
        // They are started when the admin interface serves already.
        eventually("threads", || threads(&daemon) == wanted.0);
    }
}

#[test]
fn plugins_built_for_different_boards_are_told_of_once_and_run_with_the_lowest_figures() {
    let boards = Boards::new(&[
        ("small", "threads = 2\nmemory_max = '24Mi'"),
        ("large", "threads = 4\nmemory_max = '128Mi'"),
    ]);
    let data = TempDir::new();
    let daemon = Daemon::of(boards.build("hello", "large"))
        .data_dir(data.path())
        .arg("--wasm")
        .arg(boards.build("middleware", "small"))
        .start();
    assert_eq!(memory(&data), 24 << 20);
    let told = "hello for large (threads 4, memory_max 128Mi) and \
                middleware for small (threads 2, memory_max 24Mi)";
    daemon.wait_for_log(told);
    assert_eq!(daemon.log().matches("different boards").count(), 1);
}

#[test]
fn a_limit_larger_than_the_boards_memory_is_refused() {
    let boards = Boards::new(&[("b", "memory_max = '32Mi'")]);
    let artifact = boards.build("hello", "b");
    for flag in ["--max-body", "--max-message"] {
        let refused = Daemon::of(&artifact).args([flag, "33Mi"]).fails();
        assert_eq!(refused.code, 2, "{refused:?}");
        for part in [flag, "33Mi", "32Mi", "--memory-max"] {
            assert!(refused.stderr.contains(part), "{part}: {refused:?}");
        }
    }
}
