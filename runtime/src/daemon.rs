//! The daemon's life: from flags to served plugins, and down again.

mod artifacts;
mod compile;
mod essentials;
mod fixed;
mod installation;
mod plugins;
mod rehearsal;
mod resources;
mod signals;
mod time;
mod trust;
mod versions;

use std::future::poll_fn;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_lite::future::{or, yield_now, zip};
use rustix::fs::Mode;
use smol::Executor;
use smol::channel::{Receiver, bounded};

use crate::account::Account;
use crate::admin::{self, Admin, Deployed, View};
use crate::clients::{RunQueue, SLICE};
use crate::config::{CONNECTION_SHARE, Config, Door, Source};
use crate::confinement::{Needs, confine};
use crate::data_dir::DataDir;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::keyvalue::{self, Foreign, KeyValue};
use crate::logger;
use crate::memory::Budget;
use crate::message::Scheme;
use crate::metrics::Metrics;
use crate::pipeline::Pipeline;
use crate::plugin::{Common, InstanceMemory, Plugin, Ticker, new_engine, places, share_out};
use crate::redact;
use crate::server::Server;
use crate::server::tls::{Https, TLS_SHARE};
use crate::stats::ServerStats;
use crate::timeout;
use crate::turns;
use crate::upstream::{self, Upstreams};
use fixed::Fixed;
use rehearsal::rehearse;
use resources::Resources;
use signals::Signals;
use time::Time;
use versions::Versions;

pub use artifacts::{may_compile, target};
pub use compile::{
    PRECOMPILE, Packed, exit_code, open as open_regular, pack, precompile_command,
    without_compiler, without_tool,
};
pub use installation::{Installation, Installed, STANDARD_INPUT};
pub use trust::{Trustees, trusted};

/// Where the log's ring lies in the data folder.
pub const LOG_FOLDER: &str = "log";

static EXECUTOR: Executor<'static> = Executor::new();

/// Serves the plugins that `config` names until a signal ends it.
pub fn run(config: Config) -> Result<()> {
    essentials::random_numbers()?;
    // Before anything can be logged.
    let own = config.services.iter();
    let own = own.flat_map(|service| service.config.grants.own_secrets.values());
    let known = config.secrets.values().chain(config.variables.values());
    redact::install(known.chain(own).map(|secret| secret.0.as_str()));
    let account = match &config.user {
        Some(account) => account.is_another()?.then_some(account),
        None => None,
    };
    admin::open_before_confinement();
    // Whatever is made from here on is nobody else's, by libraries too.
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
    // Before all else: a signal that comes while the plugin loads must drain, too.
    let signals = Signals::hear()?;
    let doors = config.doors.iter();
    let bound = doors.map(|door| Ok((door.clone(), Server::bind(door)?)));
    let bound: Vec<_> = bound.collect::<Result<_>>()?;
    // While this process may still read what root alone may.
    let owner = account.map(|account| account.ids().0.as_raw());
    let https = config.entrance.https.as_ref();
    let https = https.map(|https| Https::new(https.identities.clone(), owner));
    let https = https.transpose()?;
    if let Some(account) = account {
        rehearse(&config, account)?;
    }
    let data = DataDir::open(config.data_dir.as_deref(), account.map(Account::ids))?;
    if let Some(account) = account {
        account.assume()?;
        data.reach()?;
    }
    let logging = logger::choose(config.log, &data.path().join(LOG_FOLDER));
    EXECUTOR.spawn(logging).detach();
    let time = Time::of(&data);
    time::tell();
    if let Some(time) = time {
        EXECUTOR.spawn(time.keep()).detach();
    }
    let served = Admin::bind(data.path(), config.admin_port)
        .and_then(|admin| serve(&config, bound, https, admin, &data, signals));
    if let Err(error) = &served {
        // `main` tells people.
        logger::remember(&error.to_string());
    }
    logger::close();
    data.close();
    served
}

