//! The word that somebody meant, or left out: for both programs' command lines.

/// The one of these words that is nearest to `word`, if it is near enough to be meant: one letter
/// wrong for every three, at least one and at most three, or its parts in another order.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let most = (word.chars().count() / 3).clamp(1, 3);
    let known: Vec<&str> = known.into_iter().collect();
    // `--max-memory` is `--memory-max`.
    let parts = |word: &'_ str| -> Vec<String> {
        let parts = word.split(['-', '_']).filter(|part| !part.is_empty());
        let mut parts: Vec<String> = parts.map(str::to_owned).collect();
        parts.sort_unstable();
        parts
    };
    let own = parts(word);
    if let Some(turned) = known.iter().find(|known| parts(known) == own) {
        return Some(turned);
    }
    let known = known.into_iter();
    let distances = known.map(|known| (distance(word, known), known));
    let (distance, known) = distances.min_by_key(|(distance, _)| *distance)?;
    (distance <= most).then_some(known)
}

/// The flags in a help text: what begins a line there with two dashes, behind a short form or none.
pub fn flags_in(help: &str) -> impl Iterator<Item = &str> {
    help.lines().filter_map(|line| {
        let first = |text: &'_ str| -> Option<usize> {
            text.find(|c: char| c != '-' && !c.is_ascii_alphanumeric())
        };
        let line = line.strip_prefix("  ")?;
        let line = match line.split_once(", ") {
            Some((short, rest)) if short.len() == 2 && short.starts_with('-') => rest,
            _ => line,
        };
        let flag = &line[..first(line).unwrap_or(line.len())];
        (flag.len() > 2 && flag.starts_with("--")).then_some(flag)
    })
}

/// In one line, what argh says on several where something is missing; `None` of what else it says.
pub fn missing(said: &str) -> Option<String> {
    let said = said.trim_end();
    if let Some(flag) = said.strip_prefix("No value provided for option '") {
        return Some(format!("{} wants a value", flag.trim_end_matches("'.")));
    }
    let (_, names) = said.split_once(" not provided:\n")?;
    let names: Vec<_> = names.split_whitespace().collect();
    let verb = if names.len() == 1 { "is" } else { "are" };
    Some(format!("{} {verb} missing", names.join(", ")))
}

/// What is wrong with a command line that has an empty word; `None` where it has none. Nothing is meant by one: it comes of
/// a variable of the shell that is not set, and as a path it would be taken for the present folder.
pub fn empty_word(words: &[&str]) -> Option<String> {
    let place = words.iter().position(|word| word.is_empty())?;
    let before = place.checked_sub(1).map(|before| words[before]);
    let why = "a variable of the shell that is not set is an empty word";
    Some(match before.filter(|before| before.starts_with("--")) {
        Some(flag) => format!(
            "the word behind {flag} is empty; say what is meant, or leave the flag out ({why})"
        ),
        None => format!("word {} of the command line is empty ({why})", place + 1),
    })
}

/// How many letters have to be put in, taken out, exchanged, or change places with their neighbours
/// (Damerau and Levenshtein, without two changes at one place).
fn distance(one: &str, other: &str) -> usize {
    let (one, other): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
    let mut rows: [Vec<usize>; 3] = [Vec::new(), Vec::new(), (0..=other.len()).collect()];
    for (i, a) in one.iter().enumerate() {
        rows.rotate_left(1);
        let mut row = vec![i + 1];
        for (j, b) in other.iter().enumerate() {
            let exchanged = rows[1][j] + usize::from(a != b);
            let mut least = exchanged.min(rows[1][j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *a == other[j - 1] && one[i - 1] == *b {
                least = least.min(rows[0][j - 1] + 1);
            }
            row.push(least);
        }
        rows[2] = row;
    }
    rows[2][other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_that_was_meant_is_found() {
        let verbs = ["run", "status", "purge", "logs", "wasm"];
        for (word, meant) in [
            ("rum", Some("run")),
            ("rnu", Some("run")),
            ("stauts", Some("status")),
            ("log", Some("logs")),
            ("waasm", Some("wasm")),
            ("frobnicate", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, verbs), meant, "{word}");
        }
        assert_eq!(
            nearest("--max-conections", ["--max-body", "--max-connections"]),
            Some("--max-connections")
        );
        assert_eq!(nearest("a", []), None);
    }

    #[test]
    fn letters_that_change_places_count_once() {
        assert_eq!(distance("abcd", "abdc"), 1);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!((distance("", "abc"), distance("abc", "")), (3, 3));
    }

    #[test]
    fn what_is_missing_is_told_in_one_line() {
        for (said, told) in [
            (
                "No value provided for option '--port'.\n",
                Some("--port wants a value"),
            ),
            (
                "Required positional arguments not provided:\n    file\n",
                Some("file is missing"),
            ),
            (
                "Required options not provided:\n    --key\n    --name\n",
                Some("--key, --name are missing"),
            ),
            ("Unrecognized argument: x\n", None),
        ] {
            assert_eq!(missing(said).as_deref(), told, "{said}");
        }
    }

    #[test]
    fn flags_are_read_from_help() {
        let help = "Usage: x [--no]\n\nOptions:\n  --wasm            a plugin\n  -o, --output      folder\n                    or --other\n  --help, help      display\n";
        let flags: Vec<_> = flags_in(help).collect();
        assert_eq!(flags, ["--wasm", "--output", "--help"]);
    }
}
