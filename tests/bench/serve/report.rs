//! From measurements to tables: figures, instantiation, binaries, and what they are held against.

use crate::bench::Run;
use crate::serve::column::{Column, Columns};
use crate::serve::servers::Contender;
use crate::table::{Cell, Table};
use crate::workshop::device_binaries;

/// The figures of one contender, by their labels.
type Figure = (&'static str, fn(&Column) -> Option<f64>);

/// The lines about starts.
const START: [Figure; 7] = [
    ("process start to first response, ms", Column::cold_start),
    ("– fastest", |column| {
        column.cold_starts().map(|(low, _)| low)
    }),
    ("– slowest", |column| {
        column.cold_starts().map(|(_, high)| high)
    }),
    ("very first start, data folder new, ms", Column::first_start),
    ("`--version`, the process alone, ms", Column::bare_start),
    ("peak memory at first response, MB", Column::peak),
    ("– with the store open, MB", Column::peak_with_store),
];

/// The lines about load.
const LOAD: [Figure; 11] = [
    ("requests/s, 16 connections", Column::rate),
    ("– slowest round", |column| {
        column.rates().map(|(low, _)| low)
    }),
    ("– fastest round", |column| {
        column.rates().map(|(_, high)| high)
    }),
    ("latency p50, ms", |column| {
        column.load(|load| load.latency.p50)
    }),
    ("latency p90, ms", |column| {
        column.load(|load| load.latency.p90)
    }),
    ("latency p99, ms", |column| {
        column.load(|load| load.latency.p99)
    }),
    ("latency, slowest, ms", |column| {
        column.load(|load| load.latency.max)
    }),
    ("processor time of a request, µs", Column::processor),
    ("one connection: latency p50, µs", Column::latency_alone),
    (
        "one connection: processor time, µs",
        Column::processor_alone,
    ),
    ("peak memory after load, MB", Column::peak_after_load),
];

/// Those that start a fresh instance for each request, and nginx beside them.
const FRESH: [Contender; 3] = [
    Contender::Zlayer,
    Contender::ZlayerThreads,
    Contender::Wasmtime,
];

/// Those that reuse instances, and nginx beside them.
const REUSE: [Contender; 4] = [
    Contender::ZlayerReuse,
    Contender::ZlayerThreadsReuse,
    Contender::WasmtimeReuse,
    Contender::Nginx,
];

/// A figure held against an aim.
struct Aim {
    what: &'static str,
    figure: Option<f64>,
    limit: f64,
    is_most: bool,
}

/// Hands all figures over.
pub(crate) fn tables(run: &mut Run, columns: &Columns) {
    let sets: [(&str, &str, &[Contender], &[Figure]); 3] = [
        ("start", "start and memory", &Contender::STARTED, &START),
        (
            "fresh",
            "load, a fresh instance for each request",
            &FRESH,
            &LOAD,
        ),
        ("reuse", "load, instances reused", &REUSE, &LOAD),
    ];
    for (name, title, contenders, figures) in sets {
        let names: Vec<&str> = contenders
            .iter()
            .map(|contender| contender.name())
            .collect();
        let mut table = Table::new(name, title, &names);
        for (label, figure) in figures {
            table.row(
                label,
                contenders
                    .iter()
                    .map(|&contender| figure(columns.of(contender))),
            );
        }
        run.table(table);
    }
    run.table(instantiation(columns));
    run.table(binaries());
    run.table(aims(columns));
    run.table(ratios(columns));
}

/// Processor time for an instance: a request with a fresh one less a request with a reused one.
fn instantiation(columns: &Columns) -> Table {
    let title = "instantiation: processor time of a request with a fresh instance less one with a reused one, µs";
    let mut table = Table::new(
        "instantiation",
        title,
        &["16 connections", "one connection"],
    );
    for (fresh, reuse) in [
        (Contender::Zlayer, Contender::ZlayerReuse),
        (Contender::Wasmtime, Contender::WasmtimeReuse),
    ] {
        let label = fresh.name();
        let (fresh, reuse) = (columns.of(fresh), columns.of(reuse));
        let less = |figure: fn(&Column) -> Option<f64>| Some(figure(fresh)? - figure(reuse)?);
        let figures = [less(Column::processor), less(Column::processor_alone)];
        table.row(label, figures);
    }
    table
}

fn binaries() -> Table {
    let mut table = Table::new("binaries", "device binaries", &["MB"]);
    for (target, size) in device_binaries() {
        table.row(target, [size]);
    }
    table
}

/// Ratios that no aim is set for: they tell where the others come from.
fn ratios(columns: &Columns) -> Table {
    let mut table = Table::new("ratios", "zlayer / wasmtime serve", &["ratio"]);
    let (fresh, reuse) = (Contender::Wasmtime, Contender::WasmtimeReuse);
    let rows = [
        (
            "requests for each processor second, fresh instances",
            ratio(columns, fresh, Contender::Zlayer, Column::processor),
        ),
        (
            "requests for each processor second, instances reused",
            ratio(columns, reuse, Contender::ZlayerReuse, Column::processor),
        ),
        (
            "requests/s, all threads, fresh instances",
            ratio(columns, Contender::ZlayerThreads, fresh, Column::rate),
        ),
        (
            "requests/s, all threads, instances reused",
            ratio(columns, Contender::ZlayerThreadsReuse, reuse, Column::rate),
        ),
    ];
    for (label, figure) in rows {
        table.row(label, [figure]);
    }
    table
}

/// A figure of one contender divided by the same of another.
fn ratio(
    columns: &Columns,
    dividend: Contender,
    divisor: Contender,
    figure: fn(&Column) -> Option<f64>,
) -> Option<f64> {
    Some(figure(columns.of(dividend))? / figure(columns.of(divisor))?)
}

/// What the figures are held against.
fn aims(columns: &Columns) -> Table {
    let ours = columns.of(Contender::Zlayer);
    let most = |what, figure, limit| Aim {
        what,
        figure,
        limit,
        is_most: true,
    };
    let least = |what, figure, limit| Aim {
        is_most: false,
        ..most(what, figure, limit)
    };
    let first = || Some(ours.first_start()? / columns.of(Contender::Wasmtime).cold_start()?);
    let aims = [
        most(
            "start, zlayer / wasmtime serve",
            ratio(
                columns,
                Contender::Zlayer,
                Contender::Wasmtime,
                Column::cold_start,
            ),
            0.30,
        ),
        most("very first start, zlayer / wasmtime serve", first(), 0.30),
        most(
            "peak memory of zlayer at first response, MB",
            ours.peak(),
            5.0,
        ),
        most("– with the store open, MB", ours.peak_with_store(), 5.0),
        least(
            "requests/s, fresh instances, zlayer / wasmtime serve",
            ratio(
                columns,
                Contender::Zlayer,
                Contender::Wasmtime,
                Column::rate,
            ),
            2.0,
        ),
        least(
            "requests/s, instances reused, zlayer / wasmtime serve",
            ratio(
                columns,
                Contender::ZlayerReuse,
                Contender::WasmtimeReuse,
                Column::rate,
            ),
            1.5,
        ),
    ];
    let mut table = Table::new("aims", "aims", &["figure", "aim", "verdict"]);
    for aim in aims {
        table.row(aim.what, aim.cells());
    }
    table
}

impl Aim {
    fn cells(&self) -> [Cell; 3] {
        let is_met = self.figure.map(|figure| {
            if self.is_most {
                figure <= self.limit
            } else {
                figure >= self.limit
            }
        });
        let verdict = match is_met {
            Some(true) => "met",
            Some(false) => "missed",
            None => "not measured",
        };
        let word = if self.is_most { "at most" } else { "at least" };
        let aim = format!("{word} {}", self.limit);
        [self.figure.into(), aim.as_str().into(), verdict.into()]
    }
}
