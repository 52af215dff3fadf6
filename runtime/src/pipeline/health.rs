//! Asks plugins from inside whether they are well.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::HOST;
use http_body_util::BodyExt;
use smol::Timer;
use smol::channel::Receiver;
use zlayer_bundle::Role;

use super::{Pipeline, Reply, Request, handle};
use crate::failure::Failure;
use crate::message::IncomingBody;
use crate::plugin::{Health, Plugin};
use crate::stats::Outcome;
use crate::timeout;

/// The id of a check, for the log records that it leads to.
const ID: &str = "health";
/// The longest pause between two questions to a plugin that is to be served, or is on trial: whether it is well has
/// to be known before it is trusted.
const PROVING_PAUSE: Duration = Duration::from_secs(1);
/// The pause before one is asked again in which there is no place for the question.
const BUSY_PAUSE: Duration = Duration::from_millis(100);

/// What came of a question.
enum Checked {
    /// It was answered, or failed.
    Told(Result<(), String>),
    /// It was not answered in time.
    Late(String),
    /// There was no place for it.
    Busy(String),
}

impl Pipeline {
    /// Asks a plugin again and again whether it is well, until the daemon drains. Returns at once where
    /// nothing is said of that.
    ///
    /// The request is the device's own: no stage but the handler sees it, and it is neither counted nor
    /// logged as a client's.
    pub async fn watch_health(&self, plugin: &Arc<Plugin>, stop: &Receiver<()>) {
        let Some(health) = plugin.health() else {
            return;
        };
        if !plugin.plays(Role::Handler) && !plugin.plays(Role::HttpHandler) {
            log::warn!(
                "plugin {}: its health is not checked, because it is no handler that could be asked",
                plugin.name()
            );
            return;
        }
        while !stop.is_closed() {
            // One that works for clients in all its instances is loaded, and no check may take its place from a
            // client. One that has to prove itself, or is on trial, is asked for that.
            if !plugin.is_busy()
                && let Some(_alone) = health.try_ask_alone()
            {
                match self.check(plugin, health).await {
                    Checked::Told(checked) => health.record(plugin.name(), checked),
                    Checked::Late(reason) => health.record(plugin.name(), Err(reason)),
                    Checked::Busy(_) => {}
                }
            }
            Timer::after(health.interval()).await;
        }
    }

    /// Asks a plugin on trial whether it is well, again and again, for as long as this is polled: nobody else asks it
    /// meanwhile. It has been asked just before.
    pub async fn try_health(&self, plugin: &Arc<Plugin>) {
        let Some(health) = checkable(plugin) else {
            return;
        };
        let _alone = health.ask_alone().await;
        loop {
            Timer::after(health.interval().min(PROVING_PAUSE)).await;
            if let Some(checked) = self.check_strictly(plugin, health).await {
                health.record(plugin.name(), checked);
            }
        }
    }

    /// Asks a plugin whether it is well as often as its checks may fail in a row, soon one after the other, for
    /// one that is to be served. One that cannot be asked is well.
    ///
    /// # Errors
    ///
    /// Why the last answer was not as it should be.
    pub async fn prove_health(&self, plugin: &Arc<Plugin>) -> Result<(), String> {
        let Some(health) = checkable(plugin) else {
            return Ok(());
        };
        let _alone = health.ask_alone().await;
        let mut last = Ok(());
        for asked in health.tries() {
            if asked > 0 {
                Timer::after(health.interval().min(PROVING_PAUSE)).await;
            }
            // It answers clients.
            last = self.check_strictly(plugin, health).await.unwrap_or(Ok(()));
            if last.is_ok() {
                break;
            }
        }
        health.record(plugin.name(), last.clone());
        last
    }

    /// Asks once, even where all instances are at work: that is how one is whose requests never end. Returns nothing
    /// where it had no time for the question and clients were answered meanwhile, so that it is only loaded.
    async fn check_strictly(
        &self,
        plugin: &Arc<Plugin>,
        health: &Health,
    ) -> Option<Result<(), String>> {
        let answered = || plugin.host().stats.requests(Outcome::Answered);
        let (before, until) = (answered(), Instant::now() + health.timeout());
        let reason = loop {
            match self.check(plugin, health).await {
                Checked::Told(checked) => return Some(checked),
                Checked::Late(reason) => break reason,
                Checked::Busy(reason) if Instant::now() >= until => break reason,
                Checked::Busy(_) => {
                    Timer::after(BUSY_PAUSE).await;
                }
            }
        };
        let is_loaded = plugin.is_busy() && answered() > before;
        (!is_loaded).then_some(Err(reason))
    }

    /// Asks once.
    async fn check(&self, plugin: &Arc<Plugin>, health: &Health) -> Checked {
        let time = health.timeout();
        let asked = timeout::within(time, self.ask(plugin, health.path())).await;
        let path = health.path();
        match asked {
            Some(Ok(status)) => Checked::Told(health.judge(status)),
            Some(Err(failure @ Failure::Busy(_))) => {
                Checked::Busy(format!("{path} could not be asked for: {failure}"))
            }
            Some(Err(failure)) => Checked::Told(Err(failure.to_string())),
            None => Checked::Late(format!("{path} was not answered within {time:?}")),
        }
    }

    /// Asks a plugin's handler for a path. Returns the status of the answer, which was read to its end.
    async fn ask(&self, plugin: &Arc<Plugin>, path: &str) -> Result<u16, Failure> {
        let head = http::Request::builder().uri(path).header(HOST, "localhost");
        let head = head.body(()).map_err(|error| {
            Failure::BadResponse(format!("{path} cannot be asked for: {error}"))
        })?;
        let device = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let (head, ()) = head.into_parts();
        let mut request = Request::new(head, IncomingBody::default(), device, ID.into());
        let _working = plugin.working();
        if plugin.plays(Role::Handler)
            && let Some(response) = handle::typed(plugin, &mut request, &self.bodies).await?
        {
            return Ok(response.status().as_u16());
        }
        if !plugin.plays(Role::HttpHandler) {
            return Err(Failure::PassThrough);
        }
        let Reply {
            response, mut tail, ..
        } = handle::wasi_http(plugin, &mut request).await?;
        let status = response.status().as_u16();
        // An instance whose work is given up could not be kept for another request.
        let mut body = response.into_body();
        let reading = async {
            while let Some(read) = body.frame().await {
                read.map_err(|_| Failure::broken_body())?;
            }
            Ok(())
        };
        tail.beside(reading).await?;
        tail.await?;
        Ok(status)
    }
}

/// How a plugin is asked for its health, if that is said and it can be asked.
fn checkable(plugin: &Plugin) -> Option<&Health> {
    let health = plugin.health()?;
    (plugin.plays(Role::Handler) || plugin.plays(Role::HttpHandler)).then_some(health)
}
