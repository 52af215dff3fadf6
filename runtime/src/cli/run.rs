//! `zlayer run`: its flags, and what they say of a daemon's configuration.

mod entrance;
mod overrides;
mod timeouts;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use argh::FromArgs;
use zlayer_bundle::UnknownProfile;

use crate::account::Account;
use crate::capability::{Capabilities, Capability};
use crate::config::{
    AccessOutput, Config, Draft, Grants, Limits, LogOutput, Network, PluginConfig, Pooling,
    SYSTEM_KEYS, parse_bytes, parse_pair, parse_size,
};
use crate::error::{Error, Result};
use crate::keyvalue::{DAY_BYTES, Durability, Quota, Settings};
use crate::secrets;
use overrides::Override;
use timeouts::{parse_phase, timeouts};
use zlayer_bundle::AllowedHost;

/// Serve plugins over HTTP.
#[derive(FromArgs)]
#[argh(subcommand, name = "run")]
pub struct Run {
    /// plugins, as --wasm names them
    #[argh(positional)]
    files: Vec<PathBuf>,
    /// a plugin: a .cwasm for this device, or a .wasm where zlayer-precompile is at hand and no keys are
    /// installed. May be repeated:
    /// plugins take part in the order in which they are named, each in the stages that its exports are for
    #[argh(option)]
    wasm: Vec<PathBuf>,
    /// what is different for one plugin, NAME:SETTING=VALUE; may be repeated. Settings: config.KEY; roles=ROLES that it plays;
    /// secrets=NAMES that it may see; allow=CAPABILITIES beyond those of its roles; deny=CAPABILITIES; allow-hosts=HOSTS; kv-namespace=NAME;
    /// kv-durability and kv-write-max as their flags; max-instances=N; reuse=N;
    /// paths=/a,/b/* and services=HANDLERS that it takes part for; on-failure=open|closed;
    /// bodies=both|request|response|none for a transformer; request-body=auto|whole|none for
    /// authenticators, rate limiters and routers; personal-headers=NAMES for a cache
    // Read by hand, as secrets are: argh repeats a value that it cannot read.
    #[argh(option)]
    plugin: Vec<String>,
    /// port to listen on; 0 lets the system choose (default 8080)
    #[argh(option, default = "8080")]
    port: u16,
    /// address to listen on; 0.0.0.0 or :: for all (default 127.0.0.1)
    #[argh(option, default = "IpAddr::from([127, 0, 0, 1])")]
    bind: IpAddr,
    /// file of a certificate in PEM, with those that lead to its authority behind it: clients are served over
    /// HTTPS too. May be repeated, and the name that a client asks for chooses; the first is the default.
    /// Changed files are read anew, at once after a SIGHUP
    #[argh(option)]
    tls_cert: Vec<PathBuf>,
    /// file of the private key of a certificate, that nobody but its owner may use (mode 0600): one for each
    /// --tls-cert, in the same order; without any, each of those files holds its key
    #[argh(option)]
    tls_key: Vec<PathBuf>,
    /// a certificate and its key as systemd credentials: NAME.crt and NAME.key, or NAME with both; may be
    /// repeated
    #[argh(option)]
    tls_credential: Vec<String>,
    /// port for HTTPS beside --port, where there is a certificate (default 8443)
    #[argh(option)]
    tls_port: Option<u16>,
    /// redirect whatever comes to --port to HTTPS (308)
    #[argh(switch)]
    redirect_http: bool,
    /// a proxy that is believed when X-Forwarded-For, -Proto and -Host or Forwarded say whose request it
    /// passes on: an address or ADDRESS/BITS; may be repeated
    #[argh(option, from_str_fn(parse_network))]
    trusted_proxy: Vec<Network>,
    /// connections from trusted proxies begin with a header of the PROXY protocol, version 1 or 2
    #[argh(switch)]
    proxy_protocol: bool,
    /// account to become once the port is bound, NAME[:GROUP] or their numbers, where root starts the
    /// daemon; the data folder is handed over to it (default: the one that starts it)
    #[argh(option)]
    user: Option<String>,
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
    /// what plugins may not use, of what their roles have them use: config, keyvalue, logging, secrets, metrics or
    /// http-client (which is denied without --allow-host); may be repeated
    #[argh(option)]
    deny: Vec<Capability>,
    /// a host that plugins may send requests to, and routers forward them to: HOST[:PORT], *.DOMAIN[:PORT] or *,
    /// which leave out this device's own addresses and those of link-local neighbours: such have to be named
    /// (127.0.0.1:9000, localhost); may be repeated
    #[argh(option)]
    allow_host: Vec<AllowedHost>,
    /// file of the root certificates (PEM) that TLS upstreams are checked against
    /// (default: the system's, /etc/ssl/certs/ca-certificates.crt)
    #[argh(option)]
    tls_roots: Option<PathBuf>,
    /// port on 127.0.0.1 for metrics, status and health (0 lets the system choose), which every
    /// user of this device can ask; without it they are at DATA-DIR/admin.sock alone
    #[argh(option)]
    admin_port: Option<u16>,
    /// folder for the store, the log and the admin socket (default: a temporary one)
    #[argh(option)]
    data_dir: Option<PathBuf>,
    /// what an acknowledged change of the store survives: memory (nothing), interval (on the disk
    /// within a second), interval=DURATION (within that, from 100ms to 60m) or sync (on the disk)
    /// (default interval)
    #[argh(option, default = "Durability::default()")]
    kv_durability: Durability,
    /// bytes of keys and values that a plugin may store (default 64Mi)
    #[argh(option, from_str_fn(parse_size))]
    kv_quota: Option<usize>,
    /// number of keys that a plugin may store (default 100000)
    #[argh(option)]
    kv_max_keys: Option<u64>,
    /// largest value that a plugin may store (default 1Mi)
    #[argh(option, from_str_fn(parse_size))]
    kv_max_value_size: Option<usize>,
    /// bytes that a plugin's changes of the store may have written to flash in a day (default 2Gi)
    #[argh(option, from_str_fn(parse_bytes))]
    kv_write_max: Option<u64>,
    /// where the store is of another version of its format, keep it as DATA-DIR/kv/db.version-N and begin with
    /// an empty one; without this the daemon does not start then
    #[argh(switch)]
    kv_set_aside: bool,
    /// memory for plugins, bodies, connections and the store together, at least 12Mi
    /// (default: what the board says that the plugins were built for, else half of what the device has
    /// available, at most 64Mi)
    #[argh(option, from_str_fn(parse_size))]
    memory_max: Option<usize>,
    /// threads that serve, at most 64 (default: what the board says that the plugins were built for, else one
    /// for two processors, at most 4)
    #[argh(option)]
    threads: Option<usize>,
    /// instances of a plugin at the same time, at most 1024 (default 32)
    #[argh(option)]
    max_instances: Option<usize>,
    /// handles that an instance may hold at the same time: streams, bodies, header fields, pollables,
    /// at most 1048576; each takes 512 bytes of --memory-max (default 16384)
    #[argh(option)]
    max_handles: Option<usize>,
    /// client connections at the same time (default 192)
    #[argh(option)]
    max_connections: Option<usize>,
    /// largest body that a typed plugin takes (default 1Mi, less where the default of --memory-max is
    /// less than 32Mi)
    #[argh(option, from_str_fn(parse_size))]
    max_body: Option<usize>,
    /// largest WebSocket message (default 1Mi, less where the default of --memory-max is less than 32Mi)
    #[argh(option, from_str_fn(parse_size))]
    max_message: Option<usize>,
    /// bytes of the response cache, where a plugin has that role, at least 256Ki (default: a
    /// sixteenth of --memory-max)
    #[argh(option, from_str_fn(parse_size))]
    cache_max: Option<usize>,
    /// pass clients' header names with underscores on to upstreams: programs that read `_` and `-` as
    /// one mistake them for others, such as X_Forwarded_For
    #[argh(switch)]
    underscore_headers: bool,
    /// requests that one instance of a wasi:http plugin serves; with 1 each gets a fresh one
    /// (default 1)
    #[argh(option)]
    reuse: Option<u32>,
    /// a phase's time PHASE=DURATION; may be repeated (default idle=60s, head=10s, request=30s,
    /// stall=30s, upload=60m, websocket-ping=30s, drain=10s)
    #[argh(option, from_str_fn(parse_phase))]
    timeout: Vec<(String, String)>,
    /// engine settings of this device: compact or wide (default compact)
    #[argh(option, default = "String::from(\"compact\")")]
    profile: String,
    /// folder of public keys to trust, or the file of one; may be repeated (default: /etc/zlayer/keys and
    /// the user's own)
    #[argh(option)]
    keys: Vec<PathBuf>,
    /// where the log goes: text (standard error), binary (a ring in the data folder) or both
    /// (default: both with --data-dir, else text)
    #[argh(option)]
    log: Option<LogOutput>,
    /// where a line for each request goes: stdout, ring (the binary log) or both (default: nowhere)
    #[argh(option)]
    access_log: Option<AccessOutput>,
    /// log records a second that a plugin may write in the long run (default 200)
    #[argh(option)]
    log_rate: Option<u32>,
    /// run plugins that nobody signed: whoever can write the file owns the device
    #[argh(switch)]
    allow_unsigned: bool,
}

