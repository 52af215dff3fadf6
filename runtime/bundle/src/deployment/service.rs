//! One plugin of a deployment, and what is said of it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Endpoint, Variable};
use crate::{
    AllowedHost, Bodies, BodyAccess, Capability, Durability, OnFailure, PathPattern, Role,
};

/// One plugin of a deployment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// Its name on the device, which is unique there. `None`: the plugin's own.
    pub name: Option<String>,
    /// What is said of it.
    pub settings: ServiceSettings,
}

/// What is said of one plugin. Everything is denied unless it is granted here, or by what the worlds of the
/// plugin's roles import.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceSettings {
    /// The roles that it plays, of those that it exports.
    pub roles: Option<Vec<Role>>,
    /// What it may call beyond what the worlds of its roles import.
    pub allow: Vec<Capability>,
    /// What it may not call whatever else is said.
    pub deny: Vec<Capability>,
    /// The hosts that it may send requests to, and forward them to.
    pub allow_hosts: Option<Vec<AllowedHost>>,
    /// Configuration and secrets.
    pub env: Vec<Variable>,
    /// Names of the device's secrets that it may see, or how they begin before a `*`.
    pub secrets: Option<Vec<String>>,
    /// Its part of the store.
    pub keyvalue: KeyvalueSettings,
    /// Log records a second that it may write in the long run.
    pub log_rate: Option<u32>,
    /// Instances that are made at the start and kept.
    pub min_instances: Option<u32>,
    /// Instances at the same time.
    pub max_instances: Option<u32>,
    /// Requests that one instance of a `wasi:http` handler serves.
    pub reuse: Option<u32>,
    /// How long an instance is kept that nobody asks.
    pub idle_timeout: Option<Duration>,
    /// How long one call of it may take.
    pub request_timeout: Option<Duration>,
    /// Bytes that the linear memories of one instance may take together.
    pub max_memory: Option<u64>,
    /// The requests that it takes part in.
    pub paths: Option<Vec<PathPattern>>,
    /// The handlers, by the names of their services, that it takes part for.
    pub services: Option<Vec<String>>,
    /// What becomes of a request when it fails as a stage.
    pub on_failure: Option<OnFailure>,
    /// Which bodies its transformer is called for.
    pub bodies: Option<Bodies>,
    /// Whether its authenticator, rate limiter and router see bodies.
    pub request_body: Option<BodyAccess>,
    /// Names of request headers that tell clients apart.
    pub personal_headers: Vec<String>,
    /// Where it is reached. Empty: at all ports that there are.
    pub endpoints: Vec<Endpoint>,
    /// How it is asked whether it is well.
    pub health: Option<HealthCheck>,
}

impl ServiceSettings {
    /// These settings, and what `usual` says where they say nothing. What either denies or allows is denied or
    /// allowed; of `env` each entry counts by itself, and other lists as a whole.
    #[must_use]
    pub fn or(self, usual: &ServiceSettings) -> ServiceSettings {
        let usual = usual.clone();
        let is_said = |name: &str| self.env.iter().any(|own| own.name == name);
        let others = usual.env.into_iter().filter(|one| !is_said(&one.name));
        let others: Vec<Variable> = others.collect();
        ServiceSettings {
            roles: self.roles.or(usual.roles),
            allow: [self.allow, usual.allow].concat(),
            deny: [self.deny, usual.deny].concat(),
            allow_hosts: self.allow_hosts.or(usual.allow_hosts),
            env: [self.env, others].concat(),
            secrets: self.secrets.or(usual.secrets),
            keyvalue: self.keyvalue.or(usual.keyvalue),
            log_rate: self.log_rate.or(usual.log_rate),
            min_instances: self.min_instances.or(usual.min_instances),
            max_instances: self.max_instances.or(usual.max_instances),
            reuse: self.reuse.or(usual.reuse),
            idle_timeout: self.idle_timeout.or(usual.idle_timeout),
            request_timeout: self.request_timeout.or(usual.request_timeout),
            max_memory: self.max_memory.or(usual.max_memory),
            paths: self.paths.or(usual.paths),
            services: self.services.or(usual.services),
            on_failure: self.on_failure.or(usual.on_failure),
            bodies: self.bodies.or(usual.bodies),
            request_body: self.request_body.or(usual.request_body),
            personal_headers: match self.personal_headers.is_empty() {
                true => usual.personal_headers,
                false => self.personal_headers,
            },
            endpoints: match self.endpoints.is_empty() {
                true => usual.endpoints,
                false => self.endpoints,
            },
            health: self.health.or(usual.health),
        }
    }
}

/// A plugin's part of the store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyvalueSettings {
    /// The name of its namespace; plugins that name the same one share it. `None`: the service's name.
    pub namespace: Option<String>,
    /// Bytes of keys and values.
    pub quota: Option<u64>,
    /// Number of keys.
    pub max_keys: Option<u64>,
    /// Bytes of the largest value.
    pub max_value_size: Option<u64>,
    /// What an acknowledged change survives.
    pub durability: Option<Durability>,
    /// Bytes that its changes may have written to flash in a day.
    pub write_max: Option<u64>,
}

impl KeyvalueSettings {
    /// These settings, and what `usual` says where they say nothing.
    #[must_use]
    pub fn or(self, usual: KeyvalueSettings) -> KeyvalueSettings {
        KeyvalueSettings {
            namespace: self.namespace.or(usual.namespace),
            quota: self.quota.or(usual.quota),
            max_keys: self.max_keys.or(usual.max_keys),
            max_value_size: self.max_value_size.or(usual.max_value_size),
            durability: self.durability.or(usual.durability),
            write_max: self.write_max.or(usual.write_max),
        }
    }
}

/// How a service is asked whether it is well: a GET request, sent within the daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthCheck {
    /// The path that is asked for, which begins with a slash.
    pub url: String,
    /// The status of an answer that is well.
    pub expect_status: u16,
    /// Time between two checks.
    pub interval: Option<Duration>,
    /// Time that an answer may take.
    pub timeout: Option<Duration>,
    /// Checks in a row that fail before the service counts as not well.
    pub retries: Option<u32>,
    /// How long it may take to start: a check that fails meanwhile does not count.
    pub start_grace: Option<Duration>,
}
