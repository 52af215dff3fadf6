//! `zlayer status` and `zlayer purge`: ask a running daemon for its status, or to drop cached
//! responses.

mod change;

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use super::SOCKET;
use super::answer::{self, Answer};
use super::query::encoded;
use crate::error::{EXIT_UNHEALTHY, Error, Result};
use crate::logger;
pub use change::{Change, Upload, change};

/// The data folder that is used if none is named: that of the system service.
pub const DEFAULT_DATA_DIR: &str = "/var/lib/zlayer";

/// How long the daemon may take to respond.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longest status that is read, in bytes.
const STATUS_BYTES: u64 = 1 << 20;

/// Prints the status of the daemon behind `socket`, or else behind the one in `data_dir` (default
/// [`DEFAULT_DATA_DIR`]). Returns the exit code: 0, or 4 if the daemon is not well.
///
/// # Errors
///
/// No daemon responds there.
pub fn print_status(data_dir: Option<&Path>, socket: Option<PathBuf>, json: bool) -> Result<u8> {
    let page = if json { "/status" } else { "/status.txt" };
    let response = ask_daemon(data_dir, socket, format!("GET {page}"))?;
    logger::say(&response.body);
    Ok(match response.healthy {
        Some(true) => 0,
        _ => EXIT_UNHEALTHY,
    })
}

/// Has the daemon behind `socket`, or else behind the one in `data_dir` (default
/// [`DEFAULT_DATA_DIR`]), drop the responses in its cache that have one of these tags, or all if
/// there are no tags. Prints how many it dropped.
///
/// # Errors
///
/// No daemon responds there, or it has no cache.
pub fn purge(data_dir: Option<&Path>, socket: Option<PathBuf>, tags: &[String]) -> Result<()> {
    let tagged: Vec<_> = tags
        .iter()
        .map(|tag| format!("tag={}", encoded(tag)))
        .collect();
    let query = match tags {
        [] => "all=true".to_owned(),
        _ => tagged.join("&"),
    };
    let response = ask_daemon(data_dir, socket, format!("POST /cache/purge?{query}"))?;
    let count = response.body.trim_matches(|c: char| !c.is_ascii_digit());
    logger::say(&format!("{count} responses purged\n"));
    Ok(())
}

fn ask_daemon(data_dir: Option<&Path>, socket: Option<PathBuf>, line: String) -> Result<Answer> {
    let data_dir = data_dir.unwrap_or(Path::new(DEFAULT_DATA_DIR));
    let path = socket.unwrap_or_else(|| data_dir.join(SOCKET));
    ask_in_time(&path, line, PATIENCE).map_err(|error| {
        let hint = match error.kind() {
            io::ErrorKind::NotFound => {
                "; name the daemon's folder with --data-dir, or its socket with --socket"
            }
            io::ErrorKind::ConnectionRefused => "; no zlayer runs there at the moment",
            io::ErrorKind::PermissionDenied => "; run this as the user that runs the daemon",
            // Only the thread that asks can fail so.
            io::ErrorKind::WouldBlock => "; this account may start no more threads (ulimit -u)",
            io::ErrorKind::TimedOut => "; it does not answer, its log may say why",
            // std returns this where a path does not fit sockaddr_un (unix(7): 108 bytes).
            io::ErrorKind::InvalidInput => {
                "; that path is too long for a socket, so a daemon there has none: it needs a shorter --data-dir"
            }
            _ => "",
        };
        let what = match error.kind() {
            // Its own words follow: it was asked, and has answered.
            io::ErrorKind::Other => format!("asked the daemon at {}", path.display()),
            _ => format!("cannot ask the daemon at {}{hint}", path.display()),
        };
        Error::device(what, error)
    })
}

/// Sends a request in a separate thread: connecting to a socket whose backlog is full may take for
/// ever, and has no time limit.
fn ask_in_time(socket: &Path, line: String, patience: Duration) -> io::Result<Answer> {
    let (send, response) = mpsc::channel();
    let socket = socket.to_owned();
    // If the thread is late nobody waits for it, because the process ends.
    std::thread::Builder::new().spawn(move || send.send(ask(&socket, &line)))?;
    match response.recv_timeout(patience) {
        Ok(response) => response,
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// Sends a request; `line` is its method and target.
fn ask(socket: &Path, line: &str) -> io::Result<Answer> {
    let mut stream = UnixStream::connect(socket)?;
    stream.write_all(format!("{line} HTTP/1.1\r\nhost: localhost\r\n\r\n").as_bytes())?;
    let mut response = Vec::new();
    stream.take(STATUS_BYTES).read_to_end(&mut response)?;
    answer::read(&String::from_utf8_lossy(&response))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;

    #[test]
    fn a_daemon_that_does_not_answer_is_not_waited_for_for_ever() {
        let folder = crate::data_dir::temporary_folder().unwrap();
        let path = folder.join(SOCKET);
        let _silent = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let asked = ask_in_time(&path, "GET /status".to_owned(), Duration::from_millis(10));
        assert_eq!(asked.unwrap_err().kind(), io::ErrorKind::TimedOut);
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_path_that_is_too_long_is_said_to_be() {
        let long = Path::new("/").join("x".repeat(200));
        let refused = print_status(Some(&long), None, false).unwrap_err();
        assert!(refused.to_string().contains("too long for a socket"));
    }
}
