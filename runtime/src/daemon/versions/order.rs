//! Which of two versions is the higher one.

use std::cmp::Ordering;

/// The order of two versions (Semantic Versioning 2.0.0, section 11). Those that are none, which
/// nobody can put in order, are all alike.
pub(super) fn compare(one: &str, other: &str) -> Ordering {
    match (Version::read(one), Version::read(other)) {
        (Some(one), Some(other)) => one.cmp(&other),
        _ => Ordering::Equal,
    }
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version<'a> {
    numbers: [u64; 3],
    /// What has one is lower than what has none.
    is_release: bool,
    before: Vec<Identifier<'a>>,
}

/// Numbers are lower than words.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Identifier<'a> {
    Number(u64),
    Word(&'a str),
}

impl<'a> Version<'a> {
    pub(super) fn read(text: &'a str) -> Option<Version<'a>> {
        let (text, _build) = text.split_once('+').unwrap_or((text, ""));
        let (numbers, before) = match text.split_once('-') {
            Some((numbers, before)) => (numbers, Some(before)),
            None => (text, None),
        };
        let mut parts = numbers.split('.').map(|part| part.parse().ok());
        let numbers = [parts.next()??, parts.next()??, parts.next()??];
        let identifiers = before.into_iter().flat_map(|before| before.split('.'));
        parts.next().is_none().then(|| Version {
            numbers,
            is_release: before.is_none(),
            before: identifiers
                .map(|word| {
                    word.parse()
                        .map_or(Identifier::Word(word), Identifier::Number)
                })
                .collect(),
        })
    }
}
