//! What the cache makes of responses and requests that RFC 9111 speaks of, held against a table.
//!
//! The cases stand in `conformance/cases.txt`, and `docs/conformance-caching.md` shows them.
//! `ZLAYER_WRITE_DOCS=1` writes that page anew.

use std::path::Path;

use super::{KEEP, figures, get_with, serving};
use crate::support::{Daemon, Response, TempDir, eventually, request};

const CASES: &str = include_str!("conformance/cases.txt");
/// What the page says before its tables, with the place for each of them.
const FRAME: &str = include_str!("conformance/page.md");

struct Case {
    section: &'static str,
    rfc: &'static str,
    what: &'static str,
    first: &'static str,
    response: &'static str,
    next: &'static str,
    ours: &'static str,
    nginx: &'static str,
}

fn cases() -> impl Iterator<Item = Case> {
    let lines = CASES.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| {
        let parts: Vec<_> = line.split(" | ").collect();
        let [section, rfc, what, first, response, next, ours, nginx] = parts[..] else {
            panic!("not eight columns: {line}");
        };
        Case {
            section,
            rfc,
            what,
            first,
            response,
            next,
            ours,
            nginx,
        }
    })
}

/// Sends a request in the words of the table, for `path`, which the origin answers so.
fn send(daemon: &Daemon, path: &str, asked: &str, response: &str) -> Response {
    let mut method = "GET";
    let mut target = path.to_owned();
    let (status, steps) = response.split_once("; ").unwrap_or((response, ""));
    let mut status = status;
    let mut fields = Vec::new();
    for word in asked.split("; ").filter(|word| *word != "-") {
        match word.split_once(": ") {
            None => method = word,
            Some(("Status", other)) => status = other,
            Some(("Path", more)) => target += more,
            Some(field) => fields.push(field),
        }
    }
    let steps = steps.split("; ").filter(|field| !field.is_empty());
    let steps = steps.map(|field| format!("add {}", field.replacen(": ", "=", 1)));
    let steps: Vec<_> = steps.collect();
    let (steps, handle) = (steps.join(";"), format!("respond {status} body"));
    fields.extend([KEEP, ("x-test-answer", &steps), ("x-test-handle", &handle)]);
    request(daemon, method, &target, &fields, b"")
}

fn outcome(response: &Response, status: u16) -> String {
    let told = response.header("cache-status").unwrap_or_default();
    match response.status {
        504 | 304 if response.status != status => response.status.to_string(),
        _ if told.starts_with("zlayer; hit") => "reused".to_owned(),
        _ => "fetched".to_owned(),
    }
}

#[test]
fn every_case_of_the_table_comes_out_as_it_says() {
    let folder = TempDir::new();
    let daemon = serving("stages", &folder).start();
    let mut stored = 0;
    let mut wrong = Vec::new();
    for (number, case) in cases().enumerate() {
        let path = format!("/{number}");
        let status: u16 = case.response[..3].parse().unwrap();
        let first = send(&daemon, &path, case.first, case.response);
        assert_eq!(first.status, status, "{}: {first:?}", case.what);
        // It is stored when its last byte has gone by.
        let told = first.header("cache-status").unwrap_or_default();
        stored += u64::from(told.contains("stored"));
        eventually("what was said to be stored is", || {
            figures(&folder)["stored"] == stored
        });
        let last = case.next.split(" > ").map(|asked| {
            let response = send(&daemon, &path, asked, case.response);
            let told = response.header("cache-status").unwrap_or_default();
            stored += u64::from(told.contains("stored"));
            response
        });
        let ours = outcome(&last.last().unwrap(), status);
        if ours != case.ours {
            wrong.push(format!("{}: {ours}, not {}", case.what, case.ours));
        }
        // The next case counts what is stored.
        eventually("what was said to be stored is", || {
            figures(&folder)["stored"] == stored
        });
    }
    assert_eq!(wrong, [""; 0]);
    // The daemon has kept its head.
    assert_eq!(get_with(&daemon, "/", &[]).status, 200);
}

#[test]
fn the_page_of_the_caching_rules_shows_the_table() {
    let mut page = FRAME.to_owned();
    for section in ["store", "fresh", "choose", "ask", "change"] {
        let mut table = String::from(
            "| RFC | what | first request | its response | then | ours | nginx |\n\
             |---|---|---|---|---|---|---|\n",
        );
        for case in cases().filter(|case| case.section == section) {
            let code = |text: &str| match text {
                "-" => "GET".to_owned(),
                text => format!("`{text}`"),
            };
            table += &format!(
                "| {} | {} | {} | {} | {} | {} | {} |\n",
                case.rfc,
                case.what,
                code(case.first),
                code(case.response),
                code(case.next),
                case.ours,
                case.nginx
            );
        }
        let place = format!("<!-- {section} -->\n");
        assert!(page.contains(&place), "{place}");
        page = page.replace(&place, &table);
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/conformance-caching.md");
    if std::env::var_os("ZLAYER_WRITE_DOCS").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap();
    assert!(
        written == page,
        "docs/conformance-caching.md is not what the cases say: ZLAYER_WRITE_DOCS=1 writes it anew"
    );
}
