//! Which deployment the running daemon serves: the next is loaded while this one serves, proves itself, takes
//! its place in one step, and this one ends when its last request has.
//!
//! ```text
//! load (verify, link) → prove (init, health) → switch → [on trial] → confirm
//!                                                          └→ go back
//! ```

mod change;
mod prove;
mod retire;
mod room;
mod trial;
mod trust;

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard};

use smol::Task;
use smol::channel::Receiver;
use smol::lock::Mutex as AsyncMutex;
use zlayer_bundle::{DeviceSettings, ENDPOINTS_MAX};

use super::counted::Counted;
use super::doors::{self, Plan};
use super::loader::Loader;
use super::plugins;
use super::start::Configure;
use super::versions::Versions;
use super::{EXECUTOR, described};
use crate::admin::Deployed;
use crate::config::{Config, Secret, Source};
use crate::data_dir::DataDir;
use crate::error::Error;
use crate::generations::{Choice, Generations};
use crate::logger;
use crate::pipeline::{Pipeline, Present};
use crate::redact;
use crate::server::{Doors, Opened};
use crate::sync;
use retire::Retiring;
use room::Room;

/// What changes which deployment the daemon serves.
pub(super) struct Deployer {
    pub(super) loader: Loader,
    pub(super) data: Arc<DataDir>,
    pub(super) present: Arc<Present>,
    /// None where the daemon serves what its command line names.
    configure: Option<Configure>,
    served: Mutex<Served>,
    retiring: Mutex<Vec<Retiring>>,
    /// The generation whose start was written down, and has not been settled since.
    begun: Mutex<Option<u64>>,
    /// What holds of the device since the start.
    device: DeviceSettings,
    /// Where clients come in.
    doors: Arc<Doors>,
    /// What was closed for the generation on trial, and is opened again if that is gone back from.
    closed: Mutex<Vec<Opened>>,
    /// A certificate was read at the start.
    has_https: bool,
    /// Held while a bundle comes, and until it is served or refused: one at a time. Taken before `owner`.
    staging: AsyncMutex<()>,
    /// Held while the owner of the device changes something, once all that is sent for it is here. Taken before
    /// `changing`.
    owner: AsyncMutex<()>,
    /// How often all was uninstalled, and with it what had come of a bundle by then.
    removals: AtomicU64,
    /// Held while one deployment is exchanged for another, or has proved itself.
    changing: AsyncMutex<()>,
    /// Closed when the daemon drains.
    stop: Receiver<()>,
}

/// What is served.
struct Served {
    config: Arc<Config>,
    /// Whether it has proved itself.
    is_confirmed: bool,
    /// Why it failed in its trial, where it is served on for want of another.
    failed: Option<String>,
    /// Why another is served than was to be, where that is so.
    went_back: Option<String>,
    /// What goes on beside requests, as long as this is kept.
    _tasks: Vec<Task<()>>,
}

/// A deployment whose plugins are loaded, and not served yet.
struct Loaded {
    pipeline: Arc<Pipeline>,
    config: Arc<Config>,
    versions: Versions,
}

/// Why a deployment is not loaded.
enum Unloaded {
    /// It is refused, whatever else is loaded.
    Refused(Error),
    /// It cannot be loaded beside what is served: there may be no room for both.
    Beside(Error),
}

impl From<Error> for Unloaded {
    fn from(error: Error) -> Unloaded {
        Unloaded::Refused(error)
    }
}

impl From<Unloaded> for Error {
    fn from(unloaded: Unloaded) -> Error {
        match unloaded {
            Unloaded::Refused(error) | Unloaded::Beside(error) => error,
        }
    }
}

impl Deployer {
    /// Of a daemon that serves `pipeline`, which is of `config`.
    pub(super) fn new(
        loader: Loader,
        data: Arc<DataDir>,
        configure: Option<Configure>,
        (pipeline, config): (Arc<Pipeline>, Arc<Config>),
        (doors, has_https): (Arc<Doors>, bool),
        stop: Receiver<()>,
    ) -> Arc<Deployer> {
        loader.set_aside_for(&pipeline);
        let device = config.device.clone();
        Arc::new(Deployer {
            device,
            doors,
            closed: Mutex::default(),
            has_https,
            begun: Mutex::default(),
            loader,
            data,
            present: Present::new(pipeline),
            configure,
            served: Mutex::new(Served {
                config,
                is_confirmed: true,
                failed: None,
                went_back: None,
                _tasks: Vec::new(),
            }),
            retiring: Mutex::default(),
            staging: AsyncMutex::new(()),
            owner: AsyncMutex::new(()),
            removals: AtomicU64::new(0),
            changing: AsyncMutex::new(()),
            stop,
        })
    }

