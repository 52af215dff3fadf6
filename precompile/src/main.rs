//! `zlayer-precompile`: compiles plugins on the build host, for devices that cannot.
//!
//! Exit codes: 0 when all went well, 1 when the input is refused, 2 for wrong usage, 3 for
//! trouble with files or the host, and 10 to 26 for a compiled artifact, a bundle or a trust list that is refused,
//! one for each reason ([`zlayer_bundle::ArtifactError::exit_code`]).

mod failure;
mod show;
mod verbs;

use std::io::Write as _;
use std::process::ExitCode;

use argh::FromArgs;
use zlayer_binlog::lines;
use zlayer_bundle::{empty_word, flags_in, missing, nearest};

use failure::Failure;
use verbs::Outcome;

/// Compile WebAssembly plugins ahead of time for devices, and sign them.
#[derive(FromArgs)]
struct Arguments {
    /// print the version and leave
    #[argh(switch)]
    version: bool,

    /// print one JSON object; works with every verb
    #[argh(switch)]
    #[expect(
        dead_code,
        reason = "`main` looks for the word itself, for errors in the arguments too"
    )]
    json: bool,

    #[argh(subcommand)]
    verb: Option<Verb>,
}

#[derive(FromArgs)]
#[argh(subcommand)]
enum Verb {
    Build(verbs::build::Build),
    Pack(verbs::pack::Pack),
    Inspect(verbs::inspect::Inspect),
    Diff(verbs::diff::Diff),
    Validate(verbs::validate::Validate),
    Info(verbs::info::Info),
    Keygen(verbs::keygen::Keygen),
    Sign(verbs::sign::Sign),
    TrustList(verbs::trust_list::MakeTrustList),
    Logs(verbs::logs::Logs),
    Explain(verbs::explain::Explain),
    New(verbs::new::New),
    Push(verbs::push::Push),
    Pull(verbs::pull::Pull),
    Export(verbs::export::Export),
}

/// The verbs, for who gets one wrong.
const VERBS: [&str; 15] = [
    "build",
    "pack",
    "inspect",
    "diff",
    "validate",
    "info",
    "keygen",
    "sign",
    "trust-list",
    "logs",
    "explain",
    "new",
    "push",
    "pull",
    "export",
];

fn main() -> ExitCode {
    let words: Vec<_> = std::env::args_os().skip(1).collect();
    // An error in the arguments has to be JSON too, when JSON is asked for.
    let json = words
        .iter()
        .take_while(|word| *word != "--")
        .any(|word| word == "--json");
    // The engine's compiler and the module wrapper have checks of their own that panic. On
    // strange input that is our fault, not the user's: say so, and in one line.
    std::panic::set_hook(Box::new(|_| {}));
    let result = std::panic::catch_unwind(|| run(words, json));
    let result = result.unwrap_or_else(|panic| Err(Failure::internal(panic.as_ref())));
    // Files and what is in them may have names that were made to steer a terminal.
    let say = |text: &str| std::io::stdout().write_all(lines(text).as_bytes());
    let (code, written) = match result {
        Ok(outcome) => {
            let text = match json {
                // What there was to say was said already.
                true if outcome.json.is_null() => String::new(),
                true => format!("{}\n", outcome.json),
                false => outcome.text,
            };
            (0, say(&text))
        }
        Err(failure) if json => {
            let text = format!("{}\n", failure.json());
            (failure.code(), say(&text))
        }
        Err(failure) => {
            let shown = say(failure.shown());
            // Nothing can be said when standard error is gone, and the exit code still tells.
            let _ = writeln!(std::io::stderr(), "{}", lines(&failure.to_string()));
            (failure.code(), shown)
        }
    };
    match written {
        // A reader that has seen enough, like `head`, is no failure.
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => ExitCode::from(3),
        _ => ExitCode::from(code),
    }
}

fn run(words: Vec<std::ffi::OsString>, json: bool) -> Result<Outcome, Failure> {
    let words = split_assignments(words)?;
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let arguments = match Arguments::from_args(&["zlayer-precompile"], &words) {
        Ok(arguments) => arguments,
        // Help that was asked for.
        Err(argh::EarlyExit {
            output,
            status: Ok(()),
        }) => return Ok(Outcome::text(output)),
        Err(argh::EarlyExit {
            output,
            status: Err(()),
        }) => {
            return Err(Failure::usage(&explain(output.trim_end(), &words)));
        }
    };
    if let Some(told) = empty_word(&words) {
        return Err(Failure::usage(&told));
    }
    if arguments.version {
        return Ok(verbs::version());
    }
    let outcome = match arguments.verb {
        Some(Verb::Build(build)) => build.run(),
        Some(Verb::Pack(pack)) => pack.run(),
        Some(Verb::Inspect(inspect)) => inspect.run(),
        Some(Verb::Diff(diff)) => diff.run(),
        Some(Verb::Validate(validate)) => validate.run(),
        Some(Verb::Info(info)) => info.run(),
        Some(Verb::Keygen(keygen)) => keygen.run(),
        Some(Verb::Sign(sign)) => sign.run(),
        Some(Verb::TrustList(list)) => list.run(),
        Some(Verb::Logs(logs)) => logs.run(json),
        Some(Verb::Explain(explain)) => explain.run(),
        Some(Verb::New(new)) => new.run(),
        Some(Verb::Push(push)) => push.run(),
        Some(Verb::Pull(pull)) => pull.run(),
        Some(Verb::Export(export)) => export.run(),
        None => {
            let verbs = VERBS.join(", ");
            return Err(Failure::usage(&format!(
                "a verb is missing: there are {verbs}; see --help"
            )));
        }
    };
    outcome.map_err(Failure::from)
}

