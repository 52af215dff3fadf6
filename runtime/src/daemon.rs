//! The daemon's life: from flags to a served plugin, and down again.

use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use async_signal::{Signal, Signals};
use futures_lite::StreamExt;
use futures_lite::future::or;
use smol::channel::{Sender, bounded};
use smol::{Executor, Timer};
use zlayer_bundle::{ArtifactError, Profile, Target, TrustStore, VerifiedArtifact};

use crate::admin::{ADMIN_SHARE, Admin, View};
use crate::config::{Config, Limits};
use crate::data_dir::{DataDir, temporary_folder};
use crate::error::{Error, Result};
use crate::host::{PluginHost, Service};
use crate::keyvalue::{self, KeyValue};
use crate::log_ring;
use crate::logger;
use crate::memory::{Budget, Reservation};
use crate::metrics::Metrics;
use crate::plugin::{Plugin, new_engine};
use crate::redact;
use crate::server::{CONNECTION_SHARE, Server};
use crate::stats::ServerStats;
use crate::upstream::{self, Upstreams};

/// The tool that turns a `.wasm` into what the daemon can run.
pub const PRECOMPILE: &str = "zlayer-precompile";

/// Where the log's ring lies in the data folder.
pub const LOG_FOLDER: &str = "log";

static EXECUTOR: Executor<'static> = Executor::new();

/// Serves the plugin that `config` names until a signal ends it.
pub fn run(config: Config) -> Result<()> {
    // Before a secret is anywhere else: a core dump would hold all of them.
    let none = rustix::process::Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    let undumped = rustix::process::setrlimit(rustix::process::Resource::Core, none);
    // Before anything can be logged.
    redact::install(config.secrets.values().map(|secret| secret.0.as_str()));
    // Before all else: a signal that comes while the plugin loads must drain, too.
    let signals = Signals::new([Signal::Term, Signal::Int, Signal::Usr1])
        .map_err(|error| Error::device("cannot listen to signals", error))?;
    let listener = Server::bind(SocketAddr::new(config.bind, config.port))?;
    let data = DataDir::open(config.data_dir.as_deref())?;
    let logging = logger::choose(config.log, &data.path().join(LOG_FOLDER));
    EXECUTOR.spawn(logging).detach();
    if let Err(error) = undumped {
        log::warn!("cannot switch core dumps off, which would hold secrets: {error}");
    }
    let served = Admin::bind(data.path(), config.admin_port)
        .and_then(|admin| serve(config, listener, admin, &data, signals));
    if let Err(error) = &served {
        // `main` tells people.
        logger::remember(&error.to_string());
    }
    logger::close();
    data.close();
    served
}

