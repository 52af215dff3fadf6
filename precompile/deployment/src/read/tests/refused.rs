//! How each mistake is told.

use std::path::Path;

use super::{file, service};
use crate::read::{read, read_text};

/// Checks that a file is refused with this one line, with the file's name before it.
pub(super) fn refused(text: &str, says: &str) {
    let told = file(text).unwrap_err();
    let says = format!("apps/f.yaml:{says}");
    assert!(told.starts_with(&says), "wanted {says}\nbut got {told}");
    assert_eq!(told.lines().count(), 1, "{told}");
}

#[test]
fn what_is_wrong_with_the_file_is_told_with_its_place() {
    for (text, says) in [
        (
            "a",
            "1:1: wants a mapping, `KEY: VALUE` in each line; here is a single value",
        ),
        (
            "deployment: d\nservices: {a: {image: a}}",
            "1:1: the key `version` is missing: the version of the file's format",
        ),
        (
            "version: v2\ndeployment: d\nservices: {a: {image: a}}",
            "1:10: version: there is no 'v2' here; there is v1",
        ),
        (
            "version: v1\ndeployment: My App\nservices: {a: {image: a}}",
            "2:13: deployment: 'My App' is no name; write lower-case letters, digits,",
        ),
        (
            "version: v1\ndeployment: d\nservices: {}",
            "3:11: services: is empty; name at least one",
        ),
        (
            "version: v1\ndeployment: d\nservices:",
            "3:1: services: has no value; give it one, or take the key out",
        ),
        (
            "version: v1\ndeployment: d\nservices: [a]",
            "3:11: services: wants a mapping, `KEY: VALUE` in each line; here is a list",
        ),
        (
            "version: v1\ndeployment: d\nservices: {a: {image: a}, a: {image: b}}",
            "3:27: services.a: the key `a` stands here already, in line 3; take one of them out",
        ),
        (
            "version: v1\ndeployment: d\nservices: {A: {image: a}}",
            "3:12: services.A: 'A' is no name;",
        ),
        (
            "version: v1\ndeployment: d\nrelaese: 1\nservices: {a: {image: a}}",
            "3:1: relaese: there is no key `relaese` here; did you mean `release`?",
        ),
        (
            "version: v1\ndeployment: d\nx-common: 1\nservices: {a: {image: a}}",
            "3:1: x-common: there is no key `x-common` here; there are version, deployment, release, device, services",
        ),
        (
            "version: v1\ndeployment: d\nrelease: \"1\"\nservices: {a: {image: a}}",
            "3:10: release: '1': wants a whole number from 0, without quotes",
        ),
        (
            "version: v1\ndeployment: d\nservices: {a: {rtype: service}}",
            "3:15: services.a: the key `image` is missing: where the plugin comes from",
        ),
    ] {
        refused(text, says);
    }
    let services: String = (0..65)
        .map(|index| format!("  s{index}: {{image: a}}\n"))
        .collect();
    refused(
        &format!("version: v1\ndeployment: d\nservices:\n{services}"),
        "4:3: services: has 65 entries; at most 64",
    );
}

