//! What a service's `wasm` block says: what the plugin may do, and how its instances are kept.

use zlayer_bundle::{
    AllowedHost, Bodies, BodyAccess, Durability, OnFailure, PathPattern, Role, SERVICES_MAX,
};

use super::{INSTANCES_MAX, NAME};
use crate::patterns;
use crate::shape::{Key, Shape, is_line, key, parsed, text};

/// Most request headers that may be named as personal for one caching plugin.
const PERSONAL_MAX: usize = 16;
/// The largest value that a store can keep.
const VALUE_BYTES_MAX: u64 = 1 << 20;
/// The smallest linear memory that is not empty: a page of WebAssembly.
const PAGE: u64 = 64 << 10;
/// Most items of a list that grows with nothing else.
const ITEMS_MAX: usize = 256;

const NO_FILES: &str =
    "this release grants plugins no files of the device; write `false` or `[]`, or take it out";
const NO_SOCKETS: &str = "this release grants plugins no sockets; write `false` or take it out, and name the HTTP \
                          servers that it asks in allowed_hosts";
const NO_CLI: &str = "this release grants plugins no terminal, arguments or environment of a program; write \
                      `false` or take it out, and put configuration into env";

const HOST: Shape = parsed::<AllowedHost>("host").like(patterns::allowed_host);

pub(super) static WASM: &[Key] = &[
    key(
        "roles",
        Shape::List(
            &parsed::<Role>("role").like(patterns::role),
            1,
            Role::ALL.len(),
        ),
        "all that belong together",
        "the roles that it plays, of those that it exports",
    ),
    key(
        "capabilities",
        Shape::Map(CAPABILITIES),
        "what its roles' worlds import",
        "what it may call of the host",
    ),
    key(
        "allow_http_outgoing",
        Shape::Switch,
        "as `capabilities` says",
        "`false` is another way to write `capabilities.http_client: false`; `true` opens nothing, for `allowed_hosts` \
         names the hosts",
    ),
    key(
        "allowed_hosts",
        Shape::List(&HOST, 0, ITEMS_MAX),
        "what the daemon's flags say, else none",
        "the hosts that it may send requests to and forward them to: HOST, HOST:PORT, *.DOMAIN or * (in quotes)",
    ),
    key(
        "upstreams",
        Shape::List(&HOST, 0, ITEMS_MAX),
        "none",
        "more such hosts, for routers: one list with `allowed_hosts`, under a name that says what for",
    ),
    key(
        "secrets",
        Shape::List(&text("name", is_line).like(patterns::secret), 0, ITEMS_MAX),
        "all if it is alone, else none",
        "the secrets of the device that it may see; `NAME*` is all that begin so. Those of its own `env` it always \
         sees",
    ),
    key(
        "kv_enabled",
        Shape::Switch,
        "as `capabilities` says",
        "whether it may use the store: another way to write `capabilities.keyvalue`",
    ),
    key(
        "kv_namespace",
        text("text", is_line).like(patterns::line),
        "the service's name",
        "its namespace in the store; plugins that name the same one share it",
    ),
    key(
        "kv_quota",
        Shape::Size(1, u64::MAX),
        "64Mi",
        "bytes of keys and values that it may store",
    ),
    key(
        "kv_max_keys",
        Shape::Number(1, u64::MAX),
        "100000",
        "number of keys that it may store",
    ),
    key(
        "kv_max_value_size",
        Shape::Size(1, VALUE_BYTES_MAX),
        "1Mi",
        "the largest value that it may store, at most 1Mi",
    ),
    key(
        "kv_durability",
        parsed::<Durability>("`memory`, `interval`, `interval=DURATION`, `sync`")
            .like(patterns::durability),
        "`interval`",
        "what an acknowledged change survives: nothing, a power cut one second later, one that much later (100ms to \
         60m), or any",
    ),
    key(
        "kv_write_max",
        Shape::Size(1, u64::MAX),
        "2Gi",
        "bytes that its changes may have written to flash in a day",
    ),
    key(
        "min_instances",
        Shape::Number(0, INSTANCES_MAX),
        "0",
        "instances that are made at the start and kept",
    ),
    key(
        "max_instances",
        Shape::Number(1, INSTANCES_MAX),
        "10",
        "instances at the same time",
    ),
    key(
        "idle_timeout",
        Shape::Duration,
        "none: it is kept",
        "how long an instance is kept that nobody asks",
    ),
    key(
        "request_timeout",
        Shape::Duration,
        "device.timeouts.request",
        "how long one call of it may take",
    ),
    key(
        "max_memory",
        Shape::Size(PAGE, 4 << 30),
        "what the plugin says of itself",
        "bytes that the linear memories of one instance may take together, from 64Ki to 4Gi",
    ),
    key(
        "reuse",
        Shape::Number(1, u32::MAX as u64),
        "1",
        "requests that one instance of a `wasi:http` handler serves; other plugins keep their instances",
    ),
    key(
        "paths",
        Shape::List(
            &parsed::<PathPattern>("path").like(patterns::path),
            1,
            ITEMS_MAX,
        ),
        "all",
        "the requests that it takes part in: /status, or /api/* for all below",
    ),
    key(
        "services",
        Shape::List(&Shape::Text(NAME), 1, SERVICES_MAX),
        "all",
        "for a stage: the handlers, by the names of their services, that it takes part for",
    ),
    key(
        "on_failure",
        parsed::<OnFailure>("`open`, `closed`").like(patterns::on_failure),
        "as its stage has it",
        "for a stage: whether a request goes on without it when it fails",
    ),
    key(
        "bodies",
        parsed::<Bodies>("`both`, `request`, `response`, `none`").like(patterns::bodies),
        "what it was built with, else `both`",
        "for a transformer: the bodies that it is called for",
    ),
    key(
        "request_body",
        parsed::<BodyAccess>("`auto`, `whole`, `none`").like(patterns::body_access),
        "`auto`",
        "for an authenticator, rate limiter or router: whether it sees bodies",
    ),
    key(
        "personal_headers",
        Shape::List(
            &text("name", is_header).like(patterns::header),
            0,
            PERSONAL_MAX,
        ),
        "none",
        "for a cache: request headers that tell clients apart, as Cookie does",
    ),
    key(
        "log_rate",
        Shape::Number(1, u32::MAX as u64),
        "200",
        "log records a second that it may write in the long run",
    ),
    key(
        "preopens",
        Shape::Denied(NO_FILES),
        "`[]`",
        "folders of the device: none are granted yet",
    ),
    key(
        "allow_tcp",
        Shape::Denied(NO_SOCKETS),
        "`false`",
        "sockets: none are granted yet",
    ),
    key(
        "allow_udp",
        Shape::Denied(NO_SOCKETS),
        "`false`",
        "sockets: none are granted yet",
    ),
    key(
        "max_fuel",
        Shape::Ignored(
            "does nothing here: plugins take turns by time, and request_timeout ends one that computes too long",
        ),
        "",
        "does nothing: plugins take turns by time, and `request_timeout` ends one that computes too long",
    ),
    key(
        "epoch_interval",
        Shape::Ignored("does nothing here: how long a turn is, is the daemon's to choose"),
        "",
        "does nothing: how long a turn is, is the daemon's to choose",
    ),
    key(
        "precompile",
        Shape::Ignored(
            "does nothing here: every plugin is compiled when the bundle is packed, for devices have no compiler",
        ),
        "",
        "does nothing: every plugin is compiled when the bundle is packed, for devices have no compiler",
    ),
];

