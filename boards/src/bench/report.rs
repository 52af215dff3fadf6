//! What a run found: a table for the terminal, and the same handed to the benchmarks, which record it and
//! make the page.

use std::fmt::Write;
use std::fs;

use anyhow::{Context, Result};
use serde::Serialize;

use super::measure::Measured;
use crate::Workspace;
use crate::command::Cmd;
use crate::target::Target;

/// A run, as `cargo bench -p zlayer-tests --bench figures -- --machines FILE` reads it.
#[derive(Debug, Default, Serialize)]
pub(super) struct Report {
    /// What was measured.
    pub(super) programs: Vec<String>,
    pub(super) tables: Vec<Table>,
}

/// A table of figures.
#[derive(Debug, Serialize)]
pub(super) struct Table {
    name: String,
    title: String,
    columns: Vec<String>,
    rows: Vec<Row>,
}

#[derive(Debug, Serialize)]
struct Row {
    label: &'static str,
    cells: Vec<f64>,
}

/// Bytes in a MB, and instructions in what they are told in.
const MILLION: f64 = 1e6;
const THOUSAND: f64 = 1e3;

/// One figure of a machine, as the page tells it.
type Pick = fn(&Measured) -> f64;

/// The lines, from a machine's start to its end.
const ROWS: [(&str, Pick); 15] = [
    ("instructions from exec to first answer, million", |m| {
        m.first.processor as f64 / MILLION
    }),
    ("instructions of a request, thousand", |m| {
        m.request as f64 / THOUSAND
    }),
    ("at first answer: resident, MB", |m| mb(m.first.resident)),
    ("– of it anonymous", |m| mb(m.first.anonymous)),
    ("– peak until then", |m| mb(m.first.peak)),
    ("after 1,000 requests: resident, MB", |m| {
        mb(m.requests.resident)
    }),
    ("– of it anonymous, then", |m| mb(m.requests.anonymous)),
    ("– peak, then", |m| mb(m.requests.peak)),
    ("counter at first answer: resident, MB", |m| {
        mb(m.counter.resident)
    }),
    (
        "after 10,000 increments and 10,000 sets: resident, MB",
        |m| mb(m.calls.resident),
    ),
    ("– of it anonymous, in the end", |m| mb(m.calls.anonymous)),
    ("– peak, in the end", |m| mb(m.calls.peak)),
    ("available in the machine before the start, MB", |m| {
        mb(m.available_before)
    }),
    ("– at first answer", |m| mb(m.first.available)),
    ("– after the increments and sets", |m| {
        mb(m.calls.available)
    }),
];

fn mb(bytes: u64) -> f64 {
    bytes as f64 / MILLION
}

/// The table of one processor, a column for each machine.
pub(super) fn table(target: Target, machines: &[(String, Measured)]) -> Table {
    // The processor is the table's.
    let suffix = format!(", {target}");
    let name = |(name, _): &(String, Measured)| name.trim_end_matches(&suffix).to_owned();
    let row = |(label, pick): (&'static str, Pick)| Row {
        label,
        cells: machines
            .iter()
            .map(|(_, measured)| pick(measured))
            .collect(),
    };
    Table {
        name: target.to_string(),
        title: format!("the device binary for {target} in emulated machines"),
        columns: machines.iter().map(name).collect(),
        rows: ROWS.map(row).into_iter().collect(),
    }
}

impl Report {
    /// For a terminal.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        for table in &self.tables {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "\n{}", table.title);
            let labels = table.rows.iter().map(|row| row.label.chars().count());
            let width = labels.max().unwrap_or_default();
            let line = |label: &str, cells: Vec<String>| {
                let cells = cells.into_iter().map(|cell| format!("{cell:>14}"));
                format!("  {label:<width$}{}", cells.collect::<String>())
            };
            let _ = writeln!(text, "{}", line("", table.columns.clone()));
            for row in &table.rows {
                let cells = row.cells.iter().map(|cell| format!("{cell:.2}"));
                let _ = writeln!(text, "{}", line(row.label, cells.collect()));
            }
        }
        let _ = writeln!(text, "\nprograms: {}", self.programs.join("; "));
        text
    }

    /// Hands the figures to the benchmarks' recorder, which knows the commit, the date and the page.
    pub(super) fn record(&self, workspace: &Workspace) -> Result<()> {
        let file = workspace.target_dir.join("machines/figures.json");
        let text = serde_json::to_string(self).context("figures that JSON cannot hold")?;
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
        Cmd::new(
            "cargo",
            "bench -p zlayer-tests --bench figures -- --machines",
        )
        .arg(file.to_string_lossy())
        .run(&workspace.root)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;
    use crate::emulated::Figures;

    fn report() -> Report {
        let first = Figures {
            processor: 10_300_000,
            resident: 2_600_000,
            ..Figures::default()
        };
        let measured = Measured {
            first,
            request: 45_600,
            ..Measured::default()
        };
        let machines = [("virt, 64 MB, armv7".to_owned(), measured)];
        Report {
            programs: vec!["zlayer for armv7 (4.50 MB)".to_owned()],
            tables: vec![table(Target::Armv7, &machines)],
        }
    }

    #[test]
    fn a_machines_figures_are_a_column() {
        let text = report().text();
        for part in [
            "  virt, 64 MB\n",
            "first answer, million           ",
            " 10.30\n",
            " 45.60\n",
            " 2.60\n",
            "programs: zlayer for armv7",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }

    #[test]
    fn labels_name_one_line_each() {
        let mut labels = ROWS.map(|(label, _)| label);
        labels.sort_unstable();
        assert!(labels.windows(2).all(|pair| pair[0] != pair[1]));
    }

    /// The recorder reads it with types of its own: these names are what both agree on.
    #[test]
    fn the_recorder_finds_the_names_that_it_looks_for() {
        let value: serde_json::Value = serde_json::to_value(report()).unwrap();
        let table = &value["tables"][0];
        assert_eq!(table["name"], "armv7");
        assert_eq!(table["columns"][0], "virt, 64 MB");
        assert_eq!(table["rows"][0]["cells"][0], 10.3);
        assert!(value["programs"][0].is_string() && table["title"].is_string());
        assert!(table["rows"][0]["label"].is_string());
    }
}
