//! The daemon's life: from flags to served plugins, and down again.

mod artifacts;
mod compile;
mod counted;
mod deployer;
mod doors;
mod essentials;
mod first;
mod fixed;
mod installation;
mod loader;
mod plugins;
mod rehearsal;
mod resources;
mod signals;
mod start;
mod time;
mod trust;
mod trust_list;
mod trusting;
mod versions;

use std::future::poll_fn;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_lite::future::{or, yield_now, zip};
use rustix::fs::Mode;
use smol::Executor;
use smol::channel::{Receiver, bounded};

use crate::account::Account;
use crate::admin::{self, Admin, Deployments, View};
use crate::clients::{RunQueue, SLICE};
use crate::config::{CONNECTION_SHARE, Config, Source};
use crate::confinement::{Needs, confine};
use crate::data_dir::DataDir;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::generations::Generations;
use crate::keyvalue::{self, KeyValue};
use crate::logger;
use crate::memory::Budget;
use crate::metrics::Metrics;
use crate::pipeline::Pipeline;
use crate::plugin::{
    InstanceMemory, Plugin, Ticker, new_engine, places, places_for_any, share_out,
};
use crate::redact;
use crate::server::tls::{Https, TLS_SHARE};
use crate::server::{Doors, Server};
use crate::stats::ServerStats;
use crate::turns;
use crate::upstream::{self, Upstreams};
use crate::wire::stopped;
use counted::Counted;
use deployer::Deployer;
use first::First;
use fixed::Fixed;
use loader::Loader;
use rehearsal::rehearse;
use resources::Resources;
use signals::Signals;
use start::FromGeneration;
use time::Time;
use versions::Versions;

pub use artifacts::{may_compile, target};
pub use compile::{
    Draftsman, PRECOMPILE, Packed, exit_code, open as open_regular, pack, pack_draft,
    precompile_command, without_compiler, without_tool,
};
pub use installation::{Installation, Installed, STANDARD_INPUT};
pub use signals::{is_hangup_ignored, outlive_large_files};
pub use start::{Configure, Start, Wanted, verified};
pub use trust::{Trustees, install_list, listed, trusted};
pub use trusting::read_list;

/// Where the log's ring lies in the data folder.
pub const LOG_FOLDER: &str = "log";

static EXECUTOR: Executor<'static> = Executor::new();

/// Serves until a signal ends it.
pub fn run(start: Start) -> Result<()> {
    let Start { config, installed } = start;
    essentials::random_numbers()?;
    // Before anything can be logged.
    redact::install(deployer::secrets(&config));
    let account = match &config.user {
        Some(account) => account.is_another()?.then_some(account),
        None => None,
    };
    admin::open_before_confinement();
    // Whatever is made from here on is nobody else's, by libraries too.
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
    // Before all else: a signal that comes while the plugin loads must drain, too.
    let signals = Signals::hear()?;
    let has_https = config.entrance.https.is_some();
    let bound = match config.source {
        // Without a daemon nobody could mend it from afar.
        Source::Nothing {
            is_installed: true, ..
        } => doors::plan(&[], &[], &config.doors, has_https).at_the_start(),
        _ => doors::at_start(&config.doors, has_https)?,
    };
    // While this process may still read what root alone may.
    let owner = account.map(|account| account.ids().0.as_raw());
    let https = config.entrance.https.as_ref();
    let https = https.map(|https| Https::new(https.identities.clone(), owner));
    let https = https.transpose()?;
    if let Some(account) = account {
        rehearse(&config, account)?;
    }
    let mut data = DataDir::open(config.data_dir.as_deref(), account.map(Account::ids))?;
    if config.is_temporary {
        data = data.temporary();
    }
    if let Some(account) = account {
        account.assume()?;
        data.reach()?;
    }
    let data = Arc::new(data);
    let logging = logger::choose(config.log, &data.path().join(LOG_FOLDER));
    EXECUTOR.spawn(logging).detach();
    let time = Time::of(&data);
    time::tell();
    if let Some(time) = time {
        EXECUTOR.spawn(time.keep()).detach();
    }
    let served = Admin::bind(data.path(), config.admin_port)
        .and_then(|admin| serve(config, installed, bound, https, admin, &data, signals));
    if let Err(error) = &served {
        // `main` tells people.
        logger::remember(&error.to_string());
    }
    logger::close();
    data.close();
    served
}