/// What the argument parser said, with the verb or flag that was meant where it knows none.
fn explain(said: &str, words: &[&str]) -> String {
    if let Some(told) = missing(said) {
        return told;
    }
    if let Some((flag, (_, reason))) = said
        .strip_prefix("Error parsing option '")
        .and_then(|rest| rest.split_once("' with value '"))
        .and_then(|(flag, rest)| Some((flag, rest.split_once("': ")?)))
    {
        // What the standard library says of numbers is no sentence for people.
        return match reason.contains("invalid digit") {
            true => format!("{flag}: takes a whole number"),
            false => format!("{flag}: {reason}"),
        };
    }
    let Some(word) = said.strip_prefix("Unrecognized argument: ") else {
        return said.to_owned();
    };
    let verb = words.first().filter(|verb| VERBS.contains(verb));
    let asked: Vec<&str> = verb.into_iter().copied().chain(["--help"]).collect();
    let help = match Arguments::from_args(&["zlayer-precompile"], &asked) {
        Err(exit) => exit.output,
        Ok(_) => String::new(),
    };
    let (kind, meant) = match word.starts_with('-') {
        true => ("flag", nearest(word, flags_in(&help))),
        false if words.first() == Some(&word) => ("verb", nearest(word, VERBS)),
        false => return said.to_owned(),
    };
    match meant {
        Some(meant) => format!("there is no {kind} '{word}'; did you mean '{meant}'?"),
        None => format!("there is no {kind} '{word}'; see --help"),
    }
}

/// Splits `--flag=value`, which the argument parser does not know, into two words; `-h` stands for
/// `--help`, and `-V` for `--version`.
fn split_assignments(words: Vec<std::ffi::OsString>) -> Result<Vec<String>, Failure> {
    let mut split = Vec::with_capacity(words.len());
    let mut flags = true;
    for word in words {
        let word = word.into_string().map_err(|word| {
            Failure::usage(&format!(
                "argument {} is not UTF-8",
                word.to_string_lossy().escape_debug()
            ))
        })?;
        flags &= word != "--";
        match word.split_once('=') {
            Some((flag, value)) if flags && flag.starts_with("--") => {
                split.push(flag.to_owned());
                split.push(value.to_owned());
            }
            _ if flags && word == "-h" => split.push("--help".to_owned()),
            _ if split.is_empty() && word == "-V" => split.push("--version".to_owned()),
            _ => split.push(word),
        }
    }
    Ok(split)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_meant_is_named() {
        for (words, said) in [
            (
                &["biuld"] as &[&str],
                "there is no verb 'biuld'; did you mean 'build'?",
            ),
            (
                &["build", "--tarket", "x"],
                "there is no flag '--tarket'; did you mean '--target'?",
            ),
            (
                &["pack", "d.yaml", "--release", "x"],
                "--release: takes a whole number",
            ),
            (
                &["build", "--frobnicate"],
                "there is no flag '--frobnicate'; see --help",
            ),
        ] {
            let words = words.iter().map(Into::into).collect();
            let failure = run(words, false).err().map(|failure| failure.to_string());
            assert!(
                failure.is_some_and(|failure| failure.contains(said)),
                "{said}"
            );
        }
    }

    #[test]
    fn assignments_are_split_before_a_double_dash_only() {
        let split = |words: &[&str]| {
            let words = words.iter().map(Into::into).collect();
            split_assignments(words).unwrap_or_default()
        };
        assert_eq!(
            split(&["build", "--target=armv7"]),
            ["build", "--target", "armv7"]
        );
        assert_eq!(split(&["-h"]), ["--help"]);
        assert_eq!(split(&["-V"]), ["--version"]);
        assert_eq!(split(&["--", "-h"]), ["--", "-h"]);
        assert_eq!(split(&["--a=b=c", "d=e"]), ["--a", "b=c", "d=e"]);
        assert_eq!(split(&["--", "--a=b"]), ["--", "--a=b"]);
    }
}
