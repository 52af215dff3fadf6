//! The ring's files on flash: the one that is being written and the older ones, which make room.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use zlayer_binlog::{Encoder, segment_name, segments};

use super::{RingLimits, thinning};

/// How many names are tried for a new segment if other files have them already.
const NAMES_TRIED: usize = 16;

/// The folder of a ring, and its youngest segment.
#[derive(Debug)]
pub(super) struct Files {
    folder: PathBuf,
    limits: RingLimits,
    /// The number of the youngest segment that this process began.
    number: u32,
    open: Option<Arc<File>>,
    /// Bytes in the open segment.
    written: usize,
    /// Whether the segment's name in the folder has been synced, so that it survives a power cut.
    known: bool,
}

/// What has to be synced: see [`Files::unsynced`].
#[derive(Debug)]
pub(super) struct Sync {
    file: Arc<File>,
    folder: Option<PathBuf>,
}

impl Files {
    pub(super) fn new(folder: PathBuf, limits: RingLimits) -> Files {
        Files {
            folder,
            limits,
            number: 0,
            open: None,
            written: 0,
            known: false,
        }
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether the open segment has room for `bytes` more bytes.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        self.open.is_none() || self.written + bytes <= self.limits.segment_bytes
    }

    /// Closes the open segment. The next write begins a new one.
    pub(super) fn end_segment(&mut self) {
        self.open = None;
    }

    /// Writes the buffer and removes from it what was written, even if an error cuts the write
    /// short: a later call goes on at that very byte, so that a full disk tears no record.
    pub(super) fn write(&mut self, encoder: &mut Encoder, buffer: &mut Vec<u8>) -> io::Result<()> {
        let file = match &self.open {
            Some(file) => Arc::clone(file),
            None => self.begin_segment(encoder, buffer)?,
        };
        while !buffer.is_empty() {
            match (&*file).write(buffer) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    buffer.drain(..count);
                    self.written += count;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Makes room for a new segment, and opens it. A segment of an earlier run is never
    /// written to again, because its end may be torn.
    fn begin_segment(
        &mut self,
        encoder: &mut Encoder,
        buffer: &mut Vec<u8>,
    ) -> io::Result<Arc<File>> {
        let mut make = DirBuilder::new();
        make.recursive(true).mode(0o700).create(&self.folder)?;
        let found = segments(&self.folder)?;
        let youngest = found.last().map_or(0, |segment| segment.number);
        let RingLimits {
            ring_bytes,
            segment_bytes,
            segments: count,
            ..
        } = self.limits;
        let most = ring_bytes.saturating_sub(segment_bytes as u64);
        thinning::make_room(&self.folder, found, most, count.saturating_sub(1))?;
        let (number, file) = self.create(youngest.max(self.number))?;
        let file = Arc::new(file);
        buffer.splice(0..0, encoder.start(number));
        self.open = Some(Arc::clone(&file));
        (self.number, self.written, self.known) = (number, 0, false);
        Ok(file)
    }

    /// Creates the first file after number `after` whose name is free.
    fn create(&self, after: u32) -> io::Result<(u32, File)> {
        let mut number = after;
        for _ in 0..NAMES_TRIED {
            number = number.saturating_add(1);
            let made = OpenOptions::new()
                .append(true)
                .create_new(true)
                .mode(0o600)
                .open(self.folder.join(segment_name(number)));
            match made {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                made => return Ok((number, made?)),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    /// What must be synced so that all that was written survives a power cut.
    pub(super) fn unsynced(&mut self) -> Option<Sync> {
        let file = Arc::clone(self.open.as_ref()?);
        let known = std::mem::replace(&mut self.known, true);
        let folder = (!known).then(|| self.folder.clone());
        Some(Sync { file, folder })
    }
}

impl Sync {
    /// Syncs the file, and the folder if the file is new in it.
    pub(super) fn run(&self) -> io::Result<()> {
        self.file.sync_data()?;
        match &self.folder {
            Some(folder) => File::open(folder)?.sync_all(),
            None => Ok(()),
        }
    }
}
