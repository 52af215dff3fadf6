//! What concerns the device as a whole.

use std::path::PathBuf;

use zlayer_bundle::{AccessOutput, CertificateFiles, DeviceSettings, LogOutput, TimeoutSettings};

use crate::view::View;

/// What the `device` block says.
pub(super) fn settings(device: &View<'_>) -> DeviceSettings {
    let tls = device.map("tls");
    let tls = tls.as_ref();
    let certificates = tls.map(certificates).unwrap_or_default();
    let settings = DeviceSettings {
        bind: device.parsed("bind"),
        port: device.number("port"),
        tls_port: tls.and_then(|tls| tls.number("port")),
        certificates,
        redirect_http: tls.and_then(|tls| tls.switch("redirect_http")),
        trusted_proxies: device.list("trusted_proxies").unwrap_or_default(),
        proxy_protocol: device.switch("proxy_protocol"),
        admin_port: device.number("admin_port"),
        tls_roots: tls.and_then(|tls| tls.text("roots")).map(PathBuf::from),
        log: device.parsed("log"),
        access_log: device.parsed("access_log"),
        memory_max: device.size("memory_max"),
        threads: device.number("threads"),
        max_handles: device.number("max_handles"),
        max_connections: device.number("max_connections"),
        max_body: device.size("max_body"),
        max_message: device.size("max_message"),
        cache_max: device.size("cache_max"),
        underscore_headers: device.switch("underscore_headers"),
        timeouts: device
            .map("timeouts")
            .map(|view| timeouts(&view))
            .unwrap_or_default(),
    };
    check(device, tls, &settings);
    settings
}

/// Tells what does not fit together. What the device's own flags may add is noted alone.
fn check(device: &View<'_>, tls: Option<&View<'_>>, settings: &DeviceSettings) {
    if let Some(tls) = tls
        && settings.certificates.is_empty()
    {
        for (name, is_given) in [
            ("port", settings.tls_port.is_some()),
            ("redirect_http", settings.redirect_http == Some(true)),
        ] {
            if is_given {
                tls.note(
                    name,
                    "wants a certificate: without one in device.tls.certificates, the device does not start unless \
                     a flag of its own names one",
                );
            }
        }
    }
    if settings.proxy_protocol == Some(true) && settings.trusted_proxies.is_empty() {
        device.note(
            "proxy_protocol",
            "wants the proxies whose headers are believed: without device.trusted_proxies, the device does not start \
             unless a flag of its own names one",
        );
    }
    let wants_ring = matches!(
        settings.access_log,
        Some(AccessOutput::Ring | AccessOutput::Both)
    );
    if wants_ring && settings.log == Some(LogOutput::Text) {
        device.refuse(
            "access_log",
            "the ring is the binary log's; write `log: both` or `log: binary`, or `access_log: stdout`",
        );
    }
    for (name, other, ports) in [
        (
            "tls.port",
            "device.port",
            [settings.tls_port, settings.port],
        ),
        (
            "admin_port",
            "device.port",
            [settings.admin_port, settings.port],
        ),
        (
            "admin_port",
            "device.tls.port",
            [settings.admin_port, settings.tls_port],
        ),
    ] {
        if let [Some(port), Some(taken)] = ports
            && port == taken
            && port != 0
        {
            let at = match (name, tls) {
                ("tls.port", Some(tls)) => tls.at("port"),
                _ => device.at("admin_port"),
            };
            device.report.refuse(
                at,
                &format!("device.{name}"),
                format!("{port} is {other} already; choose another"),
            );
        }
    }
}

fn certificates(tls: &View<'_>) -> Vec<CertificateFiles> {
    let read = |one: &View<'_>| match (one.text("certificate"), one.text("credential")) {
        (Some(certificate), None) => Some(CertificateFiles::Files {
            certificate: PathBuf::from(certificate),
            key: PathBuf::from(one.text("key").unwrap_or(certificate)),
        }),
        (None, Some(name)) if one.get("key").is_none() => {
            Some(CertificateFiles::Credential(name.to_owned()))
        }
        _ => {
            one.report.refuse(
                one.node.at,
                &one.path,
                "wants either `certificate` and `key`, files on the device, or `credential`, a name of systemd's",
            );
            None
        }
    };
    tls.maps("certificates").iter().filter_map(read).collect()
}

fn timeouts(timeouts: &View<'_>) -> TimeoutSettings {
    TimeoutSettings {
        idle: timeouts.duration("idle"),
        head: timeouts.duration("head"),
        request: timeouts.duration("request"),
        stall: timeouts.duration("stall"),
        upload: timeouts.duration("upload"),
        websocket_ping: timeouts.duration("websocket_ping"),
        drain: timeouts.duration("drain"),
        trial: timeouts.duration("trial"),
    }
}
