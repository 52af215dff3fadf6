//! Which paths a plugin takes part for.

use std::fmt;
use std::str::FromStr;

use crate::as_text::as_text;

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

impl PathPattern {
    /// A path with all below it, by segments: `/api`, `/api/` and `/api/*` say the same.
    ///
    /// # Errors
    ///
    /// It is no path.
    pub fn folder(text: &str) -> Result<PathPattern, String> {
        let path = { text.strip_suffix("/*") }.or(text.strip_suffix('/'));
        let path = path.unwrap_or(text);
        let pattern = { format!("{path}/*").parse().ok() }.filter(|_| text.starts_with('/'));
        pattern.ok_or_else(|| {
            format!(
                "'{}' is no path; write it decoded, like /api: it stands for all below it too",
                text.escape_debug()
            )
        })
    }

    /// How much it says: of two that cover a path, the longer one more.
    pub fn rank(&self) -> usize {
        self.text.len()
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

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        f.write_str(if self.is_prefix { "*" } else { "" })
    }
}

as_text!(PathPattern);

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
    fn a_folder_is_a_path_with_all_below_it() {
        for (text, shown) in [
            ("/api", "/api/*"),
            ("/api/", "/api/*"),
            ("/api/*", "/api/*"),
            ("/", "/*"),
            ("/*", "/*"),
            ("/a/b", "/a/b/*"),
        ] {
            let folder = PathPattern::folder(text).unwrap();
            assert_eq!(folder.to_string(), shown, "{text}");
        }
        let api = PathPattern::folder("/api").unwrap();
        assert!(api.covers("/api") && api.covers("/api/a") && !api.covers("/apis"));
        assert!(api.rank() > PathPattern::folder("/").unwrap().rank());
        for text in [
            "", "api", "*", "/a*", "/a//b", "/../a", "/a?b", "/%61", "//",
        ] {
            assert!(PathPattern::folder(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_slash_at_the_end_makes_another_path_but_gets_nobody_past_a_guard() {
        for (pattern, other) in [("/a", "/a/"), ("/a/", "/a")] {
            let pattern: PathPattern = pattern.parse().unwrap();
            assert!(!pattern.covers(other) && pattern.guards(other), "{other}");
        }
    }
}
