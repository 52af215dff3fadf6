//! A `deployment.yaml` of a few plugins, and what a test says of them in one line each.
//!
//! A line is `NAME:SETTING=VALUE`: a key of the service's `wasm:` block with `-` for `_`, whose list has commas;
//! or `config.KEY`, for its `env`; or `allow` and `deny`, for capabilities.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Keys that hold lists.
const LISTS: [&str; 6] = [
    "roles",
    "secrets",
    "allow-hosts",
    "paths",
    "services",
    "personal-headers",
];

/// The names of plugins that are served from these files: that of the file, with a number behind where one
/// before it has the same.
pub(crate) fn names(files: &[PathBuf]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for file in files {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let name = name.split('.').next().unwrap_or_default().to_owned();
        let numbered = (2..).map(|number| format!("{name}-{number}"));
        let mut wanted = [name.clone()].into_iter().chain(numbered);
        names.extend(wanted.find(|name| !names.contains(name)));
    }
    names
}

/// The deployment that serves these files, in this order.
///
/// # Panics
///
/// A line is for none of them.
pub(crate) fn deployment(files: &[PathBuf], lines: &[String]) -> String {
    let names = names(files);
    let mut text = "version: v1\ndeployment: test\nservices:\n".to_owned();
    let mut left: Vec<&String> = lines.iter().collect();
    for (name, file) in names.iter().zip(files) {
        let mut service = Service::default();
        left.retain(|line| {
            let own = line.strip_prefix(name.as_str());
            let own = own.and_then(|rest| rest.strip_prefix(':'));
            own.map(|setting| service.add(setting)).is_none()
        });
        service.write(&mut text, name, file);
    }
    assert!(left.is_empty(), "{left:?} are for none of {names:?}");
    text
}

#[derive(Default)]
struct Service {
    env: Vec<(String, String)>,
    capabilities: BTreeMap<String, bool>,
    lists: BTreeMap<String, Vec<String>>,
    values: BTreeMap<String, String>,
}

impl Service {
    fn add(&mut self, setting: &str) {
        let (key, value) = setting.split_once('=').unwrap_or((setting, ""));
        let items = value
            .split(',')
            .map(str::trim)
            .filter(|one| !one.is_empty());
        if let Some(key) = key.strip_prefix("config.") {
            // What the daemon would take for its own variable is meant as it is.
            let value = value.replace("${", "$${");
            self.env.push((key.to_owned(), value));
        } else if key == "allow" || key == "deny" {
            let named = items.map(|one| (one.replace('-', "_"), key == "allow"));
            self.capabilities.extend(named);
        } else if LISTS.contains(&key) {
            let key = match key {
                "allow-hosts" => "allowed_hosts".to_owned(),
                key => key.replace('-', "_"),
            };
            let list = self.lists.entry(key).or_default();
            list.extend(items.map(str::to_owned));
        } else {
            self.values.insert(key.replace('-', "_"), value.to_owned());
        }
    }

    fn write(&self, text: &mut String, name: &str, file: &Path) {
        // Strings of JSON are strings of YAML.
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        let _ = writeln!(
            text,
            "  {}:\n    image: {}",
            quoted(name),
            quoted(&file.to_string_lossy())
        );
        if !self.env.is_empty() {
            text.push_str("    env:\n");
        }
        for (key, value) in &self.env {
            let _ = writeln!(
                text,
                "      - name: {}\n        value: {}",
                quoted(key),
                quoted(value)
            );
        }
        let mut keys = Vec::new();
        if !self.capabilities.is_empty() {
            let named = self
                .capabilities
                .iter()
                .map(|(one, is)| format!("{one}: {is}"));
            let named: Vec<String> = named.collect();
            keys.push(format!("capabilities: {{{}}}", named.join(", ")));
        }
        for (key, items) in &self.lists {
            let items: Vec<String> = items.iter().map(|one| quoted(one)).collect();
            keys.push(format!("{key}: [{}]", items.join(", ")));
        }
        for (key, value) in &self.values {
            // Numbers stay numbers.
            let value = match value.parse::<u64>() {
                Ok(number) => number.to_string(),
                Err(_) => quoted(value),
            };
            keys.push(format!("{key}: {value}"));
        }
        if !keys.is_empty() {
            let _ = writeln!(text, "    wasm:\n      {}", keys.join("\n      "));
        }
    }
}
