//! What is under way, for who waits at a terminal.

use std::io::{IsTerminal as _, Write as _};

/// A line on the terminal for as long as something takes. Nothing where nobody looks.
pub(super) struct Progress {
    is_shown: bool,
}

impl Progress {
    pub(super) fn start(what: &str) -> Progress {
        let is_shown = std::io::stderr().is_terminal();
        if is_shown {
            // A line that cannot be shown is not worth failing for.
            let _ = write!(std::io::stderr(), "{} ..", zlayer_binlog::lines(what));
        }
        Progress { is_shown }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.is_shown {
            // Back to the start of the line, and clear it.
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}
