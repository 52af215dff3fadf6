//! `zlayer run`: its flags, and what they make of a daemon's configuration.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use argh::FromArgs;

use crate::allowed_hosts::AllowedHost;
use crate::cache;
use crate::capability::{Capabilities, Capability};
use crate::config::{
    Config, INSTANCES_MAX, Limits, LogOutput, MEMORY_MIN, Override, THREADS_MAX, Timeouts,
    parse_duration, parse_pair, parse_size,
};
use crate::error::{Error, Result};
use crate::keyvalue::{Durability, Quota, Settings, VALUE_BYTES_MAX};
use crate::secrets;

/// Serve plugins over HTTP.
#[derive(FromArgs)]
#[argh(subcommand, name = "run")]
pub struct Run {
    /// a plugin: a .cwasm for this device, or a .wasm where zlayer-precompile is at hand. May be repeated:
    /// plugins take part in the order in which they are named, each in the stages that its exports are for
    #[argh(option)]
    wasm: Vec<PathBuf>,
    /// what is different for one plugin, NAME:SETTING=VALUE; may be repeated. Settings: config.KEY; secrets=NAMES
    /// that it alone may see; deny=CAPABILITIES; allow-hosts=HOSTS; kv-namespace=NAME; max-instances=N; reuse=N;
    /// paths=/a,/b/* and services=HANDLERS that it takes part for; on-failure=open|closed;
    /// bodies=both|request|response|none for a transformer; request-body=auto|whole|none for
    /// authenticators, rate limiters and routers
    // Read by hand, as secrets are: argh repeats a value that it cannot read.
    #[argh(option)]
    plugin: Vec<String>,
    /// port to listen on (default 8080; 0 lets the system choose)
    #[argh(option, default = "8080")]
    port: u16,
    /// address to listen on (default 127.0.0.1; 0.0.0.0 or :: for all)
    #[argh(option, default = "IpAddr::from([127, 0, 0, 1])")]
    bind: IpAddr,
    /// a configuration value KEY=VALUE; may be repeated
    #[argh(option)]
    config: Vec<String>,
    // Secrets are read by hand: argh repeats a value that it cannot read.
    /// a secret KEY=VALUE, which every user of this device can see in the list of processes: for trying things
    /// out; may be repeated. Of several sources the later wins: file, credential, env, this one
    #[argh(option)]
    secret: Vec<String>,
    /// a secret KEY[=VARIABLE] from the environment; may be repeated
    #[argh(option)]
    secret_env: Vec<String>,
    /// a secret KEY[=NAME] from a systemd credential; may be repeated
    #[argh(option)]
    secret_credential: Vec<String>,
    /// file of secrets, a line KEY=VALUE each, that nobody but its owner may use (mode 0600)
    #[argh(option)]
    secrets_file: Option<PathBuf>,
    /// what the plugin may not use: config, keyvalue, logging, secrets, metrics or http-client (which
    /// is denied without --allow-host); may be repeated
    #[argh(option)]
    deny: Vec<Capability>,
    /// a host that plugins may send requests to: HOST[:PORT], *.DOMAIN[:PORT] or *; may be repeated
    #[argh(option)]
    allow_host: Vec<AllowedHost>,
    /// file of the root certificates (PEM) that TLS upstreams are checked against, instead of the system's
    /// (default /etc/ssl/certs/ca-certificates.crt)
    #[argh(option)]
    tls_roots: Option<PathBuf>,
    /// port on 127.0.0.1 for metrics, status and health (0 lets the system choose), which every
    /// user of this device can ask; without it they are at DATA-DIR/admin.sock alone
    #[argh(option)]
    admin_port: Option<u16>,
    /// folder for the key-value store (default: a temporary one)
    #[argh(option)]
    data_dir: Option<PathBuf>,
    /// what an acknowledged change of the store survives: memory (nothing), interval (default: on the
    /// disk within a second) or sync (on the disk)
    #[argh(option, default = "Durability::default()")]
    kv_durability: Durability,
    /// bytes of keys and values that the plugin may store, such as 64Mi (the default)
    #[argh(option, from_str_fn(parse_size))]
    kv_quota: Option<usize>,
    /// number of keys that the plugin may store (default 100000)
    #[argh(option)]
    kv_max_keys: Option<u64>,
    /// largest value that the plugin may store, such as 1Mi (the default)
    #[argh(option, from_str_fn(parse_size))]
    kv_max_value_size: Option<usize>,
    /// memory for plugins, bodies, connections and the store together, such as 48Mi (default: what the board
    /// says that the plugins were built for, else 64Mi)
    #[argh(option, from_str_fn(parse_size))]
    memory_max: Option<usize>,
    /// threads that serve, at most 64 (default: what the board says that the plugins were built for, else one
    /// for two processors, at most 4)
    #[argh(option)]
    threads: Option<usize>,
    /// instances of the plugin at the same time, at most 1024 (default 32)
    #[argh(option)]
    max_instances: Option<usize>,
    /// client connections at the same time (default 192)
    #[argh(option)]
    max_connections: Option<usize>,
    /// largest body that a typed plugin takes, such as 1Mi (the default)
    #[argh(option, from_str_fn(parse_size))]
    max_body: Option<usize>,
    /// largest WebSocket message, such as 1Mi (the default)
    #[argh(option, from_str_fn(parse_size))]
    max_message: Option<usize>,
    /// bytes of the response cache, where a plugin has that role, at least 256Ki (default: a
    /// sixteenth of --memory-max)
    #[argh(option, from_str_fn(parse_size))]
    cache_max: Option<usize>,
    /// requests that one instance of a wasi:http plugin serves (default 1: a fresh one each)
    #[argh(option)]
    reuse: Option<u32>,
    /// a phase's time PHASE=DURATION; may be repeated; phases and their defaults: idle=60s, head=10s,
    /// request=30s, stall=30s, websocket-ping=30s, drain=10s
    #[argh(option, from_str_fn(parse_pair))]
    timeout: Vec<(String, String)>,
    /// engine settings of this device: compact (default) or wide
    #[argh(option, default = "String::from(\"compact\")")]
    profile: String,
    /// folder of public keys to trust; may be repeated (default: /etc/zlayer/keys and the user's own)
    #[argh(option)]
    keys: Vec<PathBuf>,
    /// where the log goes: text (standard error), binary (a ring in the data folder) or both
    /// (default: both with --data-dir, else text)
    #[argh(option)]
    log: Option<LogOutput>,
    /// log records a second that a plugin may write in the long run (default 200)
    #[argh(option)]
    log_rate: Option<u32>,
    /// run plugins that nobody signed: whoever can write the file owns the device
    #[argh(switch)]
    allow_unsigned: bool,
}

