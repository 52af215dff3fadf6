//! Keeps the time for the next start, while it is known to be right.

use std::path::PathBuf;
use std::time::Duration;

use smol::Timer;

use crate::blocking::unblock;
use crate::clock::{self, ClockState};
use crate::data_dir::DataDir;

/// How often it is looked whether the time is to be kept: an hour, of a day.
const LOOK: Duration = Duration::from_secs(3600);
/// How long after the start it is looked for the first time: there are answers to be given first, and a
/// write takes as long as they do.
const FIRST: Duration = Duration::from_secs(2);
/// By how many seconds the time has to be later than the one that was kept: a write a day, since flash
/// wears out.
const LATER: u64 = 86_400;

/// The time in a data folder that outlives the process.
pub(super) struct Time {
    folder: PathBuf,
    kept: u64,
}

impl Time {
    /// Takes up what an earlier run kept. `None` if the folder goes with the process.
    pub(super) fn of(data: &DataDir) -> Option<Time> {
        if data.is_temporary() {
            return None;
        }
        let kept = data.kept_time().unwrap_or(0);
        clock::raise_floor(kept);
        Some(Time {
            folder: data.path().to_owned(),
            kept,
        })
    }

    /// Keeps the time as it goes on.
    pub(super) async fn keep(mut self) {
        Timer::after(FIRST).await;
        loop {
            let time = clock::to_keep();
            // Also where it is earlier: what was kept was wrong.
            if let Some(time) = time.filter(|time| time.abs_diff(self.kept) >= LATER) {
                let folder = self.folder.clone();
                let kept = unblock(move || DataDir::keep_time(&folder, time)).await;
                match kept {
                    Ok(()) => self.kept = time,
                    Err(error) => log::warn!(
                        "the time cannot be kept in {}: {error}; it is tried again in an hour",
                        self.folder.display()
                    ),
                }
            }
            Timer::after(LOOK).await;
        }
    }
}

/// What to tell people of a clock that is not known to be right.
pub(super) fn tell() {
    let state = clock::state();
    if state != ClockState::Synced {
        log::info!(
            "clock: {}: it is not known to be set; {} has passed for sure",
            state.name(),
            httpdate::fmt_http_date(clock::floor())
        );
    }
}
