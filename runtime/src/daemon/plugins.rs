//! The plugins of a daemon: their files taken in, their settings put together, their code loaded.

use std::sync::Arc;

use zlayer_bundle::{Role, VerifiedArtifact};

use super::artifacts;
use super::resources::Needs;
use super::versions::Versions;
use crate::capability::{Capabilities, Capability};
use crate::config::{Config, Granted, Limits, PluginConfig, misplaced};
use crate::data_dir::DataDir;
use crate::error::{Error, Result};
use crate::host::PluginHost;
use crate::keyvalue::KeyValue;
use crate::logger;
use crate::metrics::Metrics;
use crate::pipeline::takes_bodies;
use crate::plugin::{Common, Plugin};
use crate::upstream::Upstreams;

/// A checked file, and what is said of its plugin.
pub(super) struct Member<'a> {
    artifact: VerifiedArtifact,
    name: String,
    config: &'a PluginConfig,
    granted: Granted,
}

/// Takes all files in and finds what is said of each plugin.
///
/// # Errors
///
/// A file is refused, or something is said of a plugin that is not there.
pub(super) fn gather<'a>(
    config: &'a Config,
    data: &DataDir,
    versions: &mut Versions,
) -> Result<Vec<Member<'a>>> {
    let artifacts = artifacts::take_in(config, data)?;
    let mut names: Vec<String> = Vec::new();
    for (artifact, service) in artifacts.iter().zip(&config.services) {
        // Anybody may give any version to what nobody signed.
        if artifact.signer().is_some() {
            versions.admit(artifact.manifest())?;
        }
        names.push(match &service.name {
            Some(name) => name.clone(),
            None => unused_name(&artifact.manifest().name, &names),
        });
    }
    let is_alone = artifacts.len() == 1;
    logger::know_plugins(names.clone());
    let mut members: Vec<Member<'_>> = Vec::new();
    for ((artifact, name), service) in artifacts.into_iter().zip(&names).zip(&config.services) {
        let config = &service.config;
        let roles = &artifact.manifest().roles;
        let imported = Capabilities::imported(&artifact.manifest().imports);
        let granted = Granted::decide(&config.grants, name, roles, imported, is_alone);
        members.push(Member {
            granted: granted.map_err(Error::Usage)?,
            artifact,
            name: name.clone(),
            config,
        });
    }
    for Member {
        name,
        granted,
        config: own,
        ..
    } in &members
    {
        if let Some((setting, whose)) = misplaced(own, &config.usual, &granted.roles) {
            let roles: Vec<_> = granted.roles.iter().map(|role| role.name()).collect();
            return Err(Error::Usage(format!(
                "{name}: {setting} is a setting of {whose}, and {name} is {}; \
                 leave it out, or name the service that is meant",
                roles.join(", ")
            )));
        }
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
                "plugins that share the namespace '{namespace}' want it kept differently, {one} and {two}: \
                 give them the same kv_durability"
            )));
        }
    }
    let answers = |name: &String| {
        let roles = members.iter().filter(|member| member.name == *name);
        roles
            .flat_map(|member| &member.granted.roles)
            .any(|role| matches!(role, Role::Handler | Role::HttpHandler))
    };
    for member in &members {
        let services = || member.config.placement.services.iter().flatten();
        if let Some(service) = services().find(|service| !names.contains(service)) {
            return Err(Error::Usage(format!(
                "{}: services names '{service}', and there are {}",
                member.name,
                names.join(", ")
            )));
        }
        // No request is for it: the stage would be switched off, and a guard with it.
        if let Some(service) = services().find(|service| !answers(service)) {
            return Err(Error::Usage(format!(
                "{}: services names '{service}', which is no handler",
                member.name
            )));
        }
    }
    for member in &members {
        member.tell_of_grants(!config.secrets.is_empty());
    }
    Ok(members)
}

