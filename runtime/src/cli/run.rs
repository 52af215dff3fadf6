//! `zlayer run`: its flags, and the deployment that they make or change.

mod entrance;
mod plugin_config;
mod said;
mod source;
mod timeouts;
mod watch;

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use argh::FromArgs;
use zlayer_bundle::{
    AccessOutput, AllowedHost, Capability, DeviceSettings, Durability, KeyvalueSettings, LogOutput,
    Network, ServiceSettings, Value, Variable,
};

use crate::config::{SYSTEM_KEYS, parse_bytes, parse_pair};
use crate::daemon::{self, Start, Wanted};
use crate::error::{EXIT_SUCCESS, Error, Result};
use crate::logger;
use said::Said;
use source::Given;

/// Serve plugins over HTTP.
#[derive(FromArgs)]
#[argh(subcommand, name = "run")]
pub struct Run {
    /// a deployment.yaml, a bundle (.zlb), or plugins as --wasm names them; with --data-dir and none of these, what
    /// is installed there
    #[argh(positional)]
    files: Vec<PathBuf>,
    /// a plugin: a .cwasm for this device, or a .wasm where zlayer-precompile is at hand and no keys are
    /// installed. May be repeated:
    /// plugins take part in the order in which they are named, each in the stages that its exports are for
    #[argh(option)]
    wasm: Vec<PathBuf>,
    /// port to listen on; 0 lets the system choose (default 8080)
    #[argh(option)]
    port: Option<u16>,
    /// address to listen on; 0.0.0.0 or :: for all (default 127.0.0.1)
    #[argh(option)]
    bind: Option<IpAddr>,
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
    pub(super) data_dir: Option<PathBuf>,
    /// what an acknowledged change of the store survives: memory (nothing), interval (on the disk
    /// within a second), interval=DURATION (within that, from 100ms to 60m) or sync (on the disk)
    /// (default interval)
    #[argh(option)]
    kv_durability: Option<Durability>,
    /// bytes of keys and values that a plugin may store (default 64Mi)
    #[argh(option, from_str_fn(parse_bytes))]
    kv_quota: Option<u64>,
    /// number of keys that a plugin may store (default 100000)
    #[argh(option)]
    kv_max_keys: Option<u64>,
    /// largest value that a plugin may store (default 1Mi)
    #[argh(option, from_str_fn(parse_bytes))]
    kv_max_value_size: Option<u64>,
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
    #[argh(option, from_str_fn(parse_bytes))]
    memory_max: Option<u64>,
    /// threads that serve, at most 64 (default: what the board says that the plugins were built for, else one
    /// for two processors, at most 4)
    #[argh(option)]
    threads: Option<u32>,
    /// instances of a plugin at the same time, at most 1024 (default 10)
    #[argh(option)]
    max_instances: Option<u32>,
    /// handles that an instance may hold at the same time: streams, bodies, header fields, pollables,
    /// at most 1048576; each takes 512 bytes of --memory-max (default 16384)
    #[argh(option)]
    max_handles: Option<u32>,
    /// client connections at the same time (default 192)
    #[argh(option)]
    max_connections: Option<u32>,
    /// largest body that a typed plugin takes (default 1Mi, less where the default of --memory-max is
    /// less than 32Mi)
    #[argh(option, from_str_fn(parse_bytes))]
    max_body: Option<u64>,
    /// largest WebSocket message (default 1Mi, less where the default of --memory-max is less than 32Mi)
    #[argh(option, from_str_fn(parse_bytes))]
    max_message: Option<u64>,
    /// bytes of the response cache, where a plugin has that role, at least 256Ki (default: a
    /// sixteenth of --memory-max)
    #[argh(option, from_str_fn(parse_bytes))]
    cache_max: Option<u64>,
    /// pass clients' header names with underscores on to upstreams: programs that read `_` and `-` as
    /// one mistake them for others, such as X_Forwarded_For
    #[argh(switch)]
    underscore_headers: bool,
    /// requests that one instance of a wasi:http plugin serves; with 1 each gets a fresh one
    /// (default 1)
    #[argh(option)]
    reuse: Option<u32>,
    /// a phase's time PHASE=DURATION; may be repeated (default idle=60s, head=10s, request=30s,
    /// stall=30s, upload=60m, websocket-ping=30s, drain=10s,
    /// trial=60s: how long a new generation has to serve well before it is trusted to)
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
    /// serve a deployment.yaml, or plugins, anew whenever one of the files changes, without losing a request: for
    /// whoever is at work on them
    #[argh(switch)]
    watch: bool,
    /// the process that watches, whose daemon this is
    #[argh(option, hidden_help)]
    watched_by: Option<u32>,
    /// its data folder, which goes with it
    #[argh(option, hidden_help)]
    watched_in: Option<PathBuf>,
}

impl Run {
    /// A word that stands where a file may, and is none: a value that lost its flag.
    pub(super) fn stray(&self) -> Option<&Path> {
        let mut files = self.files.iter().map(PathBuf::as_path);
        files.find(|file| Given::of(file).is_none())
    }

