//! The status: as JSON for programs, as text for people.

use std::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use zlayer_binlog::one_line;

use super::json::Json;
use super::process;
use super::view::View;
use crate::capability::{Capabilities, Capability};
use crate::plugin::{Plugin, PluginState};
use crate::redact;
use crate::stats::Outcome;

/// The status as JSON. Fields may be added, but none is ever renamed or removed.
pub(super) fn json(view: &View) -> String {
    let trouble = view.trouble();
    let mut json = Json::object();
    json.text("version", env!("CARGO_PKG_VERSION"));
    json.text("engine", zlayer_bundle::ENGINE_VERSION);
    json.number("pid", std::process::id().into());
    json.number("uptime_seconds", view.server.uptime().as_secs());
    json.text("address", &view.address.to_string());
    json.truth("healthy", trouble.is_none());
    json.text_or_null("trouble", trouble.as_deref());
    json.truth("draining", view.stop.is_closed());
    json.number("connections", view.server.connections() as u64);
    json.nest("requests", '{', &mut |json| {
        for (class, count) in view.server.requests() {
            json.number(class, count);
        }
    });
    json.nest("plugins", '[', &mut |json| {
        for one in view.plugins() {
            json.nest("", '{', &mut |json| plugin(one, json));
        }
    });
    json.nest("pipeline", '[', &mut |json| {
        for (stage, plugins) in view.pipeline.order() {
            json.nest("", '{', &mut |json| {
                json.text("stage", stage);
                json.nest("plugins", '[', &mut |json| {
                    plugins.iter().for_each(|name| json.text("", name));
                });
            });
        }
    });
    json.nest("memory", '{', &mut |json| {
        json.number("limit_bytes", view.budget.limit() as u64);
        json.number("used_bytes", view.budget.used() as u64);
        if let Some(bytes) = process::resident_bytes() {
            json.number("resident_bytes", bytes);
        }
        json.nest("parts", '{', &mut |json| {
            for (part, bytes) in view.memory() {
                json.number(part, bytes as u64);
            }
        });
    });
    view.store().json(&mut json);
    if let Some(cache) = view.pipeline.cache() {
        cache.figures().json(&mut json);
    }
    json.number("metrics_dropped", view.metrics.dropped());
    json.finish()
}

fn plugin(plugin: &Plugin, json: &mut Json) {
    let host = plugin.host();
    let about = plugin.about();
    json.text("name", plugin.name());
    json.text("version", plugin.version());
    json.text_or_null("id", about.map(|about| about.id.as_str()));
    json.text_or_null("title", about.map(|about| about.name.as_str()));
    json.text_or_null("info_version", about.map(|about| about.version.as_str()));
    json.nest("roles", '[', &mut |json| {
        plugin.roles().for_each(|role| json.text("", role.name()));
    });
    let names = |json: &mut Json, name: &str, set: Capabilities| {
        json.nest(name, '[', &mut |json| {
            set.iter().for_each(|one| json.text("", one.name()));
        });
    };
    match about {
        Some(about) => names(json, "asked", about.asked),
        None => json.text_or_null("asked", None),
    }
    names(json, "granted", host.gate.granted());
    let state = plugin.state();
    json.text("state", state.name());
    json.text_or_null("init_error", state.init_error());
    json.text_or_null(
        "reason",
        match &state {
            PluginState::Failed(reason) => Some(reason),
            PluginState::Starting | PluginState::Ready => None,
        },
    );
    let instances = plugin.instances();
    json.nest("instances", '{', &mut |json| {
        json.number("running", instances.running as u64);
        json.number("idle", instances.idle as u64);
        json.number("max", instances.max as u64);
    });
    let outcomes = Outcome::ALL.map(|outcome| (outcome.name(), host.stats.requests(outcome)));
    json.nest("requests", '{', &mut |json| {
        json.number("total", outcomes.iter().map(|(_, count)| count).sum());
        for (name, count) in outcomes {
            json.number(name, count);
        }
    });
    json.number("traps", host.stats.traps());
    let incidents = host.stats.incidents();
    json.nest("last_traps", '[', &mut |json| {
        for incident in &incidents {
            json.nest("", '{', &mut |json| {
                json.number("unix_seconds", unix_seconds(incident.at));
                json.text_or_null("request", incident.request.as_deref());
                json.text("kind", incident.kind.name());
                json.text("reason", &incident.reason);
            });
        }
    });
    json.nest("denied_calls", '{', &mut |json| {
        for one in Capability::ALL {
            json.number(one.name(), host.gate.denied_calls(one));
        }
    });
    json.number("log_dropped", host.log.dropped());
}

