//! From measurements to medians, ratios and targets; as a table or as JSON.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::column::{
    Column, ROWS, cold_start, peak_at_answer, peak_with_store, processor, processor_alone, rate,
};
use crate::machine;
use crate::measure::{CONNECTIONS, Round, Start};
use crate::setup::{Contender, Setup};
use crate::stats::median;

/// What the figures are held against: ratios are ours to `wasmtime serve`'s.
const COLD_START: f64 = 0.25;
const MEMORY_MB: f64 = 6.5;
const FRESH: f64 = 2.0;
const REUSE: f64 = 1.5;

/// One server with fresh instances, and with reused ones.
const ZLAYER: (Contender, Contender) = (Contender::Zlayer, Contender::ZlayerReuse);
const WASMTIME: (Contender, Contender) = (Contender::Wasmtime, Contender::WasmtimeReuse);

/// Load from elsewhere that shows in the figures, in running processes.
const BUSY: f64 = 0.5;

/// All that was measured.
pub(crate) struct Report {
    columns: Vec<Column>,
    /// Starts of the daemon with a new data folder.
    first_starts: Vec<Start>,
    generator: &'static str,
    machine: String,
    settings: String,
    versions: Vec<String>,
    remarks: Vec<String>,
}

/// A figure beside its target.
struct Verdict {
    what: &'static str,
    key: &'static str,
    unit: &'static str,
    figure: Option<f64>,
    limit: f64,
    at_most: bool,
}

impl Report {
    /// An empty one.
    pub(crate) fn new(
        setup: &Setup,
        contenders: &[Contender],
        rounds: u32,
        seconds: u64,
        starts: u32,
    ) -> Report {
        let generator = match setup.wrk {
            Some(_) => "wrk -t1 -c16",
            None => "own, one thread, 16 connections",
        };
        let mut remarks = setup.remarks.clone();
        let load = machine::load_average();
        if load.is_some_and(|load| load > BUSY) {
            remarks.push(format!(
                "the machine was busy before this began (load average {:.2}): the figures are not to be trusted",
                load.unwrap_or_default()
            ));
        }
        Report {
            columns: contenders
                .iter()
                .map(|&contender| Column {
                    contender,
                    starts: Vec::new(),
                    rounds: Vec::new(),
                })
                .collect(),
            first_starts: Vec::new(),
            generator,
            machine: machine::describe(),
            settings: format!("--rounds {rounds} --seconds {seconds} --starts {starts}"),
            versions: setup.versions.clone(),
            remarks,
        }
    }

    /// Notes a start.
    pub(crate) fn add_start(&mut self, contender: Contender, start: Start) {
        if let Some(column) = self.column_mut(contender) {
            column.starts.push(start);
        }
    }

    /// Notes a start of the daemon with a new data folder.
    pub(crate) fn add_first_start(&mut self, start: Start) {
        self.first_starts.push(start);
    }

    /// Notes a round of load.
    pub(crate) fn add_round(&mut self, contender: Contender, round: Round) {
        if let Some(column) = self.column_mut(contender) {
            column.rounds.push(round);
        }
    }

    /// Plain text.
    pub(crate) fn table(&self) -> String {
        let mut text = String::new();
        // Writing to a String does not fail.
        let _ = self.write_table(&mut text);
        text
    }

    /// The same figures for programs. What was not measured is null.
    pub(crate) fn json(&self) -> Value {
        let columns: serde_json::Map<String, Value> = self
            .columns
            .iter()
            .map(|column| {
                let figures: serde_json::Map<String, Value> = ROWS
                    .iter()
                    .map(|row| (row.key.to_owned(), json!((row.value)(column))))
                    .collect();
                (column.contender.name().to_owned(), Value::Object(figures))
            })
            .collect();
        let targets: serde_json::Map<String, Value> = self
            .verdicts()
            .iter()
            .map(|verdict| {
                let value = json!({
                    "figure": verdict.figure,
                    "limit": verdict.limit,
                    "limit_is": if verdict.at_most { "most" } else { "least" },
                    "met": verdict.is_met(),
                });
                (verdict.key.to_owned(), value)
            })
            .collect();
        json!({
            "figures": columns,
            "first_start_ms": median(self.first_starts.iter().map(|start| start.answer)),
            "instantiation_us": {
                "zlayer": self.instantiation(ZLAYER, processor),
                "zlayer_one_connection": self.instantiation(ZLAYER, processor_alone),
                "wasmtime": self.instantiation(WASMTIME, processor),
                "wasmtime_one_connection": self.instantiation(WASMTIME, processor_alone),
            },
            "targets": targets,
            "generator": self.generator,
            "connections": CONNECTIONS,
            "machine": self.machine,
            "versions": self.versions,
            "settings": self.settings,
            "remarks": self.remarks,
        })
    }

