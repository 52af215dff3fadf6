//! Bodies, responses and header fields, in the types that all layers share.

mod body_error;
mod client;
mod endless;
pub(crate) mod fields;
#[cfg(test)]
pub mod fuzz;
mod incoming;
mod interims;
mod spelling;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full};

use crate::failure::Failure;
use crate::memory::Reservation;

pub use body_error::BodyError;
pub use client::{Client, Scheme, TlsSession};
pub(crate) use endless::{begins_with, elements, endless, wants_events};
pub use incoming::IncomingBody;
pub(crate) use incoming::{BodySender, Demand, Piece};
pub use interims::Interims;
pub(crate) use spelling::Spelled;
pub use spelling::Spellings;

/// A body on its way out: of a response to a client, or of a request to an upstream.
pub type Body = UnsyncBoxBody<Bytes, BodyError>;

/// A response on its way out.
pub type Response = http::Response<Body>;

/// Makes a body of data that is complete. The memory in `held` stays reserved until the body is
/// dropped.
pub fn whole(data: impl Into<Bytes>, held: Option<Reservation>) -> Body {
    Full::new(data.into())
        .map_err(move |never| {
            // Moved into the body, and so released with it.
            let _ = &held;
            match never {}
        })
        .boxed_unsync()
}

/// Checks that a status can be that of a final response: 1xx are interim, and RFC 9110 section 15
/// has none from 600.
///
/// # Errors
///
/// [`Failure::BadResponse`] for any other.
pub fn final_status(status: u16) -> Result<http::StatusCode, Failure> {
    let known = http::StatusCode::from_u16(status).ok();
    known
        .filter(|_| (200..600).contains(&status))
        .ok_or_else(|| Failure::BadResponse(format!("status {status}")))
}

/// Makes an empty body.
pub fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}
