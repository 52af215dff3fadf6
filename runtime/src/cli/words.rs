//! The words of a command line: what short forms stand for, and what to say of words that nobody
//! understands.

use argh::{EarlyExit, FromArgs};
use zlayer_bundle::{flags_in, missing, nearest};

use super::Cli;
use crate::daemon::STANDARD_INPUT;

/// The verbs, for who gets one wrong.
pub(super) const VERBS: [&str; 10] = [
    "run",
    "install",
    "rollback",
    "uninstall",
    "generations",
    "trust",
    "status",
    "purge",
    "logs",
    "wasm",
];

/// What argh says of a text that is no number, or too large a one, and what is meant.
const STANDARD: [&str; 5] = [
    "invalid digit found in string",
    "number too large to fit in target type",
    "cannot parse integer from empty string",
    "number would be zero for non-zero type",
    "invalid IP address syntax",
];

/// Splits `--flag=value` into two words, and puts the long forms of `-h`, `-V` and, where a bundle or a list is wanted,
/// `-` in their places.
pub(super) fn split(line: Vec<String>) -> Vec<String> {
    let last = line.len().saturating_sub(1);
    let takes_input = line.first();
    let takes_input = takes_input.is_some_and(|verb| verb == "install" || verb == "trust");
    let mut words = Vec::with_capacity(line.len());
    for (place, word) in line.into_iter().enumerate() {
        match word.split_once('=') {
            Some((flag, value)) if flag.starts_with("--") => {
                words.extend([flag.to_owned(), value.to_owned()]);
            }
            // A value that says the same stands behind its flag, and not there.
            _ if word == "-h" && (place == 0 || place == last) => words.push("--help".to_owned()),
            _ if word == "-V" && place == 0 => words.push("--version".to_owned()),
            // argh takes it for a flag.
            _ if word == "-" && takes_input => words.push(STANDARD_INPUT.to_owned()),
            _ => words.push(word),
        }
    }
    words
}

/// What to say where argh said something. A word that belongs to no flag is not repeated: it may be a
/// secret (`--secret A=1 B=2`). A word in the verb's place is none. Values of flags that argh reads
/// are repeated; secrets are not read by it.
pub(super) fn explain(said: &str, words: &[&str]) -> String {
    if let Some(told) = missing(said) {
        return told;
    }
    let said = said.trim_end();
    if let Some(word) = said.strip_prefix("Unrecognized argument: ") {
        return match words.first() == Some(&word) && !word.starts_with('-') {
            true => unknown_verb(word),
            false => unknown_word(word, words),
        };
    }
    let Some(rest) = said.strip_prefix("Error parsing option '") else {
        return said.to_owned();
    };
    let parts = rest.split_once("' with value '");
    let parts = parts.and_then(|(flag, rest)| Some((flag, rest.rsplit_once("': ")?)));
    match parts {
        Some((flag, (value, reason))) if STANDARD.contains(&reason) => {
            format!("{flag} takes {}, and '{value}' is none", wanted(flag))
        }
        Some((flag, (_, reason))) => format!("{flag}: {reason}"),
        None => said.to_owned(),
    }
}

/// What a flag takes whose values are the standard library's.
fn wanted(flag: &str) -> &'static str {
    match flag {
        "--port" | "--admin-port" | "--tls-port" => "a port, a number from 0 to 65535",
        "--bind" => "an address of IP, such as 127.0.0.1, 0.0.0.0 or ::",
        _ => "a whole number",
    }
}

fn unknown_verb(word: &str) -> String {
    let meant = match nearest(word, VERBS) {
        Some(verb) => format!("did you mean '{verb}'?"),
        None => format!("there are {}", VERBS.join(", ")),
    };
    format!("there is no verb '{word}'; {meant}")
}

fn unknown_word(word: &str, words: &[&str]) -> String {
    if !word.starts_with('-') {
        return stray(words.iter().position(|given| *given == word));
    }
    let end = word.find('=').unwrap_or(word.len());
    let flag = &word[..end];
    let help = help_of(words);
    if flag == "--plugin" && words.first() == Some(&"run") {
        return "there is no flag '--plugin': what is said of one plugin stands in its service in a deployment.yaml, \
                under `wasm` and `env`"
            .to_owned();
    }
    match nearest(flag, flags_in(&help)) {
        Some(meant) => format!("there is no flag '{flag}'; did you mean '{meant}'?"),
        None => format!("there is no flag '{flag}'"),
    }
}

/// Its place tells which word is meant, and nothing of what it says.
pub(super) fn stray(place: Option<usize>) -> String {
    match place {
        Some(place) => format!(
            "no flag takes word {} of the command line (--flag=value counts as two), and it is no file that \
             this verb serves, which ends with .yaml, .zlb, .wasm or .cwasm",
            place + 1
        ),
        None => "the command line holds a word that no flag takes".to_owned(),
    }
}