impl Run {
    /// A word that stands where a plugin's file may, and is none: a value that lost its flag.
    pub(super) fn stray(&self) -> Option<&Path> {
        let is_plugin = |file: &Path| {
            let end = file.extension();
            end.is_some_and(|end| end == "wasm" || end == "cwasm")
        };
        let mut files = self.files.iter().map(PathBuf::as_path);
        files.find(|file| !is_plugin(file))
    }

    /// What the daemon is to run with.
    ///
    /// # Errors
    ///
    /// A flag's value is wrong, or a source of secrets cannot be read.
    pub fn into_config(self) -> Result<Config> {
        self.into_draft()?.check()
    }

    /// What the flags say, word for word and not checked yet.
    fn into_draft(self) -> Result<Draft> {
        // Their order counts, and nobody could tell it.
        if !self.files.is_empty() && !self.wasm.is_empty() {
            return Err(Error::Usage(
                "plugins are named either with --wasm or without, not both: their order counts"
                    .to_owned(),
            ));
        }
        let limits = self.limits();
        let timeouts = timeouts(&self.timeout).map_err(|reason| wrong("timeout", reason))?;
        let usual = PluginConfig {
            pooling: self.pooling(),
            grants: Arc::new(self.grants()?),
            placement: Arc::default(),
        };
        let plugins = overrides(&self.plugin, &usual).map_err(|reason| wrong("plugin", reason))?;
        let profile = self
            .profile
            .parse()
            .map_err(|error: UnknownProfile| wrong("profile", error.to_string()))?;
        let user = self.user.as_deref().map(Account::find).transpose();
        let user = user.map_err(|reason| wrong("user", reason))?;
        let log = self.log.unwrap_or(match self.data_dir {
            Some(_) => LogOutput::Both,
            None => LogOutput::Text,
        });
        let entrance = entrance::Words {
            port: self.tls_port,
            certificates: self.tls_cert,
            keys: self.tls_key,
            credentials: self.tls_credential,
            redirect: self.redirect_http,
            trusted: self.trusted_proxy,
            proxy_protocol: self.proxy_protocol,
        };
        let secrets = secrets::Sources {
            file: self.secrets_file,
            credentials: self.secret_credential,
            environment: self.secret_env,
            literals: self.secret,
        };
        let artifacts = match self.files.is_empty() {
            true => self.wasm,
            false => self.files,
        };
        Ok(Draft {
            artifacts,
            key_dirs: key_dirs(self.keys, user.is_some()),
            user,
            allow_unsigned: self.allow_unsigned,
            profile,
            bind: self.bind,
            port: self.port,
            admin_port: self.admin_port,
            threads: self.threads,
            memory: self.memory_max,
            body: self.max_body,
            websocket_message: self.max_message,
            data_dir: self.data_dir,
            set_store_aside: self.kv_set_aside,
            log,
            access_log: self.access_log,
            tls_roots: self.tls_roots,
            entrance: entrance.read()?,
            secrets: Arc::new(secrets.read()?),
            usual,
            plugins,
            limits,
            timeouts,
        })
    }

