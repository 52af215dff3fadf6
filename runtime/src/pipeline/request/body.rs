//! The body of a request: still being received, or read to its end.

use bytes::Bytes;
use http_body::Body as _;

use crate::memory::Reservation;
use crate::message::IncomingBody;

/// The body of a request, in one of three states.
///
/// It begins as `Streamed`. When a stage takes whole bodies it is read, which makes it `Whole`.
/// From then on it is either that or, while a stage is called that must not see it, `Hidden`.
/// Taking it out leaves an empty `Streamed` behind.
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
    /// Hides a whole body from the next stage.
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

    /// The same, as a mutable reference.
    pub(super) fn whole_mut(&mut self) -> Option<&mut WholeBody> {
        match self {
            RequestBody::Streamed(_) => None,
            RequestBody::Whole(whole) | RequestBody::Hidden(whole) => Some(whole),
        }
    }

    /// The body for the request's record: none unless it is whole and not hidden.
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

    /// Whether nobody has asked for any of it yet.
    pub(super) fn is_untouched(&self) -> bool {
        match self {
            RequestBody::Streamed(body) => body.is_untouched(),
            RequestBody::Whole(_) | RequestBody::Hidden(_) => false,
        }
    }

    /// Its length in bytes, where that is known.
    pub(super) fn length(&self) -> Option<u64> {
        match self {
            RequestBody::Streamed(body) => body.size_hint().exact(),
            RequestBody::Whole(whole) | RequestBody::Hidden(whole) => Some(whole.data.len() as u64),
        }
    }

    /// Takes the body out, and leaves an empty one.
    pub(super) fn take(&mut self) -> RequestBody {
        std::mem::replace(self, RequestBody::Streamed(IncomingBody::default()))
    }

    /// Converts the body to a stream of pieces.
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