/// The status as a few aligned lines.
pub(super) fn text(view: &View) -> String {
    let mut out = String::new();
    let mut line = |name: &str, value: std::fmt::Arguments<'_>| {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{name:<10} {}", one_line(&value.to_string()));
    };
    line(
        "zlayer",
        format_args!(
            "{} (wasmtime {}), process {}, up {}",
            env!("CARGO_PKG_VERSION"),
            zlayer_bundle::ENGINE_VERSION,
            std::process::id(),
            Uptime(view.server.uptime().as_secs())
        ),
    );
    match view.trouble() {
        None => line("health", format_args!("ok")),
        Some(trouble) => line("health", format_args!("NOT OK: {trouble}")),
    }
    line(
        "serving",
        format_args!(
            "http://{}, {} connections",
            view.address,
            view.server.connections()
        ),
    );
    // A single plugin has no order to show.
    if view.plugins().len() > 1 {
        for (index, (stage, plugins)) in view.pipeline.order().into_iter().enumerate() {
            let name = if index == 0 { "pipeline" } else { "" };
            line(name, format_args!("{stage}: {}", plugins.join(", ")));
        }
    }
    for plugin in view.plugins() {
        describe(plugin, &mut line);
    }
    let resident = process::resident_bytes().unwrap_or_default();
    line(
        "memory",
        format_args!(
            "{} of {} KiB taken, {} KiB resident",
            view.budget.used() >> 10,
            view.budget.limit() >> 10,
            resident >> 10
        ),
    );
    for (part, bytes) in view.memory() {
        line("", format_args!("{:>8} KiB {part}", bytes >> 10));
    }
    line(
        "dropped",
        format_args!(
            "{} log records, {} metrics",
            view.plugins()
                .iter()
                .map(|plugin| plugin.host().log.dropped())
                .sum::<u64>(),
            view.metrics.dropped()
        ),
    );
    view.store().text(&mut out);
    if let Some(cache) = view.pipeline.cache() {
        cache.figures().text(&mut out);
    }
    redact::scrub(&out).into_owned()
}

/// Writes the lines of one plugin.
fn describe(plugin: &Plugin, line: &mut dyn FnMut(&str, std::fmt::Arguments<'_>)) {
    let host = plugin.host();
    let roles: Vec<_> = plugin.roles().map(|role| role.name()).collect();
    line(
        "plugin",
        format_args!(
            "{} {} ({}): {}",
            plugin.name(),
            plugin.version(),
            roles.join(", "),
            plugin.state().name()
        ),
    );
    if let Some(about) = plugin.about() {
        line("", format_args!("{about}"));
    }
    let denied = Capability::ALL.map(|one| host.gate.denied_calls(one));
    line(
        "",
        format_args!(
            "granted {}; {} denied calls",
            host.gate.granted(),
            denied.iter().sum::<u64>()
        ),
    );
    let instances = plugin.instances();
    line(
        "instances",
        format_args!(
            "{} running, {} idle, at most {}",
            instances.running, instances.idle, instances.max
        ),
    );
    let mut requests = String::new();
    for outcome in Outcome::ALL {
        let count = host.stats.requests(outcome);
        if count > 0 || outcome == Outcome::Answered {
            let comma = if requests.is_empty() { "" } else { ", " };
            let _ = write!(requests, "{comma}{count} {}", outcome.name());
        }
    }
    line("requests", format_args!("{requests}"));
    for incident in host.stats.incidents() {
        let at = httpdate::HttpDate::from(incident.at);
        let request = incident.request.as_deref().unwrap_or("-");
        line(
            incident.kind.name(),
            format_args!("{at} request {request}: {}", incident.reason),
        );
    }
}

fn unix_seconds(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// A time in seconds, shown as `3d 04:05:06`.
struct Uptime(u64);

impl std::fmt::Display for Uptime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (days, rest) = (self.0 / 86_400, self.0 % 86_400);
        if days > 0 {
            write!(f, "{days}d ")?;
        }
        write!(
            f,
            "{:02}:{:02}:{:02}",
            rest / 3600,
            rest / 60 % 60,
            rest % 60
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uptimes_are_read_at_a_glance() {
        assert_eq!(Uptime(59).to_string(), "00:00:59");
        assert_eq!(Uptime(86_399).to_string(), "23:59:59");
        assert_eq!(Uptime(3 * 86_400 + 3_661).to_string(), "3d 01:01:01");
    }
}
