//! The walk over all that plugins can make the host keep, in a machine: the peak of the process stays below
//! its ceiling and what it may take beside that.
//!
//! `tests/e2e/hostile_plugin/keeps.rs` walks the same way natively, with a ceiling that has room for more. Here
//! the processors are those of devices, and on 32 bits instances are allocated one by one: nothing but the
//! daemon's own limits bounds their tables.

use std::thread;

use anyhow::{Context, Result, ensure};

use super::parts::plugin;
use crate::emulated::{Client, Daemon, Emulated};

/// MiB of the daemon's ceiling: what it chooses by itself where there are 64.
const CEILING: u64 = 12;
/// MiB that the process may take beside it, with one thread: docs/device.md, "Memory".
const BESIDE: u64 = 3 + 9;

/// Requests that have things kept at a time.
const AT_ONCE: usize = 8;

/// Kinds that keep nothing but the processor busy, which an emulated one is for minutes.
const ONLY_BUSY: [&str; 2] = ["polls", "random"];

/// What the walk showed.
pub(super) struct Walked {
    /// The most that was resident, beyond what was at the first answer, in bytes.
    pub(super) peak: u64,
    /// Of which kind that was.
    pub(super) kind: String,
    /// How many kinds there were.
    pub(super) kinds: usize,
}

/// Has plugins keep as much as they can of each kind.
pub(super) fn walk(machine: &mut Emulated) -> Result<Walked> {
    let flags =
        format!("--memory-max {CEILING}Mi --threads 1 --timeout request=5s --allow-host 127.0.0.1");
    let mut walked = Walked {
        peak: 0,
        kind: String::new(),
        kinds: 0,
    };
    let mut daemon = machine.serve(&format!("{} {flags}", plugin("hostile")), "/")?;
    let address = daemon.machine().address();
    let kinds = Client::once(address, "/keep")?.text()?;
    let kinds = kinds.split(' ').filter(|kind| !ONLY_BUSY.contains(kind));
    for kind in kinds.map(str::to_owned) {
        ask(&mut daemon, &format!("/keep/{kind}"), &kind, &mut walked)?;
    }
    daemon.stop()?;
    // One whose instances have as many tables and core instances as there may be.
    let mut daemon = machine.serve(&format!("{} {flags}", plugin("tables")), "/")?;
    ask(&mut daemon, "/", "tables", &mut walked)?;
    daemon.stop()?;
    Ok(walked)
}

fn ask(daemon: &mut Daemon, path: &str, kind: &str, walked: &mut Walked) -> Result<()> {
    let address = daemon.machine().address();
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            // Done, too much, or too late: all are as good.
            scope.spawn(|| Client::once(address, path));
        }
    });
    let figures = daemon.figures().with_context(|| format!("after {kind}"))?;
    let peak = figures.peak.saturating_sub(daemon.at_first_answer.resident);
    walked.kinds += 1;
    if peak > walked.peak {
        (walked.peak, walked.kind) = (peak, kind.to_owned());
    }
    ensure!(
        peak < (CEILING + BESIDE) << 20,
        "{kind}: {} KiB more than at the first answer, with a ceiling of {CEILING} MiB and {BESIDE} MiB beside it",
        peak >> 10
    );
    Ok(())
}
