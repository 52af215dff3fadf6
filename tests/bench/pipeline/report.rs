//! From measurements to medians and differences; as tables or as JSON.

use std::fmt::{Result, Write};

use serde_json::{Map, Value, json};

use crate::bodies::{Before, BodyFigures, LENGTHS};
use crate::chain::{Chain, Handler};
use crate::machine;
use crate::place::Place;
use crate::proxy::Way;
use crate::stages::{CONNECTIONS, Figures};

/// Load from elsewhere that shows in the figures, in running processes.
const BUSY: f64 = 0.5;

/// Width of a table's first column, in characters.
const LABEL: usize = 32;

/// All that was measured; what was not is empty.
pub(crate) struct Report {
    /// Chains of stages.
    pub(crate) chains: Vec<Figures<&'static Chain>>,
    /// Bodies past a transformer.
    pub(crate) bodies: Vec<BodyFigures>,
    /// Proxies.
    pub(crate) proxy: Vec<Figures<Way>>,
    machine: String,
    settings: String,
    version: String,
    remarks: Vec<String>,
}

impl Report {
    /// An empty one.
    pub(crate) fn new(place: &Place, rounds: u32, seconds: u64) -> Report {
        let load = machine::load_average().unwrap_or_default();
        let busy = format!(
            "the machine was busy before this began (load average {load:.2}): the figures are not to be trusted"
        );
        Report {
            chains: Vec::new(),
            bodies: Vec::new(),
            proxy: Vec::new(),
            machine: machine::describe(),
            settings: format!("--rounds {rounds} --seconds {seconds}"),
            version: place.ours.version.clone(),
            remarks: if load > BUSY { vec![busy] } else { Vec::new() },
        }
    }

    /// Notes what the reader should know.
    pub(crate) fn remark(&mut self, text: &str) {
        self.remarks.push(text.to_owned());
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
        let mut chains = Map::new();
        for figures in &self.chains {
            let value = json!({
                "stages": figures.what.stages.len(),
                "figures": load(figures),
                "added_processor_us": self.added(figures, Figures::processor),
                "added_latency_us": self.added(figures, Figures::alone),
            });
            chains.insert(figures.what.key.to_owned(), value);
        }
        let body = |figures: &BodyFigures| {
            json!({
                "bytes": figures.length,
                "transformer": figures.before.name(),
                "time_us": figures.time(),
                "processor_us": figures.processor(),
            })
        };
        let proxy: Map<String, Value> = self
            .proxy
            .iter()
            .map(|figures| (figures.what.name().to_owned(), load(figures)))
            .collect();
        json!({
            "chains": chains,
            "bodies": self.bodies.iter().map(body).collect::<Vec<_>>(),
            "proxy": proxy,
            "connections": CONNECTIONS,
            "machine": self.machine,
            "version": self.version,
            "settings": self.settings,
            "remarks": self.remarks,
        })
    }

    fn write_table(&self, out: &mut String) -> Result {
        for handler in [Handler::Http, Handler::Typed] {
            self.write_chains(out, handler)?;
        }
        self.write_bodies(out)?;
        self.write_proxy(out)?;
        for remark in &self.remarks {
            writeln!(out, "remark: {remark}")?;
        }
        writeln!(
            out,
            "load: own, one thread, {CONNECTIONS} connections, then one; every answer is looked at; servers run \
             alternately; medians\nversion: {}\nmachine: {}\nrepeat: cargo bench -p zlayer-tests --bench pipeline -- {}",
            self.version, self.machine, self.settings
        )
    }

