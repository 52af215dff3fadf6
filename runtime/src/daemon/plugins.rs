//! The plugins of a daemon: their files taken in, their settings put together, their code loaded.

use std::sync::Arc;

use zlayer_bundle::{Role, VerifiedArtifact};

use super::artifacts;
use super::resources::Needs;
use crate::config::{Config, PluginConfig};
use crate::data_dir::DataDir;
use crate::error::{Error, Result};
use crate::host::PluginHost;
use crate::keyvalue::KeyValue;
use crate::metrics::Metrics;
use crate::plugin::{Common, Plugin};
use crate::upstream::Upstreams;

/// A checked file, and what is said of its plugin.
pub(super) struct Member<'a> {
    artifact: VerifiedArtifact,
    name: String,
    config: &'a PluginConfig,
}

/// Takes all files in and finds what is said of each plugin.
///
/// # Errors
///
/// A file is refused, or something is said of a plugin that is not there.
pub(super) fn gather<'a>(config: &'a Config, data: &DataDir) -> Result<Vec<Member<'a>>> {
    let mut members: Vec<Member<'_>> = Vec::new();
    for place in 0..config.artifacts.len() {
        let artifact = artifacts::verify(place, config, data)?;
        let name = unused_name(&artifact.manifest().name, &members);
        members.push(Member {
            artifact,
            config: config.plugin(&name),
            name,
        });
    }
    data.remove_copies_from(members.len());
    let names: Vec<&String> = members.iter().map(|member| &member.name).collect();
    let unknown = |what: &str, name: &str| {
        let known: Vec<&str> = names.iter().map(|name| name.as_str()).collect();
        let known = known.join(", ");
        Error::Usage(format!("--plugin: {what} '{name}'; plugins are {known}"))
    };
    if let Some(name) = config.plugins.keys().find(|name| !names.contains(name)) {
        return Err(unknown("there is no plugin", name));
    }
    // A change of the one would be kept as the other wants it, or not be seen by it.
    for (place, member) in members.iter().enumerate() {
        let others = members[..place].iter();
        if let Some(other) = { others }.find(|other| member.disagrees_with(other)) {
            let namespace = member.namespace();
            let [one, two] = [other, member].map(|member| {
                let durability = member.config.grants.keyvalue.durability;
                format!("{} {durability}", member.name)
            });
            return Err(Error::Usage(format!(
                "--plugin: plugins that share the namespace '{namespace}' want it kept differently, {one} and {two}: \
                 give them the same kv-durability"
            )));
        }
    }
    let answers = |name: &String| {
        let roles = members.iter().filter(|member| member.name == *name);
        roles
            .flat_map(|member| &member.artifact.manifest().roles)
            .any(|role| matches!(role, Role::Handler | Role::HttpHandler))
    };
    for member in &members {
        let services = || member.config.placement.services.iter().flatten();
        if let Some(service) = services().find(|service| !names.contains(service)) {
            return Err(unknown("services names no plugin", service));
        }
        // No request is for it: the stage would be switched off, and a guard with it.
        if let Some(service) = services().find(|service| !answers(service)) {
            return Err(Error::Usage(format!(
                "--plugin: services names '{service}', which is no handler"
            )));
        }
    }
    Ok(members)
}

impl<'a> Member<'a> {
    /// What engine and manifest say of it.
    pub(super) fn artifact(&self) -> &VerifiedArtifact {
        &self.artifact
    }

    /// What it needs of the device.
    pub(super) fn needs(&self) -> Needs<'_> {
        let manifest = self.artifact.manifest();
        Needs {
            name: &self.name,
            board: manifest.board.as_ref(),
            memory_initial: manifest.memory_initial,
        }
    }

    /// The name of its namespace in the store.
    fn namespace(&self) -> &str {
        let named = self.config.grants.namespace.as_ref();
        named.unwrap_or(&self.name)
    }

    /// Whether it shares a namespace with another that wants it kept in another way.
    fn disagrees_with(&self, other: &Member<'_>) -> bool {
        let [own, others] = [self, other].map(|member| member.config.grants.keyvalue.durability);
        self.namespace() == other.namespace() && own != others
    }

    /// Whether it can ask for the key-value store, so that it should find it open.
    pub(super) fn imports_store(&self) -> bool {
        const INTERFACE: &str = "zlayer:plugin/keyvalue";
        let imports = &self.artifact.manifest().imports;
        imports.iter().any(|name| name.starts_with(INTERFACE))
    }

    /// What is said of it.
    pub(super) fn config(&self) -> &'a PluginConfig {
        self.config
    }

    /// Loads and links its code; at most `instances` of it run at the same time.
    pub(super) fn load(
        self,
        instances: usize,
        config: &Config,
        common: &Common<'_>,
        metrics: &Arc<Metrics>,
        store: &KeyValue,
        upstreams: &Upstreams,
    ) -> Result<Arc<Plugin>> {
        let host = PluginHost::new(
            self.name,
            Arc::clone(&self.config.grants),
            Arc::clone(&config.secrets),
            Arc::clone(metrics),
            store.clone(),
            upstreams.clone(),
        );
        let reuse = self.config.pooling.reuse;
        Plugin::load(&self.artifact, host, instances, reuse, common).map(Arc::new)
    }
}

/// The plugin's own name; where one before it has the same, a number behind it.
fn unused_name(name: &str, members: &[Member<'_>]) -> String {
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
