//! The start of a generation, which is counted: one that crashes again and again is not started for ever.

use std::thread::{self, JoinHandle};

use crate::generations::{Choice, Generations};

/// A start that is counted, before any code of a plugin runs. Dropped before it [`stands`](Counted::stand), it is taken
/// back: a daemon that never came to serve has told why, and has not crashed.
pub(super) struct Counted {
    generations: Generations,
    number: Option<u64>,
    /// Whether it was written down, of one that is written down while its plugins are loaded.
    writing: Option<JoinHandle<bool>>,
    is_written: bool,
}

impl Counted {
    /// Counts a start. Where the last one ended well, and the generation is good, that is done beside the loading:
    /// flash takes longer than all the rest of a start.
    pub(super) fn begin(generations: &Generations, choice: &Choice) -> Counted {
        let known = generations.standing();
        let number = choice.number;
        let is_good = number.is_some_and(|number| known.confirmed.contains(&number));
        let is_well = is_good && known.starts == 0 && choice.went_back.is_none();
        let mut counted = Counted {
            generations: generations.clone(),
            number,
            writing: None,
            is_written: false,
        };
        let (generations, choice) = (generations.clone(), choice.clone());
        let write = move || {
            let begun = generations.begin(&choice);
            if let Err(error) = &begun {
                log::error!("it is not written down which generation is started: {error}");
            }
            begun.is_ok()
        };
        match is_well {
            true => {
                let started = thread::Builder::new().name("begin".to_owned()).spawn(write);
                counted.writing = started.ok();
            }
            false => counted.is_written = write(),
        }
        counted
    }

    /// Waits until it is on the disk. Returns whether it is.
    pub(super) fn wait(&mut self) -> bool {
        if let Some(writing) = self.writing.take() {
            // It does nothing that could panic.
            self.is_written = writing.join().unwrap_or(false);
        }
        self.is_written
    }

    /// It counts from now on, however the daemon ends. Returns whether it is on the disk.
    pub(super) fn stand(mut self) -> bool {
        let is_written = self.wait();
        self.number = None;
        is_written
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let is_written = self.wait();
        if let Some(number) = self.number.filter(|_| is_written && !thread::panicking())
            && let Err(error) = self.generations.take_back_start(number)
        {
            log::warn!(
                "it is not written down that generation {number} was not started after all: {error}"
            );
        }
    }
}
