//! The tables of flags in docs/device.md, made from what the programs say of themselves with `--help`.
//!
//! `cargo boards docs` has these tests write the tables instead of comparing them.

use std::fmt::Write as _;
use std::fs;

use super::{page, root};
use crate::support::{precompile, zlayer};

const PAGE: &str = "docs/device.md";
const START: &str = "<!-- flags: ";
const END: &str = "<!-- end of flags -->";
/// Between the head of a table and its rows.
const RULE: &str = "|---|---|---|";
/// The column at which argh begins the texts of its help.
const TEXT: usize = 20;

#[test]
fn the_tables_are_those_of_the_programs() {
    let written = page(PAGE);
    let made = with_tables(&written, |command| table(&help(command)));
    if std::env::var_os("ZLAYER_WRITE_DOCS").is_some() {
        return fs::write(root().join(PAGE), made).unwrap();
    }
    let differs = written
        .lines()
        .zip(made.lines())
        .find(|(old, new)| old != new);
    assert!(
        written == made,
        "{PAGE} is not what the programs say; `cargo boards docs` writes it anew. \
         The first lines that differ: {differs:?}"
    );
}

#[test]
fn every_verb_has_a_table() {
    let page = page(PAGE);
    for program in ["zlayer", "zlayer-precompile"] {
        let help = help(program);
        let verbs = rows(&help, "Commands:");
        assert!(verbs.len() > 3, "{help}");
        // What `zlayer wasm` takes is for another program to say.
        for (verb, _) in verbs.iter().filter(|(verb, _)| verb != "wasm") {
            let mark = format!("{START}{program} {verb} -->");
            assert!(page.contains(&mark), "{PAGE} has no {mark}");
        }
    }
}

#[test]
fn every_flag_of_run_says_its_default() {
    // Without these flags there is nothing of their kind.
    let optional = [
        "wasm",
        "config",
        "secret",
        "secret-env",
        "secret-credential",
        "secrets-file",
        "deny",
        "allow-host",
        "admin-port",
        "tls-cert",
        "tls-key",
        "tls-credential",
        "trusted-proxy",
    ];
    let table = table(&help("zlayer run"));
    let rows: Vec<&str> = table
        .lines()
        .skip_while(|line| *line != RULE)
        .skip(1)
        .collect();
    assert!(rows.len() > optional.len(), "{table}");
    for row in rows {
        let name = row.split('`').nth(1).unwrap();
        let is_optional = optional.contains(&name.trim_start_matches('-'));
        assert_eq!(row.contains("` | none |"), is_optional, "{row}");
    }
}

#[test]
fn help_becomes_a_table() {
    let help =
        "Usage: x y [--port <port>] [--deny <deny...>] [-o <output>] [--all] [--] [<tags...>]

Does it.

Positional Arguments:
  tags              tags

Options:
  --port            port; 0 is any (default
                    8080)
  --deny            a|b of *
  --a-name-that-is-long
                    x
  -o, --output      where (default: here)
  --help, help      display usage information
";
    let expected = "`x y`: Does it.

| argument | default | what it is |
|---|---|---|
| `tags` | | tags |
| `--port` | 8080 | port; 0 is any |
| `--deny` | none | a\\|b of \\* |
| `--a-name-that-is-long` | off | x |
| `-o, --output` | here | where |
";
    assert_eq!(table(help), expected);
}

/// What a program says of itself or of one verb.
pub(super) fn help(command: &str) -> String {
    let mut words = command.split(' ');
    let program = words.next().unwrap();
    let words = words.chain(["--help"]);
    let output = match program {
        "zlayer" => zlayer(words),
        _ => precompile(words),
    };
    assert_eq!(output.code, 0, "{command}: {output:?}");
    output.stdout
}

/// The page with whatever stands between two marks made anew.
fn with_tables(page: &str, table: impl Fn(&str) -> String) -> String {
    let mut made = String::new();
    let mut rest = page;
    while let Some((before, after)) = rest.split_once(START) {
        let (command, after) = after.split_once(" -->").unwrap();
        let (_, after) = after.split_once(END).unwrap();
        write!(
            made,
            "{before}{START}{command} -->\n{}{END}",
            table(command)
        )
        .unwrap();
        rest = after;
    }
    made + rest
}

/// A verb's help as a sentence and a table.
fn table(help: &str) -> String {
    let mut parts = help.split("\n\n");
    let usage = parts.next().unwrap();
    let command = usage.trim_start_matches("Usage: ").split(" [").next();
    let command = command.unwrap();
    let what = parts.next().unwrap().trim();
    let mut table = format!("`{command}`: {what}\n\n| argument | default | what it is |\n{RULE}\n");
    let options = rows(help, "Options:");
    let flags = options.iter().filter(|(name, _)| name != "--help, help");
    for (name, text) in rows(help, "Positional Arguments:").iter().chain(flags) {
        let value = format!("{} <", name.split(',').next().unwrap());
        let takes_value = usage.contains(&value);
        // Without brackets around it, it has to be given.
        let is_needed = takes_value && !usage.contains(&format!("[{value}"));
        let (text, default) = split_default(text);
        let default = match default.as_str() {
            "" if is_needed || !name.starts_with('-') => String::new(),
            "" if takes_value => "none ".to_owned(),
            "" => "off ".to_owned(),
            default => format!("{} ", escaped(default)),
        };
        writeln!(table, "| `{name}` | {default}| {} |", escaped(&text)).unwrap();
    }
    table
}

/// Names and texts of one section, lines that were wrapped put together.
pub(super) fn rows(help: &str, section: &str) -> Vec<(String, String)> {
    let mut rows: Vec<(String, String)> = Vec::new();
    let lines = help.lines().skip_while(|line| *line != section).skip(1);
    for line in lines.take_while(|line| !line.is_empty()) {
        // argh writes names from the third column and texts from the twenty-first; a name that leaves no
        // blank before its text stands alone on its line.
        let (name, text) = match line.as_bytes().get(TEXT - 1) {
            Some(b' ') => line.split_at(TEXT),
            _ => (line, ""),
        };
        if !name.trim().is_empty() {
            rows.push((name.trim().to_owned(), String::new()));
        }
        let last = &mut rows.last_mut().unwrap().1;
        if !last.is_empty() {
            last.push(' ');
        }
        last.push_str(text.trim());
    }
    rows
}

/// A text without its `(default …)`, and what stands there.
fn split_default(text: &str) -> (String, String) {
    let Some((before, after)) = text.split_once("(default") else {
        return (text.to_owned(), String::new());
    };
    let (default, after) = after.split_once(')').unwrap();
    let text = format!("{}{after}", before.trim_end());
    (text, default.trim_start_matches(':').trim().to_owned())
}

/// A text as a cell: marks of Markdown that are meant as they stand.
fn escaped(text: &str) -> String {
    text.replace('|', "\\|").replace('*', "\\*")
}
