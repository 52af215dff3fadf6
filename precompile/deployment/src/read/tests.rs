//! What is read.

mod misfits;
mod refused;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use zlayer_bundle::{
    AccessOutput, Bodies, BodyAccess, Capability, CertificateFiles, DeviceSettings, Durability,
    Endpoint, Expose, HealthCheck, KeyvalueSettings, LogOutput, OnFailure, PathPattern, Protocol,
    Role, ServiceSettings, TimeoutSettings, Variable,
};

use super::{DeploymentFile, read, read_text};
use crate::ImageSource;

fn file(text: &str) -> Result<DeploymentFile, String> {
    let read = read_text(Path::new("apps/f.yaml"), Ok(text.as_bytes().to_vec()));
    read.map_err(|refusals| refusals.to_string())
}

/// A file with these lines for its one service `a`, which begin in line 6.
fn service(lines: &str) -> String {
    let lines: String = lines.lines().map(|line| format!("    {line}\n")).collect();
    format!("version: v1\ndeployment: d\nservices:\n  a:\n    image: a.wasm\n{lines}")
}

/// A file with these lines for its device, which begin in line 4.
fn device(lines: &str) -> String {
    let lines: String = lines.lines().map(|line| format!("  {line}\n")).collect();
    format!("version: v1\ndeployment: d\ndevice:\n{lines}services: {{a: {{image: a.wasm}}}}\n")
}

fn variable(name: &str, value: &str, secret: bool) -> Variable {
    Variable {
        name: name.to_owned(),
        value: value.parse().unwrap(),
        secret,
    }
}

#[test]
fn the_guides_example_is_read_as_it_stands() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/files/guide.yaml");
    let file = read(&path).unwrap();
    assert_eq!(file.notes, []);
    let deployment = file.deployment;
    assert_eq!((&*deployment.name, deployment.release), ("my-wasm-app", 0));
    assert_eq!(deployment.device, DeviceSettings::default());
    assert_eq!(deployment.variables(), ["API_KEY", "JWT_SECRET"]);
    let names = deployment.services.iter().map(|one| one.name.as_deref());
    let names: Vec<_> = names.flatten().collect();
    assert_eq!(names, ["api-handler", "auth-plugin", "rate-limiter"]);
    let expected = ServiceSettings {
        env: vec![
            variable("LOG_LEVEL", "debug", false),
            variable("API_KEY", "${API_KEY}", false),
        ],
        min_instances: Some(2),
        max_instances: Some(10),
        endpoints: vec![Endpoint {
            name: "http".to_owned(),
            port: 8080,
            expose: Expose::Public,
            ..Endpoint::default()
        }],
        health: Some(HealthCheck {
            url: "/health".to_owned(),
            expect_status: 200,
            interval: None,
            timeout: None,
            retries: None,
            start_grace: None,
        }),
        ..ServiceSettings::default()
    };
    assert_eq!(deployment.services[0].settings, expected);
    let limits = &deployment.services[2].settings.env;
    assert_eq!(limits[1], variable("rate_limits.premium", "1000", false));
    let image = &file.images[1];
    let reference = "ghcr.io/myorg/auth-plugin:v1".to_owned();
    assert_eq!(image.source, ImageSource::Reference(reference));
    assert_eq!(image.service_type, None);
    assert_eq!((image.place.line, image.place.column), (33, 13));
    assert_eq!(image.path, "services.auth-plugin.image.name");
    let keys = [&file.least_keys[0], &file.least_keys[1]];
    assert_eq!(
        keys,
        [
            "services.api-handler.scale.min",
            "services.auth-plugin.wasm.min_instances"
        ]
    );
}