    /// Begins what goes on beside the requests of the first deployment. Where it is what was installed, it has to
    /// prove itself.
    pub(super) fn begin(self: &Arc<Self>, start: Option<(Choice, Counted)>) {
        let tasks = self.attend(&self.present.get());
        self.served()._tasks = tasks;
        let Some((choice, counted)) = start else {
            return;
        };
        if let Some(back) = &choice.went_back {
            let told = match back.from {
                Some(from) if back.is_for_now => format!(
                    "generation {from} is not served, and tried again at the next start: {}",
                    back.reason
                ),
                Some(from) => format!("generation {from} is not served: {}", back.reason),
                None => format!("the last good one is served: {}", back.reason),
            };
            log::error!("{told}");
            self.served().went_back = Some(told);
        }
        if let Some(worn) = choice.worn {
            self.let_rest(worn);
        }
        if let Some(number) = choice.number {
            let is_good = { self.generations().standing() }
                .confirmed
                .contains(&number);
            self.served().is_confirmed = is_good;
            self.try_out_from_start(counted.stand(), number);
        }
    }

    /// Ends in order.
    pub(super) fn end(&self) {
        let begun = sync::lock(&self.begun);
        let number = self.served().number();
        if let Some(number) = number.filter(|number| *begun == Some(*number))
            && let Err(error) = self.generations().end_in_order(number)
        {
            log::warn!("it is not written down that generation {number} ended in order: {error}");
        }
    }

    /// The generations of the data folder. The daemon holds its lock.
    fn generations(&self) -> Generations {
        Generations::of(self.data.path())
    }

    /// Takes in, checks, loads and links what `config` names.
    fn load(&self, config: Config) -> std::result::Result<Loaded, Unloaded> {
        self.mask(&[&self.served().config, &config]);
        let loaded = self.try_load(config);
        if loaded.is_err() {
            self.go_on();
        }
        loaded
    }

    /// Serves on what is served, after something else came to nothing.
    fn go_on(&self) {
        self.know_served();
        // For the other's memory those may have gone that are kept.
        let present = self.present.get();
        { present.plugins().iter() }.for_each(|plugin| plugin.see_to_minimum());
    }

    /// Has the log know what is served, and nothing else.
    fn know_served(&self) {
        let config = Arc::clone(&self.served().config);
        self.mask(&[&config]);
        logger::know_plugins(names(&self.present.get()));
    }

    fn try_load(&self, config: Config) -> std::result::Result<Loaded, Unloaded> {
        let mut versions = Versions::open(&self.data)?;
        let members = plugins::gather(&config, &self.data, &mut versions)?;
        let present = self.present.get();
        let room = self.find_room(self.loader.needed(&members, &present));
        let Room { gathered, search } = room;
        let loaded = (self.loader).load(members, &config, Some(&present), gathered);
        let pipeline = loaded.map_err(|error| Unloaded::Beside(search.told(error)))?;
        let both = [names(&present), names(&pipeline)].concat();
        logger::know_plugins(both);
        Ok(Loaded {
            pipeline,
            config: Arc::new(config),
            versions,
        })
    }

    /// Where clients come in that are to reach what was loaded.
    fn doors_for(&self, loaded: &Loaded) -> Plan {
        match loaded.pipeline.nothing() {
            // Whoever comes is told why.
            Some(_) => Plan::of(self.doors.open()),
            None => doors::plan(
                &self.doors.open(),
                &sync::lock(&self.closed),
                &loaded.config.doors,
                self.has_https,
            ),
        }
    }

