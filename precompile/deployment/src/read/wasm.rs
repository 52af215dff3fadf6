//! What a service's `wasm` block says.

use zlayer_bundle::{AllowedHost, Capability, KeyvalueSettings, ServiceSettings};

use crate::view::View;

/// The block of a service, under whichever of its two names.
pub(super) fn block<'a>(service: &View<'a>) -> Option<View<'a>> {
    service.map("wasm").or_else(|| service.map("wasm_http"))
}

/// What the block says; the rest of the service is not looked at.
pub(super) fn settings(wasm: &View<'_>) -> ServiceSettings {
    let (allow, mut deny) = capabilities(wasm);
    let hosts = hosts(wasm);
    let has_no_host = hosts.as_ref().is_none_or(Vec::is_empty);
    let secrets: Option<Vec<String>> = wasm.list("secrets");
    for name in secrets.iter().flatten() {
        if name.strip_suffix('*').unwrap_or(name).contains('*') {
            wasm.refuse(
                "secrets",
                format!(
                    "'{}' names none: a `*` stands at the end, for all that begin so",
                    name.escape_debug()
                ),
            );
        }
    }
    match wasm.switch("allow_http_outgoing") {
        Some(false) if allow.contains(&Capability::HttpClient) => wasm.refuse(
            "allow_http_outgoing",
            "is false, and capabilities.http_client is true; say it once",
        ),
        Some(false) if !deny.contains(&Capability::HttpClient) => {
            deny.push(Capability::HttpClient);
        }
        Some(true) if has_no_host => wasm.note(
            "allow_http_outgoing",
            "opens nothing here: unlike in ZLayer, no host is open by default; name those that it may ask in \
             wasm.allowed_hosts",
        ),
        _ => {}
    }
    if allow.contains(&Capability::HttpClient) && has_no_host {
        wasm.note(
            "capabilities",
            "http_client reaches no host before one is named: nothing is open by default; name them in \
             wasm.allowed_hosts",
        );
    }
    ServiceSettings {
        roles: wasm.list("roles"),
        allow,
        deny,
        allow_hosts: hosts,
        secrets,
        keyvalue: keyvalue(wasm),
        log_rate: wasm.number("log_rate"),
        min_instances: wasm.number("min_instances"),
        max_instances: wasm.number("max_instances"),
        reuse: wasm.number("reuse"),
        idle_timeout: wasm.duration("idle_timeout"),
        request_timeout: wasm.duration("request_timeout"),
        max_memory: wasm.size("max_memory"),
        paths: wasm.list("paths"),
        services: wasm.list("services"),
        on_failure: wasm.parsed("on_failure"),
        bodies: wasm.parsed("bodies"),
        request_body: wasm.parsed("request_body"),
        personal_headers: wasm.list("personal_headers").unwrap_or_default(),
        ..ServiceSettings::default()
    }
}

/// What is allowed, and what is denied.
fn capabilities(wasm: &View<'_>) -> (Vec<Capability>, Vec<Capability>) {
    let (mut allow, mut deny) = (Vec::new(), Vec::new());
    let block = wasm.map("capabilities");
    let kv_enabled = wasm.switch("kv_enabled");
    for one in Capability::ALL {
        // The contract writes a dash, and upstream's file an underscore.
        let name = one.name().replace('-', "_");
        let mut said = block.as_ref().and_then(|block| block.switch(&name));
        if one == Capability::Keyvalue {
            if let (Some(said), Some(enabled)) = (said, kv_enabled)
                && said != enabled
            {
                let reason =
                    format!("is {enabled}, and capabilities.keyvalue is {said}; say it once");
                wasm.refuse("kv_enabled", reason);
            }
            said = said.or(kv_enabled);
        }
        match said {
            Some(true) => allow.push(one),
            Some(false) => deny.push(one),
            None => {}
        }
    }
    (allow, deny)
}

/// The hosts of both lists. `None` where neither is there.
fn hosts(wasm: &View<'_>) -> Option<Vec<AllowedHost>> {
    let lists = ["allowed_hosts", "upstreams"].map(|name| wasm.list::<AllowedHost>(name));
    let mut hosts: Option<Vec<AllowedHost>> = None;
    for host in lists.into_iter().flatten() {
        let known = hosts.get_or_insert_default();
        for host in host {
            if !known.contains(&host) {
                known.push(host);
            }
        }
    }
    hosts
}

fn keyvalue(wasm: &View<'_>) -> KeyvalueSettings {
    KeyvalueSettings {
        namespace: wasm.text("kv_namespace").map(str::to_owned),
        quota: wasm.size("kv_quota"),
        max_keys: wasm.number("kv_max_keys"),
        max_value_size: wasm.size("kv_max_value_size"),
        durability: wasm.parsed("kv_durability"),
        write_max: wasm.size("kv_write_max"),
    }
}