    fn limits(&self) -> Limits {
        let defaults = Limits::default();
        Limits {
            connections: self.max_connections.unwrap_or(defaults.connections),
            cache: self.cache_max,
            handles: self.max_handles.unwrap_or(defaults.handles),
            underscore_headers: self.underscore_headers,
            ..defaults
        }
    }

    /// How instances are kept, of plugins of which `--plugin` says nothing else.
    fn pooling(&self) -> Pooling {
        let defaults = Pooling::default();
        Pooling {
            instances: self.max_instances.unwrap_or(defaults.instances),
            reuse: self.reuse.unwrap_or(defaults.reuse),
        }
    }

    /// What plugins may reach of which `--plugin` says nothing else.
    fn grants(&self) -> Result<Grants> {
        let defaults = Grants::default();
        let denied = self
            .deny
            .iter()
            .fold(Capabilities::NONE, |denied, one| denied.with(*one));
        let config: std::result::Result<_, _> =
            self.config.iter().map(|word| parse_pair(word)).collect();
        Ok(Grants {
            denied,
            allowed_hosts: self.allow_host.iter().cloned().collect(),
            config: config.map_err(|reason| wrong("config", reason))?,
            keyvalue: Settings {
                quota: self.quota(),
                durability: self.kv_durability,
                day_bytes: self.kv_write_max.unwrap_or(DAY_BYTES),
            },
            log_records: self.log_rate.unwrap_or(defaults.log_records),
            ..defaults
        })
    }

    fn quota(&self) -> Quota {
        let defaults = Quota::default();
        Quota {
            bytes: self.kv_quota.map_or(defaults.bytes, |bytes| bytes as u64),
            keys: self.kv_max_keys.unwrap_or(defaults.keys),
            value_bytes: self.kv_max_value_size.unwrap_or(defaults.value_bytes),
            ..defaults
        }
    }
}

/// What `--plugin` says of single plugins, in each of these words.
fn overrides(
    words: &[String],
    usual: &PluginConfig,
) -> std::result::Result<BTreeMap<String, PluginConfig>, String> {
    let words: std::result::Result<Vec<Override>, _> =
        words.iter().map(|word| word.parse()).collect();
    overrides::apply(&words?, usual)
}

/// The named folders of keys; where none is named, the system's and the user's own. Whoever starts a
/// daemon for `another` account has a home that is not that account's.
pub(super) fn key_dirs(named: Vec<PathBuf>, another: bool) -> Vec<PathBuf> {
    if !named.is_empty() {
        return named;
    }
    let system = PathBuf::from(SYSTEM_KEYS);
    let own = zlayer_bundle::user_key_dir().filter(|_| !another);
    [system].into_iter().chain(own).collect()
}

fn parse_network(text: &str) -> std::result::Result<Network, String> {
    text.parse()
}

fn wrong(flag: &str, reason: String) -> Error {
    Error::Usage(format!("--{flag}: {reason}"))
}
