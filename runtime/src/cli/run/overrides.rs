//! `--plugin NAME:SETTING=VALUE`: how single plugins differ from the others.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::Arc;

use zlayer_bundle::Role;

use crate::capability::{Capabilities, Capability};
use crate::config::{BodyAccess, OnFailure, PERSONAL_MAX, PluginConfig, parse_bytes};
use zlayer_bundle::AllowedHosts;

/// One `NAME:SETTING=VALUE`, taken apart but for the value.
pub(super) struct Override {
    /// The plugin that it is for.
    plugin: String,
    setting: String,
    value: String,
}

/// The names of settings, for messages.
const SETTINGS: &str = "config.KEY, roles, secrets, allow, deny, allow-hosts, kv-namespace, kv-durability, kv-write-max, max-instances, reuse, paths, services, on-failure, bodies, request-body, personal-headers";

/// Those that are lists.
const LISTS: [&str; 8] = [
    "roles",
    "secrets",
    "allow",
    "deny",
    "allow-hosts",
    "paths",
    "services",
    "personal-headers",
];

impl FromStr for Override {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // The value is not repeated in messages: it may hold what should not be seen.
        let (left, value) = text
            .split_once('=')
            .ok_or("wants NAME:SETTING=VALUE".to_owned())?;
        // Names of plugins and keys of the configuration may hold colons, names of settings do not.
        let split = left.match_indices(':').find_map(|(at, _)| {
            let setting = &left[at + 1..];
            let known = setting.starts_with("config.")
                || SETTINGS.split(", ").any(|known| known == setting);
            (known && at > 0).then_some((&left[..at], setting))
        });
        let (plugin, setting) =
            split.ok_or_else(|| format!("'{left}' is no NAME:SETTING; settings are {SETTINGS}"))?;
        Ok(Override {
            plugin: plugin.to_owned(),
            setting: setting.to_owned(),
            value: value.to_owned(),
        })
    }
}

/// What these words make of the plugins that they name. All else is as `usual` has it.
///
/// # Errors
///
/// Two words contradict each other, or a value is not one of its setting's.
pub(super) fn apply(
    words: &[Override],
    usual: &PluginConfig,
) -> Result<BTreeMap<String, PluginConfig>, String> {
    let mut plugins = BTreeMap::new();
    for (place, word) in words.iter().enumerate() {
        let is_again = words[..place].iter().any(|before| word.repeats(before));
        if is_again && !LISTS.contains(&word.setting.as_str()) {
            let Override {
                plugin, setting, ..
            } = word;
            return Err(format!("{plugin}:{setting} is given twice; say it once"));
        }
        let plugin = plugins
            .entry(word.plugin.clone())
            .or_insert_with(|| usual.clone());
        word.apply(plugin, is_again)?;
    }
    Ok(plugins)
}

impl Override {
    /// Whether it is for the same setting of the same plugin.
    fn repeats(&self, before: &Override) -> bool {
        (&self.plugin, &self.setting) == (&before.plugin, &before.setting)
    }