impl<'a> Member<'a> {
    /// What it needs of the device.
    pub(super) fn needs(&self) -> Needs<'_> {
        let manifest = self.artifact.manifest();
        Needs {
            name: &self.name,
            board: manifest.board.as_ref(),
            memory_initial: manifest.memory_initial,
        }
    }

    /// Bytes of the budget that loading it takes.
    pub(super) fn needed(&self, limits: &Limits) -> usize {
        let roles = &self.granted.roles;
        Plugin::needed(&self.artifact, roles, limits)
    }

    /// Whether it may hold whole bodies.
    pub(super) fn takes_bodies(&self) -> bool {
        let (placement, bodies) = (&self.config.placement, self.artifact.manifest().bodies);
        let mut roles = self.granted.roles.iter();
        roles.any(|role| takes_bodies(*role, placement, bodies))
    }

    /// Whether it rules the response cache.
    pub(super) fn caches(&self) -> bool {
        self.granted.roles.contains(&Role::Cache)
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
        self.may_call(Capability::Keyvalue)
    }

    /// Whether it imports an interface that it is granted.
    fn may_call(&self, one: Capability) -> bool {
        let Granted {
            imported,
            capabilities,
            ..
        } = &self.granted;
        imported.contains(one) && capabilities.contains(one)
    }

    /// Tells the log which code it is, so that whoever reads it later knows what ran.
    pub(super) fn tell_what_it_is(&self) {
        let manifest = self.artifact.manifest();
        let roles: Vec<_> = self.granted.roles.iter().map(|role| role.name()).collect();
        let signer = match self.artifact.signer() {
            Some(key) => format!("signed by {}", key.id()),
            None => "signed by nobody".to_owned(),
        };
        log::info!(
            "plugin {} {} ({}) starts: digest {}, {signer}",
            self.name,
            manifest.version,
            roles.join(", "),
            manifest.digest_text()
        );
    }

    /// Tells the log what does not fit between what it can, what it asks for and what it is granted.
    fn tell_of_grants(&self, are_secrets: bool) {
        let Member { name, granted, .. } = self;
        let not_granted = granted.not_granted();
        if !not_granted.is_empty() {
            // Whoever allows no host knows that nothing is sent; many guests import the interface unasked.
            let level = match granted.lacks_hosts_alone() {
                true => log::Level::Info,
                false => log::Level::Warn,
            };
            let why = not_granted.join("; ");
            log::log!(level, "plugin {name} imports what it is not granted: {why}");
        }
        // Those of its own `env` are its own, whatever it is granted of the device's.
        let has_own = !self.config.grants.own_secrets.is_empty();
        if are_secrets
            && !has_own
            && self.may_call(Capability::Secrets)
            && granted.shows_no_secret()
        {
            log::warn!(
                "plugin {name} asks for secrets and is given none: with several plugins they are for \
                 those whose service names them, `wasm.secrets: [NAME, …]`"
            );
        }
        if granted.roles.contains(&Role::Router) && self.config.grants.allowed_hosts.is_empty() {
            log::info!(
                "plugin {name} is a router, and no host is allowed that it could forward to: \
                 --allow-host HOST:PORT, or `wasm.upstreams: [HOST:PORT]` in its service"
            );
        }
        if !granted.withheld.is_empty() {
            let withheld: Vec<_> = granted.withheld.iter().map(|role| role.name()).collect();
            log::info!(
                "plugin {name} exports more roles than it was granted, which nobody calls: {}",
                withheld.join(", ")
            );
        }
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
            self.granted,
            Arc::clone(&config.secrets),
            Arc::clone(metrics),
            store.clone(),
            upstreams.clone(),
        );
        let pooling = self.config.pooling;
        let health = self.config.health.clone();
        let plugin = Plugin::load(&self.artifact, host, instances, pooling, common)?;
        Ok(Arc::new(plugin.with_health(health)))
    }
}

/// The plugin's own name; where one before it has the same, a number behind it.
fn unused_name(name: &str, taken: &[String]) -> String {
    let is_free = |wanted: &str| taken.iter().all(|one| one != wanted);
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
