//! What holds for whatever is said of versions, in the file of those that ran and in manifests. The
//! fuzz targets check it, and so does a test.

use std::cmp::Ordering;

use super::order::{Version, compare};
use super::seen::Seen;

/// Reads `text` as such a file, and puts its words in order.
pub fn versions(text: &str) {
    for line in text.lines() {
        if let Some(seen) = Seen::read(line) {
            assert_eq!(seen.to_string(), line);
        }
        // A manifest holds no control characters, and a name.
        let named = !line.is_empty() && !line.contains(char::is_control);
        if named {
            let seen = Seen::new("0".repeat(64), line, line);
            assert_eq!(Seen::read(&seen.to_string()), Some(seen));
        }
    }
    let words: Vec<&str> = text.split_ascii_whitespace().take(8).collect();
    for one in &words {
        assert_eq!(compare(one, one), Ordering::Equal);
        let is_version = Version::read(one).is_some();
        // What is built of the same sources is no newer, and what comes before a release is older.
        if is_version && !one.contains(['-', '+']) {
            assert_eq!(compare(&format!("{one}+7"), one), Ordering::Equal);
            assert_eq!(compare(&format!("{one}-a"), one), Ordering::Less);
        }
        for other in &words {
            assert_eq!(compare(one, other), compare(other, one).reverse());
            for third in words.iter().filter(|_| is_version) {
                let (first, second) = (compare(one, other), compare(other, third));
                let all_versions = [other, third]
                    .into_iter()
                    .all(|one| Version::read(one).is_some());
                if all_versions && first == second {
                    assert_eq!(compare(one, third), first, "{one}, {other}, {third}");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::mutations;

    #[test]
    fn whatever_is_said_of_versions_they_stand_in_one_order() {
        mutations::each("files", 20_000, |input| {
            super::versions(&String::from_utf8_lossy(input));
        });
    }
}
