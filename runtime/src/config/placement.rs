//! Where a plugin takes part, and what it is shown there.

use std::str::FromStr;

use http::HeaderName;
use zlayer_bundle::Bodies;

/// The most request headers that may be named as personal for one caching plugin: its key is asked
/// for once more for each that a request has.
pub const PERSONAL_MAX: usize = 16;

/// Where a plugin takes part in the pipeline, and how.
#[derive(Debug, Clone, Default)]
pub struct Placement {
    /// The requests that it takes part in; `None` is all of them.
    pub paths: Option<Vec<PathPattern>>,
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

/// What becomes of a request whose stage trapped, took too long or had no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    /// It goes on as if the stage were not there.
    Open,
    /// It is answered with 503.
    Closed,
}

/// Whether the stages before the handler see a request's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BodyAccess {
    /// If its length is announced and at most 16 KiB, which costs nothing of the memory that
    /// requests share: the client may be a stranger yet. Else it streams past them, and they see an
    /// empty one and `body` = `streamed` in the context.
    #[default]
    Auto,
    /// Always: those beyond the bound for bodies are refused with 413.
    Whole,
    /// Never.
    None,
}

/// A path as it stands, or the beginning of one: `/status`, `/api/*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathPattern {
    text: String,
    is_prefix: bool,
}

impl PathPattern {
    /// Whether a normalised path falls under it. `/api/*` covers `/api` too, and `/*` what is no path
    /// as well: the `*` of `OPTIONS *`.
    pub fn covers(&self, path: &str) -> bool {
        if !self.is_prefix {
            return path == self.text;
        }
        self.text == "/"
            || path.starts_with(&self.text)
            || self.text.strip_suffix('/') == Some(path)
    }

    /// The same, whatever the case of ASCII letters, and with or without a slash at the end: many servers
    /// mind neither.
    pub fn guards(&self, path: &str) -> bool {
        let begins = |start: &str| {
            let begun = path.as_bytes().get(..start.len());
            begun.is_some_and(|begun| begun.eq_ignore_ascii_case(start.as_bytes()))
        };
        if !self.is_prefix {
            let bare = |path| str::strip_suffix(path, '/').unwrap_or(path);
            return bare(path).eq_ignore_ascii_case(bare(&self.text));
        }
        let folder = self.text.strip_suffix('/');
        self.text == "/"
            || begins(&self.text)
            || folder.is_some_and(|folder| path.eq_ignore_ascii_case(folder))
    }
}

impl FromStr for PathPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (path, is_prefix) = match text.strip_suffix('*') {
            Some(prefix) => (prefix, true),
            None => (text, false),
        };
        // Requests are compared in one spelling: a pattern in another would never cover any.
        let is_other = |segment: &str| matches!(segment, "." | "..");
        let is_odd = path.contains("//") || path.split('/').any(is_other);
        if !path.starts_with('/') || path.contains(['*', '?', '#', '%', '\\']) || is_odd {
            return Err(format!(
                "'{text}' is no path pattern; write it decoded, like /status or /api/*"
            ));
        }
        Ok(PathPattern {
            text: path.to_owned(),
            is_prefix,
        })
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;

    #[test]
    fn patterns_cover_a_path_or_all_below_it() {
        for (pattern, covered, other) in [
            ("/a", &["/a"][..], &["/ab", "/"][..]),
            ("/b/*", &["/b", "/b/", "/b/c"], &["/bc", "/", "*"]),
            ("/*", &["/", "/a", "*"], &[]),
        ] {
            let pattern: PathPattern = pattern.parse().unwrap();
            for path in covered {
                assert!(pattern.covers(path), "{pattern:?} {path}");
                let shouted = path.to_ascii_uppercase();
                assert!(
                    pattern.guards(path) && pattern.guards(&shouted),
                    "{pattern:?} {path}"
                );
            }
            for path in other {
                assert!(!pattern.covers(path), "{pattern:?} {path}");
                assert!(!pattern.guards(path), "{pattern:?} {path}");
            }
        }
    }

    #[test]
    fn a_slash_at_the_end_makes_another_path_but_gets_nobody_past_a_guard() {
        for (pattern, other) in [("/a", "/a/"), ("/a/", "/a")] {
            let pattern: PathPattern = pattern.parse().unwrap();
            assert!(!pattern.covers(other) && pattern.guards(other), "{other}");
        }
    }

    #[test]
    fn without_paths_a_placement_covers_all() {
        let mut placement = Placement::default();
        assert!(placement.covers("/a"));
        placement.paths = Some(vec!["/b".parse().unwrap()]);
        assert!(placement.covers("/b") && !placement.covers("/a"));
    }
}
