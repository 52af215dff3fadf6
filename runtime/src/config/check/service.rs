//! What has to hold of one plugin.

use std::collections::BTreeMap;

use zlayer_bundle::{ByteSize, HealthCheck};

use super::{OUT_OF_TIMES, TIMES};
use crate::config::{INSTANCES_MAX, PluginConfig, Pooling, Secret};
use crate::keyvalue::VALUE_BYTES_MAX;

/// Bytes of a page of linear memory (WebAssembly Core Specification, 2.0, section 4.2.8): a memory has a
/// number of whole ones.
const PAGE_BYTES: usize = 64 << 10;

/// What is said of one plugin by its name.
pub(super) fn check_service(
    plugin: &PluginConfig,
    secrets: &BTreeMap<String, Secret>,
) -> std::result::Result<(), String> {
    let PluginConfig {
        grants,
        pooling,
        placement,
        health,
    } = plugin;
    if !(1..=INSTANCES_MAX).contains(&pooling.instances) {
        return Err(format!(
            "max_instances: wants a number from 1 to {INSTANCES_MAX}"
        ));
    }
    if pooling.reuse == 0 {
        return Err("reuse: wants a number from 1".to_owned());
    }
    check_keeping(pooling)?;
    if let Some(health) = health {
        check_health(health)?;
    }
    if grants.log_records == 0 {
        return Err("log_rate: wants a number from 1".to_owned());
    }
    if grants.keyvalue.quota.value_bytes > VALUE_BYTES_MAX {
        return Err(format!(
            "kv_max_value_size: is more than {} MiB",
            VALUE_BYTES_MAX >> 20
        ));
    }
    if grants.namespace.as_ref().is_some_and(String::is_empty) {
        return Err("kv_namespace: wants a name".to_owned());
    }
    if grants.roles.as_ref().is_some_and(Vec::is_empty) {
        return Err("roles: wants at least one".to_owned());
    }
    // None at all would switch the plugin off, and a guard with it.
    for (setting, is_empty) in [
        ("paths", placement.paths.as_ref().is_some_and(Vec::is_empty)),
        (
            "services",
            placement.services.as_ref().is_some_and(Vec::is_empty),
        ),
    ] {
        if is_empty {
            return Err(format!("{setting}: wants at least one"));
        }
    }
    let mut names = grants.secrets.iter().flatten();
    // How names begin may be said before there are any.
    let is_known =
        |name: &String| secrets.contains_key(name) || grants.own_secrets.contains_key(name);
    match names.find(|name| !name.ends_with('*') && !is_known(name)) {
        Some(name) => Err(format!(
            "there is no secret '{name}': --secrets-file, --secret-credential or --secret-env bring it"
        )),
        None => Ok(()),
    }
}

/// What a deployment says of how instances are kept, by its names.
fn check_keeping(pooling: &Pooling) -> std::result::Result<(), String> {
    let (min, max) = (pooling.min_instances, pooling.instances);
    if min > max {
        return Err(format!(
            "min_instances: {min} is more than max_instances, which is {max}: lower it, or raise max_instances"
        ));
    }
    for (setting, time) in [
        ("request_timeout", pooling.request_timeout),
        ("idle_timeout", pooling.idle_timeout),
    ] {
        if time.is_some_and(|time| !TIMES.contains(&time)) {
            return Err(format!("{setting}: {OUT_OF_TIMES}"));
        }
    }
    match pooling.max_memory.filter(|bytes| *bytes < PAGE_BYTES) {
        Some(bytes) => Err(format!(
            "max_memory: {} is too little; at least {} (without a unit it is bytes; units are Ki, Mi and Gi)",
            ByteSize(bytes as u64),
            ByteSize(PAGE_BYTES as u64)
        )),
        None => Ok(()),
    }
}

pub(super) fn check_health(health: &HealthCheck) -> std::result::Result<(), String> {
    let HealthCheck {
        url,
        expect_status,
        interval,
        timeout,
        retries,
        start_grace,
    } = health;
    if !url.starts_with('/') || url.parse::<http::uri::PathAndQuery>().is_err() {
        return Err("health.check.url: wants a path, which begins with a slash".to_owned());
    }
    if !(200..600).contains(expect_status) {
        return Err("health.check.expect_status: wants a status from 200 to 599".to_owned());
    }
    for (setting, time) in [
        ("interval", interval),
        ("timeout", timeout),
        ("start_grace", start_grace),
    ] {
        if time.is_some_and(|time| !TIMES.contains(&time)) {
            return Err(format!("health.{setting}: {OUT_OF_TIMES}"));
        }
    }
    match retries {
        Some(0) => Err("health.retries: wants a number from 1".to_owned()),
        _ => Ok(()),
    }
}
