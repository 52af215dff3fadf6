//! The page of metrics: the daemon's own first, then the plugins'.

use super::process;
use super::view::View;
use crate::capability::Capability;
use crate::metrics::{Page, labels};
use crate::plugin::{Plugin, PluginState};
use crate::stats::Outcome;

/// All metrics as one page, for which `bytes` are reserved.
pub(super) async fn render(view: &View, bytes: usize) -> String {
    let mut page = Page::with_capacity(bytes);
    server(view, &mut page);
    plugins(view, &mut page);
    device(view, &mut page);
    page.single(
        "zlayer_metrics_dropped_total",
        "counter",
        "Changes of plugins' metrics that were dropped: the table is full, or names clash.",
        view.metrics.dropped(),
    );
    view.metrics.write(&mut page).await;
    page.into_text()
}

fn server(view: &View, page: &mut Page) {
    let stats = &view.server;
    page.family(
        "zlayer_requests_total",
        "counter",
        "Requests by the class of their answer's status; none: no whole answer got out.",
    );
    for (class, count) in stats.requests() {
        page.whole("zlayer_requests_total", &labels(&[("code", class)]), count);
    }
    page.family(
        "zlayer_request_seconds",
        "histogram",
        "Time from a request's head to the end of its answer.",
    );
    page.histogram("zlayer_request_seconds", "", &stats.seconds());
    page.single(
        "zlayer_connections",
        "gauge",
        "Client connections that are open.",
        stats.connections() as u64,
    );
    page.single(
        "zlayer_uptime_seconds",
        "gauge",
        "Time since the daemon started.",
        stats.uptime().as_secs(),
    );
}

fn plugins(view: &View, page: &mut Page) {
    let plugins = view.plugins();
    // One sample for each plugin.
    let each =
        |page: &mut Page, family: &str, kind: &str, help: &str, value: &dyn Fn(&Plugin) -> u64| {
            page.family(family, kind, help);
            for plugin in &plugins {
                page.whole(family, &labels(&[("plugin", plugin.name())]), value(plugin));
            }
        };
    page.family(
        "zlayer_plugin_requests_total",
        "counter",
        "Requests that reached the plugin, by how they ended; of one that takes part in several stages, its calls.",
    );
    for plugin in &plugins {
        for outcome in Outcome::ALL {
            let labels = labels(&[("plugin", plugin.name()), ("outcome", outcome.name())]);
            let count = plugin.host().stats.requests(outcome);
            page.whole("zlayer_plugin_requests_total", &labels, count);
        }
    }
    let help = "Whether the plugin takes requests: 0 while it starts and after its init failed.";
    each(page, "zlayer_plugin_ready", "gauge", help, &|plugin| {
        u64::from(plugin.state() == PluginState::Ready)
    });
    page.family(
        "zlayer_instances",
        "gauge",
        "Instances that are at work, and that wait for it.",
    );
    for plugin in &plugins {
        let instances = plugin.instances();
        for (state, count) in [("running", instances.running), ("idle", instances.idle)] {
            let labels = labels(&[("plugin", plugin.name()), ("state", state)]);
            page.whole("zlayer_instances", &labels, count as u64);
        }
    }
    let help = "Instances that may be at work at the same time.";
    each(page, "zlayer_instances_limit", "gauge", help, &|plugin| {
        plugin.instances().max as u64
    });
    let help = "Calls of the plugin that trapped.";
    each(page, "zlayer_traps_total", "counter", help, &|plugin| {
        plugin.host().stats.traps()
    });
    page.family(
        "zlayer_denied_calls_total",
        "counter",
        "Calls of interfaces that the plugin is not granted.",
    );
    for plugin in &plugins {
        for capability in Capability::ALL {
            let labels = labels(&[("plugin", plugin.name()), ("interface", capability.name())]);
            let count = plugin.host().gate.denied_calls(capability);
            page.whole("zlayer_denied_calls_total", &labels, count);
        }
    }
    let help = "Log records of the plugin that were dropped, for they were too many.";
    each(
        page,
        "zlayer_log_dropped_total",
        "counter",
        help,
        &|plugin| plugin.host().log.dropped(),
    );
}

fn device(view: &View, page: &mut Page) {
    page.family(
        "zlayer_memory_bytes",
        "gauge",
        "What is taken of the memory budget; all but instances is set aside, used or not.",
    );
    for (part, bytes) in view.memory() {
        let labels = labels(&[("part", part)]);
        page.whole("zlayer_memory_bytes", &labels, bytes as u64);
    }
    page.single(
        "zlayer_memory_limit_bytes",
        "gauge",
        "The memory budget.",
        view.budget.limit() as u64,
    );
    view.store().series(page);
    if let Some(cache) = view.pipeline().cache() {
        cache.figures().series(page);
    }
    if let Some(bytes) = process::write_bytes() {
        page.single(
            "zlayer_process_write_bytes_total",
            "counter",
            "Bytes that the process had written to disks, by the kernel's account.",
            bytes,
        );
    }
    if let Some(bytes) = process::resident_bytes() {
        page.single(
            "zlayer_process_resident_bytes",
            "gauge",
            "Memory of the process that is resident.",
            bytes,
        );
    }
    page.family("zlayer_build_info", "gauge", "What runs, as labels.");
    let build = labels(&[
        ("version", env!("CARGO_PKG_VERSION")),
        ("engine", zlayer_bundle::ENGINE_VERSION),
    ]);
    page.whole("zlayer_build_info", &build, 1);
}
