//! Figures as a table: for the terminal, for the page, and in the data file.

use std::fmt::Write;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// A table. Its labels are read by people, and also name a figure in the page's templates.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Table {
    /// Unique among the tables of a benchmark.
    pub(crate) name: String,
    /// What is measured, and in which unit.
    pub(crate) title: String,
    /// What the columns are headed with; the labels of the rows have no heading.
    pub(crate) columns: Vec<String>,
    /// The lines.
    pub(crate) rows: Vec<Row>,
}

/// A line of a table.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Row {
    /// What it begins with.
    pub(crate) label: String,
    /// One for each column.
    pub(crate) cells: Vec<Cell>,
}

/// What stands in one place of a table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Cell {
    /// A figure.
    Number(f64),
    /// A word.
    Text(String),
    /// Not measured.
    Missing(()),
}

impl From<Option<f64>> for Cell {
    fn from(value: Option<f64>) -> Cell {
        value
            .filter(|value| value.is_finite())
            .map_or(Cell::Missing(()), |value| Cell::Number(rounded(value)))
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Cell {
        Cell::Text(text.to_owned())
    }
}

impl Cell {
    /// As people read it.
    pub(crate) fn shown(&self) -> String {
        match self {
            Cell::Number(value) => shown(*value),
            Cell::Text(text) => text.clone(),
            Cell::Missing(()) => "–".to_owned(),
        }
    }
}

impl Table {
    /// A table without rows yet.
    pub(crate) fn new(name: &str, title: &str, columns: &[&str]) -> Table {
        Table {
            name: name.to_owned(),
            title: title.to_owned(),
            columns: columns.iter().map(|&column| column.to_owned()).collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a line with one cell for each column.
    pub(crate) fn row<C: Into<Cell>>(&mut self, label: &str, cells: impl IntoIterator<Item = C>) {
        let cells: Vec<Cell> = cells.into_iter().map(Into::into).collect();
        debug_assert_eq!(cells.len(), self.columns.len(), "{}: {label}", self.name);
        self.rows.push(Row {
            label: label.to_owned(),
            cells,
        });
    }

    /// The figure in this row and column.
    pub(crate) fn cell(&self, row: &str, column: &str) -> Result<&Cell> {
        let line = self.rows.iter().find(|line| line.label == row);
        let line = line.with_context(|| format!("the table {:?} has no row {row:?}", self.name))?;
        let index = self.columns.iter().position(|name| name == column);
        index
            .and_then(|index| line.cells.get(index))
            .with_context(|| format!("the table {:?} has no column {column:?}", self.name))
    }

    /// Plain text, the columns as wide as what stands in them.
    pub(crate) fn text(&self) -> String {
        let lines = self.lines();
        let width = |index: usize| {
            let widths = lines.iter().filter_map(|line| line.get(index));
            widths.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..=self.columns.len()).map(width).collect();
        let mut text = format!("{}\n", self.title);
        for line in &lines {
            for (index, (cell, width)) in line.iter().zip(&widths).enumerate() {
                // Writing to a String does not fail.
                let _ = match index {
                    0 => write!(text, "  {cell:width$}"),
                    _ => write!(text, "  {cell:>width$}"),
                };
            }
            text.truncate(text.trim_end().len());
            text.push('\n');
        }
        text
    }

    /// A table of Markdown, without its title.
    pub(crate) fn markdown(&self) -> String {
        let mut text = String::new();
        for (index, line) in self.lines().iter().enumerate() {
            let _ = writeln!(text, "| {} |", line.join(" | "));
            if index == 0 {
                let _ = writeln!(text, "|---|{}", "--:|".repeat(self.columns.len()));
            }
        }
        text
    }

    /// The heading and all rows, as people read them.
    fn lines(&self) -> Vec<Vec<String>> {
        let mut heading = vec![String::new()];
        heading.extend(self.columns.iter().cloned());
        let mut lines = vec![heading];
        lines.extend(self.rows.iter().map(|row| {
            let mut line = vec![row.label.clone()];
            line.extend(row.cells.iter().map(Cell::shown));
            line
        }));
        lines
    }
}

/// To four digits that count: more would only say how the machine felt that day.
fn rounded(value: f64) -> f64 {
    if value == 0.0 {
        return 0.0;
    }
    let before_point = value.abs().log10().floor() as i32 + 1;
    let factor = 10f64.powi(4 - before_point);
    (value * factor).round() / factor
}

/// Three digits that count, or all before the point, these in groups of three.
fn shown(value: f64) -> String {
    let decimals = match value.abs() {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 1.0 => 2,
        _ => 3,
    };
    let text = format!("{value:.decimals$}");
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", text.as_str()),
    };
    let (whole, rest) = digits.split_at(digits.find('.').unwrap_or(digits.len()));
    let mut grouped = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    format!("{sign}{grouped}{rest}")
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new("load", "load, ms", &["zlayer", "peer"]);
        table.row("slow", [Some(17_693.4), None]);
        table.row("fast", [Some(0.2945), Some(-3.0)]);
        table
    }

    #[test]
    fn figures_are_shown_with_the_digits_that_count() {
        let cases = [
            (0.0, "0.000"),
            (0.0058, "0.006"),
            (3.347, "3.35"),
            (-10.04, "-10.0"),
            (222.4, "222"),
            (1_234_567.0, "1,234,567"),
        ];
        for (value, text) in cases {
            assert_eq!(shown(value), text);
        }
        assert_eq!(rounded(54_357.2), 54_360.0);
        assert_eq!(rounded(0.012_345_6), 0.01235);
    }

    #[test]
    fn a_table_reads_alike_on_a_terminal_and_on_the_page() {
        assert_eq!(
            table().text(),
            "load, ms\n        zlayer   peer\n  slow  17,690      –\n  fast   0.294  -3.00\n"
        );
        assert_eq!(
            table().markdown(),
            "|  | zlayer | peer |\n|---|--:|--:|\n| slow | 17,690 | – |\n| fast | 0.294 | -3.00 |\n"
        );
    }

    #[test]
    fn a_figure_is_found_by_its_labels_and_a_wrong_label_is_named() {
        let table = table();
        assert_eq!(table.cell("slow", "peer").unwrap().shown(), "–");
        let row = table.cell("slower", "peer").unwrap_err().to_string();
        assert_eq!(row, "the table \"load\" has no row \"slower\"");
        let column = table.cell("slow", "nginx").unwrap_err().to_string();
        assert_eq!(column, "the table \"load\" has no column \"nginx\"");
    }

    #[test]
    fn a_table_comes_back_from_its_data_file_as_it_was() {
        let text = serde_json::to_string(&table()).unwrap();
        let read: Table = serde_json::from_str(&text).unwrap();
        assert_eq!(read.text(), table().text());
    }
}