impl Run {
    /// What the daemon is to run with.
    ///
    /// # Errors
    ///
    /// A flag's value is wrong, or a source of secrets cannot be read.
    pub fn into_config(self) -> Result<Config> {
        let usage = |flag: &str, reason: String| Error::Usage(format!("--{flag}: {reason}"));
        let up_to = |most: usize, flag: &str, given: Option<usize>| match given {
            Some(0) => Err(usage(flag, "must be at least 1".to_owned())),
            Some(count) if count > most => Err(usage(flag, format!("must be at most {most}"))),
            given => Ok(given),
        };
        let defaults = Limits::default();
        if let Some(memory) = self.memory_max.filter(|memory| *memory < MEMORY_MIN) {
            return Err(usage(
                "memory-max",
                format!(
                    "{} KiB are too few; at least {} KiB",
                    memory >> 10,
                    MEMORY_MIN >> 10
                ),
            ));
        }
        if self.cache_max.is_some_and(|bytes| bytes < cache::BYTES_MIN) {
            let least = cache::BYTES_MIN >> 10;
            return Err(usage("cache-max", format!("must be at least {least}Ki")));
        }
        let limits = Limits {
            cache: self.cache_max,
            connections: up_to(usize::MAX, "max-connections", self.max_connections)?
                .unwrap_or(defaults.connections),
            instances: up_to(INSTANCES_MAX, "max-instances", self.max_instances)?
                .unwrap_or(defaults.instances),
            reuse: match self.reuse {
                Some(0) => return Err(usage("reuse", "must be at least 1".to_owned())),
                reuse => reuse.unwrap_or(defaults.reuse),
            },
            body: self.max_body.unwrap_or(defaults.body),
            websocket_message: self.max_message.unwrap_or(defaults.websocket_message),
            log_records: match self.log_rate {
                Some(0) => return Err(usage("log-rate", "must be at least 1".to_owned())),
                rate => rate.unwrap_or(defaults.log_records),
            },
            ..defaults
        };
        // Without hosts to go to it is nobody's.
        let granted = Capabilities::DEFAULT.with(Capability::HttpClient);
        let mut quota = Quota::default();
        quota.bytes = self.kv_quota.map_or(quota.bytes, |bytes| bytes as u64);
        quota.keys = self.kv_max_keys.unwrap_or(quota.keys);
        quota.value_bytes = self.kv_max_value_size.unwrap_or(quota.value_bytes);
        if quota.value_bytes > VALUE_BYTES_MAX {
            return Err(usage(
                "kv-max-value-size",
                format!("is more than {} MiB", VALUE_BYTES_MAX >> 20),
            ));
        }
        // An unset variable of a script: the folder that it happens to run in is not meant.
        if self
            .data_dir
            .as_ref()
            .is_some_and(|path| path.as_os_str().is_empty())
        {
            return Err(usage("data-dir", "is empty; name a folder".to_owned()));
        }
        let log = match (self.log, &self.data_dir) {
            (None | Some(LogOutput::Text), None) => LogOutput::Text,
            (Some(_), None) => {
                return Err(usage(
                    "log",
                    "the binary log needs a folder to keep; name one with --data-dir".to_owned(),
                ));
            }
            (chosen, Some(_)) => chosen.unwrap_or(LogOutput::Both),
        };
        let mut timeouts = Timeouts::default();
        for (phase, text) in &self.timeout {
            let duration = parse_duration(text).map_err(|reason| usage("timeout", reason))?;
            match phase.as_str() {
                "idle" => timeouts.idle = duration,
                "head" => timeouts.head = duration,
                "request" => timeouts.request = duration,
                "stall" => timeouts.stall = duration,
                "websocket-ping" => timeouts.websocket_ping = duration,
                "drain" => timeouts.drain = duration,
                _ => {
                    return Err(usage(
                        "timeout",
                        format!(
                            "there is no phase '{phase}'; there are idle, head, request, stall, websocket-ping, drain"
                        ),
                    ));
                }
            }
        }
        let pairs = |flag: &str, words: Vec<String>| -> Result<Vec<(String, String)>> {
            let read = words.iter().map(|word| parse_pair(word));
            read.collect::<std::result::Result<_, _>>()
                .map_err(|reason| usage(flag, reason))
        };
        let mut key_dirs = self.keys;
        if key_dirs.is_empty() {
            key_dirs.push(Path::new("/etc/zlayer/keys").to_owned());
            key_dirs.extend(zlayer_bundle::user_key_dir());
        }
        Ok(Config {
            artifacts: match self.wasm {
                none if none.is_empty() => {
                    return Err(Error::Usage(
                        "what shall be served? Name a plugin with --wasm; see zlayer run --help"
                            .to_owned(),
                    ));
                }
                files => files,
            },
            overrides: {
                let read = self.plugin.iter().map(|text| text.parse::<Override>());
                read.collect::<std::result::Result<_, _>>()
                    .map_err(|reason| usage("plugin", reason))?
            },
            bind: self.bind,
            port: self.port,
            threads: up_to(THREADS_MAX, "threads", self.threads)?,
            memory: self.memory_max,
            data_dir: self.data_dir,
            key_dirs,
            allow_unsigned: self.allow_unsigned,
            profile: self
                .profile
                .parse()
                .map_err(|error: zlayer_bundle::UnknownProfile| {
                    usage("profile", error.to_string())
                })?,
            config: pairs("config", self.config)?.into_iter().collect(),
            secrets: secrets::Sources {
                file: self.secrets_file,
                credentials: self.secret_credential,
                environment: self.secret_env,
                literals: self.secret,
            }
            .read()?,
            granted: self.deny.into_iter().fold(granted, |granted, one| {
                granted.without(Capabilities::NONE.with(one))
            }),
            allowed_hosts: self.allow_host.into_iter().collect(),
            tls_roots: self.tls_roots,
            keyvalue: Settings {
                quota,
                durability: self.kv_durability,
            },
            admin_port: self.admin_port,
            limits,
            timeouts,
            log,
        })
    }
}
