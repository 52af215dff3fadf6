//! A deployment on trial: it is good once it has served for a while, and else the last good one is served again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_lite::future::or;
use smol::Timer;
use smol::channel::Receiver;

use super::super::EXECUTOR;
use super::super::start::Wanted;
use super::prove::{prove, still_well, trouble};
use super::{Deployer, Loaded, Unloaded};
use crate::blocking::unblock;
use crate::error::{Error, Result};
use crate::pipeline::Pipeline;
use crate::sync;
use crate::wire::stopped;

/// How often a deployment on trial is looked at.
const LOOK: Duration = Duration::from_millis(250);
/// How long it may take, at the end of a trial, until checks of health have decided on it.
const DECIDING: Duration = Duration::from_secs(300);

impl Deployer {
    /// Watches the generation with this number, which is served and has proved itself, until its trial is over. One
    /// that was good before is good still: it has only to last.
    pub(super) fn try_out(self: &Arc<Self>, number: u64, is_good: bool) {
        *sync::lock(&self.begun) = Some(number);
        let (deployer, pipeline) = (Arc::clone(self), self.present.get());
        let trying = async move {
            if is_good {
                deployer.wait_for_trial(&pipeline.retired()).await;
                return deployer.settle(number, pipeline, None).await;
            }
            let found = deployer.look_on(&pipeline).await;
            deployer.settle(number, pipeline, found).await;
        };
        EXECUTOR.spawn(trying).detach();
    }

    /// The same of one that was only just started, and has not proved itself yet. One that was good before does not
    /// have to. `is_written` says whether its start is written down.
    pub(super) fn try_out_from_start(self: &Arc<Self>, is_written: bool, number: u64) {
        *sync::lock(&self.begun) = is_written.then_some(number);
        let (deployer, pipeline) = (Arc::clone(self), self.present.get());
        let (time, is_good) = (self.loader.request_timeout(), self.served().is_confirmed);
        let trying = async move {
            if is_good {
                deployer.wait_for_trial(&pipeline.retired()).await;
                return deployer.settle(number, pipeline, None).await;
            }
            let retired = pipeline.retired();
            let proving = async { Some(prove(&pipeline, time).await) };
            // An `init` may take long, and keeps no deployment that another has taken the place of.
            let over = async {
                stopped(&retired).await;
                None
            };
            let proved = crate::reactor::enter(Box::pin(or(proving, over))).await;
            let found = match proved {
                Some(Ok(())) => deployer.look_on(&pipeline).await,
                Some(Err(error)) => Some(error.to_string()),
                None => None,
            };
            deployer.settle(number, pipeline, found).await;
        };
        EXECUTOR.spawn(trying).detach();
    }

    /// Has a generation that was started too often started again, once nothing has been served for the time of a
    /// trial: power that failed again and again may be steady by now.
    pub(super) fn let_rest(self: &Arc<Self>, number: u64) {
        let (deployer, retired) = (Arc::clone(self), self.present.get().retired());
        let resting = async move {
            deployer.wait_for_trial(&retired).await;
            let _changing = deployer.changing.lock().await;
            if retired.is_closed() || deployer.stop.is_closed() {
                return;
            }
            let generations = deployer.generations();
            match unblock(move || generations.rest(number)).await {
                Ok(()) => log::warn!("generation {number} is tried again at the next start"),
                Err(error) => log::error!(
                    "it is not written down that generation {number} may be tried again: {error}"
                ),
            }
        };
        EXECUTOR.spawn(resting).detach();
    }

    /// Ends a trial, in which this was found.
    async fn settle(self: &Arc<Self>, number: u64, pipeline: Arc<Pipeline>, found: Option<String>) {
        let retired = pipeline.retired();
        // What is gone back from has to end.
        drop(pipeline);
        if self.is_over(&retired) {
            return;
        }
        match found {
            Some(reason) => self.go_back(number, reason, &retired).await,
            None => self.confirm(number, &retired).await,
        }
    }