fn serve(
    mut config: Config,
    listener: TcpListener,
    admin: Admin,
    data: &DataDir,
    signals: Signals,
) -> Result<()> {
    let artifact = verify(&config, data)?;
    let budget = Budget::new(config.limits.memory);
    let _fixed = reserve_fixed(&budget, &mut config.limits)?;
    let engine = new_engine(artifact.manifest().target, config.profile, &config.limits)?;
    // Not sooner: two threads that map memory get in each other's way.
    let store = KeyValue::open(&data.store(), &budget, Arc::new(keyvalue::Machine::new()))
        .map_err(|error| Error::device("cannot start the key-value store's thread", error))?;
    let metrics = Arc::new(Metrics::default());
    let service = Service {
        name: artifact.manifest().name.clone(),
        config: config.config,
        secrets: config.secrets,
        granted: config.granted,
        allowed_hosts: config.allowed_hosts,
        keyvalue: config.keyvalue,
        log_records: config.limits.log_records,
    };
    let upstreams = Upstreams::new(
        upstream::Settings::default(),
        Arc::clone(&budget),
        &EXECUTOR,
    );
    let host = PluginHost::new(service, Arc::clone(&metrics), store.clone(), upstreams);
    let plugin = Arc::new(Plugin::load(
        &engine,
        &artifact,
        host,
        &config.limits,
        &config.timeouts,
        &budget,
    )?);
    let (stopping, stop) = bounded(1);
    let (drain, request_timeout) = (config.timeouts.drain, config.timeouts.request);
    let stats = ServerStats::new();
    let server = Server::new(
        listener,
        Arc::clone(&plugin),
        config.limits,
        config.timeouts,
        Arc::clone(&stats),
        &EXECUTOR,
        stop.clone(),
    )?;

    let manifest = artifact.manifest();
    let roles: Vec<_> = manifest.roles.iter().map(|role| role.name()).collect();
    if let Some(address) = admin.address() {
        logger::say(&format!("zlayer: admin interface on http://{address}\n"));
    }
    let serving = format!(
        "zlayer: serving {} ({}) on http://{}\n",
        plugin.name(),
        roles.join(", "),
        server.address()
    );
    logger::say(&serving);
    let view = View {
        plugin: Arc::clone(&plugin),
        version: manifest.version.clone(),
        roles,
        server: stats,
        metrics: Arc::clone(&metrics),
        budget: Arc::clone(&budget),
        store: store.clone(),
        address: server.address(),
        stop,
    };
    let _admin = admin.serve(view, &EXECUTOR)?;
    if data.is_temporary() {
        log::info!(
            "no --data-dir: what the plugin stores is kept in {} and goes with this process",
            data.path().display()
        );
    }

    let telling = Arc::clone(&plugin);
    EXECUTOR
        .spawn(async move { telling.host().log.tell_in_time().await })
        .detach();
    EXECUTOR.spawn(obey(signals, stopping, metrics)).detach();
    for _ in 1..config.threads {
        // They outlive the stop signal, since running requests need them: the process ends them.
        std::thread::Builder::new()
            .name("worker".to_owned())
            .spawn(|| smol::block_on(EXECUTOR.run(std::future::pending::<()>())))
            .map_err(|error| Error::device("cannot start a worker thread", error))?;
    }
    let warming = crate::reactor::enter(warm_up(Arc::clone(&plugin), request_timeout));
    EXECUTOR.spawn(warming).detach();
    // A task like all others: the executor looks at the future that it is run with only now and then.
    let served = EXECUTOR.spawn(server.run());
    smol::block_on(EXECUTOR.run(async {
        served.await;
        let shutting_down = crate::reactor::enter(plugin.shut_down());
        let late = async {
            Timer::after(drain).await;
            log::warn!(
                "plugin {}: shutdown did not end within {drain:?}",
                plugin.name()
            );
        };
        or(shutting_down, late).await;
    }));
    store.close();
    plugin.host().log.tell();
    log::info!("stopped");
    Ok(())
}

/// Sets aside what the store, the connections and the admin interface may use, so that a plugin cannot take it from them.
fn reserve_fixed(budget: &Arc<Budget>, limits: &mut Limits) -> Result<Reservation> {
    let store = keyvalue::Sizes::within(budget.limit()).memory();
    let own = store + ADMIN_SHARE + log_ring::MEMORY_SHARE;
    let affordable = budget.limit().saturating_sub(own) / 4 / CONNECTION_SHARE;
    if limits.connections > affordable {
        log::info!(
            "--memory-max {} KiB leaves room for {affordable} connections",
            budget.limit() >> 10
        );
        limits.connections = affordable;
    }
    let fixed = own + limits.connections * CONNECTION_SHARE;
    match budget.reserve(fixed) {
        Some(reservation) if affordable > 0 => Ok(reservation),
        _ => Err(Error::Usage(format!(
            "--memory-max must be larger than the share of the store, the log and the admin interface, {} KiB",
            own >> 10
        ))),
    }
}

/// Makes a typed plugin's first instance, so that a failing `init` shows in the log at the start
/// and not with the first request.
async fn warm_up(plugin: Arc<Plugin>, timeout: Duration) {
    let late = async {
        Timer::after(timeout).await;
        log::error!(
            "plugin {}: init did not end within {timeout:?}",
            plugin.name()
        );
    };
    or(plugin.warm_up(), late).await;
}

/// Takes the artifact in and checks it: its own copy is opened once, verified and later mapped
/// through that one descriptor.
fn verify(config: &Config, data: &DataDir) -> Result<VerifiedArtifact> {
    let path = &config.artifact;
    let refused = |source: ArtifactError| Error::Artifact {
        path: path.clone(),
        source,
    };
    let Some(target) = Target::host() else {
        return Err(Error::Usage(
            "this build of zlayer is for a processor that no artifact is made for".to_owned(),
        ));
    };
    let mut source = open(path)?;
    let unreadable = |error| Error::device(format!("cannot read {}", path.display()), error);
    if is_wasm(&source).map_err(unreadable)? {
        source = compile(path, target, config.profile)?;
    }
    let copy = match data.kept(&mut source) {
        Some(copy) => copy,
        None => {
            // Only what looks like an artifact is worth the flash it is written to.
            zlayer_bundle::read_manifest(&source).map_err(refused)?;
            data.keep(&mut source)?
        }
    };
    let mut trust = TrustStore::empty();
    for folder in &config.key_dirs {
        trust
            .load_dir(folder)
            .map_err(|error| Error::Usage(error.to_string()))?;
    }
    trust.allow_unsigned(config.allow_unsigned);
    let artifact =
        VerifiedArtifact::verify(copy, &trust, target, config.profile).map_err(refused)?;
    match artifact.signer() {
        Some(key) => log::debug!("{}: signed by {}", path.display(), key.id()),
        None => log::warn!(
            "{}: NOBODY SIGNED THIS PLUGIN; it runs native code because of --allow-unsigned",
            path.display()
        ),
    }
    Ok(artifact)
}

