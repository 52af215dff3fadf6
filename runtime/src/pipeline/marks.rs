//! What the server has to know of a response that its head does not say.

use std::sync::Arc;

use super::Upgrade;
use crate::failure::Failure;

/// Marks of a response. They go with it from where it was made to the server, past all stages; a stage
/// that puts another response in its place drops them.
#[derive(Debug, Default)]
pub struct Marks {
    /// The response tells the client of this failure: the request is logged and counted as failed.
    pub failure: Option<Failure>,
    /// The upstream that it comes from: what is wrong with it is no plugin's doing.
    pub upstream: Option<Arc<str>>,
    /// It comes from the cache: it was made earlier, and keeps the Date that it has.
    pub is_stored: bool,
    /// What the connection turns into when it is out. It is a 101 then.
    pub upgrade: Option<Box<Upgrade>>,
}
