//! What the server has to know about a response beyond its head.

use std::sync::Arc;

use super::Upgrade;
use crate::failure::Failure;

/// Notes about a response for the server. They go with the response from where it was made through
/// all stages; a stage that puts another response in its place drops them.
#[derive(Debug, Default)]
pub struct Marks {
    /// The failure that the response reports to the client: the request is logged and counted as
    /// failed.
    pub failure: Option<Failure>,
    /// The name of the upstream that the response comes from: a fault in the response is not a
    /// plugin's.
    pub upstream: Option<Arc<str>>,
    /// Whether the response comes from the cache. It was made earlier then, and keeps its own Date.
    pub is_stored: bool,
    /// The WebSocket that the connection turns into once the response, a 101, is written.
    pub upgrade: Option<Box<Upgrade>>,
}