#[test]
fn every_key_gets_where_it_belongs() {
    let file = file(include_str!("../../tests/files/full.yaml")).unwrap();
    let deployment = file.deployment;
    assert_eq!((&*deployment.name, deployment.release), ("shop.edge", 7));
    let seconds = |count| Some(Duration::from_secs(count));
    let files = |certificate: &str, key: &str| CertificateFiles::Files {
        certificate: PathBuf::from(certificate),
        key: PathBuf::from(key),
    };
    let expected = DeviceSettings {
        bind: Some(IpAddr::from([0, 0, 0, 0])),
        port: Some(80),
        tls_port: Some(443),
        certificates: vec![
            files("/etc/zlayer/shop.crt", "/etc/zlayer/shop.key"),
            files("/etc/zlayer/both.pem", "/etc/zlayer/both.pem"),
            CertificateFiles::Credential("shop".to_owned()),
        ],
        redirect_http: Some(true),
        trusted_proxies: ["192.0.2.0/24", "2001:db8::1"]
            .map(|text| text.parse().unwrap())
            .to_vec(),
        proxy_protocol: Some(true),
        admin_port: Some(9090),
        tls_roots: Some(PathBuf::from("/etc/zlayer/roots.pem")),
        log: Some(LogOutput::Both),
        access_log: Some(AccessOutput::Ring),
        memory_max: Some(96 << 20),
        threads: Some(2),
        max_handles: Some(4096),
        max_connections: Some(64),
        max_body: Some(512 << 10),
        max_message: Some(65536),
        cache_max: Some(4 << 20),
        underscore_headers: Some(false),
        timeouts: TimeoutSettings {
            idle: seconds(30),
            head: seconds(5),
            request: Some(Duration::from_millis(1500)),
            stall: seconds(20),
            upload: seconds(600),
            websocket_ping: seconds(15),
            drain: seconds(3),
            trial: seconds(90),
        },
    };
    assert_eq!(deployment.device, expected);

    let guard = ServiceSettings {
        roles: Some(vec![Role::Authenticator]),
        allow_hosts: Some(vec!["*.internal.example:8443".parse().unwrap()]),
        env: vec![
            variable("jwt_secret", "${JWT_SECRET}", false),
            variable("leeway", "30", false),
            variable("strict", "true", false),
        ],
        paths: Some(vec!["/api/*".parse().unwrap(), "/status".parse().unwrap()]),
        services: Some(vec!["api".to_owned()]),
        on_failure: Some(OnFailure::Closed),
        bodies: Some(Bodies {
            request: true,
            response: false,
        }),
        request_body: Some(BodyAccess::None),
        personal_headers: vec!["X-Tenant".to_owned()],
        ..ServiceSettings::default()
    };
    assert_eq!(deployment.services[0].settings, guard);

    let host = |text: &str| text.parse().unwrap();
    let http = Endpoint {
        name: "http".to_owned(),
        protocol: Protocol::Http,
        port: 80,
        expose: Expose::Public,
        hosts: vec![host("shop.example"), host("*.shop.example")],
        path: PathPattern::folder("/api").ok(),
    };
    let https = Endpoint {
        name: "https".to_owned(),
        protocol: Protocol::Https,
        port: 443,
        hosts: vec![host("shop.example")],
        path: None,
        ..http.clone()
    };
    let api = ServiceSettings {
        allow: vec![
            Capability::Config,
            Capability::Keyvalue,
            Capability::Logging,
            Capability::Secrets,
            Capability::HttpClient,
        ],
        deny: vec![Capability::Metrics],
        allow_hosts: Some(vec![
            "api.example.com".parse().unwrap(),
            "[::1]:80".parse().unwrap(),
        ]),
        env: vec![
            variable("TOKEN", "Bearer ${TOKEN}", true),
            variable("greeting", "hello", false),
        ],
        secrets: Some(vec!["shop.*".to_owned()]),
        keyvalue: KeyvalueSettings {
            namespace: Some("carts".to_owned()),
            quota: Some(8 << 20),
            max_keys: Some(5000),
            max_value_size: Some(64 << 10),
            durability: Some(Durability::Interval(Duration::from_secs(5))),
            write_max: Some(1 << 30),
        },
        log_rate: Some(50),
        min_instances: Some(1),
        max_instances: Some(8),
        reuse: Some(100),
        idle_timeout: seconds(300),
        request_timeout: seconds(10),
        max_memory: Some(64 << 20),
        endpoints: vec![http, https],
        health: Some(HealthCheck {
            url: "/health".to_owned(),
            expect_status: 204,
            interval: seconds(10),
            timeout: seconds(2),
            retries: Some(3),
            start_grace: seconds(90),
        }),
        ..ServiceSettings::default()
    };
    assert_eq!(deployment.services[1].settings, api);
    let fixed = &deployment.services[2].settings;
    assert_eq!(
        (fixed.min_instances, fixed.max_instances),
        (Some(3), Some(3))
    );

    let sources: Vec<_> = file
        .images
        .iter()
        .map(|image| image.source.clone())
        .collect();
    assert_eq!(
        sources,
        [
            ImageSource::File(PathBuf::from("apps/plugins/guard.wasm")),
            ImageSource::Reference("ghcr.io/myorg/api:v1".to_owned()),
            ImageSource::File(PathBuf::from("apps/fixed.cwasm")),
        ]
    );
    let guard = file.images[0].service_type.as_deref();
    assert_eq!(guard, Some(&[Role::Authenticator][..]));
    let plugin = file.images[1].service_type.as_deref().unwrap();
    assert!(plugin.contains(&Role::Handler) && !plugin.contains(&Role::HttpHandler));
    let notes: Vec<_> = file.notes.iter().map(|note| note.path.as_str()).collect();
    assert_eq!(
        notes,
        [
            "services.api.image.pull_policy",
            "services.api.wasm.max_fuel",
            "services.api.wasm.epoch_interval",
            "services.api.wasm.precompile",
        ]
    );
}