    /// Whether a trial decides nothing any more: another pipeline is served by now, maybe of the same generation,
    /// which was installed again. Whoever acts on it asks while nothing else changes what is served.
    fn is_over(&self, retired: &Receiver<()>) -> bool {
        retired.is_closed() || self.stop.is_closed()
    }

    /// Waits for the time of a trial, or until it does not matter any more.
    async fn wait_for_trial(&self, retired: &Receiver<()>) {
        let time = async {
            Timer::after(self.loader.timeouts.trial).await;
        };
        or(time, or(stopped(&self.stop), stopped(retired))).await;
    }

    /// Looks on for the time of a trial. Returns what speaks against it.
    async fn look_on(&self, pipeline: &Arc<Pipeline>) -> Option<String> {
        let until = Instant::now() + self.loader.timeouts.trial;
        let retired = pipeline.retired();
        let asking = pipeline.plugins().iter().map(|plugin| {
            let (pipeline, plugin) = (Arc::clone(pipeline), Arc::clone(plugin));
            let asking = async move { pipeline.try_health(&plugin).await };
            EXECUTOR.spawn(crate::reactor::enter(asking))
        });
        // For as long as the trial lasts.
        let asking: Vec<_> = asking.collect();
        loop {
            if let Some(trouble) = trouble(pipeline, self.loader.limits.trial_traps) {
                return Some(trouble);
            }
            if retired.is_closed() || self.stop.is_closed() {
                return None;
            }
            if Instant::now() >= until {
                break;
            }
            let next = async {
                Timer::at(until.min(Instant::now() + LOOK)).await;
            };
            or(next, or(stopped(&self.stop), stopped(&retired))).await;
        }
        drop(asking);
        let over = async {
            or(stopped(&self.stop), stopped(&retired)).await;
            None
        };
        let deciding = crate::reactor::enter(still_well(pipeline, DECIDING));
        or(deciding, over).await
    }

    /// Counts a generation as good. Where that cannot be written down, it is tried again after as long again: the
    /// disk may be full for a while.
    async fn confirm(&self, number: u64, retired: &Receiver<()>) {
        let _changing = loop {
            let changing = self.changing.lock().await;
            if self.is_over(retired) {
                return;
            }
            let generations = self.generations();
            let error = match unblock(move || generations.confirm(number)).await {
                Ok(()) => break changing,
                Err(error) => error,
            };
            drop(changing);
            log::error!("generation {number} cannot be confirmed, which is tried again: {error}");
            self.wait_for_trial(retired).await;
        };
        *sync::lock(&self.begun) = None;
        sync::lock(&self.closed).clear();
        if !std::mem::replace(&mut self.served().is_confirmed, true) {
            log::info!("generation {number} has proved itself: it is confirmed");
        }
    }

    /// Serves the last good generation again in place of this one, which failed for this reason. Where none can be
    /// served, it is served on: what works of it is more than nothing.
    async fn go_back(self: &Arc<Self>, failed: u64, reason: String, retired: &Receiver<()>) {
        log::error!("generation {failed} failed in its trial: {reason}");
        let _changing = self.changing.lock().await;
        if self.is_over(retired) {
            log::info!("nothing is gone back to for that: another deployment has its place by now");
            return;
        }
        let mut tried = Vec::new();
        while let Some(back) = self.good_before(failed, &tried).await {
            tried.push(back);
            match self.load_generation(back).await {
                Ok(loaded) => return self.serve_again(loaded, back, failed, reason).await,
                Err(Unloaded::Beside(error)) => {
                    log::warn!("generation {back} cannot be loaded beside {failed}: {error}");
                    return self.serve_alone(back, failed, reason).await;
                }
                Err(Unloaded::Refused(error)) => {
                    log::error!("generation {back} cannot be served any more: {error}");
                    // What the device lacks may be there again; a generation's own faults stay.
                    if error.is_its_own() {
                        self.mark_failed(back, error.to_string(), None).await;
                    }
                }
            }
        }
        self.serve_on(failed, reason).await;
        log::error!("there is no generation to go back to: {failed} is served on");
    }