static CAPABILITIES: &[Key] = &[
    key(
        "config",
        Shape::Switch,
        BY_WORLD,
        "whether it may read its configuration",
    ),
    key(
        "keyvalue",
        Shape::Switch,
        BY_WORLD,
        "whether it may use its part of the store",
    ),
    key(
        "logging",
        Shape::Switch,
        BY_WORLD,
        "whether it may write to the log; standard output and error are not meant",
    ),
    key(
        "secrets",
        Shape::Switch,
        BY_WORLD,
        "whether it may read its secrets",
    ),
    key(
        "metrics",
        Shape::Switch,
        BY_WORLD,
        "whether it may keep metrics",
    ),
    key(
        "http_client",
        Shape::Switch,
        BY_WORLD,
        "whether it may send HTTP requests, to the hosts that are allowed",
    ),
    key(
        "cli",
        Shape::Denied(NO_CLI),
        "`false`",
        "what programs have: not granted yet",
    ),
    key(
        "filesystem",
        Shape::Denied(NO_FILES),
        "`false`",
        "files: not granted yet",
    ),
    key(
        "sockets",
        Shape::Denied(NO_SOCKETS),
        "`false`",
        "sockets: not granted yet",
    ),
];

const BY_WORLD: &str = "by its roles";

/// Whether it can be a header's name (RFC 9110, 5.1: a token).
fn is_header(name: &str) -> Result<(), String> {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    match !name.is_empty() && name.bytes().all(token) {
        true => Ok(()),
        false => Err(format!(
            "'{}' is no name of a header; write it like X-Tenant",
            name.escape_debug()
        )),
    }
}