fn open(path: &Path) -> Result<File> {
    // Looked at before it is opened: opening a named pipe would wait for its other end.
    let opened = std::fs::metadata(path).and_then(|found| {
        if found.is_file() {
            File::open(path)
        } else if found.is_dir() {
            Err(std::io::ErrorKind::IsADirectory.into())
        } else {
            Err(std::io::Error::other("not a regular file"))
        }
    });
    opened.map_err(|error| Error::device(format!("cannot open {}", path.display()), error))
}

fn is_wasm(file: &File) -> std::io::Result<bool> {
    let mut magic = [0; 4];
    let count = std::os::unix::fs::FileExt::read_at(file, &mut magic, 0)?;
    Ok(&magic[..count] == b"\0asm")
}

/// Has a `.wasm` compiled by the host tool, if this machine has it, and opens the result.
fn compile(path: &Path, target: Target, profile: Profile) -> Result<File> {
    let folder = temporary_folder()
        .map_err(|error| Error::device("cannot make a folder for the compiled plugin", error))?;
    let compiled = || {
        let mut command = precompile_command();
        command
            .arg("build")
            .arg(path)
            .args(["--target", target.name(), "--profile", profile.name(), "-o"])
            .arg(&folder);
        // Standard output is for what this daemon has to say.
        command.stdout(std::io::stderr());
        let status = command
            .status()
            .map_err(|error| without_compiler(path, error))?;
        if !status.success() {
            return Err(Error::Forwarded(exit_code(status)));
        }
        let made = std::fs::read_dir(&folder).and_then(|mut entries| entries.next().transpose());
        match made {
            Ok(Some(entry)) => open(&entry.path()),
            Ok(None) => Err(Error::device(
                format!("{PRECOMPILE} made nothing of {}", path.display()),
                std::io::ErrorKind::NotFound.into(),
            )),
            Err(error) => Err(Error::device(
                format!("cannot read {}", folder.display()),
                error,
            )),
        }
    };
    let result = compiled();
    if let Err(error) = std::fs::remove_dir_all(&folder) {
        log::warn!("cannot remove {}: {error}", folder.display());
    }
    result
}

/// The host tool: beside this program, else wherever PATH has it.
pub fn precompile_command() -> Command {
    let beside = std::env::current_exe()
        .ok()
        .and_then(|program| Some(program.parent()?.join(PRECOMPILE)));
    let found: PathBuf = beside
        .filter(|path| path.is_file())
        .unwrap_or_else(|| PRECOMPILE.into());
    Command::new(found)
}

/// What to tell someone whose machine has no compiler.
pub fn without_compiler(path: &Path, error: std::io::Error) -> Error {
    let target = Target::host().map_or("TARGET", Target::name);
    Error::device(
        format!(
            "{} is WebAssembly, which a device cannot compile, and {PRECOMPILE} is neither beside this program nor on PATH; \
             on the build host run: {PRECOMPILE} build {} --target {target}",
            path.display(),
            path.display()
        ),
        error,
    )
}

/// A child's exit code, or 128 and the signal that ended it.
pub fn exit_code(status: std::process::ExitStatus) -> u8 {
    use std::os::unix::process::ExitStatusExt;
    let code = status
        .code()
        .or_else(|| Some(128 + status.signal()?))
        .unwrap_or(1);
    u8::try_from(code).unwrap_or(1)
}

/// SIGTERM and SIGINT drain, a second one ends at once; SIGUSR1 prints the metrics.
async fn obey(mut signals: Signals, stopping: Sender<()>, metrics: Arc<Metrics>) {
    while let Some(signal) = signals.next().await {
        match signal {
            Ok(Signal::Usr1) => logger::complain(&metrics.render()),
            Ok(_) if stopping.is_closed() => {
                logger::close();
                std::process::exit(130)
            }
            Ok(signal) => {
                log::info!("{signal:?}: no new requests, those running may finish");
                stopping.close();
            }
            Err(error) => {
                log::error!("signals: {error}");
                Timer::after(Duration::from_secs(1)).await;
            }
        }
    }
}
