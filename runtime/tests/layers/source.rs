//! The text of one file, as far as the layers want to know it: which paths its code names.

/// A path such as `crate::wire::Socket`, segment by segment.
pub(crate) type Path = Vec<String>;

/// What a file's code names. Comments, string literals and unit tests are not looked at: tests may
/// reach for whatever helps them.
pub(crate) struct Source {
    code: String,
    tokens: Vec<String>,
}

impl Source {
    pub(crate) fn new(text: &str) -> Source {
        let code = without_tests(&code_of(text));
        let tokens = tokens(&code);
        Source { code, tokens }
    }

    /// Whether the code holds `words`, which begin with a word's beginning there.
    pub(crate) fn holds(&self, words: &str) -> bool {
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        self.code.match_indices(words).any(|(at, _)| {
            let goes_on = self.code[..at].ends_with(is_word) && words.starts_with(is_word);
            !goes_on
        })
    }

    /// The paths of all `use` declarations, groups written out.
    pub(crate) fn uses(&self) -> Vec<Path> {
        let mut found = Vec::new();
        let mut at = 0;
        while at < self.tokens.len() {
            // `use<>` behind a type says what it captures.
            if self.tokens[at] == "use" && !self.is(at + 1, "<") {
                at = self.tree(at + 1, &Path::new(), &mut found);
            } else {
                at += 1;
            }
        }
        found
    }

    /// Paths that begin at the crate's root or at a parent module, wherever they stand.
    pub(crate) fn inline_paths(&self) -> Vec<Path> {
        let mut found = Vec::new();
        let mut at = 0;
        while at < self.tokens.len() {
            let start = at;
            at += 1;
            if !["crate", "super", "zlayer_runtime"].contains(&self.tokens[start].as_str()) {
                continue;
            }
            let mut path = vec![self.tokens[start].clone()];
            while self.is(at, "::") && self.tokens.get(at + 1).is_some_and(|next| is_name(next)) {
                path.push(self.tokens[at + 1].clone());
                at += 2;
            }
            if path.len() > 1 {
                found.push(path);
            }
        }
        found
    }

    fn is(&self, at: usize, token: &str) -> bool {
        self.tokens.get(at).is_some_and(|found| found == token)
    }

    /// Reads a use tree that begins at a token; answers where it ends.
    fn tree(&self, mut at: usize, before: &Path, found: &mut Vec<Path>) -> usize {
        let mut path = before.clone();
        while let Some(token) = self.tokens.get(at) {
            match token.as_str() {
                "::" => at += 1,
                "{" => {
                    at += 1;
                    while !self.is(at, "}") {
                        at = self.tree(at, &path, found);
                        if !self.is(at, ",") {
                            break;
                        }
                        at += 1;
                    }
                    return at + 1;
                }
                "as" => at += 2,
                "," | "}" | ";" => break,
                // `a::{self}` is `a`.
                "self" if !path.is_empty() => at += 1,
                name => {
                    path.push(name.to_owned());
                    at += 1;
                }
            }
        }
        found.push(path);
        at
    }
}

fn is_name(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// The code without its module of unit tests.
fn without_tests(code: &str) -> String {
    const TESTS: &str = "mod tests {";
    let starts = code.match_indices("#[cfg(test)]").map(|(at, _)| at);
    let mut inline = starts.filter(|at| {
        let rest = &code[*at..];
        // Further attributes may stand between, other items may not.
        rest.find(TESTS)
            .is_some_and(|module| !rest[..module].contains([';', '{', '}']))
    });
    let Some(start) = inline.next() else {
        return code.to_owned();
    };
    let mut depth = 0;
    let end = code[start..].find(|c| {
        depth += match c {
            '{' => 1,
            '}' => -1,
            _ => 0,
        };
        c == '}' && depth == 0
    });
    let behind = end.map_or("", |end| &code[start + end + 1..]);
    format!("{}{behind}", &code[..start])
}

fn tokens(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = code;
    while let Some(first) = rest.chars().next() {
        let name = rest.find(|c: char| !(c.is_alphanumeric() || c == '_'));
        let length = match first {
            c if c.is_alphanumeric() || c == '_' => name.unwrap_or(rest.len()),
            ':' if rest.starts_with("::") => 2,
            c => c.len_utf8(),
        };
        if !first.is_whitespace() {
            found.push(rest[..length].to_owned());
        }
        rest = &rest[length..];
    }
    found
}

/// The code alone: comments go, and what stands in string and character literals.
fn code_of(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |at| at + 2)
        } else if first == '"' {
            string_end(rest)
        } else if let Some(hashes) = raw_string(rest) {
            let end = format!("\"{hashes}");
            let from = rest.find('"').map_or(rest.len(), |at| at + 1);
            rest[from..]
                .find(&end)
                .map_or(rest.len(), |at| from + at + end.len())
        } else if first == '\'' {
            character_end(rest)
        } else {
            0
        };
        if skipped > 0 {
            code.push(' ');
            rest = &rest[skipped..];
            continue;
        }
        // A name is taken whole: the `r` of `str"` begins no raw string.
        let name = rest.find(|c: char| !(c.is_alphanumeric() || c == '_'));
        let length = name.unwrap_or(rest.len()).max(first.len_utf8());
        code.push_str(&rest[..length]);
        rest = &rest[length..];
    }
    code
}

/// The `#` signs of a raw string that begins here.
fn raw_string(text: &str) -> Option<&str> {
    let text = text.strip_prefix('b').unwrap_or(text).strip_prefix('r')?;
    let hashes = &text[..text.find(|c| c != '#')?];
    text[hashes.len()..].starts_with('"').then_some(hashes)
}

/// Where a string that begins with a quote ends.
fn string_end(text: &str) -> usize {
    let mut characters = text.char_indices().skip(1);
    while let Some((at, c)) = characters.next() {
        match c {
            '\\' => drop(characters.next()),
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// Where a character literal ends; 1 for the quote of a lifetime.
fn character_end(text: &str) -> usize {
    let mut characters = text.char_indices().skip(1);
    match characters.next() {
        Some((_, '\\')) => text[2..].find('\'').map_or(1, |at| at + 3),
        Some(_) => match characters.next() {
            Some((at, '\'')) => at + 1,
            _ => 1,
        },
        None => 1,
    }
}