    fn write_chains(&self, out: &mut String, handler: Handler) -> Result {
        let is_of = |figures: &&Figures<&'static Chain>| figures.what.handler == handler;
        let chains: Vec<_> = self.chains.iter().filter(is_of).collect();
        if chains.is_empty() {
            return Ok(());
        }
        writeln!(
            out,
            "{:LABEL$}{:>11}{:>9}{:>9}{:>12}{:>10}{:>11}{:>12}{:>10}",
            handler.name(),
            "",
            "",
            "",
            "processor",
            "",
            "",
            "one conn.",
            ""
        )?;
        writeln!(
            out,
            "{:LABEL$}{:>11}{:>9}{:>9}{:>12}{:>10}{:>11}{:>12}{:>10}",
            "",
            "requests/s",
            "p50 ms",
            "p99 ms",
            "µs/request",
            "added",
            "per stage",
            "p50 µs",
            "added"
        )?;
        for figures in chains {
            let chain = figures.what;
            if figures.is_empty() {
                writeln!(out, "{:LABEL$}  takes no part in this daemon", chain.label)?;
                continue;
            }
            let added = self.added(figures, Figures::processor);
            let stages = chain.stages.len() as f64;
            writeln!(
                out,
                "{:LABEL$}{:>11}{:>9}{:>9}{:>12}{:>10}{:>11}{:>12}{:>10}",
                chain.label,
                figure(figures.rate(), 0),
                figure(figures.p50(), 3),
                figure(figures.p99(), 3),
                figure(figures.processor(), 1),
                figure(added, 1),
                figure(
                    added.filter(|_| stages > 0.0).map(|added| added / stages),
                    1
                ),
                figure(figures.alone(), 1),
                figure(self.added(figures, Figures::alone), 1),
            )?;
        }
        writeln!(out)
    }

    fn write_bodies(&self, out: &mut String) -> Result {
        if self.bodies.is_empty() {
            return Ok(());
        }
        write!(out, "{:LABEL$}", "bodies both ways, µs a request")?;
        for before in Before::ALL {
            write!(out, "{:>17}{:>11}", before.name(), "processor")?;
        }
        writeln!(out)?;
        for length in LENGTHS {
            write!(out, "{:LABEL$}", format!("{} KiB", length >> 10))?;
            for figures in self
                .bodies
                .iter()
                .filter(|figures| figures.length == length)
            {
                let (time, processor) = (figures.time(), figures.processor());
                write!(out, "{:>17}{:>11}", figure(time, 1), figure(processor, 1))?;
            }
            writeln!(out)?;
        }
        writeln!(out)
    }

    fn write_proxy(&self, out: &mut String) -> Result {
        if self.proxy.is_empty() {
            return Ok(());
        }
        writeln!(
            out,
            "{:LABEL$}{:>11}{:>9}{:>9}{:>12}{:>12}",
            "proxies", "requests/s", "p50 ms", "p99 ms", "µs/request", "one, p50 µs"
        )?;
        for figures in &self.proxy {
            writeln!(
                out,
                "{:LABEL$}{:>11}{:>9}{:>9}{:>12}{:>12}",
                figures.what.name(),
                figure(figures.rate(), 0),
                figure(figures.p50(), 3),
                figure(figures.p99(), 3),
                figure(figures.processor(), 1),
                figure(figures.alone(), 1),
            )?;
        }
        writeln!(out)
    }

    /// What a chain takes more than its handler alone.
    fn added(
        &self,
        figures: &Figures<&'static Chain>,
        value: fn(&Figures<&'static Chain>) -> Option<f64>,
    ) -> Option<f64> {
        let chain = figures.what;
        let is_alone = |other: &&Figures<&'static Chain>| {
            other.what.handler == chain.handler && other.what.stages.is_empty()
        };
        let alone = self.chains.iter().find(is_alone)?;
        (!chain.stages.is_empty()).then_some(value(figures)? - value(alone)?)
    }
}

fn load<T>(figures: &Figures<T>) -> Value {
    json!({
        "requests_per_second": figures.rate(),
        "latency_p50_ms": figures.p50(),
        "latency_p99_ms": figures.p99(),
        "processor_us": figures.processor(),
        "one_connection_p50_us": figures.alone(),
    })
}

fn figure(value: Option<f64>, decimals: usize) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.decimals$}"))
}
