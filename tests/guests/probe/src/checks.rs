//! A list of sentences, each with whether it is true.

use std::fmt::{Debug, Write};

use crate::Answer;

/// Characters of a detail that are shown.
const DETAIL_CHARS: usize = 300;

/// What was looked at so far. A sentence that is not true does not end the list.
#[derive(Default)]
pub struct Checks {
    lines: String,
    held: u32,
    failed: u32,
}

impl Checks {
    /// Holds when `holds` does.
    pub fn is(&mut self, sentence: &str, holds: bool) {
        self.note(sentence, (!holds).then(|| "not so".to_owned()));
    }

    /// Holds when both are equal, by what they print: the types of the bindings cannot be compared.
    pub fn same<T: Debug>(&mut self, sentence: &str, found: T, expected: T) {
        let (found, expected) = (format!("{found:?}"), format!("{expected:?}"));
        let differs = found != expected;
        self.note(
            sentence,
            differs.then(|| format!("found {found}, expected {expected}")),
        );
    }

    /// `ok SENTENCE` or `FAILED SENTENCE: DETAIL` a line, then `HELD of ALL hold`. The status is
    /// 200 when all hold, else 500.
    pub fn answer(mut self) -> Result<Answer, String> {
        // Writing to a string cannot fail.
        let _ = writeln!(
            self.lines,
            "{} of {} hold",
            self.held,
            self.held + self.failed
        );
        Ok(Answer {
            status: if self.failed == 0 { 200 } else { 500 },
            body: self.lines,
        })
    }

    fn note(&mut self, sentence: &str, failure: Option<String>) {
        let _ = match failure {
            None => {
                self.held += 1;
                writeln!(self.lines, "ok {sentence}")
            }
            Some(detail) => {
                self.failed += 1;
                let detail: String = detail.chars().take(DETAIL_CHARS).collect();
                writeln!(self.lines, "FAILED {sentence}: {detail}")
            }
        };
    }
}
