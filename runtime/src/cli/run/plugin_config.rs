//! What is said of a service, in the parts that the daemon reads.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::HeaderName;
use zlayer_bundle::{KeyvalueSettings, ServiceSettings};

use crate::config::{Grants, PERSONAL_MAX, Placement, PluginConfig, Pooling, Secret};
use crate::keyvalue::{Quota, Settings};

/// The parts, with what the device knows by the names of the `variables`. Whatever is not said is as usual.
///
/// # Errors
///
/// A value makes no sense, by its name in a `deployment.yaml`.
pub(super) fn read(
    said: &ServiceSettings,
    variables: &BTreeMap<String, String>,
) -> Result<PluginConfig, String> {
    Ok(PluginConfig {
        grants: Arc::new(grants(said, variables)?),
        pooling: pooling(said)?,
        placement: Arc::new(placement(said)?),
        health: said.health.clone().map(Arc::new),
    })
}

fn grants(said: &ServiceSettings, variables: &BTreeMap<String, String>) -> Result<Grants, String> {
    let usual = Grants::default();
    let (mut config, mut own_secrets) = (BTreeMap::new(), BTreeMap::new());
    for one in &said.env {
        let value = one.value.resolve(|name| variables.get(name).cloned());
        // All that are missing were named when the variables were looked up.
        let value = value.map_err(|missing| format!("env: {} is not known", missing.join(", ")))?;
        if one.secret || one.value.has_variables() {
            own_secrets.insert(one.name.clone(), Secret(value.clone()));
        }
        if !one.secret {
            config.insert(one.name.clone(), value);
        }
    }
    Ok(Grants {
        roles: said.roles.clone(),
        allowed: said.allow.iter().copied().collect(),
        denied: said.deny.iter().copied().collect(),
        allowed_hosts: said.allow_hosts.iter().flatten().cloned().collect(),
        config,
        own_secrets,
        secrets: said.secrets.clone(),
        namespace: said.keyvalue.namespace.clone(),
        keyvalue: keyvalue(&said.keyvalue)?,
        log_records: said.log_rate.unwrap_or(usual.log_records),
    })
}

fn keyvalue(said: &KeyvalueSettings) -> Result<Settings, String> {
    let usual = Settings::default();
    let value_bytes = said.max_value_size.map(usize::try_from).transpose();
    let value_bytes = value_bytes.map_err(|_| "kv_max_value_size: is too large".to_owned())?;
    Ok(Settings {
        quota: Quota {
            bytes: said.quota.unwrap_or(usual.quota.bytes),
            keys: said.max_keys.unwrap_or(usual.quota.keys),
            value_bytes: value_bytes.unwrap_or(usual.quota.value_bytes),
            ..usual.quota
        },
        durability: said.durability.unwrap_or(usual.durability),
        day_bytes: said.write_max.unwrap_or(usual.day_bytes),
    })
}

fn pooling(said: &ServiceSettings) -> Result<Pooling, String> {
    let usual = Pooling::default();
    let max_memory = said.max_memory.map(usize::try_from).transpose();
    Ok(Pooling {
        instances: said
            .max_instances
            .map_or(usual.instances, |count| count as usize),
        reuse: said.reuse.unwrap_or(usual.reuse),
        min_instances: said
            .min_instances
            .map_or(usual.min_instances, |count| count as usize),
        idle_timeout: said.idle_timeout,
        request_timeout: said.request_timeout,
        max_memory: max_memory.map_err(|_| "max_memory: is more than this machine can address")?,
    })
}

fn placement(said: &ServiceSettings) -> Result<Placement, String> {
    let names = said.personal_headers.iter().map(|name| {
        let header = name.parse::<HeaderName>();
        header.map_err(|_| {
            format!(
                "personal_headers: '{}' is no header's name",
                name.escape_debug()
            )
        })
    });
    let personal_headers: Vec<HeaderName> = names.collect::<Result<_, _>>()?;
    if personal_headers.len() > PERSONAL_MAX {
        return Err(format!("personal_headers: at most {PERSONAL_MAX} names"));
    }
    Ok(Placement {
        paths: said.paths.clone(),
        endpoints: said.endpoints.clone(),
        services: said.services.clone(),
        on_failure: said.on_failure,
        bodies: said.bodies,
        request_body: said.request_body.unwrap_or_default(),
        personal_headers,
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use zlayer_bundle::{Value, Variable};

    use super::*;

    #[test]
    fn what_is_not_said_is_as_usual() {
        let config = read(&ServiceSettings::default(), &BTreeMap::new()).unwrap();
        assert_eq!(
            format!("{config:?}"),
            format!("{:?}", PluginConfig::default())
        );
    }

    #[test]
    fn values_of_the_device_are_secrets_too_and_some_are_nothing_else() {
        let variable = |name: &str, value: &str, secret| Variable {
            name: name.to_owned(),
            value: value.parse().unwrap(),
            secret,
        };
        let said = ServiceSettings {
            env: vec![
                variable("plain", "a", false),
                variable("both", "x ${KEY}", false),
                variable("hidden", "${KEY}", true),
                Variable {
                    value: Value::literal("${KEY}"),
                    ..variable("as_it_is", "", false)
                },
            ],
            ..ServiceSettings::default()
        };
        let known = BTreeMap::from([("KEY".to_owned(), "hunter2".to_owned())]);
        let grants = grants(&said, &known).unwrap();
        let config: Vec<_> = grants.config.into_iter().collect();
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            config,
            [
                pair("as_it_is", "${KEY}"),
                pair("both", "x hunter2"),
                pair("plain", "a")
            ]
        );
        let names: Vec<_> = grants.own_secrets.keys().collect();
        assert_eq!(names, ["both", "hidden"]);
        assert_eq!(grants.own_secrets["hidden"].0, "hunter2");
    }

    #[test]
    fn headers_have_names_and_there_are_not_too_many() {
        let told = |names: &[&str]| {
            placement(&ServiceSettings {
                personal_headers: names.iter().map(|name| (*name).to_owned()).collect(),
                ..ServiceSettings::default()
            })
        };
        let error = told(&["a b"]).unwrap_err();
        assert_eq!(error, "personal_headers: 'a b' is no header's name");
        assert!(told(&["user-agent"; PERSONAL_MAX]).is_ok());
        assert!(told(&["user-agent"; PERSONAL_MAX + 1]).is_err());
    }
}
