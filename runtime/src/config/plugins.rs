//! What is said of one plugin: `--plugin NAME:SETTING=VALUE`.

use std::collections::BTreeMap;
use std::str::FromStr;

use crate::allowed_hosts::AllowedHosts;
use crate::capability::{Capabilities, Capability};
use crate::config::INSTANCES_MAX;

/// How one plugin differs from the others of a daemon.
#[derive(Debug, Clone, Default)]
pub struct PluginSettings {
    /// Configuration that this plugin alone sees, before what all see.
    pub config: BTreeMap<String, String>,
    /// Names of the secrets that it may see; `None` is all of them.
    pub secrets: Option<Vec<String>>,
    /// What it may not use, beside what no plugin may.
    pub denied: Option<Capabilities>,
    /// The hosts that it may send requests to; `None` is those that all plugins may.
    pub allowed_hosts: Option<AllowedHosts>,
    /// Its namespace in the store (default: its name). Plugins that name the same one share it.
    pub kv_namespace: Option<String>,
    /// Instances of it that run at the same time.
    pub instances: Option<usize>,
    /// See [`crate::config::Limits::reuse`].
    pub reuse: Option<u32>,
    /// The requests that it takes part in; `None` is all of them.
    pub paths: Option<Vec<PathPattern>>,
    /// It takes part in requests for these handlers alone; `None` is all of them.
    pub services: Option<Vec<String>>,
    /// What becomes of a request when it fails as a stage; `None` is what the stage's role asks for.
    pub on_failure: Option<OnFailure>,
    /// Which bodies its transformer is called for.
    pub bodies: Bodies,
    /// Whether its authenticator, rate limiter and router see bodies.
    pub request_body: BodyAccess,
}

/// What becomes of a request whose stage trapped, took too long or had no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    /// It goes on as if the stage were not there.
    Open,
    /// It is answered with 503.
    Closed,
}

/// Which bodies a transformer is called for. Those it is called for are held whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bodies {
    /// Of requests.
    pub request: bool,
    /// Of responses.
    pub response: bool,
}

impl Default for Bodies {
    fn default() -> Self {
        Bodies {
            request: true,
            response: true,
        }
    }
}

/// Whether the stages before the handler see a request's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BodyAccess {
    /// If its length is announced and at most 16 KiB, which costs nothing of the memory that
    /// requests share: the client may be a stranger yet. Else it streams past them, and they see an
    /// empty one and `body` = `streamed` in the context.
    #[default]
    Auto,
    /// Always: those beyond the bound for bodies are refused with 413.
    Whole,
    /// Never.
    None,
}

/// A path as it stands, or the beginning of one: `/status`, `/api/*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathPattern {
    text: String,
    is_prefix: bool,
}

impl PathPattern {
    /// Whether a normalised path falls under it. `/api/*` covers `/api` too, and `/*` what is no path
    /// as well: the `*` of `OPTIONS *`.
    pub fn covers(&self, path: &str) -> bool {
        if !self.is_prefix {
            return path == self.text;
        }
        self.text == "/"
            || path.starts_with(&self.text)
            || self.text.strip_suffix('/') == Some(path)
    }
}

impl FromStr for PathPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (path, is_prefix) = match text.strip_suffix('*') {
            Some(prefix) => (prefix, true),
            None => (text, false),
        };
        // Requests are compared in one spelling: a pattern in another would never cover any.
        let is_other = |segment: &str| matches!(segment, "." | "..");
        let is_odd = path.contains("//") || path.split('/').any(is_other);
        if !path.starts_with('/') || path.contains(['*', '?', '#', '%', '\\']) || is_odd {
            return Err(format!(
                "'{text}' is no path pattern; write it decoded, like /status or /api/*"
            ));
        }
        Ok(PathPattern {
            text: path.to_owned(),
            is_prefix,
        })
    }
}

/// One `NAME:SETTING=VALUE`, taken apart but for the value.
#[derive(Debug, Clone)]
pub struct Override {
    /// The plugin that it is for.
    pub plugin: String,
    setting: String,
    value: String,
}