fn serve(
    config: Config,
    installed: Option<FromGeneration>,
    bound: doors::Plan,
    https: Option<Https>,
    admin: Admin,
    data: &Arc<DataDir>,
    signals: Signals,
) -> Result<()> {
    let mut versions = Versions::open(data)?;
    let members = plugins::gather(&config, data, &mut versions);
    // Plugins may have been compiled by another program until here, and no thread was started yet.
    confine(&Needs {
        data: data.path(),
        is_temporary: data.is_temporary(),
        read: read_later(&config, installed.is_some()),
    });
    // What the device refuses comes to no start.
    let is_refused = members.as_ref().is_err_and(|error| !error.is_its_own());
    let counted = { installed.as_ref().filter(|_| !is_refused) }
        .map(|from| Counted::begin(&Generations::of(data.path()), &from.choice));
    let needs: Vec<_> = { members.iter().flatten() }
        .map(plugins::Member::needs)
        .collect();
    let resources = Resources::decide(&config, &needs, &Device::new())?;
    essentials::threads(resources.threads)?;
    let limits = resources.limits.clone();
    let budget = Budget::new(resources.memory);
    let share = CONNECTION_SHARE + https.as_ref().map_or(0, |_| TLS_SHARE);
    let certificates = https.as_ref().map_or(0, Https::memory);
    let fixed = Fixed::reserve(&budget, limits.connections, share, certificates)?;
    let (target, profile, memory) = (target()?, config.profile, resources.memory);
    let places = match installed {
        // What is installed later may want others.
        Some(_) => {
            let usual = config.usual.pooling.instances;
            places_for_any(target, profile, memory, usual, resources.threads)
        }
        None => {
            let members = members.iter().flatten();
            let wanted: Vec<_> = members
                .map(|member| member.config().pooling.instances)
                .collect();
            let usual = config.usual.pooling.instances;
            let instances = share_out(target, profile, memory, usual, &wanted);
            let initial = needs.iter().map(|needs| needs.memory_initial);
            places(
                memory,
                resources.threads,
                instances.into_iter().zip(initial),
            )
        }
    };
    let engine = new_engine(target, profile, memory, places)?;
    // Not sooner: two threads that map memory get in each other's way.
    let store = KeyValue::new(&data.store(), &budget, Arc::<keyvalue::Machine>::default());
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
    let ticker = Ticker::new(&engine, resources.threads);
    let loader = Loader {
        instance_memory: InstanceMemory::new(&budget),
        engine,
        target,
        profile,
        ticker: ticker.clone(),
        own: budget.used(),
        connections: fixed.connections * share + certificates,
        budget: Arc::clone(&budget),
        limits: limits.clone(),
        timeouts: config.timeouts.clone(),
        metrics: Arc::clone(&metrics),
        store: store.clone(),
        store_folder: data.store(),
        upstreams,
    };
    let loaded = members.and_then(|members| loader.load(members, &config, None, None));
    let First {
        pipeline,
        config,
        mut versions,
        installed,
        mut counted,
    } = First::load(
        &loader,
        data,
        loaded,
        config,
        versions,
        (installed, counted),
    )?;
    // No code of a plugin runs, and nobody is answered, before the start is counted on the disk.
    if let Some(counted) = &mut counted {
        counted.wait();
    }
    if !data.is_temporary() {
        versions.keep();
    }
    let (stopping, stop) = bounded(1);
    let config = Arc::new(config);
    let bound = match pipeline.nothing() {
        // Whoever comes is told why.
        Some(_) => bound.follow(),
        None => {
            let bound = bound.follow();
            let next = doors::plan(&bound, &[], &config.doors, https.is_some());
            next.in_part().follow()
        }
    };
    let open_doors = Doors::new(bound)?;
    let (choice, configure) = installed.map(|from| (from.choice, from.configure)).unzip();
    let deployer = Deployer::new(
        loader,
        Arc::clone(data),
        configure,
        (Arc::clone(&pipeline), Arc::clone(&config)),
        (Arc::clone(&open_doors), https.is_some()),
        stop.clone(),
    );
    let stats = ServerStats::new();
    let server = Server::new(
        Arc::clone(&open_doors),
        https.clone(),
        Arc::clone(&deployer.present),
        limits,
        config.timeouts.clone(),
        config.entrance.clone(),
        config.access_log,
        Arc::clone(&stats),
        &EXECUTOR,
        stop.clone(),
    );

    if let Some(address) = admin.address() {
        logger::say(&format!("zlayer: admin interface on http://{address}\n"));
    }
    doors::tell(&pipeline, &open_doors.addresses());
    let view = View {
        present: Arc::clone(&deployer.present),
        server: stats,
        metrics: Arc::clone(&metrics),
        budget: Arc::clone(&budget),
        store: store.clone(),
        connections: fixed.connections,
        connections_memory: fixed.connections * share + certificates,
        threads: resources.threads,
        doors: open_doors,
        https: https.clone(),
        deployments: Arc::clone(&deployer) as Arc<dyn Deployments>,
        stop: stop.clone(),
    };
    let admin = admin.serve(view, &EXECUTOR)?;
    if data.is_temporary() {
        log::info!(
            "no --data-dir: what the plugin stores is kept in {} and goes with this process",
            data.path().display()
        );
    }

    drop(pipeline);
    deployer.begin(choice.zip(counted));
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
        let telling = async {
            stopped(&stop).await;
            admin.finish(config.timeouts.drain).await;
        };
        zip(served, telling).await;
        deployer.shut_down(&deployer.all_plugins()).await;
    });
    store.close();
    for plugin in deployer.all_plugins() {
        plugin.host().log.report_dropped();
    }
    deployer.end();
    telling.wait();
    log::info!("stopped");
    Ok(())
}