    fn write_table(&self, out: &mut String) -> std::fmt::Result {
        const LABEL: usize = 44;
        const CELL: usize = 16;
        write!(out, "{:LABEL$}", "")?;
        for column in &self.columns {
            write!(out, "{:>CELL$}", column.contender.name())?;
        }
        writeln!(out)?;
        for row in ROWS {
            write!(out, "{:LABEL$}", row.label)?;
            for column in &self.columns {
                write!(out, "{:>CELL$}", figure((row.value)(column), row.decimals))?;
            }
            writeln!(out)?;
        }
        writeln!(out)?;
        let first = median(self.first_starts.iter().map(|start| start.answer));
        writeln!(
            out,
            "zlayer's very first start, data folder new: {} ms",
            figure(first, 2)
        )?;
        writeln!(
            out,
            "instantiation, as processor time of a request with a fresh instance less one with a reused one:"
        )?;
        for (name, pair) in [("zlayer", ZLAYER), ("wasmtime", WASMTIME)] {
            writeln!(
                out,
                "  {name:10}{:>8} µs with 16 connections {:>8} µs with one",
                figure(self.instantiation(pair, processor), 1),
                figure(self.instantiation(pair, processor_alone), 1),
            )?;
        }
        writeln!(out, "\ntargets")?;
        for verdict in self.verdicts() {
            let word = if verdict.at_most {
                "at most"
            } else {
                "at least"
            };
            let met = match verdict.is_met() {
                Some(true) => "met",
                Some(false) => "MISSED",
                None => "not measured",
            };
            writeln!(
                out,
                "  {:58}{:>8} {:2}  {word} {} {:2}  {met}",
                verdict.what,
                figure(verdict.figure, 2),
                verdict.unit,
                verdict.limit,
                verdict.unit,
            )?;
        }
        writeln!(out)?;
        for remark in &self.remarks {
            writeln!(out, "remark: {remark}")?;
        }
        writeln!(
            out,
            "load: {}; servers run alternately, one at a time; medians; MB = 1,000,000 bytes",
            self.generator
        )?;
        writeln!(out, "versions: {}", self.versions.join("; "))?;
        writeln!(out, "machine: {}", self.machine)?;
        writeln!(
            out,
            "repeat: cargo bench -p zlayer-tests --bench serve -- {}",
            self.settings
        )
    }

    fn verdicts(&self) -> Vec<Verdict> {
        let ratio = |ours, theirs, value: fn(&Column) -> Option<f64>| {
            Some(value(self.column(ours)?)? / value(self.column(theirs)?)?)
        };
        let of_ours = |value: fn(&Column) -> Option<f64>| value(self.column(Contender::Zlayer)?);
        vec![
            Verdict {
                what: "cold start, zlayer / wasmtime",
                key: "cold_start",
                unit: "",
                figure: ratio(Contender::Zlayer, Contender::Wasmtime, cold_start),
                limit: COLD_START,
                at_most: true,
            },
            Verdict {
                what: "very first start, zlayer / wasmtime",
                key: "first_start",
                unit: "",
                figure: self
                    .column(Contender::Wasmtime)
                    .and_then(cold_start)
                    .and_then(|theirs| {
                        Some(median(self.first_starts.iter().map(|start| start.answer))? / theirs)
                    }),
                limit: COLD_START,
                at_most: true,
            },
            Verdict {
                what: "peak memory of zlayer at its first answer",
                key: "memory_at_first_answer",
                unit: "MB",
                figure: of_ours(peak_at_answer),
                limit: MEMORY_MB,
                at_most: true,
            },
            Verdict {
                what: "peak memory of zlayer, answered once, store open",
                key: "memory_with_store",
                unit: "MB",
                figure: of_ours(peak_with_store),
                limit: MEMORY_MB,
                at_most: true,
            },
            Verdict {
                what: "requests per second, fresh instances, zlayer / wasmtime",
                key: "fresh",
                unit: "",
                figure: ratio(Contender::Zlayer, Contender::Wasmtime, rate),
                limit: FRESH,
                at_most: false,
            },
            Verdict {
                what: "requests per second, reused instances, zlayer / wasmtime",
                key: "reuse",
                unit: "",
                figure: ratio(Contender::ZlayerReuse, Contender::WasmtimeReuse, rate),
                limit: REUSE,
                at_most: false,
            },
        ]
    }

    /// Processor time for an instance, in microseconds: fresh less reused.
    fn instantiation(
        &self,
        (fresh, reuse): (Contender, Contender),
        value: fn(&Column) -> Option<f64>,
    ) -> Option<f64> {
        Some(value(self.column(fresh)?)? - value(self.column(reuse)?)?)
    }

    fn column(&self, contender: Contender) -> Option<&Column> {
        self.columns
            .iter()
            .find(|column| column.contender == contender)
    }

    fn column_mut(&mut self, contender: Contender) -> Option<&mut Column> {
        self.columns
            .iter_mut()
            .find(|column| column.contender == contender)
    }
}

impl Verdict {
    fn is_met(&self) -> Option<bool> {
        let figure = self.figure?;
        Some(if self.at_most {
            figure <= self.limit
        } else {
            figure >= self.limit
        })
    }
}

fn figure(value: Option<f64>, decimals: usize) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.decimals$}"))
}