/// The help of the verb that the words begin with, or that of the program.
fn help_of(words: &[&str]) -> String {
    let verb = words.first().filter(|verb| VERBS.contains(verb));
    let asked: Vec<&str> = verb.into_iter().copied().chain(["--help"]).collect();
    match Cli::from_args(&["zlayer"], &asked) {
        Err(EarlyExit { output, .. }) => output,
        Ok(_) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    fn told(line: &str) -> String {
        let words = line.split_whitespace().map(Into::into);
        match super::super::parse(words) {
            Ok(_) => "understood".to_owned(),
            Err(exit) => exit.output,
        }
    }

    #[test]
    fn words_that_nobody_understands_lead_to_those_that_were_meant() {
        for (line, said) in [
            ("rum", "there is no verb 'rum'; did you mean 'run'?"),
            (
                "frobnicate",
                "there is no verb 'frobnicate'; there are run, install, rollback, uninstall, generations, \
                 trust, status, purge, logs, wasm",
            ),
            (
                "run --wsam x",
                "there is no flag '--wsam'; did you mean '--wasm'?",
            ),
            (
                "run --max-conections=5",
                "there is no flag '--max-conections'; did you mean '--max-connections'?",
            ),
            (
                "run --max-memory 32Mi",
                "there is no flag '--max-memory'; did you mean '--memory-max'?",
            ),
            (
                "run --plugin a:secret=c",
                "there is no flag '--plugin': what is said of one plugin stands in its service in a deployment.yaml, \
                 under `wasm` and `env`",
            ),
            ("run --wasm x --port", "--port wants a value"),
            ("wasm", "verb is missing"),
            ("status --follow", "there is no flag '--follow'"),
            (
                "logs --folow",
                "there is no flag '--folow'; did you mean '--follow'?",
            ),
            (
                "--verson",
                "there is no flag '--verson'; did you mean '--version'?",
            ),
            (
                "run --wasm x --port abc",
                "--port takes a port, a number from 0 to 65535, and 'abc' is none",
            ),
            (
                "run --wasm x --port 65536",
                "--port takes a port, a number from 0 to 65535, and '65536' is none",
            ),
            (
                "run --wasm x --threads -1",
                "--threads takes a whole number, and '-1' is none",
            ),
            (
                "run --wasm x --bind here",
                "--bind takes an address of IP, such as 127.0.0.1, 0.0.0.0 or ::, and 'here' is none",
            ),
            (
                "run --wasm x --kv-quota 5x",
                "--kv-quota: '5x' is not a size; write it like 64Mi: a whole number with Ki, Mi or Gi (powers of \
                 1024), with k, M or G (powers of 1000), or alone for bytes",
            ),
        ] {
            assert_eq!(told(line), said, "{line}");
        }
    }

    #[test]
    fn an_empty_word_is_told_whichever_verb_it_stands_behind() {
        let told = |line: &[&str]| match super::super::parse(line.iter().map(Into::into)) {
            Ok(_) => "understood".to_owned(),
            Err(exit) => exit.output,
        };
        let data = "the word behind --data-dir is empty; say what is meant";
        for (line, said) in [
            (&["run", "--data-dir", ""] as &[&str], data),
            (&["install", "app.zlb", "--data-dir", ""], data),
            (&["rollback", "--data-dir", ""], data),
            (&["uninstall", "--data-dir="], data),
            (&["generations", "--data-dir", ""], data),
            (&["trust", "--data-dir", ""], data),
            (&["status", "--data-dir", ""], data),
            (&["logs", "--data-dir", ""], data),
            (&["purge", "--all", "--data-dir", ""], data),
            (
                &["status", "--socket", ""],
                "the word behind --socket is empty",
            ),
            (
                &["install", "app.zlb", "--keys", ""],
                "the word behind --keys is empty",
            ),
            (
                &["run", "--secrets-file", ""],
                "the word behind --secrets-file is empty",
            ),
            (&["run", "--user", ""], "the word behind --user is empty"),
            (&["install", ""], "word 2 of the command line is empty"),
            (&["run", ""], "word 2 of the command line is empty"),
            (&["wasm", "push", ""], "word 3 of the command line is empty"),
        ] {
            let told = told(line);
            assert!(told.starts_with(said), "{line:?}: {told}");
        }
        // A value may be empty behind its name.
        assert_eq!(told(&["run", "x.wasm", "--config", "a="]), "understood");
    }

    #[test]
    fn a_word_that_lost_its_flag_is_not_repeated() {
        for line in [
            "run --secret a=1 b=hunter2",
            "run hunter2",
            "status hunter2",
            "run x.wasm hunter2",
        ] {
            let said = told(line);
            assert!(
                said.starts_with("no flag takes word ") && !said.contains("hunter2"),
                "{said}"
            );
        }
    }

    #[test]
    fn a_plugin_may_be_named_without_a_flag_and_help_by_its_short_form() {
        assert_eq!(told("run x.wasm"), "understood");
        assert_eq!(told("run ./a/x.cwasm --port 5"), "understood");
        assert_eq!(told("-V"), "understood");
        assert_eq!(told("install -"), "understood");
        assert_eq!(told("install --keys x -"), "understood");
        for line in ["-h", "run -h", "logs --data-dir x -h"] {
            assert!(told(line).starts_with("Usage: zlayer"), "{line}");
        }
        // A value is no flag.
        assert_eq!(told("run x.wasm --config a=-h --data-dir -V"), "understood");
    }
}
