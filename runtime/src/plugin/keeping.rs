//! Instances that are made ahead, those that are given up for idleness, and the end of all.

use std::time::{Duration, Instant};

use smol::Timer;
use zlayer_bundle::Role;

use super::failed::from_call;
use super::{Instance, Plugin};
use crate::clients;
use crate::failure::Failure;
use crate::timeout;

/// How long it takes until a kept instance that could not be made is tried again, at first and at most.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

impl Plugin {
    /// Makes the first instance of a plugin that has an `init`, so that a failing `init` shows in the
    /// log at the start and not with the first request, and then those that are kept from the start on.
    /// Each may take `time`.
    pub async fn warm_up(&self, time: Duration) {
        let min = self.pooling.min_instances;
        if min > 0 && !self.keeps_instances() {
            log::info!(
                "plugin {}: min_instances does nothing: it gets a fresh instance for each request, unless \
                 reuse is more than 1",
                self.name()
            );
            return;
        }
        let _working = self.working();
        if self.plays(Role::Handler) {
            let Some(made) = timeout::within(time, self.try_instance()).await else {
                log::error!("plugin {}: init did not end within {time:?}", self.name());
                return;
            };
            match made {
                Ok(()) => {}
                // `init` logged its own reason.
                Err(Failure::InitFailed(_)) => return,
                Err(failure) => {
                    log::error!("plugin {}: no first instance: {failure}", self.name());
                    return;
                }
            }
        }
        let max = self.places.max();
        let filled = match self.fill_up(time).await {
            Ok(()) if max < min => Err(format!("the memory allows {max} (--memory-max)")),
            filled => filled,
        };
        if let Err(reason) = filled {
            log::warn!(
                "plugin {}: fewer instances than min_instances {min} are made at the start: {reason}",
                self.name()
            );
        }
    }

    /// Takes an instance, or makes one, and puts it back: whether one can be made.
    ///
    /// # Errors
    ///
    /// None can.
    pub async fn try_instance(&self) -> Result<(), Failure> {
        let running = self.places.acquire(self, false).await?;
        self.return_to_pool(running.instance);
        Ok(())
    }

    /// Makes instances until there are as many as are kept, or as there can be.
    ///
    /// # Errors
    ///
    /// Why there are fewer.
    async fn fill_up(&self, time: Duration) -> Result<(), String> {
        let (min, max) = (self.pooling.min_instances, self.places.max());
        let _working = self.working();
        // Those that requests have made meanwhile count.
        for _ in 0..min.min(max) {
            let making = self.places.add(self, min);
            match timeout::within(time, making).await {
                Some(Ok(Some(running))) => self.return_to_pool(running.instance),
                Some(Ok(None)) => return Ok(()),
                Some(Err(failure)) => return Err(failure.to_string()),
                None => return Err(format!("init did not end within {time:?}")),
            }
        }
        Ok(())
    }

    /// Has instances made in place of those that were kept, and given up for their memory.
    pub fn see_to_minimum(&self) {
        self.places.minimum.look();
    }

    /// Makes others for instances that are kept and ended at their work, for ever. Each may take `time`.
    pub async fn replace_lost(&self, time: Duration) {
        let mut is_told = false;
        let mut pause = FIRST_PAUSE;
        loop {
            self.places.minimum.wait().await;
            while let Err(reason) = self.fill_up(time).await {
                if !std::mem::replace(&mut is_told, true) {
                    log::warn!(
                        "plugin {}: there are fewer instances than min_instances, which is tried again: {reason}",
                        self.name()
                    );
                }
                Timer::after(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            (is_told, pause) = (false, FIRST_PAUSE);
        }
    }

    /// Gives up instances for idleness, for ever. Returns at once where none is.
    ///
    /// Each may take `time` for its `shutdown`.
    pub async fn give_up_idle(&self, time: Duration) {
        let Some(idle_timeout) = self.pooling.idle_timeout else {
            return;
        };
        loop {
            let since = self.idle.surplus().await;
            // Longer than the clock can tell is for ever.
            let Some(due) = since.checked_add(idle_timeout) else {
                return;
            };
            Timer::at(due).await;
            // Where the one that was waited for has been used since, this takes none.
            while let Some(then) = Instant::now().checked_sub(idle_timeout)
                && let Some(instance) = self.idle.take_idle_since(then)
            {
                self.retire(instance, time).await;
            }
        }
    }

    /// Ends an instance that nobody has asked for.
    async fn retire(&self, instance: Instance, time: Duration) {
        log::debug!(
            "plugin {}: an instance is given up that nobody asked for (idle_timeout)",
            self.name()
        );
        if instance.guests.handler.is_none() {
            return;
        }
        let network = clients::current().network();
        // It counts as one at work until it has ended. Where requests have all places, they need this one.
        let Some(_place) = self.places.try_take(network) else {
            return;
        };
        // Who waits for memory has a chance when it is free.
        let _attempt = self.instance_memory.begin(network);
        // Dropped before these.
        let mut instance = instance;
        let _working = self.working();
        let ended = timeout::within(time, self.call_shutdown(&mut instance)).await;
        if ended.is_none() {
            log::warn!(
                "plugin {}: shutdown did not end within {time:?}",
                self.name()
            );
        }
    }

    /// Calls `shutdown` on every idle instance of a plugin that has one.
    pub async fn shut_down(&self) {
        let _working = self.working();
        while let Some(mut instance) = self.idle.pop() {
            self.call_shutdown(&mut instance).await;
        }
    }

    async fn call_shutdown(&self, instance: &mut Instance) {
        let Instance { store, guests, .. } = instance;
        let Some(guest) = &guests.handler else { return };
        if let Err(error) = guest.call_shutdown(&mut *store).await {
            log::warn!(
                "plugin {}: shutdown failed: {}",
                self.name(),
                from_call(error, store)
            );
        }
    }
}
