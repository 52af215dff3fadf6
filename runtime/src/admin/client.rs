//! `zlayer status`: asks a daemon how it is.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::SOCKET;
use crate::error::{EXIT_UNHEALTHY, Error, Result};
use crate::logger;

/// The data folder that is looked at where none is named: what the system service uses.
pub const DEFAULT_DATA_DIR: &str = "/var/lib/zlayer";

/// A daemon that answers at all does so within this.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longest status that is read, in bytes.
const ANSWER_BYTES: u64 = 1 << 20;

/// Prints the status of the daemon behind `socket`, or else behind the one in `data_dir` (default
/// [`DEFAULT_DATA_DIR`]), and answers the exit code: 0, or 4 where the daemon is not well.
///
/// # Errors
///
/// No daemon answers there.
pub fn print_status(data_dir: Option<&Path>, socket: Option<PathBuf>, json: bool) -> Result<u8> {
    let data_dir = data_dir.unwrap_or(Path::new(DEFAULT_DATA_DIR));
    let path = socket.unwrap_or_else(|| data_dir.join(SOCKET));
    let answer = ask(&path, if json { "/status" } else { "/status.txt" }).map_err(|error| {
        let hint = match error.kind() {
            io::ErrorKind::NotFound => {
                "; name the daemon's folder with --data-dir, or its socket with --socket"
            }
            io::ErrorKind::ConnectionRefused => "; no zlayer runs there at the moment",
            io::ErrorKind::PermissionDenied => "; run this as the user that runs the daemon",
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                "; it does not answer, its log may say why"
            }
            _ => "",
        };
        Error::device(
            format!("cannot ask the daemon at {}{hint}", path.display()),
            error,
        )
    })?;
    logger::say(&answer.body);
    Ok(if answer.healthy { 0 } else { EXIT_UNHEALTHY })
}

#[derive(Debug, PartialEq, Eq)]
struct Answer {
    body: String,
    healthy: bool,
}

fn ask(socket: &Path, path: &str) -> io::Result<Answer> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").as_bytes())?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES).read_to_end(&mut answer)?;
    read(&String::from_utf8_lossy(&answer))
}

/// Reads what this program's own server writes: a length, and no chunks.
fn read(answer: &str) -> io::Result<Answer> {
    let wrong = || io::Error::other("what answers there is no zlayer, or it broke off");
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(wrong)?;
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap_or_default();
    let (mut health, mut length) = (None, None);
    for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
        match name {
            "zlayer-health" => health = Some(value == "ok"),
            "content-length" => length = value.parse().ok(),
            _ => {}
        }
    }
    match (status.starts_with("HTTP/1.1 200 "), health) {
        (true, Some(healthy)) if length == Some(body.len()) => Ok(Answer {
            body: body.to_owned(),
            healthy,
        }),
        // Such as that its memory is spent.
        (false, _) if status.starts_with("HTTP/1.1 ") => {
            let body = zlayer_binlog::one_line(body.trim_end());
            Err(io::Error::other(format!(
                "it answers {}: {body}",
                &status[9..]
            )))
        }
        _ => Err(wrong()),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_only_as_a_whole() {
        let head = "HTTP/1.1 200 OK\r\ncontent-length: 3\r\nzlayer-health: ok\r\n\r\n";
        let answer = read(&format!("{head}ok\n")).unwrap();
        assert_eq!((answer.body.as_str(), answer.healthy), ("ok\n", true));
        let answer = read(&format!("{head}ok\n").replace(": ok", ": not-ok")).unwrap();
        assert!(!answer.healthy);
        for broken in [
            "",
            "HTTP/1.1 200 OK\r\n",
            &format!("{head}ok"),
            "220 smtp\r\n\r\n",
        ] {
            assert!(read(broken).is_err(), "{broken:?}");
        }
        let refused = read("HTTP/1.1 503 Service Unavailable\r\n\r\nno room\n").unwrap_err();
        assert_eq!(
            refused.to_string(),
            "it answers 503 Service Unavailable: no room"
        );
    }
}
