//! Stands in for `deflate.rs` when the feature is off: there is nothing that could inflate.

use super::ProtocolError;

#[derive(Debug)]
pub(super) enum Inflater {}

type Sink<'a> = &'a mut dyn FnMut(&[u8]) -> Result<(), ProtocolError>;

impl Inflater {
    pub(super) fn push(&mut self, _: &[u8], _: Sink<'_>) -> Result<(), ProtocolError> {
        match *self {}
    }

    pub(super) fn end(&mut self, _: Sink<'_>) -> Result<(), ProtocolError> {
        match *self {}
    }
}
