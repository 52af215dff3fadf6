//! One service.

use std::path::Path;

use zlayer_bundle::{
    DEFAULT_INSTANCES, Endpoint, Expose, HealthCheck, PathPattern, Protocol, Role, ServiceSettings,
};

use super::{env, wasm};
use crate::check::below;
use crate::keys::service::asked_path;
use crate::tree::{Content, Entry};
use crate::view::View;
use crate::{Image, ImageSource, Spot};

/// Where its plugin comes from. `None`: it was refused.
pub(super) fn image(service: &View<'_>, folder: &Path) -> Option<Image> {
    let node = service.get("image")?;
    let path = service.path_of("image");
    let (name, at, path) = match &node.content {
        Content::Map(_) => {
            let image = service.map("image")?;
            if image.get("pull_policy").is_some() {
                image.note(
                    "pull_policy",
                    "does nothing here: images are fetched when the bundle is packed, and devices fetch none",
                );
            }
            (image.text("name")?, image.at("name"), image.path_of("name"))
        }
        _ => (node.text()?, node.at, path),
    };
    Some(Image {
        source: ImageSource::of(name, folder),
        service_type: service.text("service_type").and_then(roles_of),
        place: service.report.place(at),
        path,
        keys: spots(service),
    })
}

/// Its keys, and those in its mappings, of which `wasm_http` is `wasm` under its old name.
fn spots(service: &View<'_>) -> Vec<Spot> {
    let spot = |key: String, entry: &Entry| Spot {
        path: below(&service.path, &key),
        place: service.report.place(entry.value.at),
        key: match key.strip_prefix("wasm_http.") {
            Some(inner) => format!("wasm.{inner}"),
            None => key,
        },
    };
    let mut spots = Vec::new();
    for outer in service.node.entries() {
        spots.push(spot(outer.key.clone(), outer));
        let inner = outer.value.entries().iter();
        spots.extend(inner.map(|inner| spot(format!("{}.{}", outer.key, inner.key), inner)));
    }
    spots
}

/// The roles of which one makes a plugin what `service_type` says.
pub(super) fn roles_of(service_type: &str) -> Option<Vec<Role>> {
    let role = match service_type {
        "wasm_http" => Role::HttpHandler,
        "wasm_plugin" => {
            let all = Role::ALL.into_iter();
            return Some(all.filter(|role| *role != Role::HttpHandler).collect());
        }
        "wasm_handler" => Role::Handler,
        "wasm_transformer" => Role::Transformer,
        "wasm_authenticator" => Role::Authenticator,
        "wasm_rate_limiter" => Role::RateLimiter,
        "wasm_middleware" => Role::Middleware,
        "wasm_router" => Role::Router,
        "wasm_cache" | "wasm_caching" => Role::Cache,
        "wasm_websocket" => Role::WebSocket,
        _ => return None,
    };
    Some(vec![role])
}

/// The key that says how many of its instances are kept at the least.
pub(super) fn least_key(service: &View<'_>) -> String {
    let scale = service.map("scale");
    let in_scale = |name: &str| {
        let scale = scale.as_ref()?;
        scale.get(name).map(|_| scale.path_of(name))
    };
    let in_wasm = || {
        let wasm = wasm::block(service)?;
        Some(wasm.path_of("min_instances"))
    };
    let known = in_scale("min").or_else(|| in_scale("replicas"));
    let known = known.or_else(in_wasm);
    known.unwrap_or_else(|| format!("{}.min_instances", service.path_of("wasm")))
}

