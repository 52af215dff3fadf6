//! How many threads and how much memory the daemon takes: its flags decide, else the boards that
//! its artifacts were built for, else the defaults. The memory is held against what the device has.

use zlayer_bundle::{BoardSettings, ByteSize};

use crate::config::{Draft, Limits, MEMORY_DEFAULT, MEMORY_MIN};
use crate::device::{Device, Memory};
use crate::error::{Error, Result};

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

/// Memory that the process takes beside the budget, at most, and what the kernel keeps for it; what
/// calls of plugins hand over is beside this (docs/device.md, "Memory"). The pages of the program and of the
/// plugins are copies of files: the kernel counts them as available, and drops them where it must.
const PROCESS_BYTES: u64 = 3 << 20;

/// The largest body, and message, is at most one part in so many of a budget that nobody chose:
/// where it is small, there is room for a few of them beside the plugins all the same.
const WHOLE_SHARE: usize = 32;

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

/// The budget, and how it came about.
#[derive(Debug, PartialEq, Eq)]
struct Ceiling {
    bytes: usize,
    chosen: Chosen,
    /// What its owner should know.
    warning: Option<String>,
}

/// Who chose the budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Chosen {
    Flag,
    Board,
    /// Nobody, or a board that this device is not.
    Default,
}

impl Chosen {
    fn name(self) -> &'static str {
        match self {
            Chosen::Flag => "as its flag says",
            Chosen::Board => "as the board says",
            Chosen::Default => "by default",
        }
    }
}

impl Ceiling {
    /// Decides between a flag, a board and what is `there`.
    ///
    /// A flag holds, since its owner may know what is about to be freed; it is an error only where
    /// no freeing makes that much. A board's figure was said about boards of its kind, not about
    /// what else runs on this one: where there is less, less is taken.
    /// `needed` is what the plugins need together at the least.
    fn decide(
        flag: Option<usize>,
        board: Option<usize>,
        needed: u64,
        there: Option<&Memory>,
    ) -> Result<Ceiling> {
        let wanted = flag.map(|bytes| (bytes, Chosen::Flag));
        let wanted = wanted.or(board.map(|bytes| (bytes, Chosen::Board)));
        let chosen = |(bytes, chosen), warning| Ceiling {
            bytes,
            chosen,
            warning,
        };
        let Some(there) = there else {
            return Ok(chosen(
                wanted.unwrap_or((MEMORY_DEFAULT, Chosen::Default)),
                None,
            ));
        };
        let left = there.available.saturating_sub(PROCESS_BYTES);
        let Some((bytes, by)) = wanted else {
            let bytes = part_of(left, needed).min(MEMORY_DEFAULT);
            let too_little = (left < bytes as u64).then(|| {
                format!(
                    "TOO LITTLE MEMORY: {there}, and a daemon needs {}. If plugins use all of it, the \
                     kernel may kill this daemon, or others; stop something else, or give it more",
                    ByteSize(bytes as u64 + PROCESS_BYTES)
                )
            });
            return Ok(chosen((bytes, Chosen::Default), too_little));
        };
        if bytes as u64 <= left {
            return Ok(chosen((bytes, by), None));
        }
        let size = ByteSize(bytes as u64);
        if by == Chosen::Board {
            let less = part_of(left, needed);
            let warning = format!(
                "the board's memory_max {size} is more than there is: {there}; this daemon takes {}, \
                 and --memory-max decides otherwise",
                ByteSize(less as u64)
            );
            return Ok(chosen((less, Chosen::Default), Some(warning)));
        }
        if let Some(most) = there.most.filter(|most| bytes as u64 > *most) {
            return Err(Error::Usage(format!(
                "--memory-max: {size} is more than there can ever be, {} with swap space \
                 ({there}); choose less",
                ByteSize(most >> 20 << 20)
            )));
        }
        let advice = match left >= MEMORY_MIN as u64 {
            true => format!("choose at most {}", ByteSize(left >> 20 << 20)),
            false => "stop something else, or give the daemon more".to_owned(),
        };
        let warning = format!(
            "--memory-max {size} IS MORE THAN THERE IS: {there}. If plugins use all of it, the \
             kernel may kill this daemon, or others; {advice}"
        );
        Ok(chosen((bytes, by), Some(warning)))
    }

    /// The limits that are asked for, with those that are a part of the memory decided.
    fn limits(&self, asked: &Draft) -> Limits {
        let defaults = &asked.limits;
        let largest = match self.chosen {
            Chosen::Default => self.bytes / WHOLE_SHARE,
            _ => usize::MAX,
        };
        let limits = asked.limits.clone();
        Limits {
            body: asked.body.unwrap_or(defaults.body.min(largest)),
            websocket_message: asked
                .websocket_message
                .unwrap_or(defaults.websocket_message.min(largest)),
            ..limits
        }
    }
}

