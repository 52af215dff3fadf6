//! Has a running daemon change what it serves: `zlayer install`, `rollback`, `uninstall`, `trust`.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use zlayer_http1::{encode_chunk, encode_last_chunk};

use super::super::query::encoded;
use super::super::{SOCKET, answer};
use super::STATUS_BYTES;
use crate::error::{Error, Result};

/// Bytes of a bundle that are sent at a time.
const UPLOAD_PIECE: usize = 64 << 10;
/// Bytes of a file's name that are sent, so that the head is not too long for the daemon however many of them are
/// written with three characters.
const NAME_BYTES: usize = 1 << 10;

/// A change of what a running daemon serves.
pub enum Change<'a> {
    /// Installs this bundle.
    Install(Upload<'a>),
    /// Goes back to the generation before, or to that with this number.
    RollBack(Option<u64>),
    /// Removes what is installed.
    Uninstall,
    /// Installs this trust list.
    Trust(Upload<'a>),
}

/// A file that is sent.
pub struct Upload<'a> {
    /// What people call it.
    pub name: &'a Path,
    /// Reads it.
    pub from: &'a mut dyn Read,
}

/// Why nobody knows what came of a change.
enum Trouble {
    /// The file that is sent cannot be read.
    File(io::Error),
    /// The connection ended before there was an answer.
    Ended,
    /// The connection failed, or what answered is no daemon.
    Socket(io::Error),
}

/// Has the daemon of a data folder change what it serves. Returns what it says of that; `None` if no daemon runs
/// there.
///
/// # Errors
///
/// The daemon cannot be asked, or the file cannot be read; or it refuses: [`Error::Told`].
pub fn change(data_dir: &Path, change: Change<'_>) -> Result<Option<String>> {
    let path = data_dir.join(SOCKET);
    let stream = match UnixStream::connect(&path) {
        Ok(stream) => stream,
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound
                    | io::ErrorKind::ConnectionRefused
                    | io::ErrorKind::NotADirectory
                    // A path that does not fit has no daemon behind it.
                    | io::ErrorKind::InvalidInput
            ) =>
        {
            return Ok(None);
        }
        Err(error) => {
            let hint = match error.kind() {
                io::ErrorKind::PermissionDenied => {
                    "; run this as the user that runs the daemon, or as root"
                }
                _ => "",
            };
            let what = format!("cannot ask the daemon at {}{hint}", path.display());
            return Err(Error::device(what, error));
        }
    };
    let name = match &change {
        Change::Install(upload) | Change::Trust(upload) => upload.name.to_owned(),
        Change::RollBack(_) | Change::Uninstall => Path::new("").to_owned(),
    };
    match exchange(stream, change) {
        Ok(Ok(told)) => Ok(Some(told.trim_end().to_owned())),
        Ok(Err((code, reason))) => Err(Error::Told { code, reason }),
        Err(Trouble::File(error)) => Err(Error::device(
            format!("cannot read {}; nothing has changed", name.display()),
            error,
        )),
        Err(Trouble::Ended) => Err(Error::Refused(format!(
            "the daemon at {} ended before it answered: either all of this has been done or nothing, which `zlayer \
             generations` and `zlayer trust` show",
            path.display()
        ))),
        Err(Trouble::Socket(error)) => Err(Error::device(
            format!("cannot ask the daemon at {}", path.display()),
            error,
        )),
    }
}

/// Sends a change, and reads what came of it. It takes as long as the daemon does.
fn exchange(
    mut stream: UnixStream,
    change: Change<'_>,
) -> std::result::Result<answer::Outcome, Trouble> {
    let (path, upload) = match change {
        Change::Install(upload) => (format!("/install{}", named(upload.name)), Some(upload)),
        Change::RollBack(Some(to)) => (format!("/rollback?to={to}"), None),
        Change::RollBack(None) => ("/rollback".to_owned(), None),
        Change::Uninstall => ("/uninstall".to_owned(), None),
        Change::Trust(upload) => (format!("/trust{}", named(upload.name)), Some(upload)),
    };
    let length = match upload {
        Some(_) => "transfer-encoding: chunked",
        None => "content-length: 0",
    };
    let head = format!("POST {path} HTTP/1.1\r\nhost: localhost\r\n{length}\r\n\r\n");
    let is_open = send_all(&mut stream, head.as_bytes())?;
    if let Some(upload) = upload.filter(|_| is_open) {
        send(upload.from, &mut stream)?;
    }
    let mut response = Vec::new();
    let read = stream.take(STATUS_BYTES).read_to_end(&mut response);
    // What has come counts, even if the connection broke then.
    match read {
        Err(error) if response.is_empty() && !is_end(&error) => Err(Trouble::Socket(error)),
        _ if response.is_empty() => Err(Trouble::Ended),
        _ => answer::read_change(&String::from_utf8_lossy(&response)).map_err(Trouble::Socket),
    }
}