    /// Serves what is meant until it is told to end. Returns the exit code.
    ///
    /// # Errors
    ///
    /// It cannot be served.
    pub fn run(mut self) -> Result<u8> {
        match self.watch && self.watched_by.is_none() {
            true => watch::run(self.given()?, &Said::by(self)?),
            false => self
                .into_start()
                .and_then(daemon::run)
                .map(|()| EXIT_SUCCESS),
        }
    }

    /// What a daemon is started with.
    ///
    /// # Errors
    ///
    /// A flag's value is wrong, what is to be served is refused, or a source of secrets cannot be read.
    pub fn into_start(mut self) -> Result<Start> {
        let given = match self.watched_by {
            Some(parent) => {
                watch::end_with(parent)?;
                Given::Nothing
            }
            None => self.given()?,
        };
        let mut said = Said::by(self)?;
        let installed = match (&given, &said.data_dir) {
            (Given::Nothing, Some(data_dir)) => Some(data_dir.clone()),
            _ => None,
        };
        let Some(data_dir) = installed else {
            let source = source::find(given, &said.trustees(), said.profile)?;
            let config = said.draft(source)?.check()?;
            return Ok(Start::of(config));
        };
        said.keep_secrets()?;
        // What a save mends is waited for.
        let patient: Option<fn(&Error)> = said.is_watched.then_some(|error| {
            logger::complain(&format!(
                "zlayer: what is watched cannot be served: {error}: nothing is served until it is mended\n"
            ));
        });
        let configure = move |mut wanted: Wanted| {
            if let Wanted::Nothing(why) = &mut wanted
                && said.is_watched
            {
                *why = "what is watched cannot be served yet: `zlayer run --watch` has said why"
                    .to_owned();
            }
            let source = wanted.source(&said.trustees(), said.profile)?;
            said.draft(source)?.check()
        };
        Start::installed(&data_dir, Box::new(configure), patient)
    }

    /// What is to be served.
    fn given(&mut self) -> Result<Given> {
        let (files, wasm) = (
            std::mem::take(&mut self.files),
            std::mem::take(&mut self.wasm),
        );
        if let Some(file) = wasm.iter().find(|file| Given::is_whole(file)) {
            return Err(Error::Usage(format!(
                "--wasm: {} is no plugin; name it without --wasm",
                file.display()
            )));
        }
        if !wasm.is_empty() && files.iter().any(|file| Given::is_whole(file)) {
            return Err(Error::Usage(source::ALONE.to_owned()));
        }
        // Their order counts, and nobody could tell it.
        if !files.is_empty() && !wasm.is_empty() {
            return Err(Error::Usage(
                "plugins are named either with --wasm or without, not both: their order counts"
                    .to_owned(),
            ));
        }
        match wasm.is_empty() {
            true => Given::all(files),
            false => Ok(Given::Plugins(wasm)),
        }
    }

    /// What the flags say of the device.
    fn device(&mut self) -> Result<DeviceSettings> {
        let is_on = |switch: bool| switch.then_some(true);
        let credentials = std::mem::take(&mut self.tls_credential);
        Ok(DeviceSettings {
            bind: self.bind,
            port: self.port,
            tls_port: self.tls_port,
            certificates: entrance::certificates(
                std::mem::take(&mut self.tls_cert),
                std::mem::take(&mut self.tls_key),
                credentials,
            )?,
            redirect_http: is_on(self.redirect_http),
            trusted_proxies: std::mem::take(&mut self.trusted_proxy),
            proxy_protocol: is_on(self.proxy_protocol),
            admin_port: self.admin_port,
            tls_roots: self.tls_roots.take(),
            log: self.log,
            access_log: self.access_log,
            memory_max: self.memory_max,
            threads: self.threads,
            max_handles: self.max_handles,
            max_connections: self.max_connections,
            max_body: self.max_body,
            max_message: self.max_message,
            cache_max: self.cache_max,
            underscore_headers: is_on(self.underscore_headers),
            timeouts: timeouts::parse(&self.timeout).map_err(|reason| wrong("timeout", &reason))?,
        })
    }

    /// What the flags say of each plugin.
    fn service(&self) -> Result<ServiceSettings> {
        let env = self.config.iter().map(|word| {
            let (name, value) = parse_pair(word).map_err(|reason| wrong("config", &reason))?;
            Ok(Variable {
                name,
                value: Value::literal(value),
                secret: false,
            })
        });
        Ok(ServiceSettings {
            deny: self.deny.clone(),
            allow_hosts: (!self.allow_host.is_empty()).then(|| self.allow_host.clone()),
            env: env.collect::<Result<_>>()?,
            keyvalue: KeyvalueSettings {
                namespace: None,
                quota: self.kv_quota,
                max_keys: self.kv_max_keys,
                max_value_size: self.kv_max_value_size,
                durability: self.kv_durability,
                write_max: self.kv_write_max,
            },
            log_rate: self.log_rate,
            max_instances: self.max_instances,
            reuse: self.reuse,
            ..ServiceSettings::default()
        })
    }
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

/// Splits what `--timeout` names.
fn parse_phase(text: &str) -> std::result::Result<(String, String), String> {
    parse_pair(text).map_err(|_| "wants PHASE=DURATION, such as head=5s".to_owned())
}

fn wrong(flag: &str, reason: &str) -> Error {
    Error::Usage(format!("--{flag}: {reason}"))
}
