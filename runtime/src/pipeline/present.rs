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

    /// Has requests take `next` from now on. Returns the one that they took before.
    pub fn replace(&self, next: Arc<Pipeline>) -> Arc<Pipeline> {
        std::mem::replace(&mut *sync::lock(&self.0), next)
    }
}