/// What a daemon takes where nobody chose for this device: half of what is `left`, in whole
/// mebibytes, so that others and the kernel's own caches have as much. But never less than its
/// plugins need, where that can be had at all: a machine of 64 MB has 18 available. And the least
/// that a daemon can do with in any case: what is available is the kernel's guess, and a low one for
/// a while after memory was short, which is when a daemon is started anew.
fn part_of(left: u64, needed: u64) -> usize {
    let whole = |bytes: u64| bytes >> 20 << 20;
    // Where there is too little for all plugins, loading them tells which one is too much.
    let needed = needed.checked_next_multiple_of(1 << 20).unwrap_or(u64::MAX);
    let needed = needed.min(whole(left));
    let part = whole(left / 2).max(needed).max(MEMORY_MIN as u64);
    usize::try_from(part).unwrap_or(usize::MAX)
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
    use crate::device::Bound;

    /// What one small plugin needs.
    const LEAST: u64 = MEMORY_MIN as u64;

    fn board(name: &str, threads: Option<u8>, mebibytes: Option<u64>) -> BoardSettings {
        BoardSettings {
            name: name.to_owned(),
            threads,
            memory_max: mebibytes.map(|mebibytes| mebibytes << 20),
        }
    }

    fn needs<'a>(
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

    #[test]
    fn several_plugins_and_large_ones_have_the_default_grow_where_there_is_more() {
        let small = || needs("small", None, 1 << 20);
        let large = needs("large", None, 9 << 20);
        for (plugins, available, budget) in [
            // Half of 29, less what the process takes.
            (vec![small()], 29, 13),
            (vec![small(), small()], 28, 14),
            (vec![small(), small(), small()], 28, 17),
            (vec![large], 28, 19),
            // No more than there is.
            (vec![small(), large], 20, 17),
            (vec![needs("endless", None, u64::MAX)], 28, 25),
            // And as before where half of it is plenty.
            (vec![small(), large], 101, 49),
        ] {
            let needed = Needs::of_all(&plugins);
            let decided = Ceiling::decide(None, None, needed, Some(&there(available))).unwrap();
            assert_eq!(decided.bytes >> 20, budget, "{plugins:?} of {available}");
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
    fn there(mebibytes: u64) -> Memory {
        Memory {
            available: mebibytes << 20,
            bound: Bound::Machine,
            most: Some(1 << 30),
        }
    }

    /// The budget in mebibytes that a flag or a board leads to where so much is available, who
    /// chose it, and the warning.
    fn ceiling(
        flag: Option<usize>,
        board: Option<usize>,
        mebibytes: u64,
    ) -> (usize, Chosen, Option<String>) {
        let [flag, board] = [flag, board].map(|bytes| bytes.map(|bytes| bytes << 20));
        let decided = Ceiling::decide(flag, board, LEAST, Some(&there(mebibytes))).unwrap();
        (decided.bytes >> 20, decided.chosen, decided.warning)
    }

    #[test]
    fn the_default_is_half_of_what_is_left_between_its_bounds() {
        // From a machine of 64 MB, which has 17 MiB available, to one of 1 GB.
        for (available, budget) in [
            (15, 12),
            (17, 12),
            (27, 12),
            (33, 15),
            (79, 38),
            (131, 64),
            (900, 64),
        ] {
            let decided = ceiling(None, None, available);
            assert_eq!(decided, (budget, Chosen::Default, None), "{available}");
        }
    }

    #[test]
    fn too_little_memory_is_warned_of_with_what_there_is_and_what_is_needed() {
        let (bytes, chosen, warning) = ceiling(None, None, 13);
        assert_eq!((bytes, chosen), (12, Chosen::Default));
        let told = warning.unwrap();
        for part in ["13Mi available on this machine", "needs 15Mi", "may kill"] {
            assert!(told.contains(part), "{part} in {told}");
        }
        // A board says more than there is: the least is taken as well.
        let (bytes, chosen, warning) = ceiling(None, Some(64), 13);
        assert_eq!((bytes, chosen), (12, Chosen::Default));
        assert!(warning.is_some());
    }

    #[test]
    fn a_flag_beyond_what_is_available_is_warned_of_and_one_beyond_all_refused() {
        assert_eq!(ceiling(Some(48), None, 51), (48, Chosen::Flag, None));
        let (bytes, chosen, warning) = ceiling(Some(48), None, 18);
        assert_eq!((bytes, chosen), (48, Chosen::Flag));
        let told = warning.unwrap();
        for part in ["48Mi IS MORE", "18Mi available", "at most 15Mi"] {
            assert!(told.contains(part), "{part} in {told}");
        }
        // Its owner may try a machine that has too little for the default.
        let (bytes, _, warning) = ceiling(Some(12), None, 5);
        assert_eq!(bytes, 12);
        assert!(
            warning
                .unwrap()
                .ends_with("; stop something else, or give the daemon more")
        );
        let error =
            Ceiling::decide(Some((1 << 30) + 1), None, LEAST, Some(&there(18))).unwrap_err();
        assert_eq!(error.exit_code(), crate::error::EXIT_USAGE);
        let told = error.to_string();
        assert!(told.contains("can ever be, 1Gi"), "{told}");
    }

    #[test]
    fn a_boards_figure_gives_way_to_what_is_there() {
        assert_eq!(ceiling(None, Some(256), 300), (256, Chosen::Board, None));
        let (bytes, chosen, warning) = ceiling(None, Some(256), 203);
        assert_eq!((bytes, chosen), (100, Chosen::Default));
        let told = warning.unwrap();
        for part in ["memory_max 256Mi", "203Mi available", "takes 100Mi"] {
            assert!(told.contains(part), "{part} in {told}");
        }
        // Who says otherwise on the device is obeyed.
        assert_eq!(ceiling(Some(256), Some(256), 202).0, 256);
    }

    #[test]
    fn default_limits_shrink_with_a_default_budget_and_with_no_other() {
        let limits = |ceiling: &Ceiling, body| {
            let mut asked = Draft::of(Vec::new());
            asked.body = body;
            let limits = ceiling.limits(&asked);
            (limits.body >> 10, limits.websocket_message >> 10)
        };
        let decided =
            |flag, available| Ceiling::decide(flag, None, LEAST, Some(&there(available))).unwrap();
        assert_eq!(limits(&decided(None, 17), None), (384, 384));
        assert_eq!(limits(&decided(None, 79), None), (1024, 1024));
        assert_eq!(limits(&decided(None, 17), Some(2 << 20)), (2048, 384));
        assert_eq!(limits(&decided(Some(12 << 20), 17), None), (1024, 1024));
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
