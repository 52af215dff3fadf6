//! A deployment on trial: it is good once it has served for a while, and else the last good one is served again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_lite::future::or;
use smol::Timer;

use super::super::EXECUTOR;
use super::super::start::{Counted, Wanted};
use super::prove::{prove, trouble};
use super::{Deployer, Loaded};
use crate::blocking::unblock;
use crate::error::{Error, Result};
use crate::pipeline::Pipeline;
use crate::sync;
use crate::wire::stopped;

/// How often a deployment on trial is looked at.
const LOOK: Duration = Duration::from_millis(250);

impl Deployer {
    /// Watches the generation with this number, which is served and has proved itself, until its trial is over.
    pub(super) fn try_out(self: &Arc<Self>, number: u64) {
        *sync::lock(&self.begun) = Some(number);
        let (deployer, pipeline) = (Arc::clone(self), self.present.get());
        let trying = async move {
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
                deployer.wait_for_trial(&pipeline).await;
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
    async fn wait_for_trial(&self, pipeline: &Arc<Pipeline>) {
        let time = async {
            Timer::after(self.loader.timeouts.trial).await;
        };
        let retired = pipeline.retired();
        or(time, or(stopped(&self.stop), stopped(&retired))).await;
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

    async fn confirm(self: &Arc<Self>, number: u64) {
        let _changing = self.changing.lock().await;
        if self.served().number() != Some(number) {
            return;
        }
        let generations = self.generations();
        match unblock(move || generations.confirm(number)).await {
            Ok(()) => {
                *sync::lock(&self.begun) = None;
                if std::mem::replace(&mut self.served().is_confirmed, true) {
                    return;
                }
                log::info!("generation {number} has proved itself: it is confirmed");
            }
            Err(error) => log::error!("generation {number} cannot be confirmed: {error}"),
        }
    }

    /// Serves the last good generation again in place of this one, which failed for this reason. Where there is
    /// none, it is served on: what works of it is more than nothing.
    async fn go_back(self: &Arc<Self>, failed: u64, reason: String) {
        let _changing = self.changing.lock().await;
        if self.served().number() != Some(failed) {
            return;
        }
        log::error!("generation {failed} failed in its trial: {reason}");
        let (generations, why) = (self.generations(), reason.clone());
        let back = match unblock(move || generations.go_back(failed, &why)).await {
            Ok(Some(back)) => back,
            Ok(None) => {
                log::error!("there is no generation to go back to: {failed} is served on");
                return;
            }
            Err(error) => {
                log::error!("it is not written down that generation {failed} failed: {error}");
                return;
            }
        };
        let loaded = match self.load_generation(back).await {
            Ok(loaded) => loaded,
            // There may be no room for both at once.
            Err(error) => {
                log::warn!("generation {back} cannot be loaded beside {failed}: {error}");
                let why = format!("generation {failed} failed in its trial: {reason}");
                match self.load_alone(back, why).await {
                    Ok(loaded) => loaded,
                    Err(error) => {
                        log::error!("generation {back} cannot be loaded any more: {error}");
                        return;
                    }
                }
            }
        };
        let is_confirmed = true;
        let told = format!("generation {failed} failed in its trial: {reason}");
        self.switch(loaded, is_confirmed, Some(told));
        let generations = self.generations();
        if let Err(error) = unblock(move || generations.confirm(back)).await {
            log::warn!("generation {back} is served, and that is not written down: {error}");
        }
    }

    /// Loads a kept generation while the present one is served.
    pub(super) async fn load_generation(self: &Arc<Self>, number: u64) -> Result<Loaded> {
        let deployer = Arc::clone(self);
        unblock(move || {
            let config = deployer.configured(Wanted::Generation(number))?;
            deployer.load(config)
        })
        .await
    }

    /// The same once nothing else is loaded: whoever asks meanwhile is told `why`.
    async fn load_alone(self: &Arc<Self>, number: u64, why: String) -> Result<Loaded> {
        let deployer = Arc::clone(self);
        let before = self.present.get();
        let nothing = unblock(move || {
            let config = deployer.configured(Wanted::Nothing(why))?;
            deployer.load(config)
        });
        self.switch(nothing.await?, true, None);
        self.cut_off(before).await;
        self.load_generation(number).await
    }

    pub(super) fn configured(&self, wanted: Wanted) -> Result<crate::config::Config> {
        match &self.configure {
            Some(configure) => configure(wanted),
            None => Err(Error::Refused(
                "this daemon serves what its command line names: start it with `zlayer run --data-dir DIR` alone \
                 to have it serve what is installed there"
                    .to_owned(),
            )),
        }
    }
}
