//! The status: as JSON for programs, as text for people.

use std::net::SocketAddr;

use super::deployments::Deployed;
use super::json::Json;
use super::process;
use super::section::{Section, Value};
use super::view::View;
use crate::capability::{Capabilities, Capability};
use crate::clock;
use crate::message::Scheme;
use crate::plugin::{Health, HealthState, Plugin, PluginState};
use crate::redact;
use crate::server::tls::Https;
use crate::stats::Outcome;

/// The status as JSON. Fields may be added, but none is ever renamed or removed.
pub(super) fn json(view: &View) -> String {
    let mut json = Json::object();
    describe(view).write_json(&mut json);
    json.finish()
}

/// The status as a few aligned lines.
pub(super) fn text(view: &View) -> String {
    let mut text = String::new();
    describe(view).write_text("", &mut text);
    redact::scrub(&text).into_owned()
}

/// Adds which deployment is served.
fn deployment(described: Section, deployed: &Deployed) -> Section {
    let Deployed {
        name,
        release,
        digest,
        generation,
        on_trial,
        failed,
        went_back,
    } = deployed;
    let described = described
        .field("deployment", name.clone())
        .field("release", *release)
        .field("digest", digest.clone());
    let described = match generation {
        Some(generation) => described
            .line(
                "deployment",
                "{deployment}, release {release}, generation {generation}, {on_trial}, digest {digest}",
            )
            .field("generation", *generation)
            .field(
                "on_trial",
                Value::Truth(
                    *on_trial,
                    [
                        failed.as_ref().map_or("confirmed", |_| "failed its trial"),
                        "on trial",
                    ],
                ),
            ),
        None => described.line(
            "deployment",
            "{deployment}, release {release}, not installed, digest {digest}",
        ),
    };
    let described = match failed {
        Some(why) => described
            .line(
                "",
                "served on for want of another, though in its trial {failed}",
            )
            .field("failed", redact::scrub(why).into_owned()),
        None => described,
    };
    match went_back {
        Some(why) => described
            .line("", "{went_back}")
            .field("went_back", redact::scrub(why).into_owned()),
        None => described,
    }
}

/// All that there is to tell.
fn describe(view: &View) -> Section {
    let trouble = view.trouble();
    let health = match &trouble {
        None => "{healthy}",
        Some(_) => "{healthy}: {trouble}",
    };
    let requests = view.server.requests();
    let requests = requests.fold(Section::default(), |section, (class, count)| {
        section.field(class, count)
    });
    let plugins = view.plugins();
    let plugins = plugins.iter().map(|one| plugin(one));
    let addresses = view.doors.addresses();
    // The first address of a scheme, or of all.
    let address = |wanted: Option<Scheme>| {
        let mut addresses = addresses.iter();
        let found = addresses.find(|(scheme, _)| wanted.is_none_or(|wanted| wanted == *scheme));
        found.map_or(String::new(), |(_, address)| address.to_string())
    };
    let has_https = addresses.iter().any(|(scheme, _)| *scheme == Scheme::Https);
    let serving = match addresses.first() {
        Some((Scheme::Https, _)) => "https://{address}, {connections} connections",
        Some(_) => "http://{address}, {connections} connections",
        None => "at no port: none could be opened, {connections} connections",
    };
    let described = Section::default()
        .line(
            "zlayer",
            "{version} (wasmtime {engine}), process {pid}, up {uptime_seconds}",
        )
        .line("health", health)
        .line("serving", serving)
        .line("clock", "{clock}, at least {clock_floor_unix_seconds}")
        .line("threads", "{threads}")
        .field("version", env!("CARGO_PKG_VERSION"))
        .field("engine", zlayer_bundle::ENGINE_VERSION)
        .field("pid", u64::from(std::process::id()))
        .field(
            "uptime_seconds",
            Value::Seconds(view.server.uptime().as_secs()),
        )
        .field("address", address(None))
        .field("healthy", Value::Truth(trouble.is_none(), ["NOT OK", "ok"]))
        .field("trouble", trouble)
        .field(
            "draining",
            Value::Truth(view.stop.is_closed(), ["", "draining"]),
        )
        .field("clock", clock::state().name())
        .field("clock_floor_unix_seconds", Value::Moment(clock::floor()))
        .field("threads", view.threads)
        .field("connections", view.server.connections())
        .field("metrics_dropped", view.metrics.dropped())
        .field("requests", requests)
        .field("ending_deployments", view.deployments.ending())
        .field("pipeline", pipeline(view))
        .field("plugins", plugins.collect::<Vec<_>>())
        .field("memory", memory(view))
        .field("store", view.store().describe());
    let described = match view.deployments.deployed() {
        Some(deployed) => deployment(described, &deployed),
        None => described,
    };
    let described = match has_https {
        true => described
            .line("HTTPS", "https://{https_address}")
            .field("https_address", address(Some(Scheme::Https))),
        false => described,
    };
    let described = match &view.https {
        Some(https) => described.field("certificates", certificates(https)),
        None => described,
    };
    // One of each kind is told of already.
    let described = match addresses.len() > 1 + usize::from(has_https) {
        true => described
            .line("addresses", "{addresses}")
            .field("addresses", Value::Texts(urls(&addresses))),
        false => described,
    };
    let pipeline = view.pipeline();
    match pipeline.cache() {
        Some(cache) => described.field("cache", cache.figures().describe()),
        None => described,
    }
}