    /// Has requests take what was loaded from now on, which come in as `plan` says.
    fn switch(
        self: &Arc<Self>,
        loaded: Loaded,
        plan: Plan,
        is_confirmed: bool,
        went_back: Option<String>,
    ) {
        let Loaded {
            pipeline, config, ..
        } = loaded;
        // What the next one says has to be found by its names.
        logger::know_plugins(names(&pipeline));
        self.loader.set_aside_for(&pipeline);
        let tasks = self.attend(&pipeline);
        let plugins: Vec<_> = { pipeline.plugins().iter() }
            .map(|plugin| described(plugin))
            .collect();
        let (addresses, mut closed) = (self.doors.addresses(), Vec::new());
        let doors = plan.follow();
        let before = self
            .present
            .replace_with(pipeline, || closed = self.doors.exchange(doors));
        self.keep_closed(closed, is_confirmed);
        let served = Served {
            config,
            is_confirmed,
            failed: None,
            went_back,
            _tasks: tasks,
        };
        let told = served.deployed();
        let told = told.unwrap_or_default().told();
        // Its tasks end with it.
        drop(std::mem::replace(&mut *self.served(), served));
        match plugins.is_empty() {
            true => log::info!("nothing is served from now on"),
            false => log::info!("{told} is served from now on: {}", plugins.join(", ")),
        }
        doors::tell_change(&addresses, &self.doors.addresses());
        self.retire(before);
    }

    /// Keeps doors that were closed, bound as they are, for as long as what is served may be gone back from: this
    /// process may have no right by now to bind their ports.
    fn keep_closed(&self, closed: Vec<Opened>, is_confirmed: bool) {
        let open = self.doors.open();
        let is_open = |one: &Opened| open.iter().any(|other| Arc::ptr_eq(&one.door, &other.door));
        let mut kept = sync::lock(&self.closed);
        kept.extend(closed);
        kept.retain(|one| !is_confirmed && !is_open(one));
        kept.truncate(ENDPOINTS_MAX);
    }

    /// Begins what goes on beside the requests of a pipeline: reports of dropped log records, instances that
    /// are made ahead and given up, checks of health.
    fn attend(&self, pipeline: &Arc<Pipeline>) -> Vec<Task<()>> {
        let mut tasks = Vec::new();
        for plugin in pipeline.plugins() {
            plugin.tell_room();
            let telling = Arc::clone(plugin);
            tasks.push(
                EXECUTOR.spawn(async move { telling.host().log.report_dropped_in_time().await }),
            );
            let (plugin, pipeline) = (Arc::clone(plugin), Arc::clone(pipeline));
            let (time, stop) = (self.loader.request_timeout(), self.stop.clone());
            let keeping = async move { super::keep(&plugin, &pipeline, time, &stop).await };
            tasks.push(EXECUTOR.spawn(crate::reactor::enter(keeping)));
        }
        tasks
    }

    /// Keeps the secrets of these out of what is shown.
    fn mask(&self, configs: &[&Config]) {
        redact::install(configs.iter().flat_map(|config| secrets(config)));
    }

    fn served(&self) -> MutexGuard<'_, Served> {
        // It is only ever replaced as a whole.
        sync::lock(&self.served)
    }
}

impl Served {
    /// The number of the generation, where it is one.
    fn number(&self) -> Option<u64> {
        match self.config.source {
            Source::Generation { number, .. } => Some(number),
            _ => None,
        }
    }

    /// What it is, as the status tells of it.
    fn deployed(&self) -> Option<Deployed> {
        let head = self.config.source.head()?;
        let deployment = &head.manifest().deployment;
        Some(Deployed {
            digest: head.digest_text(),
            name: deployment.name.clone(),
            release: deployment.release,
            generation: self.number(),
            on_trial: self.number().is_some() && !self.is_confirmed && self.failed.is_none(),
            failed: self.failed.clone(),
            went_back: self.went_back.clone(),
        })
    }
}

/// All that is not to be shown of what a daemon runs with.
pub(super) fn secrets(config: &Config) -> impl Iterator<Item = &str> {
    let own = config.services.iter();
    let own = own.flat_map(|service| service.config.grants.own_secrets.values());
    let known = config.secrets.values().chain(config.variables.values());
    known.chain(own).map(|Secret(secret)| secret.as_str())
}

fn names(pipeline: &Pipeline) -> Vec<String> {
    let plugins = pipeline.plugins().iter();
    plugins.map(|plugin| plugin.name().to_owned()).collect()
}
