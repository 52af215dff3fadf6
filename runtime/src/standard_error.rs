//! Writes to standard error, and lines of the access log to standard output, without ever holding the
//! daemon up, even if a reader has stopped.

use std::io::{StderrLock, StdoutLock, Write};
use std::os::fd::AsFd;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use log::Level;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use zlayer_binlog::Record;

use crate::sync;

/// How many bytes a pipe that is ready takes without blocking: `PIPE_BUF` of Linux.
const PIECE: usize = 4096;
/// How long a reader that has kept up so far is waited for.
const GRACE: Duration = Duration::from_millis(100);

static OUTLET: Mutex<Outlet> = Mutex::new(Outlet::new());

/// Writes to standard error. Nothing happens if it is closed. What does not fit into a pipe that
/// nobody reads is dropped, and how much that was is reported when there is room again.
pub fn complain(text: &str) {
    let mut outlet = sync::lock(&OUTLET);
    outlet.write(&mut std::io::stderr().lock(), text);
}

/// Writes a line to standard output, of at most [`PIECE`] bytes, with its end. Returns how many
/// were dropped before it, because nobody read them, once there is room again.
pub fn print_line(line: &str) -> u64 {
    static READER: Mutex<(u64, Option<Instant>)> = Mutex::new((0, None));
    let mut reader = sync::lock(&READER);
    let (dropped, waited) = &mut *reader;
    // Whoever reads slowly all the time must not have every request wait.
    let began = Instant::now();
    let grace = match waited.is_some_and(|waited| began.duration_since(waited) < GRACE * 20) {
        true => Duration::ZERO,
        false => GRACE,
    };
    let written = write_piece(&mut std::io::stdout().lock(), line.as_bytes(), grace);
    if began.elapsed() >= GRACE / 10 {
        *waited = Some(Instant::now());
    }
    if written {
        return std::mem::take(dropped);
    }
    *dropped += 1;
    0
}

/// What is known about the reader of standard error.
#[derive(Debug)]
struct Outlet {
    /// Texts that were dropped, whole or in part, since the last report.
    dropped: u64,
    /// Whether the last text was cut off in the middle.
    torn: bool,
}

/// Where texts go: standard error, or its substitute in a test.
trait Target: Write + AsFd {}
impl Target for StderrLock<'_> {}
impl Target for StdoutLock<'_> {}

impl Outlet {
    const fn new() -> Outlet {
        Outlet {
            dropped: 0,
            torn: false,
        }
    }

    fn write(&mut self, target: &mut dyn Target, text: &str) {
        // Once a wait was in vain, later texts do not wait.
        let grace = if self.dropped == 0 {
            GRACE
        } else {
            Duration::ZERO
        };
        if self.dropped > 0 {
            let mut told = String::new();
            if self.torn {
                told.push('\n');
            }
            let message = format!(
                "{} texts dropped: standard error was not read",
                self.dropped
            );
            told += &Record::new(Record::now(), Level::Warn, module_path!(), &message).to_string();
            if !write_piece(target, told.as_bytes(), grace) {
                self.dropped += 1;
                return;
            }
            (self.dropped, self.torn) = (0, false);
        }
        for (number, piece) in text.as_bytes().chunks(PIECE).enumerate() {
            if !write_piece(target, piece, grace) {
                self.dropped += 1;
                self.torn = number > 0;
                return;
            }
        }
    }
}

/// Writes at most [`PIECE`] bytes. Returns whether there was room.
fn write_piece(target: &mut dyn Target, piece: &[u8], grace: Duration) -> bool {
    let fd = target.as_fd();
    let mut wanted = [PollFd::new(&fd, PollFlags::OUT)];
    let until = Instant::now() + grace;
    // Files are always ready.
    let room = loop {
        let left = until.saturating_duration_since(Instant::now());
        let limit = Timespec {
            tv_sec: 0,
            tv_nsec: left.subsec_nanos().into(),
        };
        match poll(&mut wanted, Some(&limit)) {
            // A signal says nothing of the reader.
            Err(Errno::INTR) => {}
            ready => break ready.is_ok_and(|count| count > 0),
        }
    };
    if room {
        let _ = target.write_all(piece);
    }
    room
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;
    use std::io::{PipeWriter, Read, pipe};

    impl Target for PipeWriter {}

    #[test]
    fn an_unread_pipe_holds_nobody_up_and_its_drops_are_told() {
        let (mut reader, mut writer) = pipe().unwrap();
        let mut outlet = Outlet::new();
        // More than any pipe holds.
        for number in 0..30_000 {
            outlet.write(&mut writer, &format!("text {number} {}\n", "x".repeat(99)));
        }
        let dropped = outlet.dropped;
        assert!(dropped > 0);
        // It is read now, and there is room for more than one text.
        let mut head = vec![0; PIECE * 4];
        reader.read_exact(&mut head).unwrap();
        outlet.write(&mut writer, "after\n");
        assert_eq!(outlet.dropped, 0);
        drop(writer);
        let mut all = String::from_utf8(head).unwrap();
        reader.read_to_string(&mut all).unwrap();
        let told = format!("{dropped} texts dropped: standard error was not read\n");
        let (before, behind) = all.split_once(&told).unwrap();
        assert_eq!(behind, "after\n");
        assert!(before.starts_with("text 0 "));
        let whole = before.lines().filter(|line| line.ends_with('x')).count();
        assert_eq!(whole as u64, 30_000 - dropped);
    }

    #[test]
    fn a_text_that_broke_off_is_a_line_of_its_own() {
        let (mut reader, mut writer) = pipe().unwrap();
        let mut outlet = Outlet::new();
        outlet.write(&mut writer, &"y".repeat(8 << 20));
        assert!(outlet.torn && outlet.dropped == 1);
        let mut held = vec![0; PIECE * 4];
        reader.read_exact(&mut held).unwrap();
        outlet.write(&mut writer, "next\n");
        assert_eq!(outlet.dropped, 0);
        drop(writer);
        let mut rest = String::new();
        reader.read_to_string(&mut rest).unwrap();
        let lines: Vec<&str> = rest.lines().collect();
        assert_eq!((lines.len(), lines[2]), (3, "next"));
        assert!(lines[1].ends_with(": 1 texts dropped: standard error was not read"));
    }

    #[test]
    fn a_pipe_without_reader_does_no_harm() {
        let (reader, mut writer) = pipe().unwrap();
        drop(reader);
        Outlet::new().write(&mut writer, "nobody\n");
    }
}
