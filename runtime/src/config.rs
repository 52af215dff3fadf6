//! What the daemon runs with: checked once, read everywhere.
//!
//! A deployment, which flags make or a bundle holds, makes a [`Draft`], and [`Draft::check`] makes the [`Config`] of it: whatever else describes
//! a daemon passes the same checks. Each part has one owner: a plugin's [`Grants`] the host, its
//! [`Pooling`] the engine, its [`Placement`] the pipeline.

mod check;
mod doors;
mod entrance;
#[cfg(test)]
pub mod fuzz;
mod granted;
mod misplaced;
mod placement;
mod plugin;
mod source;

use std::collections::BTreeMap;
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use zlayer_bundle::{
    ByteSize, CONNECTIONS_DEFAULT, DeviceSettings, NotASize, Profile, WHOLE_DEFAULT,
};

pub use zlayer_bundle::{
    AccessOutput, BodyAccess, CACHE_MIN, CONNECTION_SHARE, LogOutput, MEMORY_DEFAULT, MEMORY_MIN,
    Network, Networks, OnFailure, PathPattern, THREADS_MAX, parse_duration,
};

use crate::account::Account;
pub use doors::{Door, expose, read as read_doors};
pub use entrance::{Entrance, Https, IDENTITIES_MAX, IdentityFiles};
pub use granted::Granted;
pub use misplaced::misplaced;
pub use placement::{PERSONAL_MAX, Placement};
pub use plugin::{Grants, PluginConfig, Pooling, ServiceConfig};
pub use source::Source;

/// Most instances of a plugin at the same time. On 64 bits each sets aside 1 GiB of address space, 16 with
/// `--profile wide`: so many fit into 47 bits of it. A device with fewer bits may have room for less.
pub const INSTANCES_MAX: usize = 1024;

/// The folder of the keys that a device trusts, unless its flags name others.
pub const SYSTEM_KEYS: &str = "/etc/zlayer/keys";

/// Most plugins that one daemon serves.
pub const PLUGINS_MAX: usize = zlayer_bundle::SERVICES_MAX;

/// Bytes a second that a client has to bring of a body or of a WebSocket message in the long run, and has to
/// take of a response that is there: slower ones would hold instances and memory for next to nothing.
pub const TRANSFER_RATE: u64 = 1 << 10;

/// What a daemon runs with. It was checked ([`Draft::check`]), and from then on everybody reads it
/// and nobody changes it: what is worked out from it is kept, under a name of its own, by whoever
/// works it out.
#[derive(Debug)]
pub struct Config(Draft);

impl Deref for Config {
    type Target = Draft;

    fn deref(&self) -> &Draft {
        &self.0
    }
}

