//! Which pipeline requests take: it is changed in one step, while requests are served.

use std::sync::{Arc, Mutex};

use super::Pipeline;
use crate::sync;

/// The pipeline that a request takes which begins now. Each goes on to its end in the one that it has begun
/// in.
pub struct Present(Mutex<Arc<Pipeline>>);

impl Present {
    /// Requests take this pipeline.
    pub fn new(pipeline: Arc<Pipeline>) -> Arc<Present> {
        Arc::new(Present(Mutex::new(pipeline)))
    }

    /// The pipeline for a request that begins now.
    pub fn get(&self) -> Arc<Pipeline> {
        Arc::clone(&sync::lock(&self.0))
    }

    /// The same, with what `also` finds at that moment.
    pub fn get_with<T>(&self, also: impl FnOnce() -> T) -> (Arc<Pipeline>, T) {
        let present = sync::lock(&self.0);
        let found = also();
        (Arc::clone(&present), found)
    }

    /// Has requests take `next` from now on, and find what `also` changes. Returns the one that they took before.
    pub fn replace_with(&self, next: Arc<Pipeline>, also: impl FnOnce()) -> Arc<Pipeline> {
        let mut present = sync::lock(&self.0);
        also();
        std::mem::replace(&mut present, next)
    }
}
