//! What a run found, and its data file in `docs/figures`.

use std::fmt::Write;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::checkout::{self, VERSION};
use crate::machine::Machine;
use crate::machines;
use crate::table::Table;

/// Processor time that others take from which on figures cannot be trusted, in percent.
const BUSY_PERCENT: u64 = 5;

/// What measures `bench` with its own settings and records it.
pub(crate) fn recording(bench: &str) -> String {
    match bench {
        machines::NAME => machines::COMMAND.to_owned(),
        _ => format!("cargo bench -p zlayer-tests --bench {bench} -- --record"),
    }
}

/// A run: where, when, of what, and the figures.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Record {
    /// The benchmark.
    pub(crate) bench: String,
    /// The day, in UTC.
    pub(crate) date: String,
    /// What was checked out.
    pub(crate) commit: String,
    /// Whether files differed from that commit.
    pub(crate) has_uncommitted_changes: bool,
    /// The workspace's version.
    pub(crate) version: String,
    /// Where it ran.
    pub(crate) machine: Machine,
    /// Programs that took part, with their versions.
    pub(crate) programs: Vec<String>,
    /// Rounds of everything.
    pub(crate) rounds: u32,
    /// Seconds of load in each round.
    pub(crate) seconds: u64,
    /// What a reader should know.
    pub(crate) remarks: Vec<String>,
    /// The figures.
    pub(crate) tables: Vec<Table>,
}

impl Record {
    /// A record of this machine and checkout, without figures yet.
    pub(crate) fn new(bench: &str, rounds: u32, seconds: u64) -> Result<Record> {
        let machine = Machine::look()?;
        let commit = checkout::commit(&checkout::root())?;
        let mut remarks = Vec::new();
        if machine.busy_percent > BUSY_PERCENT {
            remarks.push(format!(
                "Before this began, others took {} % of the processors' time: do not trust these \
                 figures.",
                machine.busy_percent
            ));
        }
        Ok(Record {
            bench: bench.to_owned(),
            date: checkout::today()?,
            commit: commit.hash,
            has_uncommitted_changes: commit.is_changed,
            version: VERSION.to_owned(),
            machine,
            programs: Vec::new(),
            rounds,
            seconds,
            remarks,
            tables: Vec::new(),
        })
    }

    /// Where the figures of `bench` are recorded.
    pub(crate) fn path(root: &Path, bench: &str) -> PathBuf {
        root.join(format!("docs/figures/{bench}.json"))
    }

    /// What is recorded of `bench`; `None` when it was never measured.
    pub(crate) fn load(root: &Path, bench: &str) -> Result<Option<Record>> {
        let path = Record::path(root, bench);
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            other => other.with_context(|| format!("cannot read {}", path.display()))?,
        };
        let record = serde_json::from_str(&text);
        record
            .map(Some)
            .with_context(|| format!("{} holds no figures", path.display()))
    }

    /// Writes the data file.
    pub(crate) fn save(&self, root: &Path) -> Result<()> {
        let path = Record::path(root, &self.bench);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        }
        fs::write(&path, self.json()? + "\n")
            .with_context(|| format!("cannot write {}", path.display()))?;
        eprintln!("wrote {}", path.display());
        Ok(())
    }

    /// For programs.
    pub(crate) fn json(&self) -> Result<String> {
        serde_json::to_string_pretty(self).context("figures that JSON cannot hold")
    }

    /// For a terminal.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        for table in &self.tables {
            // Writing to a String does not fail.
            let _ = writeln!(text, "{}", table.text());
        }
        for remark in &self.remarks {
            let _ = writeln!(text, "remark: {remark}");
        }
        let _ = writeln!(
            text,
            "programs: {}\nmachine: {}\ncommit: {}\nrepeat: {}\n",
            self.programs.join("; "),
            self.machine.describe(),
            self.describe_commit(),
            self.command(),
        );
        text
    }

    /// The commit, short, and whether anything was changed since.
    pub(crate) fn describe_commit(&self) -> String {
        let short = self.commit.get(..12).unwrap_or(&self.commit);
        let changed = if self.has_uncommitted_changes {
            " with uncommitted changes"
        } else {
            ""
        };
        format!("{short}{changed}")
    }

    /// How often each figure was measured.
    pub(crate) fn describe_rounds(&self) -> String {
        match self.rounds {
            1 => "Each figure was measured once".to_owned(),
            rounds => format!("Figures are medians of {rounds} rounds"),
        }
    }

    /// What measures the same again.
    pub(crate) fn command(&self) -> String {
        if self.bench == machines::NAME {
            return machines::COMMAND.to_owned();
        }
        format!(
            "cargo bench -p zlayer-tests --bench {} -- --rounds {} --seconds {}",
            self.bench, self.rounds, self.seconds
        )
    }

    /// The table of this name.
    pub(crate) fn table(&self, name: &str) -> Result<&Table> {
        let table = self.tables.iter().find(|table| table.name == name);
        table.with_context(|| format!("the figures of {:?} have no table {name:?}", self.bench))
    }
}
