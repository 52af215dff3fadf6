//! `docs/figures.md`: made from the recorded figures and from the templates in `page/`.
//!
//! A template is Markdown with places in braces. `{table NAME}` becomes a whole table, and
//! `{NAME | ROW | COLUMN}` one figure of it, so that no number is written by hand. A place that names
//! what is not recorded is an error.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::record::{Record, recording};

/// Begins the page.
const TOP: &str = include_str!("page/top.txt");

/// Ends the page: what was measured once, to decide how the program is built.
const PROGRAM: &str = include_str!("page/program.txt");

/// A part of the page: the benchmark, the heading, and the template of what follows.
const SECTIONS: [(&str, &str, &str); 6] = [
    (
        "serve",
        "Beside wasmtime serve and nginx",
        include_str!("page/serve.txt"),
    ),
    (
        "pipeline",
        "What the stages cost",
        include_str!("page/pipeline.txt"),
    ),
    (
        "keyvalue",
        "What the store costs",
        include_str!("page/keyvalue.txt"),
    ),
    (
        "attacks",
        "What others notice of an attack",
        include_str!("page/attacks.txt"),
    ),
    (
        "calls",
        "What others notice of a plugin's calls",
        include_str!("page/calls.txt"),
    ),
    (
        "machines",
        "On whole machines",
        include_str!("page/machines.txt"),
    ),
];

/// Writes the page.
pub(crate) fn write(root: &Path) -> Result<()> {
    let path = path(root);
    fs::write(&path, make(root)?).with_context(|| format!("cannot write {}", path.display()))?;
    eprintln!("wrote {}", path.display());
    Ok(())
}

fn path(root: &Path) -> PathBuf {
    root.join("docs/figures.md")
}

/// The page as it should be.
fn make(root: &Path) -> Result<String> {
    let mut page = TOP.to_owned();
    for (bench, heading, template) in SECTIONS {
        let record = Record::load(root, bench)?;
        let body = match &record {
            Some(record) => section(record, template)
                .with_context(|| format!("tests/bench/page/{bench}.txt"))?,
            None => format!("Not measured yet: `{}` does it.\n", recording(bench)),
        };
        // Writing to a String does not fail.
        let _ = write!(page, "\n## {heading}\n\n{body}");
    }
    let _ = write!(page, "\n## One static program\n\n{PROGRAM}");
    Ok(page)
}

/// A benchmark's part of the page: what stands in the template, and where the figures come from.
fn section(record: &Record, template: &str) -> Result<String> {
    let mut text = filled(record, template)?;
    let _ = write!(
        text,
        "\nMeasured on {} of version {} (commit {}) on {}, with {}. {}. Again: \
         `{}`.\n",
        record.date,
        record.version,
        record.describe_commit(),
        record.machine.describe(),
        record.programs.join("; "),
        record.describe_rounds(),
        record.command(),
    );
    if !record.remarks.is_empty() {
        let _ = write!(text, "\nRemarks of this run:\n\n");
    }
    for remark in &record.remarks {
        let _ = writeln!(text, "- {remark}");
    }
    Ok(text)
}

/// The template with its places filled from the record.
fn filled(record: &Record, template: &str) -> Result<String> {
    let mut text = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        let (place, behind) = after.split_once('}').context("a brace is not closed")?;
        text.push_str(before);
        text.push_str(&value(record, place).with_context(|| format!("{{{place}}}"))?);
        rest = behind;
    }
    text.push_str(rest);
    Ok(text)
}

/// What belongs in a place.
fn value(record: &Record, place: &str) -> Result<String> {
    if let Some(name) = place.strip_prefix("table ") {
        let table = record.table(name.trim())?;
        // The line of the template ends the last row.
        return Ok(table.markdown().trim_end().to_owned());
    }
    let names: Vec<&str> = place.split('|').map(str::trim).collect();
    ensure!(names.len() == 3, "this is neither a table nor a figure");
    let cell = record.table(names[0])?.cell(names[1], names[2])?;
    Ok(cell.shown())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;
    use crate::bench::recorded;
    use crate::checkout;
    use crate::table::Table;

    fn record() -> Record {
        let mut record: Record = serde_json::from_str(
            r#"{
                "bench": "serve", "date": "2026-01-31", "version": "0.1.0",
                "commit": "0123456789abcdef", "has_uncommitted_changes": true,
                "machine": {
                    "processor": "P", "processors": 2, "memory_gb": 4, "kernel": "6.1",
                    "busy_percent": 0
                },
                "programs": ["zlayer 0.1.0"], "rounds": 5, "seconds": 2,
                "remarks": ["One is missing."], "tables": []
            }"#,
        )
        .unwrap();
        let mut table = Table::new("load", "load", &["ours", "ratio"]);
        table.row("requests/s", [Some(14_900.0), None]);
        record.tables.push(table);
        record
    }

    #[test]
    fn the_page_is_what_the_recorded_figures_make() {
        let root = checkout::root();
        let checked_in = fs::read_to_string(path(&root)).unwrap_or_default();
        assert!(
            checked_in == make(&root).unwrap(),
            "docs/figures.md is not what the figures in docs/figures make: run \
             `cargo bench -p zlayer-tests --bench figures -- --page`"
        );
    }

    #[test]
    fn every_benchmark_has_its_part_of_the_page() {
        let benches: Vec<&str> = recorded().collect();
        let sections: Vec<&str> = SECTIONS.iter().map(|(bench, ..)| *bench).collect();
        assert_eq!(benches, sections);
    }

    #[test]
    fn places_are_filled_with_figures_and_tables() {
        let template = "At {load | requests/s | ours} ({load|requests/s|ratio}).\n\n{table load}\n";
        assert_eq!(
            filled(&record(), template).unwrap(),
            "At 14,900 (–).\n\n|  | ours | ratio |\n|---|--:|--:|\n| requests/s | 14,900 | – |\n"
        );
    }

    #[test]
    fn a_place_without_a_figure_is_an_error_that_names_it() {
        let cases = [
            ("{load | x | ours}", "{load | x | ours}"),
            ("{table store}", "no table \"store\""),
            ("{load}", "neither a table nor a figure"),
            ("{load", "not closed"),
        ];
        for (template, reason) in cases {
            let error = format!("{:#}", filled(&record(), template).unwrap_err());
            assert!(error.contains(reason), "{template}: {error}");
        }
    }

    #[test]
    fn a_section_says_where_its_figures_come_from() {
        let text = section(&record(), "Fast.\n").unwrap();
        assert!(text.starts_with("Fast.\n\nMeasured on 2026-01-31 of version 0.1.0 (commit 0123456789ab with uncommitted changes) on P, 2 processors, 4 GB, Linux 6.1, with zlayer 0.1.0."), "{text}");
        assert!(
            text.ends_with("\nRemarks of this run:\n\n- One is missing.\n"),
            "{text}"
        );
    }
}