/// The query that says what a file is called.
fn named(name: &Path) -> String {
    let name = name.to_string_lossy();
    let start = name.len().saturating_sub(NAME_BYTES);
    // Its end says more than its folders do.
    let start = (start..=name.len()).find(|at| name.is_char_boundary(*at));
    format!("?name={}", encoded(&name[start.unwrap_or_default()..]))
}

/// Sends a body whose length nobody knows before its end.
fn send(body: &mut dyn Read, to: &mut UnixStream) -> std::result::Result<(), Trouble> {
    let (mut piece, mut chunk) = (vec![0; UPLOAD_PIECE], Vec::new());
    loop {
        let count = match body.read(&mut piece) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read.map_err(Trouble::File)?,
        };
        chunk.clear();
        match count {
            0 => encode_last_chunk(&mut chunk, &[])
                .map_err(|error| Trouble::Socket(io::Error::other(error)))?,
            count => encode_chunk(&mut chunk, &piece[..count]),
        }
        if !send_all(to, &chunk)? || count == 0 {
            return Ok(());
        }
    }
}

/// Returns whether the daemon takes more: one that refuses what is sent may have closed, and what it said is still
/// to be read.
fn send_all(to: &mut UnixStream, bytes: &[u8]) -> std::result::Result<bool, Trouble> {
    match to.write_all(bytes) {
        Err(error) if is_end(&error) => Ok(false),
        written => written.map(|()| true).map_err(Trouble::Socket),
    }
}

/// Whether the other side has closed: with something unread, it is the second.
fn is_end(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset
    )
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    /// Asks a daemon that reads a head and then does this.
    fn asked(
        from: &mut dyn Read,
        daemon: impl FnOnce(UnixStream) + Send + 'static,
    ) -> Result<Option<String>> {
        let folder = crate::data_dir::temporary_folder().unwrap();
        let listener = UnixListener::bind(folder.join(SOCKET)).unwrap();
        let serving = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = [0; 16];
            stream.read_exact(&mut head).unwrap();
            daemon(stream);
        });
        let name = Path::new("app.zlb");
        let told = change(&folder, Change::Install(Upload { name, from }));
        serving.join().unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
        told
    }

    /// What can be read, and then no more.
    struct Broken(usize);

    impl Read for Broken {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let count = self.0.min(into.len());
            self.0 -= count;
            match count {
                0 => Err(io::Error::other("the card is gone")),
                count => Ok(count),
            }
        }
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named_and_no_fault_of_the_daemons() {
        let told = asked(&mut Broken(100_000), |mut stream| {
            let _ = stream.read_to_end(&mut Vec::new());
        });
        let told = told.unwrap_err().to_string();
        assert_eq!(
            told,
            "cannot read app.zlb; nothing has changed: the card is gone"
        );
    }

    #[test]
    fn a_daemon_that_ends_meanwhile_is_said_to_have_ended() {
        // With something unread, and with nothing.
        for bytes in [16, 10_000_000] {
            let told = asked(&mut io::repeat(7).take(bytes), drop);
            let told = told.unwrap_err().to_string();
            assert!(told.contains("ended before it answered"), "{told}");
            assert!(!told.contains("user"), "{told}");
        }
    }

    #[test]
    fn what_a_daemon_says_counts_even_if_it_did_not_read_on() {
        let told = asked(&mut io::repeat(7), |mut stream| {
            let refused = b"HTTP/1.1 422 X\r\nzlayer-exit-code: 11\r\n\r\nno bundle\n";
            stream.write_all(refused).unwrap();
        });
        let told = told.unwrap_err();
        assert_eq!(
            (told.exit_code(), told.to_string().as_str()),
            (11, "no bundle")
        );
        let told = asked(&mut io::empty(), |mut stream| {
            stream.write_all(b"220 smtp\r\n").unwrap();
        });
        let told = told.unwrap_err().to_string();
        assert!(told.contains("is no zlayer"), "{told}");
    }

    #[test]
    fn a_files_name_is_sent_however_long_it_is() {
        assert_eq!(named(Path::new("a b.zlb")), "?name=a%20b.zlb");
        let long = format!("{}/app.zlb", "\u{e9}".repeat(2000));
        let sent = named(Path::new(&long));
        assert!(
            sent.ends_with("app.zlb") && sent.len() < 4 << 10,
            "{}",
            sent.len()
        );
    }
}
