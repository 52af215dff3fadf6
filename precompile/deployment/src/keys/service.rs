//! What is said of one service, but for its `wasm` block.

use zlayer_bundle::{HostPattern, PathPattern};

use super::INSTANCES_MAX;
use super::wasm::WASM;
use crate::check::whole;
use crate::image;
use crate::patterns;
use crate::shape::{Key, Shape, Text, is_line, key, parsed, refused, text, word};

const NO_FILES: &str =
    "this release grants plugins no files of the device; take it out, or write `[]`";

pub(super) static SERVICE: &[Key] = &[
    key(
        "rtype",
        Shape::Word(&[
            word("service"),
            refused(
                "job",
                "`job` starts a program that ends, and a device serves plugins; write `service`",
            ),
            refused(
                "cron",
                "`cron` starts a program at set times, and a device serves plugins; write `service`",
            ),
        ]),
        "`service`",
        "what kind of workload it is",
    ),
    key(
        "service_type",
        Shape::Word(&[
            word("wasm_http"),
            word("wasm_plugin"),
            word("wasm_handler"),
            word("wasm_transformer"),
            word("wasm_authenticator"),
            word("wasm_rate_limiter"),
            word("wasm_middleware"),
            word("wasm_router"),
            word("wasm_cache"),
            word("wasm_caching"),
            word("wasm_websocket"),
            refused(
                "standard",
                "`standard` is a container, and a device runs WebAssembly plugins alone; take the key out, or name \
                 what the plugin is, such as wasm_http",
            ),
        ]),
        "not checked",
        "what the plugin has to be: packing fails if it does not export such a role",
    ),
    key(
        "image",
        Shape::Either(&[IMAGE_NAME, Shape::Map(IMAGE)]),
        "",
        "where the plugin comes from; `image: NAME` is short for `image: {name: NAME}`",
    )
    .required(),
    key(
        "env",
        Shape::Either(&[
            Shape::List(&Shape::Map(ENTRY), 0, usize::MAX),
            Shape::Named(VARIABLE, &Shape::Value, 0, usize::MAX),
        ]),
        "none",
        "the plugin's configuration and secrets: entries with `name` and `value`, or lines of `NAME: VALUE`",
    ),
    key(
        "endpoints",
        Shape::List(&Shape::Map(ENDPOINT), 0, MANY),
        "all ports",
        "where it is reached",
    ),
    key(
        "scale",
        Shape::Map(SCALE),
        "as `wasm` says",
        "how many instances there are",
    ),
    key(
        "health",
        Shape::Map(HEALTH),
        "not asked",
        "how it is asked whether it is well",
    ),
    key(
        "storage",
        Shape::Denied(NO_FILES),
        "`[]`",
        "folders of the device: none are granted yet",
    ),
    key(
        "wasm",
        Shape::Map(WASM),
        "",
        "what the plugin may do, and how its instances are kept",
    ),
    key(
        "wasm_http",
        Shape::Map(WASM),
        "",
        "ZLayer's old name of `wasm`, for files that have it: one of the two",
    ),
];

const IMAGE_NAME: Shape = text("text", image::check_name).like(patterns::image);

static IMAGE: &[Key] = &[
    key(
        "name",
        IMAGE_NAME,
        "",
        "a file, if it begins with `./`, `../` or `/` or ends in `.wasm` or `.cwasm` (relative to this file), else \
         an OCI reference",
    )
    .required(),
    key(
        "pull_policy",
        Shape::Word(&[
            word("always"),
            word("if_not_present"),
            word("newer"),
            word("never"),
        ]),
        "",
        "does nothing: images are fetched when the bundle is packed, and devices fetch none",
    ),
];

/// What a plugin asks for by a name.
const VARIABLE: Text = Text {
    what: "name",
    like: Some(patterns::variable),
    check: is_variable,
};

