//! Files with secrets: who else could use them, and how they are read.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;
use zlayer_bundle::{Exposure, own_account, without_mark};

use super::SOURCE_BYTES;
use crate::error::{Error, Result};

/// Why a file is no place for a secret, if it is none: others could read it, change it, or put another one in its
/// place. Says what mends that. It may belong to `owner` as well, the account that this process is about to become.
pub(crate) fn exposure(path: &Path, found: &fs::Metadata, owner: Option<u32>) -> Option<String> {
    let (own, shown) = (own_account(), path.display());
    if ![own, 0].contains(&found.uid()) && owner != Some(found.uid()) {
        return Some(format!(
            "it belongs to another user, number {}, who could change it; give it to the user that runs zlayer, or to \
             root: run `chown {} {shown}`",
            found.uid(),
            owner.unwrap_or(own)
        ));
    }
    if found.mode() & 0o077 != 0 {
        return Some(format!(
            "its mode is {:04o}, so that others than its owner may use it; run `chmod 600 {shown}`",
            found.mode() & 0o7777
        ));
    }
    let (folder, exposure) = Exposure::above(path)?;
    Some(format!(
        "others could put another in its place, for {} lies above it and {exposure}; run `{}`",
        folder.display(),
        exposure.mend(&folder)
    ))
}

/// Opens a regular file. Its metadata comes from the descriptor that is read, so it cannot be
/// exchanged.
pub(crate) fn open_regular(path: &Path) -> std::io::Result<(File, fs::Metadata)> {
    // It is looked at before it is opened as well: opening is what starts some devices. A named pipe
    // that has taken its place since does not keep us until its other end is opened.
    let found = fs::metadata(path)?;
    if !found.is_file() {
        return Err(std::io::Error::other("not a regular file"));
    }
    let file = open_at_once(path)?;
    let opened = file.metadata()?;
    match opened.is_file() {
        true => Ok((file, opened)),
        false => Err(std::io::Error::other("not a regular file")),
    }
}

fn open_at_once(path: &Path) -> std::io::Result<File> {
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

/// What is told of a file that cannot be read.
pub(super) fn unreadable(path: &Path, error: std::io::Error) -> Error {
    let shown = path.display();
    let what = match error.kind() {
        ErrorKind::PermissionDenied => format!(
            "account {0} may not read the secrets in {shown}; where that account is the one that serves, give it the \
             file (`chown {0} {shown}`), in a folder that it can enter",
            own_account()
        ),
        _ => format!("cannot read the secrets in {shown}"),
    };
    Error::device(what, error)
}

/// All of a file's text.
pub(super) fn text(file: File, path: &Path) -> Result<String> {
    let shown = path.display();
    let mut bytes = Vec::new();
    file.take(SOURCE_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| unreadable(path, error))?;
    if bytes.len() as u64 > SOURCE_BYTES {
        return Err(Error::Usage(format!(
            "{shown}: secrets are read from files of at most {} KiB",
            SOURCE_BYTES >> 10
        )));
    }
    let bytes = without_mark(&bytes);
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let valid = &bytes[..error.valid_up_to()];
        let line = valid.iter().filter(|&&byte| byte == b'\n').count() + 1;
        Error::Usage(format!("{shown}: line {line} is not UTF-8"))
    })?;
    Ok(text.to_owned())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;
    use crate::data_dir::temporary_folder;

    #[test]
    fn a_pipe_that_takes_a_files_place_is_not_waited_for() {
        let folder = temporary_folder().unwrap();
        let path = folder.join("secrets");
        let (fifo, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR);
        rustix::fs::mknodat(rustix::fs::CWD, &path, fifo, mode, 0).unwrap();
        assert!(!open_at_once(&path).unwrap().metadata().unwrap().is_file());
        assert!(open_regular(&path).is_err());
        fs::remove_dir_all(folder).unwrap();
    }
}
