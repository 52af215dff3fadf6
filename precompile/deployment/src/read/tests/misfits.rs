//! How it is told what does not fit together, and what is wrong with the device.

use super::refused::refused;
use super::{device, file};

#[test]
fn what_is_wrong_with_the_device_is_told_with_its_place() {
    for (line, says) in [
        ("bind: localhost", "4:9: device.bind: "),
        (
            "tls: {roots: roots.pem}",
            "4:16: device.tls.roots: 'roots.pem' is a file on the device: write its whole path",
        ),
        (
            "tls: {certificates: [{key: /a}]}",
            "4:24: device.tls.certificates[0]: wants either `certificate` and `key`",
        ),
        (
            "tls: {certificates: [{credential: a, certificate: /a}]}",
            "4:24: device.tls.certificates[0]: wants either `certificate` and `key`",
        ),
        (
            "tls: {certificates: [{credential: ../a}]}",
            "4:37: device.tls.certificates[0].credential: '../a' is no credential",
        ),
        (
            "trusted_proxies: [192.0.2.7/24]",
            "4:21: device.trusted_proxies[0]: '192.0.2.7/24' is an address within a network",
        ),
        (
            "log: file",
            "4:8: device.log: there is no 'file' here; there are text, binary, both",
        ),
        (
            "log: text\naccess_log: ring",
            "5:15: device.access_log: the ring is the binary log's",
        ),
        (
            "memory_max: 1Mi",
            "4:15: device.memory_max: '1Mi' is too little; at least 12Mi",
        ),
        (
            "cache_max: 1",
            "4:14: device.cache_max: '1' is too little; at least 256Ki",
        ),
        (
            "threads: 65",
            "4:12: device.threads: '65': wants a whole number from 1 to 64",
        ),
        (
            "port: 80\nadmin_port: 80",
            "5:15: device.admin_port: 80 is device.port already",
        ),
        (
            "port: 80\ntls: {port: 80, certificates: [{credential: a}]}",
            "5:15: device.tls.port: 80 is device.port already",
        ),
        (
            "timeouts: {idle: 0}",
            "4:20: device.timeouts.idle: '0' is out of range; at least 1ms, at most 24 hours",
        ),
        (
            "timeouts: {websocket-ping: 1}",
            "4:14: device.timeouts.websocket-ping: there is no key `websocket-ping` here; did you mean `websocket_ping`?",
        ),
    ] {
        refused(&device(line), says);
    }
}

#[test]
fn what_services_share_has_to_fit() {
    let two = |one: &str, other: &str| {
        format!(
            "version: v1\ndeployment: d\nservices:\n  a: {{image: a, {one}}}\n  b: {{image: b, {other}}}\n"
        )
    };
    let port = |expose| format!("endpoints: [{{name: x, port: 80, expose: {expose}}}]");
    refused(
        &two(&port("public"), &port("internal")),
        "5:57: services.b.endpoints[0].expose: 80 is the port of services.a too, which is exposed otherwise",
    );
    assert!(file(&two(&port("public"), &port("public"))).is_ok());
    refused(
        &two(
            &port("public"),
            "endpoints: [{name: x, port: 81, expose: public}]",
        ),
        "5:45: services.b.endpoints[0].port: services.a has 80, and this release serves all services at one port",
    );
    let bound = |bind, expose| {
        format!(
            "version: v1\ndeployment: d\ndevice: {{bind: {bind}}}\nservices: {{a: {{image: a, {}}}}}\n",
            port(expose)
        )
    };
    for (bind, expose) in [("0.0.0.0", "internal"), ("127.0.0.1", "public")] {
        refused(
            &bound(bind, expose),
            "4:66: services.a.endpoints[0].expose: device.bind says otherwise",
        );
    }
    assert!(file(&bound("192.0.2.1", "public")).is_ok());
    assert!(file(&bound("127.0.0.1", "internal")).is_ok());
    refused(
        "version: v1\ndeployment: d\nservices: {a: {image: a, scale: {min: 33}}}\n",
        "3:15: services.a: at least 33 instances are wanted, and at most 32 where nothing is said",
    );
    refused(
        "version: v1\ndeployment: d\nservices: {a: {image: a, wasm: {secrets: ['a*b']}}}\n",
        "3:32: services.a.wasm: secrets: 'a*b' names none",
    );
    let text = format!(
        "version: v1\ndeployment: d\ndevice: {{port: 81}}\nservices: {{a: {{image: a, {}}}}}\n",
        port("public")
    );
    refused(
        &text,
        "4:54: services.a.endpoints[0].port: device.port is another, and all services are served at one port",
    );
    refused(
        &two(
            "wasm: {kv_quota: 1Mi}",
            "wasm: {kv_namespace: a, kv_quota: 2Mi}",
        ),
        "5:51: services.b.wasm.kv_quota: services.a shares the namespace 'a' and says otherwise",
    );
    assert!(file(&two("wasm: {kv_quota: 1Mi}", "wasm: {kv_namespace: a}")).is_ok());
    let text = format!(
        "version: v1\ndeployment: d\ndevice: {{admin_port: 80}}\nservices: {{a: {{image: a, {}}}}}\n",
        port("public")
    );
    refused(
        &text,
        "4:54: services.a.endpoints[0].port: 80 is device.admin_port already",
    );
}