fn is_variable(name: &str) -> Result<(), String> {
    match name.contains('=') {
        true => Err("has a `=` in its name; write the value under `value`".to_owned()),
        false => is_line(name),
    }
}

static ENTRY: &[Key] = &[
    key(
        "name",
        Shape::Text(VARIABLE),
        "",
        "the key that the plugin asks for",
    )
    .required(),
    key(
        "value",
        Shape::Value,
        "",
        "the value; `${NAME}` stands for what the device knows by that name, `$${` for the signs themselves",
    )
    .required(),
    key(
        "secret",
        Shape::Switch,
        "`false`",
        "whether it is a secret alone, and no configuration; the value then has a `${NAME}`",
    ),
];

const NO_STREAMS: &str = "is for TCP and UDP, and a plugin answers HTTP requests; take it out";

const HOST: Shape = parsed::<HostPattern>("host").like(patterns::host);

/// Most endpoints, and hosts of one endpoint; how many there may be in all is another question.
const MANY: usize = 16;

static ENDPOINT: &[Key] = &[
    key(
        "name",
        text("text", is_line).like(patterns::line),
        "",
        "a name for people",
    )
    .required(),
    key(
        "protocol",
        Shape::Word(&[
            word("http"),
            word("https"),
            word("websocket"),
            refused(
                "tcp",
                "`tcp` is more than a plugin can serve: it answers HTTP requests; write `http`",
            ),
            refused(
                "udp",
                "`udp` is more than a plugin can serve: it answers HTTP requests; write `http`",
            ),
        ]),
        "`http`",
        "what is spoken there: `https` with the certificates of device.tls; `websocket` is `http`, in which WebSockets \
         begin",
    ),
    key(
        "port",
        Shape::Number(1, u16::MAX as u64),
        "",
        "the port to listen on, which services may share",
    )
    .required(),
    key(
        "expose",
        Shape::Word(&[word("public"), word("internal")]),
        "`internal`",
        "who reaches it: `public` is all who reach the device, `internal` the programs on it",
    ),
    key(
        "host",
        Shape::Either(&[HOST, Shape::List(&HOST, 1, MANY)]),
        "all",
        "the hosts that clients ask for: HOST or *.DOMAIN (in quotes), one or a list",
    ),
    key(
        "path",
        text("path", is_folder).like(patterns::folder),
        "all",
        "the path below which it is reached: /api is /api itself and all below it",
    ),
    key(
        "target_port",
        Shape::Refused(
            "is a port within a container, and a plugin has none; `port` is where the device listens",
        ),
        "",
        "",
    ),
    key("stream", Shape::Refused(NO_STREAMS), "", ""),
    key("tunnel", Shape::Refused(NO_STREAMS), "", ""),
];

fn is_folder(path: &str) -> Result<(), String> {
    PathPattern::folder(path).map(drop)
}

static SCALE: &[Key] = &[
    key(
        "mode",
        Shape::Word(&[word("adaptive"), word("fixed"), word("manual")]),
        "`adaptive`",
        "`fixed` takes `replicas`, the others `min` and `max`; what a device does between the two is the same for \
         both",
    ),
    key(
        "min",
        Shape::Number(0, INSTANCES_MAX),
        "0",
        "instances that are made at the start and kept",
    ),
    key(
        "max",
        Shape::Number(1, INSTANCES_MAX),
        "10",
        "instances at the same time",
    ),
    key(
        "replicas",
        Shape::Number(1, INSTANCES_MAX),
        "",
        "instances with `mode: fixed`: as many as that, always",
    ),
];

static HEALTH: &[Key] = &[
    key("check", Shape::Map(CHECK), "", "what is asked").required(),
    key(
        "interval",
        Shape::Duration,
        "30s",
        "time between two checks",
    ),
    key(
        "timeout",
        Shape::Duration,
        "5s",
        "time that an answer may take",
    ),
    key(
        "retries",
        Shape::Number(1, 100),
        "3",
        "checks in a row that fail before the service counts as not well",
    ),
    key(
        "start_grace",
        // Who installs waits that long for a service that does not get well.
        Shape::Minutes(10),
        "none",
        "how long it may take to start, from when it is loaded: checks that fail before the first good one do not \
         count meanwhile",
    ),
];

