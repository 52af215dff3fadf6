//! Work that many instances do at once, and that counts only if each step is one.

use probe::zlayer::plugin::keyvalue;
use probe::{Answer, Ask};

const SWAPPED: &str = "race/swap";

/// Answers the sums that `increment` gave, then the numbers that its own swaps stored, one a line.
pub fn run(ask: &Ask) -> Result<Answer, String> {
    let count = ask.number("count", 1);
    let mut lines = String::new();
    for _ in 0..count {
        let sum = keyvalue::increment("race/increment", 1).map_err(|error| error.to_string())?;
        lines.push_str(&format!("increment {sum}\n"));
        let stored = swap_up().map_err(|error| error.to_string())?;
        lines.push_str(&format!("swap {stored}\n"));
    }
    Answer::text(lines)
}

/// Adds one to the decimal text in [`SWAPPED`] by optimistic locking.
fn swap_up() -> Result<u64, keyvalue::KvError> {
    loop {
        let old = keyvalue::get(SWAPPED)?;
        let number: u64 = match &old {
            None => 0,
            Some(text) => String::from_utf8_lossy(text)
                .parse()
                .map_err(|_| keyvalue::KvError::Storage("half a number".to_owned()))?,
        };
        let new = (number + 1).to_string();
        if keyvalue::compare_and_swap(SWAPPED, old.as_deref(), new.as_bytes())? {
            return Ok(number + 1);
        }
    }
}