/// What flags, or another description of a daemon, say. It has not been checked yet.
#[derive(Debug)]
pub struct Draft {
    /// Where the plugins come from.
    pub source: Source,
    /// What is said of each plugin of the source, in the order in which they take part.
    pub services: Vec<ServiceConfig>,
    /// Folders whose `*.pub` files are trusted to sign plugins.
    pub key_dirs: Vec<PathBuf>,
    /// Load artifacts that nobody signed.
    pub allow_unsigned: bool,
    /// The engine settings of this device; an artifact of another profile is refused.
    pub profile: Profile,
    /// Where clients come in, at least one: those without TLS first.
    pub doors: Vec<Door>,
    /// The account to become once the ports are bound. `None`: the one that this process has.
    pub user: Option<Account>,
    /// Port of the admin interface on 127.0.0.1, beside its Unix socket; 0 lets the system choose.
    pub admin_port: Option<u16>,
    /// Threads that serve, from 1 to [`THREADS_MAX`]. `None`: as many as the plugins' board says,
    /// else one for two processors, and at most 4.
    pub threads: Option<usize>,
    /// Bytes that plugins, bodies, connections and the store may take together, at least
    /// [`MEMORY_MIN`]. `None`: what the plugins' board says, else a part of what the device has
    /// available, at most [`MEMORY_DEFAULT`].
    pub memory: Option<usize>,
    /// What [`Limits::body`] is to be. `None`: the default there, or less where the memory is
    /// little and nobody chose it.
    pub body: Option<usize>,
    /// What [`Limits::websocket_message`] is to be, likewise.
    pub websocket_message: Option<usize>,
    /// Folder for the key-value store and the daemon's own copy of the artifact. `None`: a
    /// temporary folder that goes with the process.
    pub data_dir: Option<PathBuf>,
    /// Whether a named folder goes with the process all the same.
    pub is_temporary: bool,
    /// Take a store of another version of its format out of the way, instead of refusing to start.
    pub set_store_aside: bool,
    /// Where the log goes.
    pub log: LogOutput,
    /// Where a line for each request goes. `None`: nowhere.
    pub access_log: Option<AccessOutput>,
    /// File of the certificates that TLS upstreams are checked against, instead of the system's.
    pub tls_roots: Option<PathBuf>,
    /// All that is said of the device as a whole, as it was said.
    pub device: DeviceSettings,
    /// How clients reach the daemon at its doors: over TLS, through proxies.
    pub entrance: Entrance,
    /// What the device knows of the variables of a deployment, by their names: secrets, too.
    pub variables: BTreeMap<String, Secret>,
    /// The file of secrets, which is read anew when what is served is changed.
    pub secrets_file: Option<PathBuf>,
    /// The secrets of all plugins; which of them one may see is said in its [`Grants`].
    pub secrets: Arc<BTreeMap<String, Secret>>,
    /// What flags say of every plugin.
    pub usual: PluginConfig,
    /// Sizes and counts; those that are a part of the memory are decided with it.
    pub limits: Limits,
    /// Durations.
    pub timeouts: Timeouts,
}

impl Draft {
    /// The defaults, for these artifacts.
    pub fn of(files: Vec<PathBuf>) -> Draft {
        Draft {
            services: vec![ServiceConfig::default(); files.len()],
            source: Source::Files(files),
            key_dirs: Vec::new(),
            allow_unsigned: false,
            profile: Profile::default(),
            doors: doors::usual(),
            user: None,
            admin_port: None,
            threads: None,
            memory: None,
            body: None,
            websocket_message: None,
            data_dir: None,
            is_temporary: false,
            set_store_aside: false,
            log: LogOutput::Text,
            access_log: None,
            tls_roots: None,
            device: DeviceSettings::default(),
            entrance: Entrance::default(),
            variables: BTreeMap::new(),
            secrets_file: None,
            secrets: Arc::default(),
            usual: PluginConfig::default(),
            limits: Limits::default(),
            timeouts: Timeouts::default(),
        }
    }
}

/// A value that no log, error or dump may show: it has no `Display`, and its `Debug` is masked.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// Sizes and counts that bound what strangers and plugins can use.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Open client connections; at the limit one of the client that has most makes room (see
    /// [`crate::clients`]), else new ones wait (default 192,
    /// less where they would take more than a quarter of the memory).
    pub connections: usize,
    /// Bytes of a request or response body that a typed plugin takes whole (default 1 MiB).
    /// A `wasi:http` handler streams and has no such bound.
    pub body: usize,
    /// Bytes of a WebSocket message, from whichever side, no longer compressed (default 1 MiB).
    pub websocket_message: usize,
    /// Bytes of a response's header fields (default 32 KiB).
    pub response_head: usize,
    /// Bytes of the response cache, where a plugin has that role (default: a sixteenth of the
    /// memory, at least 256 KiB).
    pub cache: Option<usize>,
    /// Handles that an instance may hold: streams, bodies, header fields, pollables (default 16,384).
    /// Interpreters drop what they are done with when they collect their garbage, which may be
    /// thousands later. Each takes memory of the budget.
    pub handles: usize,
    /// How often a plugin of a generation on trial may trap, where those are one request in ten or more
    /// (default 5). Beyond that the device goes back.
    pub trial_traps: u64,
    /// Whether clients' header names with underscores go on to upstreams, and to plugins those too
    /// that read as another field where `_` and `-` are one (default: no).
    pub underscore_headers: bool,
    /// Request heads, chunk lines and trailers.
    pub http: zlayer_http1::Limits,
}

