//! Bodies, responses and header fields, as all who handle them have them.

mod body_error;
pub(crate) mod fields;
mod incoming;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full};

use crate::failure::Failure;
use crate::memory::Reservation;

pub use body_error::BodyError;
pub use incoming::IncomingBody;
pub(crate) use incoming::{BodySender, Demand, Piece};

/// A body on its way out: of a response to a client, or of a request to an upstream.
pub type Body = UnsyncBoxBody<Bytes, BodyError>;

/// A response on its way out.
pub type Response = http::Response<Body>;

/// A body that is here already. It is charged to `held` until it is dropped.
pub fn whole(data: impl Into<Bytes>, held: Option<Reservation>) -> Body {
    Full::new(data.into())
        .map_err(move |never| {
            // Held as long as the body is.
            let _ = &held;
            match never {}
        })
        .boxed_unsync()
}

/// A status that a response may end with: 1xx are not final, and RFC 9110 section 15 knows none from
/// 600.
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

/// No body.
pub fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}
