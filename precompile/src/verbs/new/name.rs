//! What a plugin may be called.

use std::str::FromStr;

/// The longest name in bytes. It becomes the name of files and of a package.
const MOST_BYTES: usize = 64;

/// Words that cargo takes for no package, Rust's own and its libraries' names, and what the plugin
/// depends on.
const TAKEN: &str = "abstract alloc as async await become box break const continue core crate do dyn else \
    enum extern false final fn for gen if impl in let loop macro match mod move mut override \
    priv proc-macro pub ref return self static std struct super test trait true try type \
    typeof union unsafe unsized use virtual where while wit-bindgen yield zlayer-plugin";

/// The name of a new plugin: words of small letters and digits, with single hyphens between them, the
/// first of which is a letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Name(String);

impl Name {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The name as cargo writes it in a file's.
    pub(crate) fn of_file(&self) -> String {
        self.0.replace('-', "_")
    }
}

impl FromStr for Name {
    type Err = String;

    fn from_str(text: &str) -> Result<Name, String> {
        let is_word = |word: &str| {
            !word.is_empty()
                && word
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        };
        let shown = text.escape_debug();
        if !text.starts_with(|first: char| first.is_ascii_lowercase())
            || !text.split('-').all(is_word)
        {
            return Err(format!(
                "'{shown}' is no name for a plugin: take words of small letters and digits with single \
                 hyphens between them, a letter first, such as my-plugin"
            ));
        }
        if text.len() > MOST_BYTES {
            return Err(format!("a plugin's name has at most {MOST_BYTES} letters"));
        }
        if TAKEN.split(' ').any(|word| word == text) {
            return Err(format!(
                "'{shown}' is a word of Rust or the name of another package: take one more word, such as \
                 {text}-plugin"
            ));
        }
        Ok(Name(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_words_with_hyphens() {
        for name in ["a", "my-plugin", "x2-y3", &"a".repeat(MOST_BYTES)] {
            assert!(name.parse::<Name>().is_ok(), "{name}");
        }
        for name in [
            "",
            "-",
            "a-",
            "-a",
            "a--b",
            "A",
            "2a",
            "a_b",
            "a.b",
            "a/b",
            "../a",
            "é",
            "a b",
            "a\n",
            &"a".repeat(MOST_BYTES + 1),
            "fn",
            "test",
            "yield",
            "zlayer-plugin",
        ] {
            assert!(name.parse::<Name>().is_err(), "{name}");
        }
    }
}
