//! The plugins of a daemon: their files taken in, their settings put together, their code loaded.

use std::collections::BTreeMap;
use std::sync::Arc;

use zlayer_bundle::{BoardSettings, Role, VerifiedArtifact};

use super::artifacts;
use crate::capability::{Capabilities, Capability};
use crate::config::{Config, PluginSettings, Secret};
use crate::data_dir::DataDir;
use crate::error::{Error, Result};
use crate::host::{PluginHost, Service};
use crate::keyvalue::KeyValue;
use crate::metrics::Metrics;
use crate::plugin::{Common, Plugin};
use crate::upstream::Upstreams;

/// Plugins that one daemon serves, at most: each has instances, counters and a copy of its file.
const PLUGINS: usize = 64;

/// A checked file, and what is said of its plugin.
pub(super) struct Member {
    artifact: VerifiedArtifact,
    name: String,
    settings: PluginSettings,
}

/// Takes all files in and finds each plugin's settings.
///
/// # Errors
///
/// A file is refused, or settings are for a plugin that is not there.
pub(super) fn gather(config: &Config, data: &DataDir) -> Result<Vec<Member>> {
    if config.artifacts.len() > PLUGINS {
        return Err(Error::Usage(format!("more than {PLUGINS} --wasm")));
    }
    let mut members: Vec<Member> = Vec::new();
    for place in 0..config.artifacts.len() {
        let artifact = artifacts::verify(place, config, data)?;
        let name = unused_name(&artifact.manifest().name, &members);
        members.push(Member {
            artifact,
            name,
            settings: PluginSettings::default(),
        });
    }
    data.forget_from(members.len());
    let names: Vec<String> = members.iter().map(|member| member.name.clone()).collect();
    let unknown = |what: &str, name: &str| {
        let names = names.join(", ");
        Error::Usage(format!("--plugin: {what} '{name}'; plugins are {names}"))
    };
    for (place, setting) in config.overrides.iter().enumerate() {
        let mut before = config.overrides.iter().take(place);
        if before.any(|before| setting.contradicts(before)) {
            return Err(Error::Usage(format!(
                "--plugin: {} is given twice; say it once",
                setting.name()
            )));
        }
        let member = members
            .iter_mut()
            .find(|member| member.name == setting.plugin);
        let member = member.ok_or_else(|| unknown("there is no plugin", &setting.plugin))?;
        setting
            .apply(&mut member.settings)
            .map_err(|reason| Error::Usage(format!("--plugin: {reason}")))?;
    }
    let answers = |name: &String| {
        let roles = members.iter().filter(|member| member.name == *name);
        roles
            .flat_map(|member| &member.artifact.manifest().roles)
            .any(|role| matches!(role, Role::Handler | Role::HttpHandler))
    };
    for member in &members {
        let services = member.settings.services.iter().flatten();
        if let Some(service) = services
            .into_iter()
            .find(|service| !names.contains(service))
        {
            return Err(unknown("services names no plugin", service));
        }
        // No request is for it: the stage would be switched off, and a guard with it.
        let services = member.settings.services.iter().flatten();
        if let Some(service) = services.into_iter().find(|service| !answers(service)) {
            return Err(Error::Usage(format!(
                "--plugin: services names '{service}', which is no handler"
            )));
        }
        let secrets = member.settings.secrets.iter().flatten();
        if let Some(name) = secrets
            .into_iter()
            .find(|name| !config.secrets.contains_key(*name))
        {
            return Err(Error::Usage(format!(
                "--plugin: there is no secret '{name}'"
            )));
        }
    }
    Ok(members)
}

impl Member {
    /// What engine and manifest say of it.
    pub(super) fn artifact(&self) -> &VerifiedArtifact {
        &self.artifact
    }

    /// Its name, and the board that it was built for.
    pub(super) fn board(&self) -> (&str, Option<&BoardSettings>) {
        (&self.name, self.artifact.manifest().board.as_ref())
    }

    /// What is said of it alone.
    pub(super) fn settings(&mut self) -> &mut PluginSettings {
        &mut self.settings
    }

    /// Loads and links its code.
    pub(super) fn load(
        self,
        config: &Config,
        common: &Common<'_>,
        metrics: &Arc<Metrics>,
        store: &KeyValue,
        upstreams: &Upstreams,
    ) -> Result<Arc<Plugin>> {
        let settings = self.settings;
        let mut own_config = config.config.clone();
        own_config.extend(settings.config.clone());
        let visible = |name: &String| {
            settings
                .secrets
                .as_ref()
                .is_none_or(|names| names.contains(name))
        };
        let secrets: BTreeMap<String, Secret> = config
            .secrets
            .iter()
            .filter(|(name, _)| visible(name))
            .map(|(name, secret)| (name.clone(), secret.clone()))
            .collect();
        let mut denied = settings.denied.unwrap_or(Capabilities::NONE);
        let hosts = settings.allowed_hosts.as_ref();
        let allowed_hosts = hosts.unwrap_or(&config.allowed_hosts).clone();
        if allowed_hosts.is_empty() {
            denied = denied.with(Capability::HttpClient);
        }
        let service = Service {
            namespace: settings
                .kv_namespace
                .clone()
                .unwrap_or_else(|| self.name.clone()),
            name: self.name,
            config: own_config,
            secrets,
            granted: config.granted.without(denied),
            allowed_hosts,
            keyvalue: config.keyvalue.clone(),
            log_records: config.limits.log_records,
        };
        let metrics = Arc::clone(metrics);
        let host = PluginHost::new(service, metrics, store.clone(), upstreams.clone());
        Plugin::load(&self.artifact, host, settings, common).map(Arc::new)
    }
}

/// The plugin's own name; where one before it has the same, a number behind it.
fn unused_name(name: &str, members: &[Member]) -> String {
    let is_free = |wanted: &str| members.iter().all(|member| member.name != wanted);
    if is_free(name) {
        return name.to_owned();
    }
    let numbered = (2..).map(|number| format!("{name}-{number}"));
    // There are fewer members than numbers.
    numbered
        .into_iter()
        .find(|wanted| is_free(wanted))
        .unwrap_or_default()
}
