//! The memory budget: what its flag says, or a board, or half of what the device has available.

use zlayer_bundle::ByteSize;

use crate::config::{Draft, Limits, MEMORY_DEFAULT, MEMORY_MIN};
use crate::device::Memory;
use crate::error::{Error, Result};

/// Memory that the process takes beside the budget, at most, and what the kernel keeps for it; what
/// calls of plugins hand over is beside this (docs/device.md, "Memory"). The pages of the program and of the
/// plugins are copies of files: the kernel counts them as available, and drops them where it must.
const PROCESS_BYTES: u64 = 3 << 20;

/// The largest body, and message, is at most one part in so many of a budget that nobody chose:
/// where it is small, there is room for a few of them beside the plugins all the same.
const WHOLE_SHARE: usize = 32;

/// The budget, and how it came about.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ceiling {
    pub(super) bytes: usize,
    pub(super) chosen: Chosen,
    /// What its owner should know.
    pub(super) warning: Option<String>,
}

/// Who chose the budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Chosen {
    Flag,
    Board,
    /// Nobody, or a board that this device is not.
    Default,
}

impl Chosen {
    pub(super) fn name(self) -> &'static str {
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
    pub(super) fn decide(
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
    pub(super) fn limits(&self, asked: &Draft) -> Limits {
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

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::super::Needs;
    use super::super::tests::{LEAST, needs, there};
    use super::*;

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
}
