//! How many threads and how much memory the daemon takes: its flags decide, else the boards that
//! its artifacts were built for, else the defaults.

use zlayer_bundle::{BoardSettings, ByteSize};

use crate::config::{Limits, MEMORY_DEFAULT};
use crate::error::{Error, Result};

/// What a daemon takes of its device.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Resources {
    /// Threads that serve.
    pub(super) threads: usize,
    /// The memory budget, in bytes.
    pub(super) memory: usize,
}

impl Resources {
    /// Decides for plugins, which are given by their names and the boards that they were built for.
    /// `threads` and `memory` are those of the flags.
    ///
    /// # Errors
    ///
    /// One of `limits` asks for more memory than there is.
    pub(super) fn decide(
        threads: Option<usize>,
        memory: Option<usize>,
        limits: &Limits,
        plugins: &[(&str, Option<&BoardSettings>)],
    ) -> Result<Resources> {
        let boards: Vec<_> = plugins
            .iter()
            .filter_map(|&(name, board)| Some((name, board?)))
            .collect();
        if let Some(difference) = difference(&boards) {
            log::warn!("{difference}");
        }
        // Of several boards the lowest figure: what fits the smallest board fits each of them.
        let least_threads = boards.iter().filter_map(|(_, board)| board.threads).min();
        let least_memory = boards
            .iter()
            .filter_map(|(_, board)| board.memory_max)
            .min();
        // A manifest with more than this processor can address was refused with its artifact.
        let least_memory = least_memory.map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
        let decided = Resources {
            threads: threads
                .or(least_threads.map(usize::from))
                .unwrap_or_else(default_threads),
            memory: memory.or(least_memory).unwrap_or(MEMORY_DEFAULT),
        };
        if let [(_, board), ..] = boards[..] {
            log::info!(
                "built for the board {board}; this daemon runs with threads {} and memory_max {}",
                decided.threads,
                ByteSize(decided.memory as u64)
            );
        }
        decided.hold(limits)?;
        Ok(decided)
    }

    /// Whether each limit that is a part of the memory fits into it.
    fn hold(&self, limits: &Limits) -> Result<()> {
        for (flag, bytes) in [
            ("max-body", limits.body),
            ("max-message", limits.websocket_message),
        ] {
            if bytes > self.memory {
                return Err(Error::Usage(format!(
                    "--{flag}: {} is more than the {} of --memory-max; raise that, or lower this",
                    ByteSize(bytes as u64),
                    ByteSize(self.memory as u64)
                )));
            }
        }
        Ok(())
    }
}

/// What to tell the owner of a device whose plugins were built for different boards: that is a
/// mistake, since a device is one board.
fn difference(boards: &[(&str, &BoardSettings)]) -> Option<String> {
    let (first, others) = boards.split_first()?;
    let other = others.iter().find(|other| other.1 != first.1)?;
    let [first, other] = [first, other].map(|(plugin, board)| format!("{plugin} for {board}"));
    Some(format!(
        "plugins are built for different boards, {first} and {other}: the lowest figures count; \
         build all plugins of a device for its board"
    ))
}

/// A fresh instance changes the process's memory map, which stops every core that serves: on two
/// cores a second thread adds nothing (`docs/figures.md`). The kernel's network and the store have
/// work for the other cores.
fn default_threads() -> usize {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    processors.div_ceil(2).min(4)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;

    fn board(name: &str, threads: Option<u8>, mebibytes: Option<u64>) -> BoardSettings {
        BoardSettings {
            name: name.to_owned(),
            threads,
            memory_max: mebibytes.map(|mebibytes| mebibytes << 20),
        }
    }

    /// What is decided where no flag is given and the limits are the defaults.
    fn by_boards(plugins: &[(&str, Option<&BoardSettings>)]) -> Resources {
        Resources::decide(None, None, &Limits::default(), plugins).unwrap()
    }

    #[test]
    fn without_flag_and_board_the_defaults_hold() {
        for board in [None, Some(&board("generic", None, None))] {
            let decided = by_boards(&[("a", board)]);
            assert_eq!(decided.memory, MEMORY_DEFAULT);
            assert!((1..=4).contains(&decided.threads));
        }
    }

    #[test]
    fn the_board_replaces_the_defaults_and_a_flag_the_board() {
        let pi = board("pi", Some(3), Some(256));
        let plugins = [("a", None), ("b", Some(&pi))];
        let decide = |threads, memory| {
            let limits = Limits::default();
            let decided = Resources::decide(threads, memory, &limits, &plugins).unwrap();
            (decided.threads, decided.memory >> 20)
        };
        assert_eq!(decide(None, None), (3, 256));
        assert_eq!(decide(Some(7), None), (7, 256));
        assert_eq!(decide(None, Some(512 << 20)), (3, 512));
    }

    #[test]
    fn of_several_boards_the_lowest_figures_count() {
        let (small, large) = (
            board("small", Some(4), Some(48)),
            board("large", Some(2), None),
        );
        let decided = by_boards(&[("a", Some(&large)), ("b", Some(&small))]);
        assert_eq!((decided.threads, decided.memory), (2, 48 << 20));
    }

    #[test]
    fn different_boards_are_told_with_their_plugins() {
        let (one, two) = (board("one", Some(4), None), board("two", None, Some(48)));
        assert_eq!(difference(&[]), None);
        assert_eq!(difference(&[("a", &one), ("b", &one.clone())]), None);
        let told = difference(&[("a", &one), ("b", &one), ("c", &two)]).unwrap();
        for part in [
            "a for one (threads 4) and c for two (memory_max 48Mi)",
            "lowest",
        ] {
            assert!(told.contains(part), "{part} in {told}");
        }
    }

    #[test]
    fn a_limit_beyond_the_boards_memory_is_refused_with_both_figures() {
        let small = board("small", None, Some(48));
        let limits = Limits {
            body: 49 << 20,
            ..Limits::default()
        };
        let decide = |board| Resources::decide(None, None, &limits, &[("a", Some(board))]);
        let told = decide(&small).unwrap_err().to_string();
        for part in ["--max-body", "49Mi", "48Mi", "--memory-max"] {
            assert!(told.contains(part), "{part} in {told}");
        }
        // A board with more memory has room for it.
        let large = board("large", None, Some(256));
        assert!(decide(&large).is_ok());
    }
}