    /// Ends the trial of what failed in it and is served on, for want of another.
    async fn serve_on(&self, failed: u64, reason: String) {
        self.mark_failed(failed, reason.clone(), None).await;
        // Nobody goes back to these any more.
        sync::lock(&self.closed).clear();
        self.served().failed = Some(reason);
    }

    /// The last good generation but this one and those that were `tried`.
    async fn good_before(&self, failed: u64, tried: &[u64]) -> Option<u64> {
        let (generations, tried) = (self.generations(), tried.to_vec());
        unblock(move || generations.choose_without(failed, "", &tried).number).await
    }

    /// Writes down that a generation failed, and which one is active in its place.
    async fn mark_failed(&self, failed: u64, reason: String, back: Option<u64>) {
        let generations = self.generations();
        let marked = unblock(move || generations.go_back(failed, &reason, back)).await;
        if let Err(error) = &marked {
            log::error!("it is not written down that generation {failed} failed: {error}");
        }
    }

    /// Has requests take the good generation that was loaded.
    async fn serve_again(self: &Arc<Self>, loaded: Loaded, back: u64, failed: u64, reason: String) {
        let told = format!("generation {failed} failed in its trial: {reason}");
        self.mark_failed(failed, reason, Some(back)).await;
        let plan = self.doors_for(&loaded).in_part();
        self.switch(loaded, plan, true, Some(told));
        let generations = self.generations();
        if let Err(error) = unblock(move || generations.confirm(back)).await {
            log::warn!("generation {back} is served, and that is not written down: {error}");
        }
    }

    /// Loads the good generation once nothing else is loaded: whoever asks meanwhile is told why. Where that fails,
    /// the one that failed is served again.
    async fn serve_alone(self: &Arc<Self>, back: u64, failed: u64, reason: String) {
        let before = self.present.get();
        let why = format!("generation {failed} failed in its trial: {reason}");
        if let Err(unloaded) = self.load_nothing(why).await.map(|nothing| {
            let plan = self.doors_for(&nothing);
            self.switch(nothing, plan, false, None);
        }) {
            let error = Error::from(unloaded);
            log::error!("generation {failed} is served on: {error}");
            return self.serve_on(failed, reason).await;
        }
        self.cut_off(before).await;
        // Its memory is free when its plugins have shut down.
        self.make_room().await;
        let error = match self.load_generation(back).await {
            Ok(loaded) => return self.serve_again(loaded, back, failed, reason).await,
            Err(unloaded) => Error::from(unloaded),
        };
        log::error!("generation {back} cannot be loaded: {error}; {failed} is served again");
        match self.load_generation(failed).await {
            Ok(loaded) => {
                let plan = self.doors_for(&loaded).in_part();
                self.switch(loaded, plan, false, None);
                self.serve_on(failed, reason).await;
            }
            Err(unloaded) => {
                let again = Error::from(unloaded);
                log::error!("generation {failed} cannot be loaded any more either: {again}");
                self.mark_failed(failed, reason, None).await;
                sync::lock(&self.closed).clear();
            }
        }
    }

    /// Loads a kept generation while the present one is served.
    pub(super) async fn load_generation(
        self: &Arc<Self>,
        number: u64,
    ) -> std::result::Result<Loaded, Unloaded> {
        let deployer = Arc::clone(self);
        unblock(move || {
            let config = deployer.configured(Wanted::Generation(number))?;
            deployer.load(config)
        })
        .await
    }

    async fn load_nothing(self: &Arc<Self>, why: String) -> std::result::Result<Loaded, Unloaded> {
        let deployer = Arc::clone(self);
        unblock(move || {
            let config = deployer.configured(Wanted::Nothing(why))?;
            deployer.load(config)
        })
        .await
    }

    pub(super) fn configured(&self, wanted: Wanted) -> Result<crate::config::Config> {
        match &self.configure {
            Some(configure) => configure(wanted).map_err(Error::while_running),
            None => Err(Error::Refused(
                "this daemon serves what its command line names: start it with `zlayer run --data-dir DIR` alone \
                 to have it serve what is installed there"
                    .to_owned(),
            )),
        }
    }
}