/// Everything else that is said of it.
pub(super) fn settings(service: &View<'_>) -> ServiceSettings {
    if service.get("wasm").is_some() && service.get("wasm_http").is_some() {
        let reason = "is ZLayer's old name of `wasm`, which is here, too; write all under `wasm`";
        service.refuse("wasm_http", reason);
    }
    let wasm = wasm::block(service);
    let mut settings = wasm.as_ref().map(wasm::settings).unwrap_or_default();
    settings.env = env::variables(service);
    settings.endpoints = endpoints(service);
    settings.health = service.map("health").and_then(|view| health(&view));
    scale(service, &mut settings);
    if let (Some(least), Some(most)) = (settings.min_instances, settings.max_instances)
        && least > most
    {
        service.report.refuse(
            service.node.at,
            &service.path,
            format!("at least {least} instances are wanted, and at most {most}; raise the one or lower the other"),
        );
    }
    if let (Some(least), None) = (settings.min_instances, settings.max_instances)
        && least > DEFAULT_INSTANCES
    {
        service.report.refuse(
            service.node.at,
            &service.path,
            format!(
                "at least {least} instances are wanted, and at most {DEFAULT_INSTANCES} where nothing is said: say \
                 `wasm.max_instances`, too"
            ),
        );
    }
    if let (Some(roles), Some(service_type)) = (&settings.roles, service.text("service_type"))
        && let Some(wanted) = roles_of(service_type)
        && !roles.iter().any(|role| wanted.contains(role))
    {
        service.refuse(
            "service_type",
            format!("'{service_type}' is none of what wasm.roles says; take one of the two out"),
        );
    }
    settings
}

fn endpoints(service: &View<'_>) -> Vec<Endpoint> {
    let endpoints = service.maps("endpoints");
    endpoints.iter().filter_map(endpoint).collect()
}

/// One endpoint. `None`: something of it was refused.
pub(super) fn endpoint(view: &View<'_>) -> Option<Endpoint> {
    Some(Endpoint {
        name: view.text("name")?.to_owned(),
        protocol: match view.text("protocol") {
            Some("https") => Protocol::Https,
            Some("websocket") => Protocol::Websocket,
            _ => Protocol::Http,
        },
        port: view.number("port")?,
        expose: match view.text("expose") {
            Some("public") => Expose::Public,
            _ => Expose::Internal,
        },
        hosts: match view.parsed("host") {
            Some(one) => vec![one],
            None => view.list("host").unwrap_or_default(),
        },
        path: view
            .text("path")
            .and_then(|path| PathPattern::folder(path).ok()),
    })
}

fn health(health: &View<'_>) -> Option<HealthCheck> {
    let check = health.map("check")?;
    Some(HealthCheck {
        url: asked_path(check.text("url")?).ok()?.to_owned(),
        expect_status: check.number("expect_status").unwrap_or(200),
        interval: health.duration("interval"),
        timeout: health.duration("timeout"),
        retries: health.number("retries"),
        start_grace: health.duration("start_grace"),
    })
}

/// Has `scale` say how many instances there are, where it does not contradict `wasm`.
fn scale(service: &View<'_>, settings: &mut ServiceSettings) {
    let Some(scale) = service.map("scale") else {
        return;
    };
    let is_fixed = scale.text("mode") == Some("fixed");
    let replicas = scale.number("replicas");
    if is_fixed && scale.get("replicas").is_none() {
        scale.refuse(
            "mode",
            "`fixed` wants `replicas: N`, how many instances there are",
        );
    }
    if !is_fixed && replicas.is_some() {
        scale.refuse(
            "replicas",
            "is for `mode: fixed`; write that, or `min` and `max`",
        );
    }
    for name in ["min", "max"] {
        if is_fixed && scale.get(name).is_some() {
            let reason = "is not for `mode: fixed`, which takes `replicas`; write `mode: adaptive`, or take it out";
            scale.refuse(name, reason);
        }
    }
    let parts = [
        ("min", "min_instances", &mut settings.min_instances),
        ("max", "max_instances", &mut settings.max_instances),
    ];
    for (name, other, setting) in parts {
        let (name, count) = match is_fixed {
            true => ("replicas", replicas),
            false => (name, scale.number(name)),
        };
        match (count, *setting) {
            (Some(count), Some(said)) if count != said => scale.refuse(
                name,
                format!("is {count}, and wasm.{other} is {said}; say it once"),
            ),
            (Some(count), _) => *setting = Some(count),
            (None, _) => {}
        }
    }
}