#[test]
fn what_is_wrong_with_a_service_is_told_with_its_place() {
    for (lines, says) in [
        (
            "rtype: job",
            "6:12: services.a.rtype: `job` starts a program that ends",
        ),
        (
            "rtype: cron",
            "6:12: services.a.rtype: `cron` starts a program at set times",
        ),
        (
            "service_type: standard",
            "6:19: services.a.service_type: `standard` is a container",
        ),
        (
            "service_type: wasm",
            "6:19: services.a.service_type: there is no 'wasm' here; there are wasm_http",
        ),
        (
            "service_type: wasm_router\nwasm: {roles: [handler]}",
            "6:19: services.a.service_type: 'wasm_router' is none of what wasm.roles says",
        ),
        (
            "comand: x",
            "6:5: services.a.comand: there is no key `comand` here; there are rtype",
        ),
        (
            "storage: [{type: bind}]",
            "6:14: services.a.storage: this release grants plugins no files",
        ),
        (
            "endpoints: [{name: x, port: 80, protocol: tcp}]",
            "6:47: services.a.endpoints[0].protocol: `tcp` is more than a plugin can serve",
        ),
        (
            "endpoints: [{name: x, port: 80, protocol: grpc}]",
            "6:47: services.a.endpoints[0].protocol: there is no 'grpc' here; there are http, https, websocket",
        ),
        (
            "endpoints: [{name: x, port: 80, path: a}]",
            "6:43: services.a.endpoints[0].path: 'a' is no path; write it decoded, like /api",
        ),
        (
            "endpoints: [{name: x, port: 80, path: /a*}]",
            "6:43: services.a.endpoints[0].path: '/a*' is no path",
        ),
        (
            "endpoints: [{name: x, port: 80, host: 'a:80'}]",
            "6:43: services.a.endpoints[0].host: 'a:80' is no host of a request: scheme and port are for",
        ),
        (
            "endpoints: [{name: x, port: 80, host: [a, 'b.*']}]",
            "6:47: services.a.endpoints[0].host[1]: 'b.*' is no host of a request: write it like",
        ),
        (
            "endpoints: [{name: x, port: 80, host: []}]",
            "6:43: services.a.endpoints[0].host: is empty; name at least one",
        ),
        (
            "endpoints: [{name: x, port: 80, target_port: 81}]",
            "6:50: services.a.endpoints[0].target_port: is a port within a container",
        ),
        (
            "endpoints: [{name: x, port: 0}]",
            "6:33: services.a.endpoints[0].port: '0': wants a whole number from 1 to 65535",
        ),
        (
            "endpoints: [{name: x, port: 80}, {name: y, port: 80}]",
            "6:54: services.a.endpoints[1].port: 80 is what services.a.endpoints[0] says already",
        ),
        (
            "endpoints: [{name: x, port: 80}, {name: x, port: 81}]",
            "6:45: services.a.endpoints[1].name: 'x' is the name of another endpoint here",
        ),
        (
            "scale: {mode: fixed}",
            "6:19: services.a.scale.mode: `fixed` wants `replicas: N`",
        ),
        (
            "scale: {replicas: 2}",
            "6:23: services.a.scale.replicas: is for `mode: fixed`",
        ),
        (
            "scale: {mode: fixed, replicas: 2, min: 1}",
            "6:44: services.a.scale.min: is not for `mode: fixed`",
        ),
        (
            "scale: {max: 1025}",
            "6:18: services.a.scale.max: '1025': wants a whole number from 1 to 1024",
        ),
        (
            "scale: {min: 3, max: 2}",
            "5:5: services.a: at least 3 instances are wanted, and at most 2",
        ),
        (
            "scale: {min: 3}\nwasm: {min_instances: 2}",
            "6:18: services.a.scale.min: is 3, and wasm.min_instances is 2; say it once",
        ),
        (
            "health: {check: {type: tcp, url: /}}",
            "6:28: services.a.health.check.type: plugins are asked over HTTP alone",
        ),
        (
            "health: {check: {type: http, url: \"http://a/\"}}",
            "6:39: services.a.health.check.url: 'http://a/' names the host 'a', and the plugin is asked within the \
             daemon; write the path alone, like /health: of hosts there are localhost, 127.0.0.1 and [::1]",
        ),
        (
            "health: {check: {type: http, url: \"http://localhost:99999/x\"}}",
            "6:39: services.a.health.check.url: 'http://localhost:99999/x': '99999' is no port; take it out",
        ),
        (
            "health: {check: {type: http, url: \"http://[::1]:/x\"}}",
            "6:39: services.a.health.check.url: 'http://[::1]:/x': '' is no port; take it out",
        ),
        (
            "health: {check: {type: http, url: \"/x#f\"}}",
            "6:39: services.a.health.check.url: '/x#f': what stands behind `#` goes to no server; take it out",
        ),
        (
            "health: {check: {type: http, url: \"/x y\"}}",
            "6:39: services.a.health.check.url: '/x y' has ' ', which stands in no path; write %20",
        ),
        (
            "health: {check: {type: http, url: health}}",
            "6:39: services.a.health.check.url: 'health' is no path; write one like /health",
        ),
        (
            "health: {check: {type: http, url: /}, start_grace: 1h}",
            "6:56: services.a.health.start_grace: '1h' is too long; at most 10m",
        ),
        (
            "wasm: {reuse: 2}\nwasm_http: {reuse: 2}",
            "7:16: services.a.wasm_http: is ZLayer's old name of `wasm`, which is here, too",
        ),
        (
            "env: {A: \"$S:jwt\"}",
            "6:14: services.a.env.A: begins with `$S:`, ZLayer's reference to what it knows",
        ),
        (
            "env: [{name: A, value: \"$E:HOME\"}]",
            "6:28: services.a.env[0].value: begins with `$E:`, ZLayer's reference to what it knows",
        ),
    ] {
        refused(&service(lines), says);
    }
}

