//! Loads plugins into the daemon: what all of them share, whichever deployment they are of.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use wasmtime::Engine;
use zlayer_bundle::{Profile, Target};

use super::plugins::Member;
use crate::config::{Config, Limits, Source, Timeouts};
use crate::error::{Error, Result};
use crate::keyvalue::{Foreign, KeyValue, StoreState};
use crate::memory::{Budget, Reservation};
use crate::metrics::Metrics;
use crate::pipeline::Pipeline;
use crate::plugin::{Common, InstanceMemory, Ticker, share_out};
use crate::upstream::Upstreams;

/// What plugins are loaded with. It was decided when the daemon was started, and does not change.
pub(super) struct Loader {
    pub(super) engine: Engine,
    pub(super) target: Target,
    pub(super) profile: Profile,
    pub(super) ticker: Ticker,
    pub(super) instance_memory: Arc<InstanceMemory>,
    pub(super) budget: Arc<Budget>,
    /// Bytes of the budget that are set aside whatever plugins there are.
    pub(super) own: usize,
    /// Bytes of that which are for clients' connections.
    pub(super) connections: usize,
    pub(super) limits: Limits,
    pub(super) timeouts: Timeouts,
    pub(super) metrics: Arc<Metrics>,
    pub(super) store: KeyValue,
    pub(super) store_folder: PathBuf,
    pub(super) upstreams: Upstreams,
}

impl Loader {
    /// Bytes of the budget that loading these takes, while another pipeline is served, `after` which they come.
    pub(super) fn needed(&self, members: &[Member<'_>], after: &Pipeline) -> usize {
        let plugins = members.iter().map(|member| member.needed(&self.limits));
        let takes_bodies = members.iter().any(Member::takes_bodies);
        let caches = members.iter().any(Member::caches);
        let pipeline = Pipeline::needed(takes_bodies, caches, &self.limits, after);
        plugins.fold(pipeline, usize::saturating_add)
    }

    /// Loads and links the plugins of `config`, and puts them into their places. While another pipeline is
    /// served, `after` which this one comes, both have their memory set aside; some may have been `gathered` for
    /// this one.
    ///
    /// # Errors
    ///
    /// One of them cannot be loaded, or there is too little memory.
    pub(super) fn load(
        &self,
        members: Vec<Member<'_>>,
        config: &Config,
        after: Option<&Pipeline>,
        gathered: Option<Reservation>,
    ) -> Result<Arc<Pipeline>> {
        let own = self.own + gathered.as_ref().map_or(0, Reservation::bytes);
        let before = self.budget.used().saturating_sub(own);
        let common = Common {
            engine: &self.engine,
            ticker: &self.ticker,
            instance_memory: &self.instance_memory,
            budget: &self.budget,
            limits: &self.limits,
            timeouts: &self.timeouts,
            before,
            gathered: Mutex::new(gathered),
        };
        if members.iter().any(Member::imports_store) {
            self.check_store(config.set_store_aside)?;
            self.store.start().map_err(|error| {
                Error::device("cannot start the key-value store's thread", error)
            })?;
        }
        let mut placed = Vec::new();
        let instances = self.instances(&members, config);
        for (member, instances) in members.into_iter().zip(instances) {
            member.tell_what_it_is();
            let placement = Arc::clone(&member.config().placement);
            let plugin = member.load(
                instances,
                config,
                &common,
                &self.metrics,
                &self.store,
                &self.upstreams,
            )?;
            placed.push((plugin, placement));
        }
        let pipeline = Pipeline::new(
            placed,
            &common,
            self.request_timeout(),
            self.upstreams.clone(),
            after,
        )?;
        Ok(Arc::new(match &config.source {
            Source::Nothing { why, .. } => pipeline.because(why.clone()),
            _ => pipeline,
        }))
    }

    /// How many instances each of them may have at work.
    fn instances(&self, members: &[Member<'_>], config: &Config) -> Vec<usize> {
        let wanted: Vec<_> = members
            .iter()
            .map(|member| member.config().pooling.instances)
            .collect();
        let usual = config.usual.pooling.instances;
        share_out(
            self.target,
            self.profile,
            self.budget.limit(),
            usual,
            &wanted,
        )
    }

    /// Refuses a store that another version of fjall wrote, or takes it out of the way.
    fn check_store(&self, set_aside: bool) -> Result<()> {
        let is_new = self.store.status().state == StoreState::Unused;
        let Some(foreign) = { is_new.then(|| Foreign::find(&self.store_folder)) }.flatten() else {
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

    /// Counts what is set aside for a pipeline as never given back, in place of what was for another.
    pub(super) fn set_aside_for(&self, pipeline: &Pipeline) {
        self.budget.set_aside(self.own + pipeline.set_aside());
    }

    /// How long a request may take to its response.
    pub(super) fn request_timeout(&self) -> Duration {
        self.timeouts.request
    }
}
