//! What a deployment says, as people read it: without what was not said, without secrets, durations as text.

use serde_json::{Map, Value, json};
use zlayer_bundle::{DeviceSettings, Service, Variable};

/// What stands for a secret that a deployment holds.
const MASK: &str = "***";

/// What is said of a device as a whole, one object.
pub fn said_of_device(device: &DeviceSettings) -> Value {
    pruned(serde_json::to_value(device).unwrap_or_default())
}

/// What is said of a service beside its name, one object. Values of secrets are masked.
pub fn said_of_service(service: &Service) -> Value {
    let mut settings = serde_json::to_value(&service.settings).unwrap_or_default();
    let env = &service.settings.env;
    let shown: Map<String, Value> = { env.iter() }
        .map(|one| (one.name.clone(), variable(one)))
        .collect();
    if let Some(said) = settings.as_object_mut() {
        said.insert("env".to_owned(), Value::Object(shown));
        // Each by its name, so that one that is added does not move the others.
        let endpoints = service.settings.endpoints.iter();
        let endpoints: Map<String, Value> = endpoints
            .map(|one| {
                let place = json!({
                    "protocol": one.protocol,
                    "port": one.port,
                    "expose": one.expose,
                    "host": one.hosts,
                    "path": one.path,
                });
                (one.name.clone(), place)
            })
            .collect();
        said.insert("endpoints".to_owned(), Value::Object(endpoints));
    }
    pruned(settings)
}

/// The names of secrets that two services hold both, with other values.
pub(crate) fn secrets_that_differ<'a>(one: &'a Service, other: &Service) -> Vec<&'a str> {
    let others = &other.settings.env;
    let differs = |here: &&Variable| {
        let there = others.iter().find(|there| there.name == here.name);
        there.is_some_and(|there| is_masked(here) && is_masked(there) && here.value != there.value)
    };
    let env = one.settings.env.iter();
    env.filter(differs).map(|one| one.name.as_str()).collect()
}

/// Whether it is a secret that stands in the deployment itself. One that only the device knows is shown by
/// the name that it has there.
fn is_masked(one: &Variable) -> bool {
    one.secret && !one.value.has_variables()
}

fn variable(one: &Variable) -> Value {
    let value = match is_masked(one) {
        true => MASK.to_owned(),
        false => one.value.to_string(),
    };
    match one.secret {
        true => json!({ "secret": value }),
        false => json!(value),
    }
}

/// A value without what was not said: nulls, empty lists and empty objects in objects.
fn pruned(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            if let Some(duration) = duration(&fields) {
                return json!(duration);
            }
            let kept = fields.into_iter().map(|(key, value)| (key, pruned(value)));
            Value::Object(kept.filter(|(_, value)| !is_unsaid(value)).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(pruned).collect()),
        other => other,
    }
}

fn is_unsaid(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(fields) => fields.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

/// A duration as text, where an object is what serde makes of one.
fn duration(fields: &Map<String, Value>) -> Option<String> {
    let seconds = fields.get("secs")?.as_u64()?;
    let nanoseconds = fields.get("nanos")?.as_u64()?;
    (fields.len() == 2).then(|| match nanoseconds {
        0 => format!("{seconds}s"),
        _ => format!(
            "{}ms",
            seconds
                .saturating_mul(1000)
                .saturating_add(nanoseconds / 1_000_000)
        ),
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use std::time::Duration;

    use zlayer_bundle::{Endpoint, ServiceSettings, TimeoutSettings};

    use super::*;

    fn service(token: &str) -> Service {
        let variable = |name: &str, value: &str, secret| Variable {
            name: name.to_owned(),
            value: value.parse().unwrap(),
            secret,
        };
        Service {
            name: Some("s".to_owned()),
            settings: ServiceSettings {
                env: vec![
                    variable("REGION", "north", false),
                    variable("TOKEN", token, true),
                    variable("KEY", "${KEY}", true),
                ],
                idle_timeout: Some(Duration::from_secs(90)),
                endpoints: vec![Endpoint {
                    name: "http".to_owned(),
                    port: 80,
                    hosts: vec!["*.shop.example".parse().unwrap()],
                    ..Endpoint::default()
                }],
                ..ServiceSettings::default()
            },
        }
    }

    #[test]
    fn a_service_says_what_was_said_and_no_secret() {
        let said = said_of_service(&service("hunter2"));
        let expected = json!({
            "env": {
                "KEY": { "secret": "${KEY}" },
                "REGION": "north",
                "TOKEN": { "secret": "***" },
            },
            "idle_timeout": "90s",
            "endpoints": {
                "http": {
                    "protocol": "http",
                    "port": 80,
                    "expose": "internal",
                    "host": ["*.shop.example"],
                },
            },
        });
        assert_eq!(said, expected);
    }

    #[test]
    fn another_secret_is_told_by_its_name_alone() {
        let (one, other) = (service("hunter2"), service("hunter3"));
        assert_eq!(secrets_that_differ(&one, &other), ["TOKEN"]);
        assert_eq!(secrets_that_differ(&one, &one), [""; 0]);
        assert_eq!(said_of_service(&one), said_of_service(&other));
    }

    #[test]
    fn a_device_says_nothing_where_nothing_was_said() {
        assert_eq!(said_of_device(&DeviceSettings::default()), json!({}));
        let device = DeviceSettings {
            port: Some(80),
            timeouts: TimeoutSettings {
                head: Some(Duration::from_millis(1500)),
                ..TimeoutSettings::default()
            },
            ..DeviceSettings::default()
        };
        let expected = json!({ "port": 80, "timeouts": { "head": "1500ms" } });
        assert_eq!(said_of_device(&device), expected);
    }
}
