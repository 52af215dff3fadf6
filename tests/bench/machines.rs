//! What `cargo boards bench --machine` measured in whole emulated machines: recorded as the benchmarks'
//! own figures are. It is not measured here because it needs what only `cargo boards` has: kernels, disks
//! and device binaries for other processors.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::checkout;
use crate::record::Record;
use crate::table::{Cell, Table};

/// Of the data file, and of the part of the page.
pub(crate) const NAME: &str = "machines";

/// What measures again.
pub(crate) const COMMAND: &str = "cargo boards bench --machine --record";

/// What `cargo boards` hands over.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Handed {
    programs: Vec<String>,
    tables: Vec<Table>,
}

/// Records the figures in `file`.
pub(crate) fn record(file: &Path) -> Result<()> {
    let text =
        fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let mut record = Record::new(NAME, 1, 0)?;
    fill(&mut record, &text)
        .with_context(|| format!("{} holds no figures of `{COMMAND}`", file.display()))?;
    record.save(&checkout::root())
}

fn fill(record: &mut Record, text: &str) -> Result<()> {
    let handed: Handed = serde_json::from_str(text)?;
    record.programs = handed.programs;
    record.tables = handed.tables;
    let rows = record.tables.iter_mut().flat_map(|table| &mut table.rows);
    for cell in rows.flat_map(|row| &mut row.cells) {
        if let Cell::Number(value) = cell {
            *cell = Some(*value).into();
        }
    }
    // Whether others use this machine's processors changes neither instructions nor memory.
    record.remarks.clear();
    Ok(())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;

    #[test]
    fn figures_are_taken_over_with_the_digits_that_count() {
        let mut record = Record::new(NAME, 1, 0).unwrap();
        let text = r#"{"programs": ["zlayer for armv7"], "tables": [{
            "name": "armv7", "title": "t", "columns": ["virt"],
            "rows": [{"label": "resident", "cells": [2.6042368]}]}]}"#;
        fill(&mut record, text).unwrap();
        let cell = record.table("armv7").unwrap().cell("resident", "virt");
        assert_eq!(*cell.unwrap(), Cell::Number(2.604));
        assert_eq!(record.programs, ["zlayer for armv7"]);
        assert!(fill(&mut record, "{}").is_err());
    }
}
