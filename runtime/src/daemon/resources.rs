//! How many threads and how much memory the daemon takes: its flags decide, else the boards that
//! its artifacts were built for, else the defaults. The memory is held against what the device has.

mod ceiling;

use zlayer_bundle::{BoardSettings, ByteSize};

use crate::config::{Draft, Limits, MEMORY_MIN};
use crate::device::{Device, Memory};
use crate::error::{Error, Result};
use ceiling::Ceiling;

/// What a daemon takes of its device.
#[derive(Debug)]
pub(super) struct Resources {
    /// Threads that serve.
    pub(super) threads: usize,
    /// The memory budget, in bytes.
    pub(super) memory: usize,
    /// The limits, with those that are a part of the memory decided.
    pub(super) limits: Limits,
}

/// What is known of a plugin before it is loaded.
#[derive(Debug, Clone, Copy)]
pub(super) struct Needs<'a> {
    /// Its name.
    pub(super) name: &'a str,
    /// The board that it was built for.
    pub(super) board: Option<&'a BoardSettings>,
    /// Bytes that the memories of one instance begin with.
    pub(super) memory_initial: u64,
}

impl Needs<'_> {
    /// Bytes to count on for all of them: an instance of each is set aside, with room to grow, for
    /// its calls and for a body.
    fn of_all(plugins: &[Needs<'_>]) -> u64 {
        /// What an instance needs beside what its memories begin with.
        const BESIDE: u64 = 2 << 20;
        /// [`MEMORY_MIN`] has room for one instance that begins with so much.
        const INCLUDED: u64 = 2 << 20;
        let each = plugins
            .iter()
            .map(|plugin| plugin.memory_initial.saturating_add(BESIDE));
        let all = each.fold(0, u64::saturating_add);
        (MEMORY_MIN as u64).saturating_add(all.saturating_sub(BESIDE + INCLUDED))
    }
}

impl Resources {
    /// Decides for what `asked` says, and for the `plugins` of the daemon.
    ///
    /// # Errors
    ///
    /// More memory is asked for than the device can ever have, or a limit asks for more than there
    /// is.
    pub(super) fn decide(
        asked: &Draft,
        plugins: &[Needs<'_>],
        device: &Device,
    ) -> Result<Resources> {
        let boards: Vec<_> = plugins
            .iter()
            .filter_map(|plugin| Some((plugin.name, plugin.board?)))
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
        let there = device.memory();
        let needed = Needs::of_all(plugins);
        let ceiling = Ceiling::decide(asked.memory, least_memory, needed, there.as_ref())?;
        if let Some(warning) = &ceiling.warning {
            log::warn!("{warning}");
        }
        let decided = Resources {
            threads: asked
                .threads
                .or(least_threads.map(usize::from))
                .unwrap_or_else(|| default_threads(device.processors())),
            memory: ceiling.bytes,
            limits: ceiling.limits(asked),
        };
        if let [(_, board), ..] = boards[..] {
            log::info!(
                "built for the board {board}; this daemon runs with threads {} and memory_max {}",
                decided.threads,
                ByteSize(decided.memory as u64)
            );
        }
        log::info!("{}", decided.memory_line(&ceiling, there.as_ref()));
        decided.hold()?;
        Ok(decided)
    }

    /// What was decided about the memory, in a line.
    fn memory_line(&self, ceiling: &Ceiling, there: Option<&Memory>) -> String {
        let size = |bytes: usize| ByteSize(bytes as u64);
        let there = there.map_or_else(|| "the device does not say".to_owned(), Memory::to_string);
        format!(
            "memory: --memory-max {} ({}; {there}), --max-body {}, --max-message {}",
            size(self.memory),
            ceiling.chosen.name(),
            size(self.limits.body),
            size(self.limits.websocket_message)
        )
    }

    /// Whether each limit that is a part of the memory fits into it.
    fn hold(&self) -> Result<()> {
        for (flag, bytes) in [
            ("max-body", self.limits.body),
            ("max-message", self.limits.websocket_message),
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
fn default_threads(processors: usize) -> usize {
    processors.div_ceil(2).min(4)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;
    use crate::config::MEMORY_DEFAULT;
    use crate::device::Bound;

    /// What one small plugin needs.
    pub(super) const LEAST: u64 = MEMORY_MIN as u64;

    fn board(name: &str, threads: Option<u8>, mebibytes: Option<u64>) -> BoardSettings {
        BoardSettings {
            name: name.to_owned(),
            threads,
            memory_max: mebibytes.map(|mebibytes| mebibytes << 20),
        }
    }

    pub(super) fn needs<'a>(
        name: &'a str,
        board: Option<&'a BoardSettings>,
        memory_initial: u64,
    ) -> Needs<'a> {
        Needs {
            name,
            board,
            memory_initial,
        }
    }

    /// What is decided for flags on a device that tells nothing of itself.
    fn decide(
        flags: impl FnOnce(&mut Draft),
        plugins: &[(&str, Option<&BoardSettings>)],
    ) -> Result<Resources> {
        let mut asked = Draft::of(Vec::new());
        flags(&mut asked);
        let plugins: Vec<_> = plugins
            .iter()
            .map(|(name, board)| needs(name, *board, 0))
            .collect();
        Resources::decide(&asked, &plugins, &Device::under("/nowhere"))
    }

    /// What is decided where no flag is given and the limits are the defaults.
    fn by_boards(plugins: &[(&str, Option<&BoardSettings>)]) -> Resources {
        decide(|_| {}, plugins).unwrap()
    }

    /// So many mebibytes available of a gigabyte.
    pub(super) fn there(mebibytes: u64) -> Memory {
        Memory {
            available: mebibytes << 20,
            bound: Bound::Machine,
            most: Some(1 << 30),
        }
    }

    #[test]
    fn one_line_tells_what_was_decided() {
        let asked = Draft::of(Vec::new());
        let there = there(17);
        let ceiling = Ceiling::decide(None, None, LEAST, Some(&there)).unwrap();
        let decided = Resources {
            threads: 1,
            memory: ceiling.bytes,
            limits: ceiling.limits(&asked),
        };
        assert_eq!(
            decided.memory_line(&ceiling, Some(&there)),
            "memory: --memory-max 12Mi (by default; 17Mi available on this machine), \
             --max-body 384Ki, --max-message 384Ki"
        );
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
            let flags = |asked: &mut Draft| (asked.threads, asked.memory) = (threads, memory);
            let decided = decide(flags, &plugins).unwrap();
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
        let body = |asked: &mut Draft| asked.body = Some(49 << 20);
        let decide = |board| decide(body, &[("a", Some(board))]);
        let told = decide(&small).unwrap_err().to_string();
        for part in ["--max-body", "49Mi", "48Mi", "--memory-max"] {
            assert!(told.contains(part), "{part} in {told}");
        }
        // A board with more memory has room for it.
        let large = board("large", None, Some(256));
        assert!(decide(&large).is_ok());
    }
}
