//! The one reading of a path that chooses a handler.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// A request's path in the one spelling that patterns are compared with: percent signs decoded, `.`
/// and `..` resolved, slashes not doubled (RFC 3986 section 6.2.2).
///
/// It is used for the comparison alone; plugins see the path as it came. Stages that guard a handler
/// go by all readings of a path, see [`super::readings`].
pub(super) fn normalised(path: &str) -> Cow<'_, str> {
    if !path.contains(['%', '.', '\\']) && !path.contains("//") {
        return Cow::Borrowed(path);
    }
    // Percent signs are decoded once. Bytes that are not Unicode then become U+FFFD, and a sign
    // without two digits stays.
    let decoded = percent_decode_str(path).decode_utf8_lossy();
    let mut segments: Vec<&str> = Vec::new();
    let mut is_folder = false;
    for segment in decoded.split(['/', '\\']) {
        is_folder = matches!(segment, "" | "." | "..");
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()),
            _ => segments.push(segment),
        }
    }
    let mut normal = String::with_capacity(decoded.len() + 1);
    for segment in &segments {
        normal.push('/');
        normal.push_str(segment);
    }
    if is_folder || segments.is_empty() {
        normal.push('/');
    }
    Cow::Owned(normal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_a_path_is_compared_as_one() {
        for (path, normal) in [
            ("/", "/"),
            ("/admin", "/admin"),
            ("/admin/", "/admin/"),
            ("/%61dmin", "/admin"),
            ("/x/../admin", "/admin"),
            ("/x/%2e%2E/admin", "/admin"),
            ("//admin", "/admin"),
            ("/./admin/.", "/admin/"),
            ("/..", "/"),
            ("/a/b/..", "/a/"),
            ("/a%2Fb", "/a/b"),
            ("/a\\b", "/a/b"),
            ("/100%", "/100%"),
            ("/%zz", "/%zz"),
            ("/%2561", "/%61"),
            ("/%ff", "/\u{fffd}"),
            ("*", "*"),
        ] {
            assert_eq!(normalised(path), normal, "{path}");
        }
    }
}