const OTHER_CHECKS: &str =
    "plugins are asked over HTTP alone; write `http`, with the path under `url`";

static CHECK: &[Key] = &[
    key(
        "type",
        Shape::Word(&[
            word("http"),
            refused("tcp", OTHER_CHECKS),
            refused("command", OTHER_CHECKS),
        ]),
        "",
        "how it is asked: a GET request within the daemon",
    )
    .required(),
    key(
        "url",
        text("path", is_asked).like(patterns::asked_path),
        "",
        "the path that is asked for, with a slash first; of a URL of the device itself, such as \
         http://localhost:8080/health, its path (its host is localhost, 127.0.0.1 or [::1])",
    )
    .required(),
    key(
        "expect_status",
        Shape::Number(200, 599),
        "200",
        "the status of an answer that is well",
    ),
];

fn is_asked(url: &str) -> Result<(), String> {
    asked_path(url).map(drop)
}

/// The path that a health check asks for: a URL's, if its host is the device itself. The plugin is asked
/// whatever its port is.
///
/// # Errors
///
/// It is neither, in words.
pub(crate) fn asked_path(url: &str) -> Result<&str, String> {
    let shown = url.escape_debug();
    // Neither a scheme nor a host minds capitals (RFC 3986, 3.1 and 3.2.2).
    let behind = ["http://", "https://"].iter().find_map(|scheme| {
        let (start, behind) = url.split_at_checked(scheme.len())?;
        start.eq_ignore_ascii_case(scheme).then_some(behind)
    });
    let path = match behind {
        Some(behind) => {
            let end = behind.find(['/', '?', '#']).unwrap_or(behind.len());
            let (device, path) = behind.split_at(end);
            is_device(device).map_err(|reason| format!("'{shown}'{reason}"))?;
            if path.is_empty() { "/" } else { path }
        }
        None => url,
    };
    if !path.starts_with('/') {
        return Err(format!(
            "'{shown}' is no path; write one like /health, with a slash first"
        ));
    }
    if path.contains('#') {
        return Err(format!(
            "'{shown}': what stands behind `#` goes to no server; take it out, or write %23 for the sign itself"
        ));
    }
    let odd = path.chars().find(|c| !c.is_ascii_graphic());
    match odd {
        Some(odd) => {
            let mut bytes = [0; 4];
            let bytes = odd.encode_utf8(&mut bytes).bytes();
            let written: String = bytes.map(|byte| format!("%{byte:02X}")).collect();
            Err(format!(
                "'{shown}' has '{}', which stands in no path; write {written}",
                odd.escape_debug()
            ))
        }
        None => Ok(path),
    }
}

/// Whether what stands between a URL's scheme and its path is the device itself, with or without a port.
fn is_device(device: &str) -> Result<(), String> {
    // The colons of an address stand in brackets.
    let address = device.find(']').map_or(0, |end| end + 1);
    let (host, port) = match device[address..].split_once(':') {
        Some((rest, port)) => (&device[..address + rest.len()], Some(port)),
        None => (device, None),
    };
    let known = ["localhost", "127.0.0.1", "[::1]"];
    if !known.iter().any(|known| host.eq_ignore_ascii_case(known)) {
        return Err(format!(
            " names the host '{}', and the plugin is asked within the daemon; write the path alone, like /health: of \
             hosts there are localhost, 127.0.0.1 and [::1]",
            host.escape_debug()
        ));
    }
    match port {
        Some(port) if whole(port).is_none_or(|port| port > u16::MAX.into()) => Err(format!(
            ": '{}' is no port; take it out: the plugin is asked whatever its port is",
            port.escape_debug()
        )),
        _ => Ok(()),
    }
}
