//! Opens what people name as a file.

use std::fs::{self, File, FileType, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::OFlags;

/// Opens a regular file for reading. Its metadata comes from the descriptor that is read, so it cannot be
/// exchanged.
///
/// # Errors
///
/// It cannot be opened, or is something else: that is told at once, where opening a named pipe would wait for
/// somebody to open its other end.
pub fn open_regular(path: &Path) -> io::Result<(File, Metadata)> {
    // It is looked at before it is opened as well: opening is what starts some devices. A named pipe that has taken
    // its place since does not keep us.
    check_regular(&fs::metadata(path)?)?;
    let file = open_at_once(path)?;
    let opened = file.metadata()?;
    check_regular(&opened)?;
    Ok((file, opened))
}

/// Tells what something is that is no regular file.
///
/// # Errors
///
/// It is none.
pub fn check_regular(found: &Metadata) -> io::Result<()> {
    if found.is_file() {
        return Ok(());
    }
    let kind = match found.is_dir() {
        true => io::ErrorKind::IsADirectory,
        false => io::ErrorKind::Other,
    };
    let what = what(found.file_type());
    Err(io::Error::new(
        kind,
        format!("it is {what}, not a regular file"),
    ))
}

fn open_at_once(path: &Path) -> io::Result<File> {
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let mut options = OpenOptions::new();
    let options = options.read(true).custom_flags(flags.bits().cast_signed());
    options.open(path)
}

fn what(kind: FileType) -> &'static str {
    match kind {
        kind if kind.is_dir() => "a folder",
        kind if kind.is_fifo() => "a pipe",
        kind if kind.is_socket() => "a socket",
        kind if kind.is_block_device() || kind.is_char_device() => "a device",
        _ => "something else",
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn what_is_no_regular_file_is_told_at_once_with_what_it_is() {
        let folder = std::env::temp_dir().join(format!("zlayer-regular-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        let at = |name: &str| folder.join(name);
        fs::write(at("file"), "content").unwrap();
        assert_eq!(open_regular(&at("file")).unwrap().1.len(), 7);
        let (fifo, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR);
        rustix::fs::mknodat(rustix::fs::CWD, at("pipe"), fifo, mode, 0).unwrap();
        // One that has taken a file's place in between keeps nobody, either.
        assert!(check_regular(&open_at_once(&at("pipe")).unwrap().metadata().unwrap()).is_err());
        let _listener = UnixListener::bind(at("socket")).unwrap();
        std::os::unix::fs::symlink(at("pipe"), at("link")).unwrap();
        for (path, what) in [
            (at("pipe"), "a pipe"),
            (at("link"), "a pipe"),
            (at("socket"), "a socket"),
            (folder.clone(), "a folder"),
            ("/dev/null".into(), "a device"),
        ] {
            let told = open_regular(&path).unwrap_err().to_string();
            assert_eq!(told, format!("it is {what}, not a regular file"));
        }
        fs::remove_dir_all(&folder).unwrap();
    }
}
