//! What the owner of the device changes while the daemon serves: install, roll back, uninstall.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_lite::future::or;
use smol::lock::MutexGuard;
use zlayer_bundle::BundleHead;

use super::super::doors::{Plan, refused};
use super::super::installation::Check;
use super::super::start::{Wanted, verified};
use super::super::trust::{Trustees, trusted};
use super::prove::prove;
use super::{Deployer, Loaded};
use crate::admin::{Changed, Changing, Deployed, Deployments, Telling, Trial, Uploaded};
use crate::blocking::unblock;
use crate::error::{Error, Result};
use crate::generations::{Incoming, Staged};
use crate::timeout;
use crate::wire::stopped;

/// How long a change waits for the end of another before it is refused.
const SETTLING: Duration = Duration::from_secs(2);

fn stopping() -> Error {
    Error::Refused(
        "the daemon is stopping, and nothing has changed: try again when it runs, or once it has ended".to_owned(),
    )
}

impl Deployments for Deployer {
    fn deployed(&self) -> Option<Deployed> {
        self.served().deployed()
    }

    fn ending(&self) -> usize {
        Deployer::ending(self)
    }

    fn install(self: Arc<Self>, bundle: Uploaded) -> Changing {
        Box::pin(async move { self.install_and_serve(bundle).await })
    }

    fn roll_back(self: Arc<Self>, to: Option<u64>) -> Changing {
        Box::pin(async move { self.serve_kept(to).await })
    }

    fn uninstall(self: Arc<Self>) -> Changing {
        Box::pin(async move { self.serve_nothing().await })
    }

    fn trust(self: Arc<Self>, list: Uploaded) -> Telling {
        Box::pin(async move { self.install_trust_list(list).await })
    }
}

impl Deployer {
    /// Takes a bundle in, and serves it once it has proved that it works. Where it has not, nothing has changed.
    async fn install_and_serve(self: &Arc<Self>, bundle: Uploaded) -> Result<Changed> {
        self.see_that_it_may_change()?;
        let staging = timeout::within(SETTLING, self.staging.lock()).await;
        let _staging = staging.ok_or_else(|| {
            Error::Refused(
                "another bundle is under way to this daemon: try again when that has ended"
                    .to_owned(),
            )
        })?;
        let before = self.removals.load(Ordering::Relaxed);
        let deployer = Arc::clone(self);
        let staged = unblock(move || deployer.stage(bundle)).await;
        // Not sooner: a bundle may come slowly, and whoever rolls back meanwhile must not wait for it.
        let _owner = self.owner.lock().await;
        let removed = match self.removals.load(Ordering::Relaxed) > before {
            // With it went what had come by then.
            true => Err(removed_meanwhile()),
            false => Ok(()),
        };
        let staged = match (staged, self.check_running().and(removed)) {
            (Ok(staged), Ok(())) => staged,
            (Ok(staged), Err(error)) => {
                let generations = self.generations();
                unblock(move || generations.discard(staged)).await;
                return Err(error);
            }
            // A bundle that broke off for this is not at fault.
            (Err(_), Err(error)) | (Err(error), Ok(())) => return Err(error),
        };
        // As little must a trial that ends meanwhile.
        let _changing = self.changing.lock().await;
        self.make_room().await;
        let loaded = match self.load_generation(staged.number).await {
            Ok(loaded) => loaded,
            Err(unloaded) => {
                let generations = self.generations();
                unblock(move || generations.discard(staged)).await;
                return Err(unloaded.into());
            }
        };
        let number = staged.number;
        let generations = self.generations();
        let plan = match self.prove(&loaded).await {
            Ok(plan) => plan,
            Err(error) => {
                self.give_up(loaded).await;
                unblock(move || generations.discard(staged)).await;
                return Err(error);
            }
        };
        let adopted = unblock(move || match generations.adopt(&staged) {
            Ok(()) => {
                // It is installed, whatever is left of others.
                if let Err(error) = generations.forget() {
                    log::warn!("what is not needed any more is not removed: {error}");
                }
                Ok(())
            }
            Err(error) => {
                generations.discard(staged);
                Err(error)
            }
        });
        if let Err(error) = adopted.await {
            drop(plan);
            self.give_up(loaded).await;
            return Err(error);
        }
        Ok(self.serve(loaded, plan, number).await)
    }

    /// Serves a generation that is kept: the one before the present one, or that with the number `to`.
    async fn serve_kept(self: &Arc<Self>, to: Option<u64>) -> Result<Changed> {
        let _owner = self.begin_change().await?;
        let _changing = self.changing.lock().await;
        self.make_room().await;
        let generations = self.generations();
        let wanted = unblock(move || match to {
            Some(number) => Ok(Some(number)),
            None => generations.previous(),
        });
        let number = wanted.await?.ok_or_else(|| {
            Error::Refused(
                "there is no generation that was active before: `zlayer generations` shows those that are kept"
                    .to_owned(),
            )
        })?;
        let loaded = self.load_generation(number).await?;
        let generations = self.generations();
        let proved = self.prove(&loaded).await;
        let adopted = match proved {
            Ok(plan) => { unblock(move || generations.adopt_kept(number)).await }.map(|()| plan),
            Err(failed) => Err(failed),
        };
        match adopted {
            Ok(plan) => Ok(self.serve(loaded, plan, number).await),
            Err(error) => {
                self.give_up(loaded).await;
                Err(error)
            }
        }
    }

