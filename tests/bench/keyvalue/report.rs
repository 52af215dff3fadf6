//! All that was measured, as tables or as JSON.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::calls::Calls;
use crate::counter::Counter;
use crate::daemon::Place;
use crate::machine;
use crate::memory::Memory;
use crate::opening::Opening;

/// Load from elsewhere that shows in the figures, in running processes.
const BUSY: f64 = 0.5;

/// The parts that were measured.
pub(crate) struct Report {
    pub(crate) calls: Option<Calls>,
    pub(crate) counter: Option<Counter>,
    pub(crate) memory: Option<Memory>,
    pub(crate) opening: Option<Opening>,
    machine: String,
    version: String,
    settings: String,
    remarks: Vec<String>,
}

impl Report {
    /// An empty one.
    pub(crate) fn new(place: &Place, rounds: u32, seconds: u64) -> Report {
        let mut remarks = Vec::new();
        if let Some(load) = machine::load_average().filter(|&load| load > BUSY) {
            remarks.push(format!(
                "the machine was busy before this began (load average {load:.2}): the times are not to be trusted"
            ));
        }
        if place.is_in_memory() {
            remarks.push(
                "the current folder is in memory (tmpfs): nothing here is a disk's figure"
                    .to_owned(),
            );
        }
        Report {
            calls: None,
            counter: None,
            memory: None,
            opening: None,
            machine: machine::describe(),
            version: place.ours.version.clone(),
            settings: format!("--rounds {rounds} --seconds {seconds}"),
            remarks,
        }
    }

    /// Plain text.
    pub(crate) fn table(&self) -> String {
        let mut text = String::new();
        // Writing to a String does not fail.
        let _ = self.write(&mut text);
        text
    }

    /// The same figures for programs. What was not measured is null.
    pub(crate) fn json(&self) -> Value {
        json!({
            "calls": self.calls.as_ref().map(Calls::json),
            "counter": self.counter.as_ref().map(Counter::json),
            "memory": self.memory.as_ref().map(Memory::json),
            "opening": self.opening.as_ref().map(Opening::json),
            "machine": self.machine,
            "version": self.version,
            "settings": self.settings,
            "remarks": self.remarks,
        })
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        if let Some(calls) = &self.calls {
            calls.write(out)?;
            writeln!(out)?;
        }
        if let Some(counter) = &self.counter {
            counter.write(out)?;
            writeln!(out)?;
        }
        if let Some(memory) = &self.memory {
            memory.write(out)?;
            writeln!(out)?;
        }
        if let Some(opening) = &self.opening {
            opening.write(out)?;
            writeln!(out)?;
        }
        for remark in &self.remarks {
            writeln!(out, "remark: {remark}")?;
        }
        writeln!(out, "version: {}", self.version)?;
        writeln!(out, "machine: {}", self.machine)?;
        writeln!(
            out,
            "repeat: cargo bench -p zlayer-tests --bench keyvalue -- {}",
            self.settings
        )
    }
}

/// A number with so many digits behind the point, or a dash.
pub(crate) fn figure(value: Option<f64>, decimals: usize) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.decimals$}"))
}
