//! From measurements to medians, ratios and targets; as a table or as JSON.

use std::fmt::Write;
use std::fs;

use serde_json::{Value, json};

use crate::measure::{CONNECTIONS, Round, Start};
use crate::setup::{Contender, Setup};
use crate::stats::{median, range};

/// Bytes in a MB of this report: the decimal one, which makes a limit in MB the stricter one.
const MB: f64 = 1e6;

/// What the figures are held against: ratios are ours to `wasmtime serve`'s.
const COLD_START: f64 = 0.25;
const MEMORY_MB: f64 = 6.5;
const FRESH: f64 = 2.0;
const REUSE: f64 = 1.5;

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

/// What was measured of one contender.
struct Column {
    contender: Contender,
    starts: Vec<Start>,
    rounds: Vec<Round>,
}

/// One line of the table, and one key of each column's JSON.
struct Row {
    label: &'static str,
    key: &'static str,
    decimals: usize,
    value: fn(&Column) -> Option<f64>,
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
        let load = load_average();
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
            machine: machine(),
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
                "zlayer": self.instantiation(Contender::Zlayer, Contender::ZlayerReuse),
                "wasmtime": self.instantiation(Contender::Wasmtime, Contender::WasmtimeReuse),
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
        for (name, fresh, reuse) in [
            ("zlayer", Contender::Zlayer, Contender::ZlayerReuse),
            ("wasmtime", Contender::Wasmtime, Contender::WasmtimeReuse),
        ] {
            writeln!(
                out,
                "  {name:10}{} µs",
                figure(self.instantiation(fresh, reuse), 1)
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

    /// Processor time for an instance, in microseconds.
    fn instantiation(&self, fresh: Contender, reuse: Contender) -> Option<f64> {
        Some(processor(self.column(fresh)?)? - processor(self.column(reuse)?)?)
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

impl Column {
    fn starts(&self, value: fn(&Start) -> f64) -> impl Iterator<Item = f64> {
        self.starts.iter().map(value)
    }

    fn rounds(&self, value: fn(&Round) -> f64) -> impl Iterator<Item = f64> {
        self.rounds.iter().map(value)
    }
}

const ROWS: &[Row] = &[
    Row {
        label: "cold start to first answer, ms",
        key: "cold_start_ms",
        decimals: 2,
        value: cold_start,
    },
    Row {
        label: "  fastest",
        key: "cold_start_fastest_ms",
        decimals: 2,
        value: |column| range(column.starts(|start| start.answer)).map(|(low, _)| low),
    },
    Row {
        label: "  slowest",
        key: "cold_start_slowest_ms",
        decimals: 2,
        value: |column| range(column.starts(|start| start.answer)).map(|(_, high)| high),
    },
    Row {
        label: "peak RSS at first answer, MB",
        key: "peak_at_first_answer_mb",
        decimals: 2,
        value: peak_at_answer,
    },
    Row {
        label: "  with the key-value store open, MB",
        key: "peak_with_store_mb",
        decimals: 2,
        value: peak_with_store,
    },
    Row {
        label: "  after a round of load, MB",
        key: "peak_after_load_mb",
        decimals: 2,
        value: |column| median(column.rounds(|round| round.peak / MB)),
    },
    Row {
        label: "requests per second, 16 connections",
        key: "requests_per_second",
        decimals: 0,
        value: rate,
    },
    Row {
        label: "  slowest round",
        key: "requests_per_second_lowest",
        decimals: 0,
        value: |column| range(column.rounds(|round| round.load.rate)).map(|(low, _)| low),
    },
    Row {
        label: "  fastest round",
        key: "requests_per_second_highest",
        decimals: 0,
        value: |column| range(column.rounds(|round| round.load.rate)).map(|(_, high)| high),
    },
    Row {
        label: "latency p50, ms",
        key: "latency_p50_ms",
        decimals: 3,
        value: |column| median(column.rounds(|round| round.load.latency.p50)),
    },
    Row {
        label: "latency p90, ms",
        key: "latency_p90_ms",
        decimals: 3,
        value: |column| median(column.rounds(|round| round.load.latency.p90)),
    },
    Row {
        label: "latency p99, ms",
        key: "latency_p99_ms",
        decimals: 3,
        value: |column| median(column.rounds(|round| round.load.latency.p99)),
    },
    Row {
        label: "latency max of all rounds, ms",
        key: "latency_max_ms",
        decimals: 3,
        value: |column| range(column.rounds(|round| round.load.latency.max)).map(|(_, high)| high),
    },
    Row {
        label: "requests per second, one connection",
        key: "requests_per_second_one_connection",
        decimals: 0,
        value: |column| median(column.rounds(|round| round.rate_alone)),
    },
    Row {
        label: "  processor time of such a request, µs",
        key: "processor_us",
        decimals: 1,
        value: processor,
    },
];

fn cold_start(column: &Column) -> Option<f64> {
    median(column.starts(|start| start.answer))
}

fn peak_at_answer(column: &Column) -> Option<f64> {
    median(column.starts(|start| start.peak / MB))
}

fn peak_with_store(column: &Column) -> Option<f64> {
    median(
        column
            .starts
            .iter()
            .filter_map(|start| start.peak_with_store)
            .map(|peak| peak / MB),
    )
}

fn rate(column: &Column) -> Option<f64> {
    median(column.rounds(|round| round.load.rate))
}

fn processor(column: &Column) -> Option<f64> {
    median(column.rounds(|round| round.processor))
}

fn figure(value: Option<f64>, decimals: usize) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.decimals$}"))
}

fn load_average() -> Option<f64> {
    let text = fs::read_to_string("/proc/loadavg").ok()?;
    text.split_whitespace().next()?.parse().ok()
}

/// Processor, how many of them, kernel, and what else was going on.
fn machine() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info
        .lines()
        .find(|line| line.starts_with("model name") || line.starts_with("Model"))
        .and_then(|line| line.split_once(':'))
        .map_or("unknown processor", |(_, model)| model.trim());
    let count = std::thread::available_parallelism().map_or(1, usize::from);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let load = load_average().map_or_else(|| "unknown".to_owned(), |load| format!("{load:.2}"));
    format!(
        "{model}, {count} processors, Linux {}, load average {load} before",
        kernel.trim()
    )
}
