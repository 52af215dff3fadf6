//! Whatever a flag of `zlayer run` can say, a `deployment.yaml` can say, but for who the daemon is.

use std::collections::BTreeSet;

use serde_json::Value;

use super::flags::{help, rows};
use super::page;

/// The flags, each with the path of its key. `*` is any service.
const KEYS: [(&str, &str); 38] = [
    ("wasm", "services.*.image"),
    ("port", "device.port"),
    ("bind", "device.bind"),
    ("tls-cert", "device.tls.certificates.certificate"),
    ("tls-key", "device.tls.certificates.key"),
    ("tls-credential", "device.tls.certificates.credential"),
    ("tls-port", "device.tls.port"),
    ("redirect-http", "device.tls.redirect_http"),
    ("trusted-proxy", "device.trusted_proxies"),
    ("proxy-protocol", "device.proxy_protocol"),
    ("config", "services.*.env.value"),
    ("deny", "services.*.wasm.capabilities"),
    ("allow-host", "services.*.wasm.allowed_hosts"),
    ("tls-roots", "device.tls.roots"),
    ("admin-port", "device.admin_port"),
    ("kv-durability", "services.*.wasm.kv_durability"),
    ("kv-quota", "services.*.wasm.kv_quota"),
    ("kv-max-keys", "services.*.wasm.kv_max_keys"),
    ("kv-max-value-size", "services.*.wasm.kv_max_value_size"),
    ("kv-write-max", "services.*.wasm.kv_write_max"),
    ("memory-max", "device.memory_max"),
    ("threads", "device.threads"),
    ("max-instances", "services.*.wasm.max_instances"),
    ("max-handles", "device.max_handles"),
    ("max-connections", "device.max_connections"),
    ("max-body", "device.max_body"),
    ("max-message", "device.max_message"),
    ("cache-max", "device.cache_max"),
    ("underscore-headers", "device.underscore_headers"),
    ("reuse", "services.*.wasm.reuse"),
    ("timeout", "device.timeouts"),
    ("log", "device.log"),
    ("access-log", "device.access_log"),
    ("log-rate", "services.*.wasm.log_rate"),
    // The values of secrets are the device's; which of them a service has is said in the file.
    ("secret", "services.*.wasm.secrets"),
    ("secret-env", "services.*.wasm.secrets"),
    ("secret-credential", "services.*.wasm.secrets"),
    ("secrets-file", "services.*.wasm.secrets"),
];

/// The flags that no deployment may say, with the words of docs/deployment.md that tell why.
const THE_DAEMONS: [(&str, &str); 7] = [
    ("user", "which account it becomes"),
    ("data-dir", "where its data lies"),
    ("kv-set-aside", "a store of another format"),
    ("keys", "which keys it trusts"),
    ("allow-unsigned", "which keys it trusts"),
    ("profile", "what it was compiled for"),
    ("watch", "who is at work on it"),
];

#[test]
fn every_flag_of_run_has_a_key_or_is_the_daemons_own() {
    let help = help("zlayer run");
    let flags = rows(&help, "Options:").into_iter();
    let flags: BTreeSet<String> = flags
        .filter_map(|(name, _)| Some(name.strip_prefix("--")?.to_owned()))
        .filter(|name| !name.starts_with("help"))
        .collect();
    let known = KEYS.iter().chain(&THE_DAEMONS);
    let known: BTreeSet<String> = known.map(|(flag, _)| (*flag).to_owned()).collect();
    assert_eq!(
        flags, known,
        "a flag wants its key, or words on why it has none"
    );

    let schema: Value = serde_json::from_str(&page("docs/deployment.schema.json")).unwrap();
    for (flag, path) in KEYS {
        let found = path
            .split('.')
            .try_fold(&schema, |schema, name| below(schema, name));
        assert!(found.is_some(), "--{flag}: there is no key {path}");
    }
    let page = page("docs/deployment.md");
    for (flag, why) in THE_DAEMONS {
        assert!(
            page.contains(why),
            "--{flag}: docs/deployment.md lacks '{why}'"
        );
    }
}

/// The schema of a key, also of one in the items of a list or in one of several forms.
fn below<'a>(schema: &'a Value, name: &str) -> Option<&'a Value> {
    let own = match name {
        "*" => schema.get("additionalProperties"),
        name => schema.get("properties").and_then(|keys| keys.get(name)),
    };
    let in_items = || below(schema.get("items")?, name);
    let in_forms = || {
        let forms = schema.get("anyOf")?.as_array()?;
        forms.iter().find_map(|form| below(form, name))
    };
    own.or_else(in_items).or_else(in_forms)
}
