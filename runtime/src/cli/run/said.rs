//! What the flags of `zlayer run` say, and what a daemon runs with for it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use zlayer_bundle::{
    Deployment, DeviceSettings, LogOutput, Profile, Service, ServiceSettings, UnknownProfile,
};

use super::{Run, entrance, key_dirs, plugin_config, timeouts, wrong};
use crate::account::Account;
use crate::config::{Door, Draft, Limits, Secret, ServiceConfig, Source, expose, read_doors};
use crate::daemon::Trustees;
use crate::error::{Error, Result};
use crate::secrets;

/// How long what somebody is at work on is on trial, unless it is said: long enough for a plugin that fails at its
/// first requests, and over before the next state comes.
const WATCHED_TRIAL: Duration = Duration::from_secs(1);

/// What the flags say, each read once: whatever is served later, they hold for it too.
pub(super) struct Said {
    pub(super) profile: Profile,
    user: Option<Account>,
    pub(super) key_dirs: Vec<PathBuf>,
    pub(super) allow_unsigned: bool,
    pub(super) data_dir: Option<PathBuf>,
    /// Whether the data folder goes with the daemon, though it is named.
    is_temporary: bool,
    /// Whether somebody is at work on what is served.
    pub(super) is_watched: bool,
    set_store_aside: bool,
    device: DeviceSettings,
    usual: ServiceSettings,
    sources: secrets::Sources,
}

impl Said {
    /// What these flags say.
    ///
    /// # Errors
    ///
    /// A value makes no sense.
    pub(super) fn by(mut run: Run) -> Result<Said> {
        let profile = { run.profile.parse() }
            .map_err(|error: UnknownProfile| wrong("profile", &error.to_string()))?;
        let user = run.user.as_deref().map(Account::find).transpose();
        let user = user.map_err(|reason| wrong("user", &reason))?;
        Ok(Said {
            profile,
            key_dirs: key_dirs(std::mem::take(&mut run.keys), user.is_some()),
            device: run.device()?,
            usual: run.service()?,
            allow_unsigned: run.allow_unsigned,
            is_temporary: run.watched_in.is_some(),
            is_watched: run.watched_by.is_some(),
            data_dir: run.data_dir.or(run.watched_in),
            set_store_aside: run.kv_set_aside,
            sources: secrets::Sources {
                file: run.secrets_file,
                credentials: run.secret_credential,
                environment: run.secret_env,
                literals: run.secret,
                owner: user.as_ref().map(|user| user.ids().0.as_raw()),
                kept: secrets::Kept::default(),
            },
            user,
        })
    }

    /// Keeps what root may read and the account that it becomes may not, for what is installed while that serves.
    ///
    /// # Errors
    ///
    /// This process cannot become that account.
    pub(super) fn keep_secrets(&mut self) -> Result<()> {
        match &self.user {
            Some(user) => self.sources.keep_for(user),
            None => Ok(()),
        }
    }

    /// Whom these flags trust.
    pub(super) fn trustees(&self) -> Trustees<'_> {
        Trustees {
            key_dirs: &self.key_dirs,
            allow_unsigned: self.allow_unsigned,
            data_dir: self.data_dir.as_deref(),
        }
    }

    /// What a daemon of this source is to run with, word for word and not checked yet.
    ///
    /// # Errors
    ///
    /// A value does not fit, or what the device has to know is missing.
    pub(super) fn draft(&self, source: Source) -> Result<Draft> {
        let mut deployment = match source.head() {
            Some(head) => head.manifest().deployment.clone(),
            None => small(source.len()),
        };
        let (secrets, variables) = self.sources.read(&deployment.variables())?;
        let mut device = self.device.clone().or(deployment.device.clone());
        if self.is_watched {
            device.timeouts.trial = device.timeouts.trial.or(Some(WATCHED_TRIAL));
        }
        let doors = match source.unserved() {
            Some(head) => self.doors_instead(&head.manifest().deployment),
            None => None,
        };
        let doors = doors.map_or_else(|| read_doors(&deployment, &device), Ok)?;
        expose(&mut deployment, &doors);
        let services = deployment
            .services
            .into_iter()
            .map(|Service { name, settings }| {
                let config = plugin_config::read(&settings.or(&self.usual), &variables);
                let shown = name.as_deref().unwrap_or("the plugin");
                let config = config.map_err(|reason| Error::Usage(format!("{shown}: {reason}")))?;
                Ok(ServiceConfig { name, config })
            });
        let services: Result<Vec<_>> = services.collect();
        let usual = plugin_config::read(&self.usual, &variables).map_err(Error::Usage)?;
        let log = device.log.unwrap_or(match self.data_dir {
            Some(_) => LogOutput::Both,
            None => LogOutput::Text,
        });
        let limits = Limits::default();
        Ok(Draft {
            services: services?,
            source,
            key_dirs: self.key_dirs.clone(),
            user: self.user.clone(),
            allow_unsigned: self.allow_unsigned,
            profile: self.profile,
            doors,
            admin_port: device.admin_port,
            threads: device.threads.map(|count| count as usize),
            memory: addressable("memory-max", device.memory_max)?,
            body: addressable("max-body", device.max_body)?,
            websocket_message: addressable("max-message", device.max_message)?,
            data_dir: self.data_dir.clone(),
            is_temporary: self.is_temporary,
            set_store_aside: self.set_store_aside,
            log,
            access_log: device.access_log,
            tls_roots: device.tls_roots.clone(),
            timeouts: timeouts::read(&device.timeouts),
            limits: Limits {
                connections: device
                    .max_connections
                    .map_or(limits.connections, |count| count as usize),
                cache: addressable("cache-max", device.cache_max)?,
                handles: device
                    .max_handles
                    .map_or(limits.handles, |count| count as usize),
                underscore_headers: device
                    .underscore_headers
                    .unwrap_or(limits.underscore_headers),
                ..limits
            },
            device: device.clone(),
            entrance: entrance::read(device)?,
            variables: { variables.into_iter() }
                .map(|(name, value)| (name, Secret(value)))
                .collect(),
            secrets_file: self.sources.file.clone(),
            secrets: Arc::new(secrets),
            usual,
        })
    }
}

impl Said {
    /// The ports of a deployment that cannot be served: whoever comes there is told so. It may be the deployment's
    /// certificates that are at fault, so HTTPS is spoken there with those of the flags alone.
    fn doors_instead(&self, deployment: &Deployment) -> Option<Vec<Door>> {
        let device = self.device.clone().or(deployment.device.clone());
        let mut doors = read_doors(deployment, &device).ok()?;
        let has_https = !self.device.certificates.is_empty();
        doors.retain(|door| has_https || !door.is_https);
        for door in &mut doors {
            door.redirect = None;
        }
        (!doors.is_empty()).then_some(doors)
    }
}

/// The deployment of plugins of which nothing is said but by flags.
fn small(count: usize) -> Deployment {
    Deployment {
        services: vec![Service::default(); count],
        ..Deployment::default()
    }
}

/// A size that this machine can address.
fn addressable(flag: &str, bytes: Option<u64>) -> Result<Option<usize>> {
    let size = |bytes| {
        usize::try_from(bytes).map_err(|_| {
            wrong(
                flag,
                &format!("{bytes} bytes are more than this machine can address"),
            )
        })
    };
    bytes.map(size).transpose()
}