/// The most of [`Limits::handles`].
pub const HANDLES_MAX: usize = 1 << 20;

impl Default for Limits {
    fn default() -> Self {
        Limits {
            connections: CONNECTIONS_DEFAULT,
            body: WHOLE_DEFAULT,
            websocket_message: WHOLE_DEFAULT,
            response_head: 32 << 10,
            cache: None,
            handles: 16 << 10,
            trial_traps: 5,
            underscore_headers: false,
            http: zlayer_http1::Limits::default(),
        }
    }
}

/// How long each phase of an exchange may take. Each is counted from the phase's start or, where
/// it says so, from the last progress.
#[derive(Debug, Clone)]
pub struct Timeouts {
    /// A kept-alive connection may stay silent this long (default 60 s).
    pub idle: Duration,
    /// From a request's first byte to the end of its head (default 10 s).
    pub head: Duration,
    /// From the end of the head to the start of the answer (default 30 s). A typed plugin's
    /// whole call falls in it.
    pub request: Duration,
    /// Since a response moved on, or since a client that is not behind brought some of its body: it
    /// has to bring 1 KiB a second, and may be a third of this time behind, or all of it up to 10 s (default 30 s).
    pub stall: Duration,
    /// A request's body may take this long in all, however fast it comes (default 60 m): it may hold
    /// an instance meanwhile.
    pub upload: Duration,
    /// A WebSocket's peer may stay silent this long before it is sent a ping, and as long again
    /// before it is taken for gone (default 30 s).
    pub websocket_ping: Duration,
    /// A client that sends no more may have closed its own direction only, or be gone, which looks the
    /// same from here. This long (3 s) its request may wait for an instance, and a WebSocket's end for its own;
    /// once it is at work, a request has the time of any other.
    pub half_closed: Duration,
    /// How long running requests get when the daemon was told to stop (default 10 s), and
    /// then each plugin's `shutdown`, together.
    pub drain: Duration,
    /// How long a new generation has to serve well before it is trusted to; until then the device goes back
    /// where it does not (default 60 s).
    pub trial: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Timeouts {
            idle: Duration::from_secs(60),
            head: Duration::from_secs(10),
            request: Duration::from_secs(30),
            stall: Duration::from_secs(30),
            upload: Duration::from_secs(3600),
            websocket_ping: Duration::from_secs(30),
            half_closed: Duration::from_secs(3),
            drain: Duration::from_secs(10),
            trial: Duration::from_secs(60),
        }
    }
}

/// Reads a [`ByteSize`] that this machine can address.
pub fn parse_size(text: &str) -> Result<usize, String> {
    let ByteSize(bytes) = text.parse().map_err(|error: NotASize| error.to_string())?;
    usize::try_from(bytes).map_err(|_| format!("'{text}' is more than this machine can address"))
}

/// Reads a [`ByteSize`] of what is not memory, and may be more than this machine can address.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let size: Result<ByteSize, NotASize> = text.parse();
    size.map(|ByteSize(bytes)| bytes)
        .map_err(|error| error.to_string())
}

/// Splits `KEY=VALUE`; the key may not be empty, the value may hold more `=`.
pub fn parse_pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        // The text is not repeated: it may hold a secret.
        _ => Err("wants KEY=VALUE".to_owned()),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;

    #[test]
    fn pairs_keep_later_equal_signs_and_errors_keep_secrets() {
        assert_eq!(
            parse_pair("a=b=c").unwrap(),
            ("a".to_owned(), "b=c".to_owned())
        );
        assert_eq!(parse_pair("a=").unwrap(), ("a".to_owned(), String::new()));
        assert!(!parse_pair("hunter2").unwrap_err().contains("hunter2"));
        assert!(parse_pair("=x").is_err());
        assert_eq!(format!("{:?}", Secret("hunter2".to_owned())), "***");
    }
}
