//! `cargo boards sizes`: what the device binaries weigh, against the budget, and what of it is whose.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use argh::FromArgs;
use serde::Deserialize;

use crate::Workspace;
use crate::byte_size::megabytes;
use crate::link_map;
use crate::target::{BuildTarget, DEVICE_PROFILE, Target, TargetList};

/// Weighs the device binaries; exit status 1 when one is over the budget or not built.
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "sizes")]
pub(crate) struct Args {
    /// comma-separated targets: x86_64, aarch64, armv7 (all of them by default)
    #[argh(option, default = "TargetList::all()")]
    target: TargetList,
    /// show the whole list of crates, not only the twenty largest
    #[argh(switch)]
    all: bool,
}

/// How many of the parts are listed.
const LISTED: usize = 20;

/// `boards/common/budget.toml`: what may not be exceeded.
#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
struct Budget {
    /// Bytes of the stripped device binary, for each target.
    binary_bytes: u64,
}

impl Budget {
    fn load(boards: &Path) -> Result<Budget> {
        let path = boards.join("common/budget.toml");
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path:?}"))?;
        toml::from_str(&text).with_context(|| format!("{} is not a budget", path.display()))
    }
}

/// One line of the table.
struct Row {
    target: Target,
    path: PathBuf,
    /// Bytes; `None` when the binary is not there.
    size: Option<u64>,
}

/// Prints the table of the targets; fails when a binary is missing or too large.
pub(crate) fn main(args: &Args, workspace: &Workspace) -> Result<()> {
    let budget = Budget::load(&workspace.boards())?;
    let targets = args.target.0.iter();
    let rows: Vec<Row> = targets
        .map(|target| {
            let path = target.binary(&workspace.target_dir, DEVICE_PROFILE);
            let size = fs::metadata(&path).ok().map(|metadata| metadata.len());
            Row {
                target: *target,
                path,
                size,
            }
        })
        .collect();
    print!("{}", table(&rows, budget.binary_bytes));
    let mut columns = Vec::new();
    for row in rows.iter().filter(|row| row.size.is_some()) {
        let map = row.target.map(&workspace.target_dir, DEVICE_PROFILE);
        match fs::read_to_string(&map) {
            Ok(map) => columns.push((row.target, link_map::parts(&map))),
            // Other linkers write none, or another.
            Err(_) => println!(
                "{}: no {}, which only lld writes",
                row.target,
                map.display()
            ),
        }
    }
    let listed = if args.all { usize::MAX } else { LISTED };
    print!("{}", list(&columns, listed));
    judge(&rows, budget.binary_bytes)
}

fn table(rows: &[Row], budget: u64) -> String {
    let mut text = format!(
        "{:<8} {:>12} {:>9} {:>8}  file\n",
        "target", "bytes", "", "budget"
    );
    for row in rows {
        let (bytes, size, share) = match row.size {
            Some(size) => (
                size.to_string(),
                megabytes(size),
                // Rounded up, so that 100 % is the last figure that fits.
                format!("{} %", (size * 100).div_ceil(budget.max(1))),
            ),
            None => ("not built".to_owned(), String::new(), String::new()),
        };
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{:<8} {bytes:>12} {size:>9} {share:>8}  {}",
            row.target,
            row.path.display()
        );
    }
    text
}

/// The largest parts of each binary, each target with an order of its own.
fn list(columns: &[(Target, Vec<(String, u64)>)], listed: usize) -> String {
    let mut text = String::new();
    for (target, parts) in columns {
        let whole: u64 = parts.iter().map(|(_, bytes)| bytes).sum();
        // Writing to a string cannot fail.
        let _ = writeln!(text, "\n{target}, bytes of code and data by crate");
        let (shown, rest) = parts.split_at(parts.len().min(listed));
        for (name, bytes) in shown {
            let _ = writeln!(
                text,
                "{bytes:>12}  {:>3} %  {name}",
                bytes * 100 / whole.max(1)
            );
        }
        let bytes: u64 = rest.iter().map(|(_, bytes)| bytes).sum();
        if bytes > 0 {
            let share = bytes * 100 / whole.max(1);
            let _ = writeln!(text, "{bytes:>12}  {share:>3} %  {} more", rest.len());
        }
    }
    if !columns.is_empty() {
        text.push('\n');
    }
    text
}

fn judge(rows: &[Row], budget: u64) -> Result<()> {
    let name = |rows: Vec<&Row>| {
        rows.iter()
            .map(|row| row.target.name())
            .collect::<Vec<_>>()
            .join(",")
    };
    let missing: Vec<&Row> = rows.iter().filter(|row| row.size.is_none()).collect();
    if !missing.is_empty() {
        let names = name(missing);
        bail!("not built: {names}; `cargo boards build --target {names}` builds what is missing");
    }
    let over: Vec<&Row> = rows.iter().filter(|row| row.size > Some(budget)).collect();
    if !over.is_empty() {
        bail!(
            "over the budget of {budget} bytes ({}): {}",
            megabytes(budget),
            name(over)
        );
    }
    println!(
        "all within the budget of {budget} bytes ({})",
        megabytes(budget)
    );
    Ok(())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;

    const BUDGET: u64 = 5_250_000;

    fn row(target: Target, size: Option<u64>) -> Row {
        Row {
            target,
            path: PathBuf::from("z"),
            size,
        }
    }

    #[test]
    fn a_binary_of_exactly_the_budget_fits_and_one_byte_more_does_not() {
        let mut rows = [
            row(Target::X86_64, Some(BUDGET)),
            row(Target::Armv7, Some(1)),
        ];
        assert!(judge(&rows, BUDGET).is_ok());
        assert!(table(&rows, BUDGET).contains("5250000   5.25 MB    100 %"));
        rows[0].size = Some(BUDGET + 1);
        assert!(table(&rows, BUDGET).contains("5250001   5.26 MB    101 %"));
        let error = judge(&rows, BUDGET).unwrap_err().to_string();
        assert_eq!(error, "over the budget of 5250000 bytes (5.25 MB): x86_64");
    }

    #[test]
    fn the_largest_parts_are_listed_and_the_rest_in_one_line() {
        let parts = [("a", 600), ("b", 300), ("c", 60), ("d", 40)];
        let parts = parts.map(|(name, bytes)| (name.to_owned(), bytes)).to_vec();
        let text = list(&[(Target::Armv7, parts)], 2);
        for line in [
            "armv7, bytes of code and data by crate",
            "         600   60 %  a",
            "         100   10 %  2 more",
        ] {
            assert!(text.contains(line), "no {line} in {text}");
        }
        assert!(!text.contains(" c\n"), "{text}");
        assert_eq!(list(&[], 2), "");
    }

    #[test]
    fn a_missing_binary_is_an_error_with_the_command_that_builds_it() {
        let rows = [row(Target::X86_64, Some(1)), row(Target::Aarch64, None)];
        assert!(table(&rows, BUDGET).contains("aarch64     not built"));
        let error = judge(&rows, BUDGET).unwrap_err().to_string();
        assert!(
            error.contains("cargo boards build --target aarch64`"),
            "{error}"
        );
    }

    #[test]
    fn the_budget_in_the_repository_is_the_one_promised() {
        let budget = Budget::load(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap();
        assert_eq!(budget.binary_bytes, BUDGET);
        assert!(toml::from_str::<Budget>("binary_bytes = 1\nother = 2").is_err());
    }
}