/// The names of settings, for messages.
const SETTINGS: &str = "config.KEY, secrets, deny, allow-hosts, kv-namespace, max-instances, reuse, paths, services, on-failure, bodies, request-body";

/// Those that are lists.
const LISTS: [&str; 5] = ["secrets", "deny", "allow-hosts", "paths", "services"];

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
        let parsed = Override {
            plugin: plugin.to_owned(),
            setting: setting.to_owned(),
            value: value.to_owned(),
        };
        parsed.apply(&mut PluginSettings::default())?;
        Ok(parsed)
    }
}

impl Override {
    /// Whether it says again what only one can hold of: a list goes on where it is given twice.
    pub fn contradicts(&self, before: &Override) -> bool {
        let is_list = LISTS.contains(&self.setting.as_str());
        !is_list && (&self.plugin, &self.setting) == (&before.plugin, &before.setting)
    }

    /// The setting, with the plugin that it is for.
    pub fn name(&self) -> String {
        format!("{}:{}", self.plugin, self.setting)
    }

    /// Writes it into the plugin's settings, behind what a list has already.
    ///
    /// # Errors
    ///
    /// The value is not one of the setting's.
    pub fn apply(&self, settings: &mut PluginSettings) -> Result<(), String> {
        let value = self.value.as_str();
        let one_of = |known: &str| format!("{}: wants one of {known}", self.setting);
        let count = || -> Result<u32, String> {
            let count = value.parse().ok().filter(|&count| count > 0);
            count.ok_or_else(|| format!("{}: wants a number from 1", self.setting))
        };
        // None at all would switch the plugin off, and a guard with it.
        let some = || match list(value).next() {
            Some(_) => Ok(list(value)),
            None => Err(format!("{}: wants at least one", self.setting)),
        };
        match self.setting.as_str() {
            "secrets" => {
                let secrets = settings.secrets.get_or_insert_default();
                secrets.extend(list(value).map(str::to_owned));
            }
            "deny" => {
                let mut denied = settings.denied.unwrap_or(Capabilities::NONE);
                for name in list(value) {
                    denied = denied.with(name.parse::<Capability>()?);
                }
                settings.denied = Some(denied);
            }
            "allow-hosts" => {
                let hosts: Result<Vec<_>, _> = list(value).map(str::parse).collect();
                let allowed = settings.allowed_hosts.get_or_insert_default();
                allowed.extend(hosts?);
            }
            "kv-namespace" if value.is_empty() => {
                return Err("kv-namespace: wants a name".to_owned());
            }
            "kv-namespace" => settings.kv_namespace = Some(value.to_owned()),
            "max-instances" => {
                let most = Some(count()? as usize).filter(|&count| count <= INSTANCES_MAX);
                let most = most.ok_or_else(|| {
                    format!("max-instances: wants a number from 1 to {INSTANCES_MAX}")
                })?;
                settings.instances = Some(most);
            }
            "reuse" => settings.reuse = Some(count()?),
            "paths" => {
                let patterns: Result<Vec<_>, _> = some()?.map(str::parse).collect();
                let paths = settings.paths.get_or_insert_default();
                paths.extend(patterns?);
            }
            "services" => {
                let services = settings.services.get_or_insert_default();
                services.extend(some()?.map(str::to_owned));
            }
            "on-failure" => {
                settings.on_failure = Some(match value {
                    "open" => OnFailure::Open,
                    "closed" => OnFailure::Closed,
                    _ => return Err(one_of("open, closed")),
                });
            }
            "bodies" => {
                let (request, response) = match value {
                    "both" => (true, true),
                    "request" => (true, false),
                    "response" => (false, true),
                    "none" => (false, false),
                    _ => return Err(one_of("both, request, response, none")),
                };
                settings.bodies = Bodies { request, response };
            }
            "request-body" => {
                settings.request_body = match value {
                    "auto" => BodyAccess::Auto,
                    "whole" => BodyAccess::Whole,
                    "none" => BodyAccess::None,
                    _ => return Err(one_of("auto, whole, none")),
                };
            }
            setting => match setting.strip_prefix("config.") {
                Some(key) if !key.is_empty() => {
                    settings.config.insert(key.to_owned(), value.to_owned());
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

    #[test]
    fn settings_are_read_into_place() {
        let mut settings = PluginSettings::default();
        for text in [
            "my:plugin:config.a:b=c=d",
            "my:plugin:secrets=one, two",
            "my:plugin:deny=keyvalue",
            "my:plugin:deny=config",
            "my:plugin:allow-hosts=a.example, *.b.example:443",
            "my:plugin:paths=/a,/b/*",
            "my:plugin:on-failure=open",
            "my:plugin:bodies=response",
            "my:plugin:request-body=whole",
            "my:plugin:max-instances=3",
        ] {
            let one: Override = text.parse().unwrap();
            assert_eq!(one.plugin, "my:plugin");
            one.apply(&mut settings).unwrap();
        }
        assert_eq!(settings.config["a:b"], "c=d");
        assert_eq!(settings.secrets.unwrap(), ["one", "two"]);
        let denied = settings.denied.unwrap();
        assert!(denied.contains(Capability::Config) && denied.contains(Capability::Keyvalue));
        let hosts = settings.allowed_hosts.unwrap();
        assert_eq!(hosts.to_string(), "a.example, *.b.example:443");
        let paths = settings.paths.unwrap();
        assert!(paths[0].covers("/a") && !paths[0].covers("/a/"));
        let all: PathPattern = "/*".parse().unwrap();
        assert!(all.covers("*") && all.covers("/") && !paths[1].covers("*"));
        assert!(paths[1].covers("/b") && paths[1].covers("/b/c") && !paths[1].covers("/bc"));
        assert_eq!(settings.on_failure, Some(OnFailure::Open));
        assert!(!settings.bodies.request && settings.bodies.response);
        assert_eq!(settings.request_body, BodyAccess::Whole);
        assert_eq!(settings.instances, Some(3));
    }

    #[test]
    fn a_list_given_twice_goes_on_and_one_value_contradicts_another() {
        let mut settings = PluginSettings::default();
        for text in [
            "p:paths=/a",
            "p:paths=/b",
            "p:services=s",
            "p:services=t",
            "p:secrets=one",
            "p:secrets=two",
            "p:allow-hosts=a.example",
            "p:allow-hosts=b.example",
        ] {
            let one: Override = text.parse().unwrap();
            one.apply(&mut settings).unwrap();
            assert!(!one.contradicts(&one), "{text}");
        }
        let paths = settings.paths.unwrap();
        for path in ["/a", "/b"] {
            assert!(paths.iter().any(|pattern| pattern.covers(path)), "{path}");
        }
        assert_eq!(settings.services.unwrap(), ["s", "t"]);
        assert_eq!(settings.secrets.unwrap(), ["one", "two"]);
        let hosts = settings.allowed_hosts.unwrap();
        assert_eq!(hosts.to_string(), "a.example, b.example");
        let one: Override = "p:config.k=1".parse().unwrap();
        for (text, contradicts) in [
            ("p:config.k=2", true),
            ("p:config.l=2", false),
            ("q:config.k=2", false),
        ] {
            let other: Override = text.parse().unwrap();
            assert_eq!(other.contradicts(&one), contradicts, "{text}");
        }
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
            ("plugin:paths=,", "at least one"),
            ("plugin:services=", "at least one"),
            ("plugin:deny=everything", "no capability"),
            ("plugin:reuse=0", "from 1"),
            ("plugin:max-instances=1025", "to 1024"),
            ("plugin:allow-hosts=http://a/", "is not a host"),
        ] {
            let error = text.parse::<Override>().unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
        let error = "p:confg.key=hunter2".parse::<Override>().unwrap_err();
        assert!(!error.contains("hunter2"));
    }
}