    /// Writes it into what is said of the plugin: a list behind what another word has put there
    /// (`is_again`), all else in the place of what is usual.
    fn apply(&self, plugin: &mut PluginConfig, is_again: bool) -> Result<(), String> {
        let value = self.value.as_str();
        let one_of = |known: &str| format!("{}: wants one of {known}", self.setting);
        let number = || format!("{}: wants a number from 1", self.setting);
        let PluginConfig {
            grants,
            pooling,
            placement,
        } = plugin;
        // The parts that plugins of which nothing is said share stay as they are.
        let (grants, placement) = (Arc::make_mut(grants), Arc::make_mut(placement));
        match self.setting.as_str() {
            "secrets" => {
                let names = list(value).map(str::to_owned);
                extend(&mut grants.secrets, is_again, names);
            }
            "roles" => {
                let named: Result<Vec<Role>, _> = list(value).map(str::parse).collect();
                extend(&mut grants.roles, is_again, named?);
            }
            "allow" => grants.allowed = grants.allowed.and(capabilities(value)?),
            "deny" => grants.denied = grants.denied.and(capabilities(value)?),
            "allow-hosts" => {
                let hosts = list(value).map(str::parse).collect::<Result<_, _>>()?;
                if !is_again {
                    grants.allowed_hosts = AllowedHosts::default();
                }
                grants.allowed_hosts.extend(hosts);
            }
            "kv-namespace" => grants.namespace = Some(value.to_owned()),
            "kv-durability" => {
                let durability = value.parse();
                let told = |reason| format!("kv-durability: {reason}");
                grants.keyvalue.durability = durability.map_err(told)?;
            }
            "kv-write-max" => {
                let bytes = parse_bytes(value);
                let told = |reason| format!("kv-write-max: {reason}");
                grants.keyvalue.day_bytes = bytes.map_err(told)?;
            }
            "max-instances" => pooling.instances = value.parse().map_err(|_| number())?,
            "reuse" => pooling.reuse = value.parse().map_err(|_| number())?,
            "paths" => {
                let patterns: Result<Vec<_>, _> = list(value).map(str::parse).collect();
                extend(&mut placement.paths, is_again, patterns?);
            }
            "services" => {
                let names = list(value).map(str::to_owned);
                extend(&mut placement.services, is_again, names);
            }
            "on-failure" => {
                placement.on_failure = Some(match value {
                    "open" => OnFailure::Open,
                    "closed" => OnFailure::Closed,
                    _ => return Err(one_of("open, closed")),
                });
            }
            "bodies" => {
                let bodies = value.parse();
                placement.bodies =
                    Some(bodies.map_err(|_| one_of("both, request, response, none"))?);
            }
            "request-body" => {
                placement.request_body = match value {
                    "auto" => BodyAccess::Auto,
                    "whole" => BodyAccess::Whole,
                    "none" => BodyAccess::None,
                    _ => return Err(one_of("auto, whole, none")),
                };
            }
            "personal-headers" => {
                let known = placement.personal_headers.len() * usize::from(is_again);
                placement.personal_headers.truncate(known);
                for name in list(value) {
                    let name = name
                        .parse()
                        .map_err(|_| format!("personal-headers: '{name}' is no header's name"))?;
                    placement.personal_headers.push(name);
                }
                if placement.personal_headers.len() > PERSONAL_MAX {
                    return Err(format!("personal-headers: at most {PERSONAL_MAX} names"));
                }
            }
            setting => match setting.strip_prefix("config.") {
                Some(key) if !key.is_empty() => {
                    grants.config.insert(key.to_owned(), value.to_owned());
                }
                _ => {
                    return Err(format!(
                        "there is no setting '{setting}'; there are {SETTINGS}"
                    ));
                }
            },
        }
        Ok(())
    }
}

/// Puts `items` behind those that are there, or, with the first word of a setting, in their place.
fn extend<T>(to: &mut Option<Vec<T>>, is_again: bool, items: impl IntoIterator<Item = T>) {
    let before = to.take().filter(|_| is_again);
    let mut all = before.unwrap_or_default();
    all.extend(items);
    *to = Some(all);
}

fn capabilities(value: &str) -> Result<Capabilities, String> {
    list(value).map(str::parse::<Capability>).collect()
}

