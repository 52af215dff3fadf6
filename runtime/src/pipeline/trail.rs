//! What is remembered of a request's way in, for its response's way out.

use super::RateLimit;

/// Who has seen a request, and what there is to say about it.
#[derive(Debug, Default, Clone)]
pub(super) struct Trail {
    /// The middlewares or transformers that have to see the response, as indices into the stages,
    /// in the order of the request.
    pub(super) seen: Vec<usize>,
    /// The one that responded itself, if one did.
    pub(super) responder: Option<usize>,
    /// How the client stands with the rate limiters, if one said.
    pub(super) limit: Option<RateLimit>,
}
