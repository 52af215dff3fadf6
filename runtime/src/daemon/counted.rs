//! The start of a generation, which is counted: one that crashes again and again is not started for ever.

use std::io;
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
        Counted::begin_with(generations, choice, |write| {
            thread::Builder::new().name("begin".to_owned()).spawn(write)
        })
    }

    /// The same, where what is done beside the loading is begun by `start`.
    fn begin_with(
        generations: &Generations,
        choice: &Choice,
        start: impl FnOnce(Box<dyn FnOnce() -> bool + Send>) -> io::Result<JoinHandle<bool>>,
    ) -> Counted {
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
        counted.writing = match is_well {
            true => start(Box::new(write.clone())).ok(),
            false => None,
        };
        // Where no thread can be had, it is counted all the same.
        if counted.writing.is_none() {
            counted.is_written = write();
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

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use std::fs;

    use super::*;
    use crate::data_dir::temporary_folder;

    #[test]
    fn a_start_is_counted_where_no_thread_can_be_had() {
        let folder = temporary_folder().unwrap();
        let deployment = folder.join("deployment");
        fs::create_dir_all(&deployment).unwrap();
        for (name, text) in [("active", "1\n"), ("confirmed", "1\n")] {
            fs::write(deployment.join(name), text).unwrap();
        }
        let generations = Generations::of(&folder);
        let choice = Choice {
            number: Some(1),
            ..Choice::default()
        };
        let counted = Counted::begin_with(&generations, &choice, |_| {
            Err(io::Error::from(io::ErrorKind::WouldBlock))
        });
        assert!(counted.stand());
        assert_eq!(generations.standing().starts, 1);
        fs::remove_dir_all(folder).unwrap();
    }
}
