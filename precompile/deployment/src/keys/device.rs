//! What concerns the device as a whole: what a flag of the daemon says, under the flag's name.

use std::net::IpAddr;

use zlayer_bundle::{MEMORY_MIN, Network, THREADS_MAX};

use crate::patterns;
use crate::shape::{Key, Shape, is_line, key, parsed, text, word};

/// The smallest response cache.
const CACHE_MIN: u64 = 256 << 10;
/// Most handles that an instance may hold.
const HANDLES_MAX: u64 = 1 << 20;
/// Most certificates that a daemon has.
const IDENTITIES_MAX: usize = 32;
const PORT: Shape = Shape::Number(0, u16::MAX as u64);

pub(super) static DEVICE: &[Key] = &[
    key(
        "bind",
        parsed::<IpAddr>("IP address").like(patterns::address),
        "127.0.0.1",
        "the address to listen on; 0.0.0.0 or :: for all",
    ),
    key(
        "port",
        PORT,
        "8080",
        "the port of HTTP; 0 lets the system choose",
    ),
    key(
        "tls",
        Shape::Map(TLS),
        "no HTTPS",
        "HTTPS, to clients and to upstreams",
    ),
    key(
        "trusted_proxies",
        Shape::List(
            &parsed::<Network>("network").like(patterns::network),
            0,
            256,
        ),
        "none",
        "proxies that are believed when they say whose request they pass on: an address or ADDRESS/BITS",
    ),
    key(
        "proxy_protocol",
        Shape::Switch,
        "`false`",
        "whether connections from those begin with a header of the PROXY protocol, version 1 or 2",
    ),
    key(
        "admin_port",
        PORT,
        "none",
        "the port on 127.0.0.1 for metrics, status and health, which every user of the device can ask",
    ),
    key(
        "log",
        Shape::Word(&[word("text"), word("binary"), word("both")]),
        "`both` with a data folder, else `text`",
        "where the log goes: standard error, a ring in the data folder, or both",
    ),
    key(
        "access_log",
        Shape::Word(&[word("stdout"), word("ring"), word("both")]),
        "nowhere",
        "where a line for each request goes: standard output, the binary log, or both",
    ),
    key(
        "memory_max",
        Shape::Size(MEMORY_MIN as u64, u64::MAX),
        "the board's, else by what the device has",
        "memory for plugins, bodies, connections and the store together, at least 12Mi",
    ),
    key(
        "threads",
        Shape::Number(1, THREADS_MAX as u64),
        "the board's, else by its processors",
        "threads that serve",
    ),
    key(
        "max_handles",
        Shape::Number(1, HANDLES_MAX),
        "16384",
        "handles that an instance may hold: streams, bodies, header fields, pollables",
    ),
    key(
        "max_connections",
        Shape::Number(1, u32::MAX as u64),
        "192",
        "client connections at the same time",
    ),
    key(
        "max_body",
        Shape::Size(1, u64::MAX),
        "1Mi, less with little memory",
        "the largest body that a typed plugin takes",
    ),
    key(
        "max_message",
        Shape::Size(1, u64::MAX),
        "1Mi, less with little memory",
        "the largest WebSocket message",
    ),
    key(
        "cache_max",
        Shape::Size(CACHE_MIN, u64::MAX),
        "a sixteenth of memory_max",
        "bytes of the response cache, at least 256Ki",
    ),
    key(
        "underscore_headers",
        Shape::Switch,
        "`false`",
        "whether clients' header names with underscores go on to upstreams: some programs mistake them for others",
    ),
    key(
        "timeouts",
        Shape::Map(TIMEOUTS),
        "",
        "how long each phase of an exchange may take",
    ),
];

static TLS: &[Key] = &[
    key(
        "port",
        PORT,
        "8443",
        "the port of HTTPS; 0 lets the system choose",
    ),
    key(
        "certificates",
        Shape::List(&IDENTITY, 0, IDENTITIES_MAX),
        "none",
        "what the daemon proves itself with: the name that a client asks for chooses, and the first is the default",
    ),
    key(
        "redirect_http",
        Shape::Switch,
        "`false`",
        "whether requests without TLS are redirected to HTTPS (308)",
    ),
    key(
        "roots",
        text("path", is_absolute).like(patterns::absolute_path),
        "the system's",
        "the file of root certificates (PEM), on the device, that TLS upstreams are checked against",
    ),
];

/// What one is read from.
static IDENTITY: Shape = Shape::OneOf(CERTIFICATE, &[&["certificate", "key"], &["credential"]]);

static CERTIFICATE: &[Key] = &[
    key(
        "certificate",
        text("path", is_absolute).like(patterns::absolute_path),
        "",
        "the file of the certificate in PEM, on the device, with those that lead to its authority behind it",
    ),
    key(
        "key",
        text("path", is_absolute).like(patterns::absolute_path),
        "the file of the certificate",
        "the file of its private key, on the device: nobody but its owner may use it",
    ),
    key(
        "credential",
        text("name", is_credential).like(patterns::file_name),
        "",
        "instead of both: the systemd credentials NAME.crt and NAME.key, or NAME with both",
    ),
];

/// Whether it is the path of a file on the device, whichever folder the daemon runs in.
fn is_absolute(path: &str) -> Result<(), String> {
    match path.starts_with('/') {
        true => is_line(path),
        false => Err(format!(
            "'{}' is a file on the device: write its whole path, with a slash first",
            path.escape_debug()
        )),
    }
}

/// Whether it can be the name of a credential: that of a file.
fn is_credential(name: &str) -> Result<(), String> {
    match name.contains('/') || [".", ".."].contains(&name) {
        true => Err(format!(
            "'{}' is no credential: its name is a file's, without slashes",
            name.escape_debug()
        )),
        false => is_line(name),
    }
}

static TIMEOUTS: &[Key] = &[
    key(
        "idle",
        Shape::Duration,
        "60s",
        "a kept-alive connection's silence",
    ),
    key(
        "head",
        Shape::Duration,
        "10s",
        "from a request's first byte to the end of its head",
    ),
    key(
        "request",
        Shape::Duration,
        "30s",
        "from the end of the head to the start of the answer",
    ),
    key(
        "stall",
        Shape::Duration,
        "30s",
        "without progress of a body",
    ),
    key("upload", Shape::Duration, "60m", "a request's body in all"),
    key(
        "websocket_ping",
        Shape::Duration,
        "30s",
        "a WebSocket's silence before a ping, and after it",
    ),
    key(
        "drain",
        Shape::Duration,
        "10s",
        "what running requests get when the daemon stops",
    ),
    key(
        "trial",
        Shape::Duration,
        "60s",
        "how long a new generation has to serve well before it is trusted to",
    ),
];