fn list(value: &str) -> impl Iterator<Item = &str> {
    value
        .split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;

    /// What these words make of plugins that are usual but for `usual`.
    fn applied(
        usual: &PluginConfig,
        words: &[&str],
    ) -> Result<BTreeMap<String, PluginConfig>, String> {
        let words: Result<Vec<Override>, _> = words.iter().map(|word| word.parse()).collect();
        apply(&words?, usual)
    }

    #[test]
    fn whatever_is_said_of_a_plugin_is_read_or_refused() {
        let usual = PluginConfig::default();
        crate::mutations::each("flags", 5_000, |input| {
            let text = String::from_utf8_lossy(input);
            for line in text.lines() {
                if let Ok(Override { setting, value, .. }) = line.parse() {
                    assert!(line.ends_with(&format!(":{setting}={value}")), "{line}");
                }
            }
            let words: Vec<&str> = text.lines().collect();
            match applied(&usual, &words) {
                Ok(plugins) => assert_eq!(plugins.is_empty(), words.is_empty()),
                Err(said) => assert!(!said.is_empty()),
            }
        });
    }

    #[test]
    fn settings_are_read_into_place() {
        let words = [
            "my:plugin:config.a:b=c=d",
            "my:plugin:secrets=one, two",
            "my:plugin:roles=handler,cache",
            "my:plugin:roles=websocket",
            "my:plugin:allow=secrets",
            "my:plugin:allow=metrics, config",
            "my:plugin:deny=keyvalue",
            "my:plugin:deny=config",
            "my:plugin:allow-hosts=a.example, *.b.example:443",
            "my:plugin:kv-namespace=shared",
            "my:plugin:kv-durability=interval=60s",
            "my:plugin:kv-write-max=8Gi",
            "my:plugin:max-instances=3",
            "my:plugin:reuse=4",
            "my:plugin:paths=/a,/b/*",
            "my:plugin:services=s",
            "my:plugin:on-failure=open",
            "my:plugin:bodies=response",
            "my:plugin:request-body=whole",
        ];
        let plugins = applied(&PluginConfig::default(), &words).unwrap();
        assert_eq!(plugins.len(), 1);
        let PluginConfig {
            grants,
            pooling,
            placement,
        } = &plugins["my:plugin"];
        assert_eq!(grants.config["a:b"], "c=d");
        assert_eq!(grants.secrets.as_deref().unwrap(), ["one", "two"]);
        let roles = [Role::Handler, Role::Cache, Role::WebSocket];
        assert_eq!(grants.roles.as_deref().unwrap(), roles);
        assert_eq!(grants.allowed.to_string(), "config, secrets, metrics");
        assert_eq!(grants.denied.to_string(), "config, keyvalue");
        let hosts = grants.allowed_hosts.to_string();
        assert_eq!(hosts, "a.example, *.b.example:443");
        assert_eq!(grants.namespace.as_deref(), Some("shared"));
        assert_eq!(grants.keyvalue.durability.to_string(), "interval=60s");
        assert_eq!(grants.keyvalue.day_bytes, 8 << 30);
        assert_eq!((pooling.instances, pooling.reuse), (3, 4));
        assert!(placement.covers("/b/c") && !placement.covers("/c"));
        assert_eq!(placement.services.as_deref().unwrap(), ["s"]);
        assert_eq!(placement.on_failure, Some(OnFailure::Open));
        let bodies = placement.bodies.unwrap();
        assert!(!bodies.request && bodies.response);
        assert_eq!(placement.request_body, BodyAccess::Whole);
    }

    #[test]
    fn what_is_said_replaces_what_is_usual_for_that_plugin_alone() {
        let mut usual = PluginConfig::default();
        let grants = Arc::make_mut(&mut usual.grants);
        grants
            .allowed_hosts
            .extend(vec!["usual.example".parse().unwrap()]);
        for key in ["k", "l"] {
            grants.config.insert(key.to_owned(), "usual".to_owned());
        }
        let words = ["p:allow-hosts=own.example", "p:config.k=own"];
        let plugins = applied(&usual, &words).unwrap();
        let own = &plugins["p"].grants;
        assert_eq!(own.allowed_hosts.to_string(), "own.example");
        assert_eq!([&own.config["k"], &own.config["l"]], ["own", "usual"]);
        assert_eq!(usual.grants.allowed_hosts.to_string(), "usual.example");
        assert_eq!(usual.grants.config["k"], "usual");
        // No host at all is a list, too.
        let plugins = applied(&usual, &["p:allow-hosts="]).unwrap();
        assert!(plugins["p"].grants.allowed_hosts.is_empty());
    }

    #[test]
    fn a_list_given_twice_goes_on() {
        let words = [
            "p:paths=/a",
            "p:services=s",
            "p:secrets=one",
            "p:allow-hosts=a.example",
            "p:paths=/b",
            "p:services=t",
            "p:secrets=two",
            "p:allow-hosts=b.example",
        ];
        let plugins = applied(&PluginConfig::default(), &words).unwrap();
        let PluginConfig {
            grants, placement, ..
        } = &plugins["p"];
        assert!(placement.covers("/a") && placement.covers("/b"));
        assert_eq!(placement.services.as_deref().unwrap(), ["s", "t"]);
        assert_eq!(grants.secrets.as_deref().unwrap(), ["one", "two"]);
        assert_eq!(grants.allowed_hosts.to_string(), "a.example, b.example");
    }

    #[test]
    fn one_value_contradicts_another_of_the_same_setting_and_plugin() {
        let said = |other| {
            let words = ["p:config.k=1", other];
            applied(&PluginConfig::default(), &words)
        };
        assert!(said("p:config.l=2").is_ok());
        assert!(said("q:config.k=2").is_ok());
        let error = said("p:config.k=2").unwrap_err();
        assert_eq!(error, "p:config.k is given twice; say it once");
    }

    #[test]
    fn what_is_wrong_is_named_and_values_are_not_repeated() {
        for (text, says) in [
            ("plugin", "NAME:SETTING=VALUE"),
            ("plugin:path=/a", "settings are"),
            (":paths=/a", "settings are"),
            ("plugin:config.=x", "no setting"),
            ("plugin:on-failure=ajar", "open, closed"),
            ("plugin:paths=api", "no path pattern"),
            ("plugin:paths=/a*b", "no path pattern"),
            ("plugin:paths=/a//b", "no path pattern"),
            ("plugin:paths=/a/../b", "no path pattern"),
            ("plugin:deny=everything", "no capability"),
            ("plugin:allow=everything", "no capability"),
            ("plugin:roles=everything", "no role"),
            ("plugin:reuse=-1", "from 1"),
            ("plugin:max-instances=many", "from 1"),
            (
                "plugin:kv-durability=often",
                "kv-durability: there is no durability",
            ),
            ("plugin:kv-durability=interval=1ms", "at least 100ms"),
            ("plugin:kv-write-max=much", "kv-write-max: "),
            ("plugin:allow-hosts=http://a/", "is not a host"),
        ] {
            let error = applied(&PluginConfig::default(), &[text]).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
        let error = applied(&PluginConfig::default(), &["p:confg.key=hunter2"]).unwrap_err();
        assert!(!error.contains("hunter2"));
    }
}
