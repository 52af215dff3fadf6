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
    let other = "endpoints: [{name: x, port: 81}, {name: y, port: 80, path: /b, expose: public}]";
    assert!(file(&two(&port("public"), other)).is_ok());
    refused(
        &two(
            &port("internal"),
            "endpoints: [{name: x, port: 80, protocol: https}]",
        ),
        "5:59: services.b.endpoints[0].protocol: 80 is the port of services.a too, and speaks either HTTP or HTTPS",
    );
    let hosts: Vec<String> = (0..13).map(|number| format!("h{number}")).collect();
    let many = |count: usize| {
        let one = |number: usize| {
            format!(
                "{{name: e{number}, port: {}, host: [{}]}}",
                80 + number,
                hosts.join(", ")
            )
        };
        let endpoints: Vec<String> = (0..count).map(one).collect();
        format!("endpoints: [{}]", endpoints.join(", "))
    };
    assert!(file(&two(&many(2), &many(2))).is_ok());
    refused(
        &two(&many(2), &many(3)),
        "4:3: services: has 65 endpoints, where each host counts; a deployment has at most 64",
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
        "version: v1\ndeployment: d\nservices: {a: {image: a, scale: {min: 11}}}\n",
        "3:15: services.a: at least 11 instances are wanted, and at most 10 where nothing is said",
    );
    refused(
        "version: v1\ndeployment: d\nservices: {a: {image: a, wasm: {secrets: ['a*b']}}}\n",
        "3:42: services.a.wasm.secrets: 'a*b' names none",
    );
    let text = format!(
        "version: v1\ndeployment: d\ndevice: {{port: 81}}\nservices: {{a: {{image: a, {}}}}}\n",
        port("public")
    );
    refused(
        &text,
        "4:54: services.a.endpoints[0].port: device.port is another: say the same in both, or take device.port out",
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

#[test]
fn the_device_and_the_endpoints_agree_on_their_ports() {
    let with = |device: &str, endpoints: &str| {
        format!(
            "version: v1\ndeployment: d\ndevice: {{{device}}}\nservices: {{a: {{image: a, endpoints: [{endpoints}]}}}}\n"
        )
    };
    let certified = "certificates: [{credential: c}]";
    let (http, https) = (
        "{name: x, port: 80, expose: public}",
        "{name: y, port: 443, expose: public, protocol: https}",
    );
    let internal = "{name: z, port: 81}";
    for (device, endpoints, says) in [
        (
            format!("port: 81, tls: {{{certified}}}"),
            https.to_owned(),
            "4:85: services.a.endpoints[0].protocol: all endpoints speak HTTPS, and device.port is that of HTTP",
        ),
        (
            format!("tls: {{port: 444, {certified}}}"),
            https.to_owned(),
            "4:54: services.a.endpoints[0].port: device.tls.port is another",
        ),
        (
            format!("tls: {{port: 80, {certified}}}"),
            http.to_owned(),
            "4:54: services.a.endpoints[0].port: 80 is device.tls.port already",
        ),
        (
            format!("tls: {{redirect_http: true, {certified}}}"),
            "{name: x, port: 80, expose: public}, {name: y, port: 82, expose: public}".to_owned(),
            "3:31: device.tls.redirect_http: no service at port 82 has an endpoint with `protocol: https`",
        ),
        (
            "bind: 0.0.0.0".to_owned(),
            format!("{internal}, {{name: y, port: 82}}"),
            "4:38: services.a.endpoints[0].expose: device.bind says otherwise",
        ),
    ] {
        let told = file(&with(&device, &endpoints)).unwrap_err();
        assert!(told.starts_with(&format!("apps/f.yaml:{says}")), "{told}");
    }
    for (device, endpoints) in [
        (
            format!("port: 80, tls: {{port: 443, redirect_http: true, {certified}}}"),
            format!("{http}, {https}, {internal}"),
        ),
        (
            format!("tls: {{redirect_http: true, {certified}}}"),
            format!("{http}, {internal}"),
        ),
        ("bind: 0.0.0.0".to_owned(), format!("{http}, {internal}")),
        ("bind: 127.0.0.1".to_owned(), internal.to_owned()),
    ] {
        assert!(file(&with(&device, &endpoints)).is_ok(), "{endpoints}");
    }
    let noted = file(&with("threads: 1", https)).unwrap().notes;
    assert!(
        noted[0].to_string().contains("wants a certificate"),
        "{noted:?}"
    );
}