fn serve(
    config: &Config,
    bound: Vec<(Door, TcpListener)>,
    https: Option<Https>,
    admin: Admin,
    data: &DataDir,
    signals: Signals,
) -> Result<()> {
    let mut versions = Versions::open(data)?;
    let members = plugins::gather(config, data, &mut versions)?;
    // Plugins may have been compiled by another program until here, and no thread was started yet.
    confine(&Needs {
        data: data.path(),
        is_temporary: data.is_temporary(),
        read: read_later(config),
    });
    let needs: Vec<_> = members.iter().map(plugins::Member::needs).collect();
    let resources = Resources::decide(config, &needs, &Device::new())?;
    essentials::threads(resources.threads)?;
    let limits = &resources.limits;
    let budget = Budget::new(resources.memory);
    let share = CONNECTION_SHARE + https.as_ref().map_or(0, |_| TLS_SHARE);
    let certificates = https.as_ref().map_or(0, Https::memory);
    let fixed = Fixed::reserve(&budget, limits.connections, share, certificates)?;
    let Some(first) = members.first() else {
        return Err(Error::Usage("there is no plugin".to_owned()));
    };
    let target = first.artifact().manifest().target;
    let (profile, memory) = (config.profile, resources.memory);
    let wanted: Vec<_> = members
        .iter()
        .map(|member| member.config().pooling.instances)
        .collect();
    let usual = config.usual.pooling.instances;
    let instances = share_out(target, profile, memory, usual, &wanted);
    let initial = needs.iter().map(|needs| needs.memory_initial);
    let plugins = instances.iter().copied().zip(initial);
    let engine = new_engine(
        target,
        profile,
        memory,
        places(memory, resources.threads, plugins),
    )?;
    // Not sooner: two threads that map memory get in each other's way.
    let store = KeyValue::new(&data.store(), &budget, Arc::<keyvalue::Machine>::default());
    if members.iter().any(plugins::Member::imports_store) {
        check_store(&data.store(), config.set_store_aside)?;
        store
            .start()
            .map_err(|error| Error::device("cannot start the key-value store's thread", error))?;
    }
    let metrics = Arc::new(Metrics::new(Arc::clone(&budget)));
    let upstreams = Upstreams::new(
        upstream::Settings {
            tls_roots: config.tls_roots.clone(),
            underscore_headers: limits.underscore_headers,
            ..upstream::Settings::default()
        },
        Arc::clone(&budget),
        &EXECUTOR,
    );
    upstreams.read_roots()?;
    let instance_memory = InstanceMemory::new(&budget);
    let ticker = Ticker::new(&engine, resources.threads);
    let common = Common {
        engine: &engine,
        ticker: &ticker,
        instance_memory: &instance_memory,
        budget: &budget,
        limits,
        timeouts: &config.timeouts,
    };
    let mut placed = Vec::new();
    for (member, instances) in members.into_iter().zip(instances) {
        member.tell_what_it_is();
        let placement = Arc::clone(&member.config().placement);
        let plugin = member.load(instances, config, &common, &metrics, &store, &upstreams)?;
        placed.push((plugin, placement));
    }
    if !data.is_temporary() {
        versions.keep();
    }
    let (drain, request_timeout) = (config.timeouts.drain, config.timeouts.request);
    let pipeline = Pipeline::new(placed, limits, request_timeout, &budget, upstreams)?;
    let pipeline = Arc::new(pipeline);
    let plugins = pipeline.plugins();
    let (stopping, stop) = bounded(1);
    let stats = ServerStats::new();
    let server = Server::new(
        bound,
        https.clone(),
        Arc::clone(&pipeline),
        limits.clone(),
        config.timeouts.clone(),
        config.entrance.clone(),
        config.access_log,
        Arc::clone(&stats),
        &EXECUTOR,
        stop.clone(),
    )?;

    if let Some(address) = admin.address() {
        logger::say(&format!("zlayer: admin interface on http://{address}\n"));
    }
    let addresses = server.addresses();
    tell_addresses(plugins, &addresses);
    let view = View {
        pipeline: Arc::clone(&pipeline),
        server: stats,
        metrics: Arc::clone(&metrics),
        budget: Arc::clone(&budget),
        store: store.clone(),
        connections: fixed.connections,
        connections_memory: fixed.connections * share + certificates,
        threads: resources.threads,
        addresses,
        https: https.clone(),
        deployment: deployed(&config.source),
        stop: stop.clone(),
    };
    let _admin = admin.serve(view, &EXECUTOR)?;
    if data.is_temporary() {
        log::info!(
            "no --data-dir: what the plugin stores is kept in {} and goes with this process",
            data.path().display()
        );
    }

    for plugin in plugins {
        plugin.tell_room();
        let telling = Arc::clone(plugin);
        EXECUTOR
            .spawn(async move { telling.host().log.report_dropped_in_time().await })
            .detach();
        let (plugin, pipeline, stop) = (Arc::clone(plugin), Arc::clone(&pipeline), stop.clone());
        let keeping = async move { keep(&plugin, &pipeline, request_timeout, &stop).await };
        EXECUTOR.spawn(crate::reactor::enter(keeping)).detach();
    }
    if let Some(https) = https.clone() {
        EXECUTOR.spawn(async move { https.watch().await }).detach();
    }
    let reload = https.map(|https| {
        move || {
            let https = https.clone();
            let reloading = async move { https.reload().await };
            EXECUTOR.spawn(reloading).detach();
        }
    });
    // Its thread is started now and not with the first request, which would end if it could not be.
    drop(ticker.work());
    let telling = signals.obey(stopping, store.clone(), metrics, reload)?;
    let queue = RunQueue::new(resources.threads, |runnable| {
        turns::piece(|| runnable.run());
    });
    for number in 1..resources.threads {
        let queue = Arc::clone(&queue);
        // They outlive the stop signal, since running requests need them: the process ends them.
        std::thread::Builder::new()
            .name("worker".to_owned())
            .spawn(move || work(&queue, number, std::future::pending::<()>()))
            .map_err(|error| Error::device("cannot start a worker thread", error))?;
    }
    // A task like all others: the executor looks at the future that it is run with only now and then.
    let served = EXECUTOR.spawn(server.run(fixed.connections, Arc::clone(&queue)));
    work(&queue, 0, async {
        served.await;
        let until = Instant::now() + drain;
        // The way of a request: what stands in front may use what stands behind to its end.
        for plugin in plugins {
            let shutting_down = crate::reactor::enter(plugin.shut_down());
            if timeout::before(until, shutting_down).await.is_none() {
                log::warn!(
                    "plugin {}: shutdown did not end within {drain:?}",
                    plugin.name()
                );
            }
        }
    });
    store.close();
    plugins
        .iter()
        .for_each(|plugin| plugin.host().log.report_dropped());
    telling.wait();
    log::info!("stopped");
    Ok(())
}

