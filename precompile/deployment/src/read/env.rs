//! Configuration and secrets.

use std::collections::BTreeMap;

use zlayer_bundle::{Value, Variable};

use crate::check::below;
use crate::tree::Content;
use crate::view::View;

/// What a service's `env` says, in either form.
pub(super) fn variables(service: &View<'_>) -> Vec<Variable> {
    let Some(node) = service.get("env") else {
        return Vec::new();
    };
    if let Content::Map(entries) = &node.content {
        let variable = |name: &str, value: Value| Variable {
            name: name.to_owned(),
            value,
            secret: false,
        };
        let known = entries.iter().filter_map(|entry| {
            let value = entry.value.text()?.parse().ok()?;
            Some(variable(&entry.key, value))
        });
        return known.collect();
    }
    let mut variables = Vec::new();
    let mut lines: BTreeMap<&str, usize> = BTreeMap::new();
    for entry in service.maps("env") {
        let Some(name) = entry.text("name") else {
            continue;
        };
        let path = below(&entry.path, "name");
        if let Some(line) = lines.insert(name, entry.at("name").line) {
            let name = name.escape_debug();
            let reason =
                format!("'{name}' stands here already, in line {line}; take one of them out");
            entry.report.refuse(entry.at("name"), &path, reason);
            continue;
        }
        let Some(value) = entry.parsed::<Value>("value") else {
            continue;
        };
        let secret = entry.switch("secret").unwrap_or_default();
        if secret && !value.has_variables() {
            entry.refuse(
                "value",
                "is a secret that stands in the file itself, and would lie in every bundle; write ${NAME}, and tell \
                 the device what it is by that name",
            );
        }
        variables.push(Variable {
            name: name.to_owned(),
            value,
            secret,
        });
    }
    variables
}
