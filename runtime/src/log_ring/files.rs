//! The ring's files on flash: the one that is being written, and what is asked of the older ones.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use zlayer_binlog::{Encoder, segment_name, segments};

use super::RingLimits;
use super::room::Room;

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
    /// Segments that ended before they were synced, which somebody waits for.
    ended: Vec<Arc<File>>,
    /// How many segments have begun since room was made.
    begun: u32,
}

/// When so many segments have begun before room was made, there is room for the first, and the
/// second is full.
const AHEAD: u32 = 3;

/// What has to be synced: see [`Files::unsynced`].
#[derive(Debug)]
pub(super) struct Sync {
    files: Vec<Arc<File>>,
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
            ended: Vec::new(),
            begun: 0,
        }
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether the open segment has room for `bytes` more bytes.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        self.open.is_none() || self.written + bytes <= self.limits.segment_bytes
    }

    /// Closes the open segment. The next write begins a new one. Where somebody waits until all is
    /// synced, this one will be with the others.
    pub(super) fn end_segment(&mut self, is_awaited: bool) {
        let ended = self.open.take();
        self.ended.extend(ended.filter(|_| is_awaited));
    }

    /// How many segments have begun since room was made.
    pub(super) fn begun(&self) -> u32 {
        self.begun
    }

    /// Whether so many segments have begun since room was made that there should be no more.
    pub(super) fn is_behind(&self) -> bool {
        self.begun >= AHEAD
    }

    /// The room that has to be made for what has begun.
    pub(super) fn room(&self) -> Room {
        let RingLimits {
            ring_bytes,
            segment_bytes,
            segments,
            ..
        } = self.limits;
        Room {
            folder: self.folder.clone(),
            before: self.number + u32::from(self.open.is_none()),
            most: ring_bytes.saturating_sub(segment_bytes as u64),
            count: segments.saturating_sub(1),
            segment_bytes: segment_bytes as u64,
            begun: self.begun,
        }
    }

    /// Records that room was made for so many segments.
    pub(super) fn has_room_for(&mut self, begun: u32) {
        self.begun = self.begun.saturating_sub(begun);
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

    /// Opens a new segment. One of an earlier run is never written to again, because its end may be
    /// torn.
    fn begin_segment(
        &mut self,
        encoder: &mut Encoder,
        buffer: &mut Vec<u8>,
    ) -> io::Result<Arc<File>> {
        let mut make = DirBuilder::new();
        make.recursive(true).mode(0o700).create(&self.folder)?;
        let youngest = match self.number {
            0 => segments(&self.folder)?.last().map_or(0, |one| one.number),
            number => number,
        };
        let (number, file) = self.create(youngest)?;
        let file = Arc::new(file);
        buffer.splice(0..0, encoder.start(number));
        self.open = Some(Arc::clone(&file));
        (self.number, self.written, self.known) = (number, 0, false);
        self.begun += 1;
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
        let mut files = std::mem::take(&mut self.ended);
        files.extend(self.open.clone());
        if files.is_empty() {
            return None;
        }
        let known = std::mem::replace(&mut self.known, true);
        let folder = (!known).then(|| self.folder.clone());
        Some(Sync { files, folder })
    }
}

impl Sync {
    /// How many files it syncs.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.files.len()
    }

    /// Syncs the files, and the folder if one is new in it.
    pub(super) fn run(&self) -> io::Result<()> {
        for file in &self.files {
            file.sync_data()?;
        }
        match &self.folder {
            Some(folder) => File::open(folder)?.sync_all(),
            None => Ok(()),
        }
    }
}
