//! The page of metrics: the daemon's own, then the plugin's.

use super::process;
use super::view::View;
use crate::capability::Capability;
use crate::metrics::{Page, labels};
use crate::plugin::State;
use crate::stats::Outcome;

/// Everything there is, as one page for which there is room for `bytes`.
pub(super) fn render(view: &View, bytes: usize) -> String {
    let mut page = Page::with_capacity(bytes);
    server(view, &mut page);
    plugin(view, &mut page);
    device(view, &mut page);
    page.single(
        "zlayer_metrics_dropped_total",
        "counter",
        "Changes of plugins' metrics that were dropped: the table is full, or names clash.",
        view.metrics.dropped(),
    );
    view.metrics.write(&mut page);
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

fn plugin(view: &View, page: &mut Page) {
    let (plugin, host) = (&view.plugin, view.plugin.host());
    let name = ("plugin", plugin.name());
    let only = labels(&[name]);
    let count = |page: &mut Page, family: &str, kind: &str, help: &str, value: u64| {
        page.family(family, kind, help);
        page.whole(family, &only, value);
    };
    page.family(
        "zlayer_plugin_requests_total",
        "counter",
        "Requests that reached the plugin, by how they ended.",
    );
    for outcome in Outcome::ALL {
        let labels = labels(&[name, ("outcome", outcome.name())]);
        let count = host.stats.requests(outcome);
        page.whole("zlayer_plugin_requests_total", &labels, count);
    }
    let ready = u64::from(plugin.state() == State::Ready);
    let help = "Whether the plugin takes requests: 0 while it starts and after its init failed.";
    count(page, "zlayer_plugin_ready", "gauge", help, ready);
    let instances = plugin.instances();
    page.family(
        "zlayer_instances",
        "gauge",
        "Instances that are at work, and that wait for it.",
    );
    for (state, count) in [("running", instances.running), ("idle", instances.idle)] {
        let labels = labels(&[name, ("state", state)]);
        page.whole("zlayer_instances", &labels, count as u64);
    }
    let help = "Instances that may be at work at the same time.";
    let most = instances.max as u64;
    count(page, "zlayer_instances_limit", "gauge", help, most);
    let help = "Calls of the plugin that trapped.";
    let traps = host.stats.traps();
    count(page, "zlayer_traps_total", "counter", help, traps);
    page.family(
        "zlayer_denied_calls_total",
        "counter",
        "Calls of interfaces that the plugin is not granted.",
    );
    for capability in Capability::ALL {
        let labels = labels(&[name, ("interface", capability.name())]);
        let count = host.grants.denied_calls(capability);
        page.whole("zlayer_denied_calls_total", &labels, count);
    }
    let help = "Log records of the plugin that were dropped, for they were too many.";
    let dropped = host.log.dropped();
    count(page, "zlayer_log_dropped_total", "counter", help, dropped);
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
    if let Some(cache) = view.cache() {
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