/// The files that are read, or read anew, while the daemon serves: where what is installed may change, those too
/// that say whom to trust, and what the device knows.
fn read_later(config: &Config, may_change: bool) -> Vec<PathBuf> {
    let roots = config.tls_roots.clone();
    let mut files = vec![roots.unwrap_or_else(|| upstream::SYSTEM_ROOTS.into())];
    let https = config.entrance.https.iter();
    for identity in https.flat_map(|https| &https.identities) {
        files.extend([identity.certificate.clone(), identity.key.clone()]);
    }
    if may_change {
        // The folders of these are let through, and a folder of keys is one itself.
        files.extend(config.key_dirs.iter().map(|keys| keys.join("any")));
        files.extend(config.key_dirs.iter().cloned());
        files.extend(config.secrets_file.clone());
        files.extend(crate::secrets::credentials().map(|folder| folder.join("any")));
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

/// Makes the instances of a plugin that are wanted at the start, each within `time`. From then on it replaces
/// those that are kept, gives up those that nobody asks for, and asks the plugin whether it is well.
async fn keep(plugin: &Arc<Plugin>, pipeline: &Pipeline, time: Duration, stop: &Receiver<()>) {
    plugin.warm_up(time).await;
    // Who ends needs no others.
    let replacing = or(plugin.replace_lost(time), stopped(stop));
    let giving_up = plugin.give_up_idle(time);
    let watching = pipeline.watch_health(plugin, stop);
    zip(replacing, zip(giving_up, watching)).await;
}
