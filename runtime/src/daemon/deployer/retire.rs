//! The end of a deployment that another has taken the place of.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use smol::channel::{Receiver, bounded};

use super::super::EXECUTOR;
use super::Deployer;
use crate::heap;
use crate::pipeline::Pipeline;
use crate::plugin::Plugin;
use crate::sync;
use crate::timeout;
use crate::wire::stopped;

/// How long what is cut off may take to end: it waits for nobody.
const CUTTING: Duration = Duration::from_secs(2);

/// A deployment whose last requests are at work.
#[derive(Clone)]
pub(super) struct Retiring {
    since: Instant,
    pipeline: Weak<Pipeline>,
    pub(super) plugins: Vec<Arc<Plugin>>,
    /// Closed when it has ended, and its plugins have shut down.
    ended: Receiver<()>,
}

impl Deployer {
    /// Lets the requests of a pipeline that no new one takes go on to their ends, and then its plugins shut down.
    pub(super) fn retire(self: &Arc<Self>, pipeline: Arc<Pipeline>) {
        pipeline.retire();
        if let Some(cache) = pipeline.cache() {
            // The next one answers otherwise.
            cache.purge_all();
        }
        let plugins = pipeline.plugins().to_vec();
        let answered = pipeline.ended();
        let (end, ended) = bounded::<()>(1);
        let mut retiring = sync::lock(&self.retiring);
        retiring.push(Retiring {
            since: Instant::now(),
            pipeline: Arc::downgrade(&pipeline),
            plugins: plugins.clone(),
            ended: ended.clone(),
        });
        drop((retiring, pipeline));
        let deployer = Arc::clone(self);
        let ending = async move {
            stopped(&answered).await;
            deployer.shut_down(&plugins).await;
            for plugin in &plugins {
                plugin.host().log.report_dropped();
            }
            drop(plugins);
            sync::lock(&deployer.retiring).retain(|one| !one.ended.same_channel(&ended));
            drop(end);
            heap::give_back_soon(&EXECUTOR);
        };
        EXECUTOR.spawn(ending).detach();
    }

    /// Has each of these shut down, all together within the time of a drain.
    pub(in crate::daemon) async fn shut_down(&self, plugins: &[Arc<Plugin>]) {
        let drain = self.loader.timeouts.drain;
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
    }

    /// How many of them have not ended yet.
    pub(super) fn ending(&self) -> usize {
        sync::lock(&self.retiring).len()
    }

    /// All plugins that there are, of deployments that end too.
    pub(in crate::daemon) fn all_plugins(&self) -> Vec<Arc<Plugin>> {
        let retiring = sync::lock(&self.retiring);
        let ending = retiring.iter().flat_map(|one| &one.plugins).cloned();
        let mut all = self.present.get().plugins().to_vec();
        all.extend(ending);
        all
    }

    /// Makes room for one more deployment: those before the present one end first. What is at work for one has the
    /// time of a drain for that, and is cut off then: a response may be endless, and would keep its deployment's
    /// memory for ever.
    pub(super) async fn make_room(&self) {
        let drain = self.loader.timeouts.drain;
        loop {
            let next = sync::lock(&self.retiring).first().cloned();
            let Some(ending) = next else { return };
            log::info!("requests of a deployment that ends are waited for, for {drain:?} at most");
            if timeout::before(ending.since + drain, stopped(&ending.ended))
                .await
                .is_some()
            {
                continue;
            }
            if let Some(pipeline) = ending.pipeline.upgrade() {
                self.cut_off(pipeline).await;
            }
            // Its plugins shut down then.
            let end = Instant::now() + drain + CUTTING;
            if timeout::before(end, stopped(&ending.ended)).await.is_none() {
                return;
            }
        }
    }

    /// Cuts off what is at work in a pipeline, and waits until that has ended.
    pub(super) async fn cut_off(&self, pipeline: Arc<Pipeline>) {
        pipeline.cut_off();
        let ended = pipeline.ended();
        drop(pipeline);
        let _ = timeout::within(CUTTING, stopped(&ended)).await;
    }
}