#[test]
fn what_does_nothing_is_noted() {
    for (text, says) in [
        (
            service("wasm: {capabilities: {http_client: true}}"),
            "apps/f.yaml:6:26: services.a.wasm.capabilities: http_client reaches no host before one is named",
        ),
        (
            service("wasm: {allow_http_outgoing: true}"),
            "apps/f.yaml:6:33: services.a.wasm.allow_http_outgoing: opens nothing here: unlike in ZLayer, no host is open \
             by default; name those that it may ask in wasm.allowed_hosts",
        ),
        (
            device("tls: {port: 443}"),
            "apps/f.yaml:4:15: device.tls.port: wants a certificate",
        ),
        (
            device("proxy_protocol: true"),
            "apps/f.yaml:4:19: device.proxy_protocol: wants the proxies",
        ),
        (
            service("wasm: {max_fuel: 5}"),
            "apps/f.yaml:6:22: services.a.wasm.max_fuel: does nothing here: plugins take turns",
        ),
    ] {
        let notes = file(&text).unwrap().notes;
        assert_eq!(notes.len(), 1, "{notes:?}");
        assert!(notes[0].to_string().starts_with(says), "{}", notes[0]);
    }
}

#[test]
fn capabilities_are_granted_and_taken_away_by_name() {
    let said = |line: &str| {
        let file = file(&service(&format!("wasm: {{{line}}}"))).unwrap();
        let settings = file.deployment.services[0].settings.clone();
        (settings.allow, settings.deny)
    };
    let one = Capability::Keyvalue;
    assert_eq!(said("capabilities: {}"), (vec![], vec![]));
    assert_eq!(said("kv_enabled: true"), (vec![one], vec![]));
    assert_eq!(said("kv_enabled: false"), (vec![], vec![one]));
    assert_eq!(said("capabilities: {keyvalue: false}"), (vec![], vec![one]));
}

#[test]
fn what_zlayer_writes_for_every_service_is_read() {
    let read = |lines: &str| {
        let file = file(&service(lines)).unwrap();
        let settings = file.deployment.services[0].settings.clone();
        (settings, file.notes.len())
    };
    // It always writes these two. Where hosts are named, they are what is open.
    let (_, notes) = read("wasm: {allow_http_outgoing: true, allow_tcp: false}");
    assert_eq!(notes, 1);
    let (settings, notes) = read("wasm: {allow_http_outgoing: true, allowed_hosts: [a]}");
    assert_eq!((settings.allow, settings.deny, notes), (vec![], vec![], 0));
    let (settings, notes) = read("wasm: {allow_http_outgoing: false}");
    assert_eq!((settings.deny, notes), (vec![Capability::HttpClient], 0));
    let (old, _) = read("wasm_http: {max_instances: 3, idle_timeout: 5m, secrets: [a]}");
    let (new, _) = read("wasm: {max_instances: 3, idle_timeout: 300s, secrets: [a]}");
    assert_eq!(old, new);
}

#[test]
fn a_url_of_the_device_itself_is_its_path() {
    let path = |url: &str| {
        let line = format!("health: {{check: {{type: http, url: \"{url}\"}}}}");
        let file = file(&service(&line)).unwrap();
        let health = file.deployment.services[0].settings.health.clone();
        health.unwrap().url
    };
    assert_eq!(path("http://localhost:8080/health"), "/health");
    assert_eq!(path("HTTPS://LocalHost/Health?a"), "/Health?a");
    assert_eq!(path("http://[::1]:80"), "/");
    assert_eq!(path("http://127.0.0.1/a?b=c"), "/a?b=c");
    assert_eq!(path("https://[::1]:443"), "/");
    assert_eq!(path("/health"), "/health");
}

#[test]
fn no_host_is_not_the_same_as_nothing_said() {
    let hosts = |line: &str| {
        let file = file(&service(&format!("wasm: {{{line}}}"))).unwrap();
        file.deployment.services[0].settings.allow_hosts.clone()
    };
    assert_eq!(hosts("reuse: 1"), None);
    assert_eq!(hosts("allowed_hosts: []"), Some(vec![]));
    let both = hosts("allowed_hosts: [a], upstreams: [b, a]").unwrap();
    assert_eq!(both, ["a", "b"].map(|host| host.parse().unwrap()));
}