/// Where clients come in.
fn urls(addresses: &[(Scheme, SocketAddr)]) -> Vec<String> {
    let urls =
        { addresses.iter() }.map(|(scheme, address)| format!("{}://{address}", scheme.name()));
    urls.collect()
}

/// The certificates that clients are shown.
fn certificates(https: &Https) -> Vec<Section> {
    let described = https.describe().into_iter().map(|(file, state, end)| {
        let described = Section::default().field("file", file).field("state", state);
        match end {
            Some(end) => described
                .line("certificate", "{file}: {state}, {not_after_unix_seconds}")
                .field("not_after_unix_seconds", Value::Moment(end)),
            None => described.line("certificate", "{file}: {state}"),
        }
    });
    described.collect()
}

/// Which plugins take part in which stage, in their order.
fn pipeline(view: &View) -> Vec<Section> {
    let pipeline = view.pipeline();
    let order = pipeline.order().into_iter().enumerate();
    let stages = order.map(|(index, (stage, plugins))| {
        let names = plugins.iter().map(|name| (*name).to_owned()).collect();
        Section::default()
            .line(
                if index == 0 { "pipeline" } else { "" },
                "{stage}: {plugins}",
            )
            .field("stage", stage)
            .field("plugins", Value::Texts(names))
    });
    stages.collect()
}

fn memory(view: &View) -> Section {
    let parts = view.memory().into_iter();
    let parts = parts.fold(Section::default(), |section, (part, bytes)| {
        section.field(part, Value::Bytes(bytes as u64))
    });
    let described = Section::default()
        .line(
            "memory",
            "{used_bytes} of {limit_bytes} taken, {resident_bytes} resident",
        )
        .field("limit_bytes", Value::Bytes(view.budget.limit() as u64))
        .field("used_bytes", Value::Bytes(view.budget.used() as u64));
    let described = match process::resident_bytes() {
        Some(bytes) => described.field("resident_bytes", Value::Bytes(bytes)),
        None => described,
    };
    described.field("parts", parts)
}

