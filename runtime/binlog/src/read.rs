//! Reads files and rings, to their end or for as long as they grow.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::decoder::{Decoder, Event};
use crate::filter::Filter;
use crate::record::Record;
use crate::segment::{Segment, segments};

/// How often a log that is followed is checked for more.
pub const POLL: Duration = Duration::from_millis(250);
/// How many bytes are read at a time.
const PIECE: usize = 16 << 10;

/// Why a log could not be read to its end.
#[derive(Debug)]
#[non_exhaustive]
pub enum ReadError {
    /// A file or folder cannot be read.
    Input {
        /// The path of that file or folder.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The folder holds no log, or the file nothing that a log has.
    NoLog(PathBuf),
    /// The log has a format that this program does not know.
    Foreign {
        /// The path of the log's file.
        path: PathBuf,
        /// The version of its format.
        format: u8,
    },
    /// No record concerns the plugin that the filter names.
    NoPlugin {
        /// The name.
        name: String,
        /// The names of the plugins that records concern, sorted.
        known: Vec<String>,
    },
    /// The records cannot be written out. If the reader of the output has gone, this is
    /// [`io::ErrorKind::BrokenPipe`].
    Output(io::Error),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReadError::Input { path, source } => {
                write!(f, "cannot read {}: {source}", path.display())
            }
            ReadError::NoLog(path) => write!(
                f,
                "{}: there is no log here; give a .zlog file, a folder of them, or a data folder",
                path.display()
            ),
            ReadError::Foreign { path, format } => write!(
                f,
                "{}: its format is version {format}, and this program knows version {}; use a newer one",
                path.display(),
                crate::FORMAT
            ),
            ReadError::NoPlugin { name, known } if known.is_empty() => write!(
                f,
                "the log tells of no plugin yet, and so not of '{name}' (a running daemon writes most \
                 records within ten seconds)"
            ),
            ReadError::NoPlugin { name, known } => write!(
                f,
                "the log tells nothing of a plugin '{name}'; it tells of {}",
                known.join(", ")
            ),
            ReadError::Output(source) => write!(f, "cannot write what was read: {source}"),
        }
    }
}

impl std::error::Error for ReadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ReadError::Input { source, .. } | ReadError::Output(source) => Some(source),
            ReadError::NoLog(_) | ReadError::Foreign { .. } | ReadError::NoPlugin { .. } => None,
        }
    }
}

/// Calls `show` with the records of these files and folders that `filter` accepts, oldest first in
/// each. A folder holds segments, or it is a data folder with such a folder named `log` in it.
/// `complain` is called with a line for each part that is torn or missing.
///
/// With `follow`, which works with one folder, it then waits for more until `show` fails or
/// standard output has no reader left.
///
/// # Errors
///
/// What [`ReadError`] lists: input that cannot be read or is no log, and output that fails.
pub fn read(
    paths: &[PathBuf],
    filter: &Filter,
    follow: bool,
    show: &mut dyn FnMut(&Record<'_>) -> io::Result<()>,
    complain: &mut dyn FnMut(&str),
) -> Result<(), ReadError> {
    if let Some(name) = &filter.plugin {
        let known = plugins(paths, follow)?;
        // A log that is followed may yet tell of its first plugin.
        let may_come = follow && known.is_empty();
        if !known.contains(name) && !may_come {
            return Err(ReadError::NoPlugin {
                name: name.clone(),
                known: known.into_iter().collect(),
            });
        }
    }
    each(paths, filter, follow, show, complain)
}

/// The names of the plugins that records concern. A folder that does not exist yet has none, if it
/// can be waited for.
fn plugins(paths: &[PathBuf], may_wait: bool) -> Result<BTreeSet<String>, ReadError> {
    let mut known = BTreeSet::new();
    let mut take = |record: &Record<'_>| {
        if let Some(name) = record.about()
            && !known.contains(name)
        {
            known.insert(name.to_owned());
        }
        Ok(())
    };
    // What is torn is told by who reads next.
    let read = each(paths, &Filter::default(), false, &mut take, &mut |_| ());
    match read {
        Err(ReadError::Input { .. } | ReadError::NoLog(_)) if may_wait => Ok(BTreeSet::new()),
        read => read.map(|()| known),
    }
}

fn each(
    paths: &[PathBuf],
    filter: &Filter,
    follow: bool,
    show: &mut dyn FnMut(&Record<'_>) -> io::Result<()>,
    complain: &mut dyn FnMut(&str),
) -> Result<(), ReadError> {
    let mut reader = Reader {
        filter,
        show,
        complain,
        piece: vec![0; PIECE],
    };
    for path in paths {
        let inside = path.join("log");
        match std::fs::metadata(path) {
            Ok(about) if !about.is_dir() => reader.file(path)?,
            // A folder that does not exist yet can be waited for.
            Err(error) if !(follow && error.kind() == io::ErrorKind::NotFound) => {
                return Err(input(path, error));
            }
            _ if inside.is_dir() => reader.folder(&inside, follow)?,
            _ => reader.folder(path, follow)?,
        }
    }
    Ok(())
}

struct Reader<'a> {
    filter: &'a Filter,
    show: &'a mut dyn FnMut(&Record<'_>) -> io::Result<()>,
    complain: &'a mut dyn FnMut(&str),
    piece: Vec<u8>,
}