    /// Removes what is installed, and serves nothing any more.
    async fn serve_nothing(self: &Arc<Self>) -> Result<Changed> {
        let _owner = self.begin_change().await?;
        let _changing = self.changing.lock().await;
        self.make_room().await;
        let (deployer, generations) = (Arc::clone(self), self.generations());
        let changed = Changed::of(self.deployed());
        let nothing = unblock(move || {
            if generations.list()?.is_empty() {
                return Err(Error::Refused("nothing is installed here".to_owned()));
            }
            let why = "what was installed was removed: `zlayer install APP.zlb` installs another";
            let config = deployer.configured(Wanted::Nothing(why.to_owned()))?;
            let loaded = deployer.load(config)?;
            generations.uninstall()?;
            deployer.removals.fetch_add(1, Ordering::Relaxed);
            Ok(loaded)
        });
        let nothing = nothing.await?;
        let plan = self.doors_for(&nothing);
        self.switch(nothing, plan, true, None);
        Ok(changed)
    }

    /// Begins a change of the owner's: one at a time.
    pub(super) async fn begin_change(&self) -> Result<MutexGuard<'_, ()>> {
        self.see_that_it_may_change()?;
        let owner = timeout::within(SETTLING, self.owner.lock()).await;
        owner.ok_or_else(|| {
            Error::Refused(
                "another change of what this daemon serves is under way: try again when that has ended"
                    .to_owned(),
            )
        })
    }

    fn see_that_it_may_change(&self) -> Result<()> {
        if self.configure.is_none() {
            // The error tells what to do instead.
            self.configured(Wanted::Nothing(String::new()))?;
        }
        self.check_running()
    }

    /// Whether the daemon goes on: what it changes is for nobody where it is to stop.
    pub(super) fn check_running(&self) -> Result<()> {
        match self.stop.is_closed() {
            true => Err(stopping()),
            false => Ok(()),
        }
    }

    /// Takes a bundle in and checks it. Blocks for as long as it comes.
    fn stage(&self, bundle: Uploaded) -> Result<Staged> {
        let config = Arc::clone(&self.served().config);
        let trustees = Trustees::of(&config);
        let Uploaded {
            name,
            from: mut bundle,
        } = bundle;
        let path = name.as_path();
        let head = BundleHead::read(&mut bundle).map_err(|source| Error::Bundle {
            path: path.to_owned(),
            source,
        })?;
        // Before the head is refused for a key that is left out: the log says why.
        let trust = trusted(&trustees, true)?;
        let head = verified(path, head, &trustees, config.profile)?;
        let mut check = Check::new(&self.data, &trust, self.loader.target)?;
        let generations = self.generations();
        let incoming = Incoming {
            path,
            head: &head,
            blobs: bundle,
        };
        generations.stage(incoming, |service, file| {
            check.artifact(&head, service, file)
        })
    }

    /// Has plugins prove that they work, and opens the ports that they are to be reached at.
    async fn prove(&self, loaded: &Loaded) -> Result<Plan> {
        let time = self.loader.request_timeout();
        let proving = crate::reactor::enter(Box::pin(prove(&loaded.pipeline, time)));
        let stopping = async {
            stopped(&self.stop).await;
            Err(stopping())
        };
        or(proving, stopping).await?;
        let plan = self.doors_for(loaded).whole().map_err(refused)?;
        plan.make_ready()?;
        Ok(plan)
    }

    /// Has requests take what has proved itself, and puts it on trial.
    async fn serve(self: &Arc<Self>, mut loaded: Loaded, plan: Plan, number: u64) -> Changed {
        let at_next_start = loaded.config.device.differing(&self.device);
        if !self.data.is_temporary() {
            let mut versions = loaded.versions;
            loaded.versions = unblock(move || {
                versions.keep();
                versions
            })
            .await;
        }
        let (deployer, generations) = (Arc::clone(self), self.generations());
        let (is_good, back) = unblock(move || {
            let is_good = generations.standing().confirmed.contains(&number);
            (is_good, deployer.would_go_back(number))
        })
        .await;
        self.switch(loaded, plan, is_good, None);
        self.try_out(number, is_good);
        let time = self.loader.timeouts.trial;
        Changed {
            is_served: true,
            trial: (!is_good).then_some(Trial { time, back }),
            at_next_start,
            ..Changed::of(self.deployed())
        }
    }

    /// The generation that this one would make way for: the last good one that may run here still.
    fn would_go_back(&self, number: u64) -> Option<u64> {
        let mut refused = Vec::new();
        loop {
            // Nothing has failed: this only asks what would be served then.
            let back = { self.generations() }.choose_without(number, "", &refused);
            let back = back.number?;
            if self.configured(Wanted::Generation(back)).is_ok() {
                return Some(back);
            }
            refused.push(back);
        }
    }

    /// Ends what was loaded and will not be served.
    async fn give_up(&self, loaded: Loaded) {
        let plugins = loaded.pipeline.plugins().to_vec();
        drop(loaded);
        self.shut_down(&plugins).await;
        // With the memory that it had.
        drop(plugins);
        self.go_on();
    }
}

fn removed_meanwhile() -> Error {
    Error::Refused(
        "what was installed was removed while this bundle came: install it again".to_owned(),
    )
}