#[test]
fn what_is_wrong_with_a_wasm_block_is_told_with_its_place() {
    for (line, says) in [
        (
            "paths: []",
            "6:19: services.a.wasm.paths: is empty; name at least one",
        ),
        (
            "paths: [api]",
            "6:20: services.a.wasm.paths[0]: 'api' is no path pattern; write it decoded",
        ),
        (
            "pahts: [/a]",
            "6:12: services.a.wasm.pahts: there is no key `pahts` here; did you mean `paths`?",
        ),
        (
            "roles: [guard]",
            "6:20: services.a.wasm.roles[0]: there is no role 'guard'",
        ),
        (
            "services: [b]",
            "6:23: services.a.wasm.services[0]: there is no service 'b'; did you mean 'a'?",
        ),
        (
            "services: [other]",
            "6:23: services.a.wasm.services[0]: there is no service 'other'; there are a",
        ),
        (
            "allowed_hosts: [\"a b\"]",
            "6:28: services.a.wasm.allowed_hosts[0]: 'a b' is not a host",
        ),
        (
            "preopens: [/data]",
            "6:22: services.a.wasm.preopens: this release grants plugins no files",
        ),
        (
            "allow_tcp: true",
            "6:23: services.a.wasm.allow_tcp: this release grants plugins no sockets",
        ),
        (
            "capabilities: {cli: true}",
            "6:32: services.a.wasm.capabilities.cli: this release grants plugins no terminal",
        ),
        (
            "capabilities: {http-client: true}",
            "6:27: services.a.wasm.capabilities.http-client: there is no key `http-client` here; did you mean \
             `http_client`?",
        ),
        (
            "capabilities: {config: \"true\"}",
            "6:35: services.a.wasm.capabilities.config: 'true' is not true or false; write one of them without quotes",
        ),
        (
            "kv_enabled: false, capabilities: {keyvalue: true}",
            "6:24: services.a.wasm.kv_enabled: is false, and capabilities.keyvalue is true; say it once",
        ),
        (
            "kv_max_value_size: 2Mi",
            "6:31: services.a.wasm.kv_max_value_size: '2Mi' is too much; at most 1Mi",
        ),
        (
            "kv_durability: disk",
            "6:27: services.a.wasm.kv_durability: there is no durability 'disk'",
        ),
        (
            "max_memory: 1",
            "6:24: services.a.wasm.max_memory: '1' is too little; at least 64Ki",
        ),
        (
            "max_memory: 64 MB",
            "6:24: services.a.wasm.max_memory: '64 MB' is not a size",
        ),
        (
            "reuse: 0",
            "6:19: services.a.wasm.reuse: '0': wants a whole number from 1 to",
        ),
        (
            "idle_timeout: 1d",
            "6:26: services.a.wasm.idle_timeout: '1d' is not a duration",
        ),
        (
            "capabilities: {http_client: true}, allow_http_outgoing: false",
            "6:68: services.a.wasm.allow_http_outgoing: is false, and capabilities.http_client is true; say it once",
        ),
        (
            "on_failure: ignore",
            "6:24: services.a.wasm.on_failure: 'ignore' is not one of open, closed",
        ),
        (
            "bodies: all",
            "6:20: services.a.wasm.bodies: there is no 'all' for bodies",
        ),
        (
            "request_body: all",
            "6:26: services.a.wasm.request_body: 'all' is not one of auto",
        ),
        (
            "personal_headers: [\"a b\"]",
            "6:31: services.a.wasm.personal_headers[0]: 'a b' is no name of a header",
        ),
        (
            "secrets: key",
            "6:21: services.a.wasm.secrets: wants a list, an item in each line after `- `",
        ),
    ] {
        refused(&service(&format!("wasm: {{{line}}}")), says);
    }
}

