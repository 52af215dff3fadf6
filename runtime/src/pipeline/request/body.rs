//! The body of a request: still on its way, or here as a whole.

use bytes::Bytes;
use http_body::Body as _;

use crate::memory::Reservation;
use crate::message::IncomingBody;

/// The body of a request, in one of three states.
///
/// It begins as `Streamed`. A stage that takes whole bodies has it read, which makes it `Whole`, and
/// from then on it is either that or, while a stage is asked that is not to see it, `Hidden`.
/// Whoever takes it out leaves an empty `Streamed` behind.
pub(super) enum RequestBody {
    /// The client still sends it. The body of a request that has none is an empty one.
    Streamed(IncomingBody),
    /// It was read to its end, and the record that stages are shown holds it.
    Whole(WholeBody),
    /// It was read to its end, and the record that stages are shown holds an empty one instead.
    Hidden(WholeBody),
}

/// A body that was read to its end.
pub(super) struct WholeBody {
    pub(super) data: Vec<u8>,
    /// The memory that `data` is charged to.
    pub(super) held: Option<Reservation>,
}

impl RequestBody {
    /// Takes a whole body out of a stage's sight.
    pub(super) fn hide(&mut self) {
        *self = match self.take() {
            RequestBody::Whole(whole) => RequestBody::Hidden(whole),
            other => other,
        };
    }

    /// Lets stages see a whole body again.
    pub(super) fn show(&mut self) {
        *self = match self.take() {
            RequestBody::Hidden(whole) => RequestBody::Whole(whole),
            other => other,
        };
    }

    /// The body, if it was read to its end, be it hidden or not.
    pub(super) fn whole(&self) -> Option<&WholeBody> {
        match self {
            RequestBody::Streamed(_) => None,
            RequestBody::Whole(whole) | RequestBody::Hidden(whole) => Some(whole),
        }
    }

    /// The same, to be changed.
    pub(super) fn whole_mut(&mut self) -> Option<&mut WholeBody> {
        match self {
            RequestBody::Streamed(_) => None,
            RequestBody::Whole(whole) | RequestBody::Hidden(whole) => Some(whole),
        }
    }

    /// What the record of the request shows of it: nothing, unless it is whole and not hidden.
    pub(super) fn shown(&mut self) -> Option<&mut Vec<u8>> {
        match self {
            RequestBody::Whole(whole) => Some(&mut whole.data),
            RequestBody::Streamed(_) | RequestBody::Hidden(_) => None,
        }
    }

    /// Whether it is known to have no bytes.
    pub(super) fn is_empty(&self) -> bool {
        match self {
            RequestBody::Streamed(body) => body.is_end_stream(),
            RequestBody::Whole(whole) | RequestBody::Hidden(whole) => whole.data.is_empty(),
        }
    }

    /// Its length in bytes, where that is known.
    pub(super) fn length(&self) -> Option<u64> {
        match self {
            RequestBody::Streamed(body) => body.size_hint().exact(),
            RequestBody::Whole(whole) | RequestBody::Hidden(whole) => Some(whole.data.len() as u64),
        }
    }

    /// Takes it out, and leaves an empty one.
    pub(super) fn take(&mut self) -> RequestBody {
        std::mem::replace(self, RequestBody::Streamed(IncomingBody::default()))
    }

    /// The body for whoever reads it piece by piece.
    pub(super) fn into_stream(self) -> IncomingBody {
        match self {
            RequestBody::Streamed(body) => body,
            RequestBody::Whole(WholeBody { data, held })
            | RequestBody::Hidden(WholeBody { data, held }) => {
                IncomingBody::whole(Bytes::from(data), held)
            }
        }
    }
}