/// A file that is being read.
struct Open<'a> {
    path: &'a Path,
    file: File,
    decoder: Decoder,
    /// Whether it held any valid frame.
    log: bool,
    bytes: u64,
}

impl Reader<'_> {
    fn file(&mut self, path: &Path) -> Result<(), ReadError> {
        let mut open = Open::new(path).map_err(|error| input(path, error))?;
        self.drain(&mut open)?;
        self.finish(&mut open)?;
        if open.bytes > 0 && !open.log {
            return Err(ReadError::NoLog(path.to_owned()));
        }
        Ok(())
    }

    fn folder(&mut self, folder: &Path, follow: bool) -> Result<(), ReadError> {
        let mut after = None;
        loop {
            let Some(segment) = next_segment(folder, after, follow)? else {
                if follow && wait_for_more() {
                    continue;
                }
                return match after {
                    None if !follow => Err(ReadError::NoLog(folder.to_owned())),
                    _ => Ok(()),
                };
            };
            after = Some(segment.number);
            let mut open = match Open::new(&segment.path) {
                Ok(open) => open,
                // The ring has removed the segment meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(input(&segment.path, error)),
            };
            loop {
                // The order matters: if there is a younger segment, this one will not grow any
                // more.
                let last = next_segment(folder, after, follow)?.is_none();
                self.drain(&mut open)?;
                if !(follow && last) {
                    break;
                }
                if !wait_for_more() {
                    return Ok(());
                }
            }
            self.finish(&mut open)?;
        }
    }

    /// Reads and shows what is in the file by now.
    fn drain(&mut self, open: &mut Open<'_>) -> Result<(), ReadError> {
        loop {
            let count = match open.file.read(&mut self.piece) {
                Ok(0) => return Ok(()),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(input(open.path, error)),
            };
            open.bytes += count as u64;
            let piece = std::mem::take(&mut self.piece);
            let done = self.decode(open, Some(&piece[..count]));
            self.piece = piece;
            done?;
        }
    }

    fn finish(&mut self, open: &mut Open<'_>) -> Result<(), ReadError> {
        self.decode(open, None)
    }

    fn decode(&mut self, open: &mut Open<'_>, piece: Option<&[u8]>) -> Result<(), ReadError> {
        let mut foreign = None;
        let shown = open.path.display();
        let mut tell = |event: Event<'_>| {
            open.log |= !matches!(event, Event::Gap(_));
            match event {
                Event::Record(record) if self.filter.shows(&record) => return (self.show)(&record),
                Event::Record(_) | Event::Start(_) => {}
                Event::Gap(gap) => (self.complain)(&format!(
                    "{shown}: {} bytes from byte {} are torn; what they held is lost",
                    gap.bytes, gap.offset
                )),
                Event::Foreign(format) => foreign = Some(format),
            }
            Ok(())
        };
        match piece {
            Some(piece) => open.decoder.push(piece, &mut tell),
            None => open.decoder.finish(&mut tell),
        }
        .map_err(ReadError::Output)?;
        match foreign {
            Some(format) => Err(ReadError::Foreign {
                path: open.path.to_owned(),
                format,
            }),
            None => Ok(()),
        }
    }
}

impl Open<'_> {
    fn new(path: &Path) -> io::Result<Open<'_>> {
        Ok(Open {
            path,
            file: File::open(path)?,
            decoder: Decoder::default(),
            log: false,
            bytes: 0,
        })
    }
}

/// The oldest segment with a number above `after`.
fn next_segment(
    folder: &Path,
    after: Option<u32>,
    follow: bool,
) -> Result<Option<Segment>, ReadError> {
    match segments(folder) {
        Ok(found) => Ok(found
            .into_iter()
            .find(|segment| after.is_none_or(|after| segment.number > after))),
        Err(error) if follow && error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(input(folder, error)),
    }
}

/// Waits for [`POLL`]. Returns `false` at once if standard output has no reader any more.
fn wait_for_more() -> bool {
    let stdout = io::stdout();
    // Even when asked for nothing, poll reports errors, and a pipe without a reader is one.
    let mut wanted = [PollFd::new(&stdout, PollFlags::empty())];
    let limit = Timespec {
        tv_sec: 0,
        tv_nsec: POLL.subsec_nanos().into(),
    };
    match poll(&mut wanted, Some(&limit)) {
        Ok(0) => true,
        Ok(_) => false,
        Err(_) => {
            std::thread::sleep(POLL);
            true
        }
    }
}

fn input(path: &Path, source: io::Error) -> ReadError {
    ReadError::Input {
        path: path.to_owned(),
        source,
    }
}
