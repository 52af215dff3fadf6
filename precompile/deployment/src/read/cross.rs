//! What services say of each other, and of what they share.

use std::collections::BTreeMap;

use zlayer_bundle::{Deployment, KeyvalueSettings, SERVICES_MAX, Service, nearest};

use super::{ports, wasm};
use crate::view::View;

/// Tells what does not fit together. `services` are those of the deployment, as the file has them.
pub(super) fn check(deployment: &Deployment, file: &View<'_>, services: &[View<'_>]) {
    if services.len() > SERVICES_MAX {
        // What they say of each other would be told at length.
        return;
    }
    let pairs = || deployment.services.iter().zip(services);
    let names: Vec<&str> = deployment.services.iter().map(name).collect();
    for (_, view) in pairs() {
        check_services(&names, view);
    }
    ports::check(deployment, file, services);
    check_namespaces(pairs());
}

/// The name of a service, which each of a file has.
fn name(service: &Service) -> &str {
    service.name.as_deref().unwrap_or_default()
}

/// The handlers that a stage is for have to be there.
fn check_services(names: &[&str], service: &View<'_>) {
    let Some(wasm) = wasm::block(service) else {
        return;
    };
    let items = wasm.get("services").map_or(&[][..], |node| node.items());
    for (index, item) in items.iter().enumerate() {
        let Some(text) = item.text().filter(|text| !names.contains(text)) else {
            continue;
        };
        let mends = match nearest(text, names.iter().copied()) {
            Some(meant) => format!("did you mean '{meant}'?"),
            None => format!("there are {}", names.join(", ")),
        };
        let path = format!("{}[{index}]", wasm.path_of("services"));
        let text = text.escape_debug();
        wasm.report.refuse(
            item.at,
            &path,
            format!("there is no service '{text}'; {mends}"),
        );
    }
}

/// Plugins that share a namespace keep it the same way.
fn check_namespaces<'a, 'v: 'a>(pairs: impl Iterator<Item = (&'a Service, &'a View<'v>)>) {
    type Known<'k> = BTreeMap<&'k str, Vec<(&'k str, &'k KeyvalueSettings)>>;
    let mut known: Known<'a> = BTreeMap::new();
    for (service, view) in pairs {
        let keyvalue = &service.settings.keyvalue;
        let namespace = keyvalue.namespace.as_deref().unwrap_or(name(service));
        let others = known.entry(namespace).or_default();
        for (other, settings) in &*others {
            for (setting, is_other) in [
                ("kv_quota", differs(keyvalue.quota, settings.quota)),
                ("kv_max_keys", differs(keyvalue.max_keys, settings.max_keys)),
                (
                    "kv_max_value_size",
                    differs(keyvalue.max_value_size, settings.max_value_size),
                ),
                (
                    "kv_durability",
                    differs(keyvalue.durability, settings.durability),
                ),
            ] {
                if let Some(wasm) = wasm::block(view).filter(|_| is_other) {
                    wasm.refuse(
                        setting,
                        format!(
                            "services.{other} shares the namespace '{}' and says otherwise; say the same in both",
                            namespace.escape_debug()
                        ),
                    );
                }
            }
        }
        others.push((name(service), keyvalue));
    }
}

/// Whether both say something, and not the same.
fn differs<T: PartialEq>(one: Option<T>, other: Option<T>) -> bool {
    one.is_some() && other.is_some() && one != other
}