fn plugin(plugin: &Plugin) -> Section {
    let host = plugin.host();
    let about = plugin.about();
    let state = plugin.state();
    let reason = match &state {
        PluginState::Failed(reason) => Some(reason.as_str()),
        PluginState::Starting | PluginState::Ready => None,
    };
    let roles = plugin.roles().map(|role| role.name().to_owned());
    let withheld = host.granted.withheld.iter();
    let withheld = withheld.map(|role| role.name().to_owned());
    let names =
        |set: Capabilities| Value::Texts(set.iter().map(|one| one.name().to_owned()).collect());
    let (series, metrics_dropped) = host.metrics.of(&host.name);
    let mut described = Section::default().line("plugin", "{name} {version} ({roles}): {state}");
    if about.is_some() {
        described = described.line("", "{id} ({title}) {info_version}, uses {asked}");
    }
    let described = health(plugin, described);
    described
        .line("", "granted {granted}; {traps} traps")
        .field("name", plugin.name())
        .field("version", plugin.version())
        .field("digest", plugin.digest())
        .field("id", about.map(|about| about.id.as_str()))
        .field("title", about.map(|about| about.name.as_str()))
        .field("info_version", about.map(|about| about.version.as_str()))
        .field("roles", Value::Texts(roles.collect()))
        .field(
            "asked",
            about.map_or(Value::Unknown, |about| names(about.asked)),
        )
        .field("granted", names(host.gate.granted()))
        .field("imports", names(host.granted.imported))
        .field("not_granted", host.granted.not_granted())
        .field("roles_withheld", Value::Texts(withheld.collect()))
        .field("hosts", host.grants.allowed_hosts.shown())
        .field("secrets", host.shown_secrets())
        .field("state", state.name())
        .field("init_error", state.init_error())
        .field("reason", reason)
        .field("traps", host.stats.traps())
        .field("log_dropped", host.log.dropped())
        .field("series", series)
        .field("metrics_dropped", metrics_dropped)
        .field("instances", instances(plugin))
        .field("requests", requests(plugin))
        .field("writes", writes(plugin))
        .field("last_traps", last_traps(plugin))
        .field("denied_calls", denied_calls(plugin))
}

/// What its checks say of a plugin that is asked whether it is well.
fn health(plugin: &Plugin, described: Section) -> Section {
    let Some(state) = plugin.health().map(Health::state) else {
        return described;
    };
    let described = described.field("health", state.name());
    match state {
        HealthState::Unknown => described.line("", "health: {health}"),
        HealthState::Healthy(since) => described
            .line("", "health: {health}, since {health_since_unix_seconds}")
            .field("health_since_unix_seconds", Value::Moment(since)),
        HealthState::Unhealthy(since, reason) => described
            .line(
                "",
                "health: {health}, since {health_since_unix_seconds}: {health_reason}",
            )
            .field("health_since_unix_seconds", Value::Moment(since))
            .field("health_reason", reason),
    }
}

fn instances(plugin: &Plugin) -> Section {
    let instances = plugin.instances();
    let line = match instances.max < instances.wanted {
        true => {
            "{running} running, {idle} idle, at most {max}: the memory has no room for {wanted}"
        }
        false => "{running} running, {idle} idle, at most {max}",
    };
    Section::default()
        .line("instances", line)
        .field("running", instances.running)
        .field("idle", instances.idle)
        .field("max", instances.max)
        .field("wanted", instances.wanted)
}

/// The requests that reached a plugin, by how they ended.
fn requests(plugin: &Plugin) -> Section {
    let stats = &plugin.host().stats;
    let outcomes = Outcome::ALL.map(|outcome| (outcome.name(), stats.requests(outcome)));
    let total: u64 = outcomes.iter().map(|(_, count)| count).sum();
    let described = Section::default()
        .line("requests", "{total} in all, {answered} answered")
        .field("total", total);
    let outcomes = outcomes.into_iter();
    outcomes.fold(described, |section, (name, count)| {
        section.field(name, count)
    })
}

/// What a plugin's changes of the store had written to flash.
fn writes(plugin: &Plugin) -> Section {
    let writes = &plugin.host().writes;
    Section::default()
        .line(
            "writes",
            "{spent_bytes} to flash of {day_bytes} that a day allows",
        )
        .field("spent_bytes", Value::Bytes(writes.spent()))
        .field("day_bytes", Value::Bytes(writes.day_bytes()))
        .field("refused_changes", writes.refused())
}

fn last_traps(plugin: &Plugin) -> Vec<Section> {
    let incidents = plugin.host().stats.incidents();
    let described = incidents.into_iter().map(|incident| {
        Section::default()
            .line("", "{unix_seconds} {kind}, request {request}: {reason}")
            .field("unix_seconds", Value::Moment(incident.at))
            .field("request", incident.request.as_deref())
            .field("kind", incident.kind.name())
            .field("reason", incident.reason)
    });
    described.collect()
}

fn denied_calls(plugin: &Plugin) -> Section {
    let gate = &plugin.host().gate;
    let capabilities = Capability::ALL.into_iter();
    capabilities.fold(Section::default(), |section, one| {
        section.field(one.name(), gate.denied_calls(one))
    })
}
