//! A deployment on trial: it is good once it has served for a while, and else the last good one is served again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_lite::future::or;
use smol::Timer;
use smol::channel::Receiver;

use super::super::EXECUTOR;
use super::super::start::{Counted, Wanted};
use super::prove::{prove, trouble};
use super::{Deployer, Loaded, Unloaded};
use crate::blocking::unblock;
use crate::error::{Error, Result};
use crate::pipeline::Pipeline;
use crate::sync;
use crate::wire::stopped;

/// How often a deployment on trial is looked at.
const LOOK: Duration = Duration::from_millis(250);

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
    /// have to.
    pub(super) fn try_out_from_start(self: &Arc<Self>, counted: Counted, number: u64) {
        let (deployer, pipeline) = (Arc::clone(self), self.present.get());
        let (time, is_good) = (self.loader.request_timeout(), self.served().is_confirmed);
        let trying = async move {
            let waiting = Arc::clone(&deployer);
            unblock(move || {
                let mut begun = sync::lock(&waiting.begun);
                *begun = counted.wait().then_some(number);
            })
            .await;
            if is_good {
                deployer.wait_for_trial(&pipeline.retired()).await;
                return deployer.settle(number, pipeline, None).await;
            }
            let proved = crate::reactor::enter(Box::pin(prove(&pipeline, time))).await;
            let found = match proved {
                Ok(()) => deployer.look_on(&pipeline).await,
                Err(error) => Some(error.to_string()),
            };
            deployer.settle(number, pipeline, found).await;
        };
        EXECUTOR.spawn(trying).detach();
    }

    /// Ends a trial, in which this was found.
    async fn settle(self: &Arc<Self>, number: u64, pipeline: Arc<Pipeline>, found: Option<String>) {
        let is_over = pipeline.retired().is_closed() || self.stop.is_closed();
        // What is gone back from has to end.
        drop(pipeline);
        match found {
            _ if is_over => {}
            Some(reason) => self.go_back(number, reason).await,
            None => self.confirm(number).await,
        }
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
        loop {
            if let Some(trouble) = trouble(pipeline, self.loader.limits.trial_traps) {
                return Some(trouble);
            }
            if Instant::now() >= until || retired.is_closed() || self.stop.is_closed() {
                return None;
            }
            let next = async {
                Timer::at(until.min(Instant::now() + LOOK)).await;
            };
            or(next, or(stopped(&self.stop), stopped(&retired))).await;
        }
    }

    /// Counts a generation as good. Where that cannot be written down, it is tried again after as long again: the
    /// disk may be full for a while.
    async fn confirm(self: &Arc<Self>, number: u64) {
        let retired = self.present.get().retired();
        loop {
            let changing = self.changing.lock().await;
            if self.served().number() != Some(number) {
                return;
            }
            let generations = self.generations();
            let error = match unblock(move || generations.confirm(number)).await {
                Ok(()) => break,
                Err(error) => error,
            };
            drop(changing);
            log::error!("generation {number} cannot be confirmed, which is tried again: {error}");
            self.wait_for_trial(&retired).await;
            if retired.is_closed() || self.stop.is_closed() {
                return;
            }
        }
        *sync::lock(&self.begun) = None;
        if !std::mem::replace(&mut self.served().is_confirmed, true) {
            log::info!("generation {number} has proved itself: it is confirmed");
        }
    }

    /// Serves the last good generation again in place of this one, which failed for this reason. Where none can be
    /// served, it is served on: what works of it is more than nothing.
    async fn go_back(self: &Arc<Self>, failed: u64, reason: String) {
        let _changing = self.changing.lock().await;
        if self.served().number() != Some(failed) {
            return;
        }
        log::error!("generation {failed} failed in its trial: {reason}");
        while let Some(back) = self.good_before(failed, &reason).await {
            match self.load_generation(back).await {
                Ok(loaded) => return self.serve_again(loaded, back, failed, reason).await,
                Err(Unloaded::Beside(error)) => {
                    log::warn!("generation {back} cannot be loaded beside {failed}: {error}");
                    return self.serve_alone(back, failed, reason).await;
                }
                Err(Unloaded::Refused(error)) => {
                    log::error!("generation {back} cannot be served any more: {error}");
                    // What the device lacks may be there again; a generation's own faults stay.
                    let is_its_own = matches!(
                        error,
                        Error::Bundle { .. } | Error::Artifact { .. } | Error::Plugin { .. }
                    );
                    if !is_its_own || !self.mark_failed(back, error.to_string()).await {
                        break;
                    }
                }
            }
        }
        log::error!("there is no generation to go back to: {failed} is served on");
        self.mark_failed(failed, reason).await;
    }

    /// The last good generation but this one.
    async fn good_before(&self, failed: u64, reason: &str) -> Option<u64> {
        let (generations, reason) = (self.generations(), reason.to_owned());
        let choice = unblock(move || generations.choose_without(failed, &reason)).await;
        match choice {
            Ok(choice) => choice.number,
            Err(error) => {
                log::error!("which generation was good is not known: {error}");
                None
            }
        }
    }

    /// Writes down that a generation failed; if it is the active one, the last good one becomes so. Returns whether
    /// that is written down.
    async fn mark_failed(&self, failed: u64, reason: String) -> bool {
        let generations = self.generations();
        let marked = unblock(move || generations.go_back(failed, &reason)).await;
        if let Err(error) = &marked {
            log::error!("it is not written down that generation {failed} failed: {error}");
        }
        marked.is_ok()
    }

    /// Has requests take the good generation that was loaded.
    async fn serve_again(self: &Arc<Self>, loaded: Loaded, back: u64, failed: u64, reason: String) {
        let told = format!("generation {failed} failed in its trial: {reason}");
        self.mark_failed(failed, reason).await;
        self.switch(loaded, true, Some(told));
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
            self.switch(nothing, true, None);
        }) {
            let error = Error::from(unloaded);
            log::error!("generation {failed} is served on: {error}");
            return;
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
            Ok(loaded) => self.switch(loaded, false, None),
            Err(unloaded) => {
                let again = Error::from(unloaded);
                log::error!("generation {failed} cannot be loaded any more either: {again}");
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