/// Tells where clients come in. The line with the plugins is the last one, and has the first address.
fn tell_addresses(plugins: &[Arc<Plugin>], addresses: &[(Scheme, SocketAddr)]) {
    let url = |(scheme, address): &(Scheme, SocketAddr)| format!("{}://{address}", scheme.name());
    let (first, others) = addresses.split_at(addresses.len().min(1));
    for one in others {
        let spoken = scheme_shown(one.0);
        logger::say(&format!("zlayer: {spoken} on {}\n", url(one)));
    }
    let served: Vec<_> = plugins.iter().map(|plugin| described(plugin)).collect();
    let first: String = first.iter().map(url).collect();
    logger::say(&format!(
        "zlayer: serving {} on {first}\n",
        served.join(", ")
    ));
    let all: Vec<_> = addresses.iter().map(url).collect();
    log::info!(
        "zlayer {} (wasmtime {}) serves on {}, process {}",
        env!("CARGO_PKG_VERSION"),
        zlayer_bundle::ENGINE_VERSION,
        all.join(", "),
        std::process::id()
    );
}

fn scheme_shown(scheme: Scheme) -> &'static str {
    match scheme {
        Scheme::Http => "HTTP",
        Scheme::Https => "HTTPS",
    }
}

/// The deployment that is served, as the status tells of it.
fn deployed(source: &Source) -> Option<Deployed> {
    let deployment = &source.head()?.manifest().deployment;
    Some(Deployed {
        name: deployment.name.clone(),
        release: deployment.release,
        generation: match source {
            Source::Generation { number, .. } => Some(*number),
            _ => None,
        },
    })
}

/// Refuses a store that another version of fjall wrote, or takes it out of the way.
fn check_store(folder: &Path, set_aside: bool) -> Result<()> {
    let Some(foreign) = Foreign::find(folder) else {
        return Ok(());
    };
    if !set_aside {
        return Err(Error::Refused(format!(
            "key-value store: {foreign}. Run the zlayer that wrote it, or give --kv-set-aside: that keeps it \
             beside, and begins with an empty store"
        )));
    }
    let kept = foreign.set_aside().map_err(|error| {
        Error::device(
            format!("key-value store: {foreign}, and it cannot be set aside"),
            error,
        )
    })?;
    log::warn!(
        "key-value store: {foreign}: it is kept as {}, and an EMPTY one takes its place (--kv-set-aside)",
        kept.display()
    );
    Ok(())
}

/// The files that are read, or read anew, while the daemon serves.
fn read_later(config: &Config) -> Vec<PathBuf> {
    let roots = config.tls_roots.clone();
    let mut files = vec![roots.unwrap_or_else(|| upstream::SYSTEM_ROOTS.into())];
    let https = config.entrance.https.iter();
    for identity in https.flat_map(|https| &https.identities) {
        files.extend([identity.certificate.clone(), identity.key.clone()]);
    }
    files
}

/// A plugin's name and roles, for people.
fn described(plugin: &Plugin) -> String {
    let roles: Vec<_> = plugin.roles().map(|role| role.name()).collect();
    format!("{} ({})", plugin.name(), roles.join(", "))
}

/// Runs the executor's tasks and those of clients' connections on this thread, which has this number
/// among those that do, until `future` ends.
fn work<T>(queue: &RunQueue, number: usize, future: impl Future<Output = T>) -> T {
    smol::block_on(or(future, or(run_tasks(), queue.serve(number))))
}

/// Runs the executor's tasks, for ever. It gives way far more often than `Executor::run`, which looks
/// at nothing else for two hundred tasks: each can be a plugin that computes.
async fn run_tasks<T>() -> T {
    loop {
        let end = Instant::now() + SLICE;
        while Instant::now() < end {
            let mut tick = pin!(EXECUTOR.tick());
            poll_fn(|cx| turns::piece(|| tick.as_mut().poll(cx))).await;
        }
        yield_now().await;
    }
}

/// Makes the instances of a plugin that are wanted at the start, each within `time`. From then on it gives
/// up those that nobody asks for, and asks the plugin whether it is well.
async fn keep(plugin: &Arc<Plugin>, pipeline: &Pipeline, time: Duration, stop: &Receiver<()>) {
    plugin.warm_up(time).await;
    zip(
        plugin.give_up_idle(time),
        pipeline.watch_health(plugin, stop),
    )
    .await;
}
