//! A message that is still coming.

use super::utf8::Utf8Check;
use super::{Kind, Message, ProtocolError};

/// Asked before a message's memory grows to so many bytes in all.
pub(super) type Room<'a> = &'a mut dyn FnMut(usize) -> bool;

/// Capacity at first; most messages fit.
const FIRST: usize = 256;

/// What has come of a message.
#[derive(Debug)]
pub(super) struct Assembly {
    kind: Kind,
    data: Vec<u8>,
    utf8: Utf8Check,
    /// Frames of it that held nothing.
    pub(super) empty_frames: usize,
    /// Bytes of its frames, as they came.
    pub(super) on_the_wire: u64,
}

impl Assembly {
    pub(super) fn new(kind: Kind) -> Self {
        Self {
            kind,
            data: Vec::new(),
            utf8: Utf8Check::default(),
            empty_frames: 0,
            on_the_wire: 0,
        }
    }

    /// Whether `more` bytes fit.
    pub(super) fn fits(&self, more: u64, limit: usize) -> bool {
        more <= (limit - self.data.len()) as u64
    }

    /// Takes the next piece of the payload.
    pub(super) fn push(
        &mut self,
        piece: &[u8],
        limit: usize,
        room: Room<'_>,
    ) -> Result<(), ProtocolError> {
        if !self.fits(piece.len() as u64, limit) {
            return Err(ProtocolError::MessageTooLong);
        }
        if self.kind == Kind::Text {
            self.utf8.push(piece)?;
        }
        let length = self.data.len() + piece.len();
        if length > self.data.capacity() {
            // What is announced costs nothing until it comes.
            let capacity = length.max(2 * self.data.capacity()).max(FIRST).min(limit);
            if !room(capacity) {
                return Err(ProtocolError::NoRoom);
            }
            let more = capacity - self.data.len();
            let reserved = self.data.try_reserve_exact(more);
            reserved.map_err(|_| ProtocolError::NoRoom)?;
        }
        self.data.extend_from_slice(piece);
        Ok(())
    }

    /// All has come.
    pub(super) fn end(mut self) -> Result<Message, ProtocolError> {
        self.utf8.end()?;
        let Self { kind, data, .. } = self;
        Ok(Message { kind, data })
    }
}
