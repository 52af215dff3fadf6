//! Where a plugin takes part, and what it is shown there.

use http::HeaderName;
use zlayer_bundle::{Bodies, BodyAccess, Endpoint, OnFailure, PathPattern};

/// The most request headers that may be named as personal for one caching plugin: its key is asked
/// for once more for each that a request has.
pub const PERSONAL_MAX: usize = 16;

/// Where a plugin takes part in the pipeline, and how.
#[derive(Debug, Clone, Default)]
pub struct Placement {
    /// The requests that it takes part in; `None` is all of them.
    pub paths: Option<Vec<PathPattern>>,
    /// Where it is reached, if it answers requests; empty is everywhere.
    pub endpoints: Vec<Endpoint>,
    /// It takes part in requests for these handlers alone; `None` is all of them.
    pub services: Option<Vec<String>>,
    /// What becomes of a request when it fails as a stage; `None` is what the stage's role asks for.
    pub on_failure: Option<OnFailure>,
    /// Which bodies its transformer is called for; `None` is what its manifest says, or both.
    pub bodies: Option<Bodies>,
    /// Whether its authenticator, rate limiter and router see bodies.
    pub request_body: BodyAccess,
    /// Request headers that tell clients apart, as `Cookie` does: responses to requests with them
    /// are stored only where the plugin's key or vary depends on them, or where they are public. At
    /// most [`PERSONAL_MAX`].
    pub personal_headers: Vec<HeaderName>,
}

impl Placement {
    /// Whether its paths cover a normalised path.
    pub fn covers(&self, path: &str) -> bool {
        let any = |paths: &Vec<PathPattern>| paths.iter().any(|pattern| pattern.covers(path));
        self.paths.as_ref().is_none_or(any)
    }

    /// Whether its paths cover this reading of a path for somebody who may not tell `A` from `a`.
    pub fn guards(&self, path: &str) -> bool {
        let any = |paths: &Vec<PathPattern>| paths.iter().any(|pattern| pattern.guards(path));
        self.paths.as_ref().is_none_or(any)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;

    #[test]
    fn without_paths_a_placement_covers_all() {
        let mut placement = Placement::default();
        assert!(placement.covers("/a"));
        placement.paths = Some(vec!["/b".parse().unwrap()]);
        assert!(placement.covers("/b") && !placement.covers("/a"));
    }
}