#[test]
fn what_is_wrong_with_env_is_told_without_its_values() {
    for (lines, says) in [
        (
            "env: [{name: k, value: hunter2, secret: true}]",
            "6:28: services.a.env[0].value: is a secret that stands in the file itself",
        ),
        (
            "env: [{name: k, value: \"${hunter2\"}]",
            "6:28: services.a.env[0].value: has a `${` that names no variable; write ${NAME}",
        ),
        (
            "env: {k: \"${hunter2!}\"}",
            "6:14: services.a.env.k: has a `${` that names no variable; write ${NAME}",
        ),
        (
            "env: {k: [hunter2]}",
            "6:14: services.a.env.k: wants a single value (text); here is a list",
        ),
        (
            "env: {k: }",
            "6:11: services.a.env.k: has no value; give it one, or take the key out",
        ),
        (
            "env: [k=hunter2]",
            "6:11: services.a.env[0]: wants a mapping, `KEY: VALUE` in each line; here is a single value",
        ),
        (
            "env: hunter2",
            "6:10: services.a.env: wants a list, an item in each line after `- `, or a mapping, `KEY: VALUE` in each line; here is a single value",
        ),
        (
            "env: [{name: k, value: 1}, {name: k, value: hunter2}]",
            "6:39: services.a.env[1].name: 'k' stands here already, in line 6; take one of them out",
        ),
        (
            "env: [{name: k}]",
            "6:11: services.a.env[0]: the key `value` is missing: the value;",
        ),
        (
            "env: [{name: k, value: hunter2, secret: hunter2}]",
            "6:45: services.a.env[0].secret: ",
        ),
    ] {
        let text = service(lines);
        refused(&text, says);
        let told = file(&text).unwrap_err();
        // The last one is a word beside the value, which is no value of env.
        assert!(
            !told.contains("hunter2") || says.contains("secret: "),
            "{told}"
        );
    }
}

#[test]
fn all_mistakes_are_told_at_once_in_the_order_of_the_file() {
    let text = "version: v2\ndeployment: d\nservices:\n  a:\n    image: a\n    wasm: {reuse: 0, paths: [x]}\n  b: {}\n";
    let told = file(text).unwrap_err();
    let places: Vec<_> = told.lines().map(|line| &line[12..15]).collect();
    assert_eq!(places, ["1:1", "6:1", "6:3", "7:6"], "{told}");
}

#[test]
fn files_of_other_editors_are_read() {
    let text = service("wasm:\n  reuse: 0");
    let told = |text: &str| file(text).unwrap_err();
    let expected = told(&text);
    assert_eq!(told(&text.replace('\n', "\r\n")), expected);
    assert_eq!(told(&format!("\u{feff}{text}")), expected);
    assert_eq!(
        told(&format!("---\n{text}...\n")),
        expected.replace(":7:", ":8:")
    );
}

#[test]
fn what_is_no_text_is_refused() {
    let told = |bytes: &[u8]| {
        let read = read_text(Path::new("f"), Ok(bytes.to_vec()));
        read.unwrap_err().to_string()
    };
    assert!(told(b"a: 1\nb: \xff").starts_with("f:2:4: is not UTF-8 from here on"));
    assert_eq!(
        told(&vec![b' '; (1 << 20) + 1]),
        "f: is longer than 1024 KiB"
    );
    let missing = read(Path::new("/nowhere/f.yaml")).unwrap_err().to_string();
    assert!(
        missing.starts_with("/nowhere/f.yaml: cannot be read: "),
        "{missing}"
    );
}
