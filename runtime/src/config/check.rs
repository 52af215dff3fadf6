//! What a daemon's configuration has to hold, whoever made it.

mod service;

use std::ops::RangeInclusive;
use std::time::Duration;

use zlayer_bundle::ByteSize;

use super::{
    AccessOutput, CACHE_MIN, Config, Door, Draft, HANDLES_MAX, IDENTITIES_MAX, INSTANCES_MAX,
    LogOutput, MEMORY_MIN, PLUGINS_MAX, PluginConfig, Source, THREADS_MAX, Timeouts,
};
use crate::error::{Error, Result};
use crate::keyvalue::VALUE_BYTES_MAX;
use service::check_service;

/// What a time may be, as flags and files have it.
const TIMES: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(86_400);
/// What is said of others.
const OUT_OF_TIMES: &str = "is out of range; at least 1ms, at most 24 hours";

impl Draft {
    /// Checks everything that can be known before the artifacts are opened. What needs them, such
    /// as the plugins' names, is checked when they are.
    ///
    /// # Errors
    ///
    /// The first value that is out of its range or does not fit to another one, by its flag.
    pub fn check(self) -> Result<Config> {
        self.check_counts()?;
        self.check_times()?;
        self.check_folder()?;
        self.check_https()?;
        self.check_doors()?;
        if !matches!(self.source, Source::Nothing { .. }) {
            check_count(self.services.len())?;
        }
        check_usual(&self.usual)?;
        for service in &self.services {
            // What flags say of every plugin was told by their names already.
            let name = service.name.as_deref().unwrap_or("the plugin");
            check_service(&service.config, &self.secrets)
                .map_err(|reason| Error::Usage(format!("{name}: {reason}")))?;
        }
        Ok(Config(self))
    }

    /// Flags and files cannot say others, but who signs a bundle can.
    fn check_times(&self) -> Result<()> {
        let Timeouts {
            idle,
            head,
            request,
            stall,
            upload,
            websocket_ping,
            half_closed: _,
            drain,
            trial,
        } = &self.timeouts;
        for (phase, time) in [
            ("idle", idle),
            ("head", head),
            ("request", request),
            ("stall", stall),
            ("upload", upload),
            ("websocket-ping", websocket_ping),
            ("drain", drain),
            ("trial", trial),
        ] {
            if !TIMES.contains(time) {
                return Err(wrong("timeout", &format!("{phase}: {OUT_OF_TIMES}")));
            }
        }
        Ok(())
    }

    fn check_counts(&self) -> Result<()> {
        if let Some(memory) = self.memory.filter(|memory| *memory < MEMORY_MIN) {
            return Err(wrong(
                "memory-max",
                &format!(
                    "{} is too little; at least {} (without a unit it is bytes; units are Ki, Mi and Gi)",
                    ByteSize(memory as u64),
                    ByteSize(MEMORY_MIN as u64)
                ),
            ));
        }
        if self.limits.cache.is_some_and(|bytes| bytes < CACHE_MIN) {
            let least = CACHE_MIN >> 10;
            return Err(wrong("cache-max", &format!("must be at least {least}Ki")));
        }
        up_to(usize::MAX, "max-connections", self.limits.connections)?;
        up_to(HANDLES_MAX, "max-handles", self.limits.handles)?;
        self.threads
            .map_or(Ok(()), |count| up_to(THREADS_MAX, "threads", count))
    }

    fn check_https(&self) -> Result<()> {
        let Some(https) = &self.entrance.https else {
            return Ok(());
        };
        if https.identities.len() > IDENTITIES_MAX {
            return Err(wrong(
                "tls-cert",
                &format!("more than {IDENTITIES_MAX} certificates"),
            ));
        }
        Ok(())
    }

    /// Each door has a port of its own, whatever flags have put in the place of one.
    fn check_doors(&self) -> Result<()> {
        for (place, door) in self.doors.iter().enumerate() {
            let port = door.address.port();
            let mut before = self.doors[..place].iter();
            let is_taken = |other: &&Door| other.address.port() == port && port != 0;
            let Some(other) = before.find(is_taken) else {
                continue;
            };
            return Err(match (door.is_https, other.is_https) {
                (true, false) => wrong(
                    "tls-port",
                    &format!(
                        "{port} is the port of HTTP already; choose another, or another --port"
                    ),
                ),
                _ => wrong(
                    door.flag().trim_start_matches('-'),
                    &format!("{port} is the port of another endpoint already; choose another"),
                ),
            });
        }
        Ok(())
    }

    fn check_folder(&self) -> Result<()> {
        // An unset variable of a script: the folder that it happens to run in is not meant.
        let data_dir = self.data_dir.as_ref();
        if data_dir.is_some_and(|path| path.as_os_str().is_empty()) {
            return Err(wrong("data-dir", "is empty; name a folder"));
        }
        if data_dir.is_none() && self.log != LogOutput::Text {
            return Err(wrong(
                "log",
                "the binary log needs a folder to keep; name one with --data-dir",
            ));
        }
        let has_ring = self.log != LogOutput::Text;
        if !has_ring && self.access_log.is_some_and(|to| to != AccessOutput::Stdout) {
            return Err(wrong(
                "access-log",
                "the ring is the binary log's: it wants --data-dir, and --log both or binary; or say stdout",
            ));
        }
        Ok(())
    }
}

fn check_count(count: usize) -> Result<()> {
    match count {
        0 => Err(Error::Usage(
            "what shall be served? Name a plugin, a deployment.yaml or a bundle (.zlb), or with --data-dir the folder \
             that a bundle is installed in; see zlayer run --help"
                .to_owned(),
        )),
        1..=PLUGINS_MAX => Ok(()),
        _ => Err(Error::Usage(format!("more than {PLUGINS_MAX} plugins"))),
    }
}

/// What holds for plugins that are not named, which flags of their own say.
fn check_usual(usual: &PluginConfig) -> Result<()> {
    let PluginConfig {
        grants, pooling, ..
    } = usual;
    up_to(INSTANCES_MAX, "max-instances", pooling.instances)?;
    for (flag, count) in [("reuse", pooling.reuse), ("log-rate", grants.log_records)] {
        if count == 0 {
            return Err(wrong(flag, "must be at least 1"));
        }
    }
    if grants.keyvalue.quota.value_bytes > VALUE_BYTES_MAX {
        return Err(wrong(
            "kv-max-value-size",
            &format!("is more than {} MiB", VALUE_BYTES_MAX >> 20),
        ));
    }
    Ok(())
}

fn up_to(most: usize, flag: &str, count: usize) -> Result<()> {
    match count {
        0 => Err(wrong(flag, "must be at least 1")),
        count if count > most => Err(wrong(flag, &format!("must be at most {most}"))),
        _ => Ok(()),
    }
}

fn wrong(flag: &str, reason: &str) -> Error {
    Error::Usage(format!("--{flag}: {reason}"))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use std::path::PathBuf;
    use std::sync::Arc;

    use zlayer_bundle::HealthCheck;

    use super::service::check_health;
    use super::*;
    use crate::config::{Grants, Placement, Pooling, ServiceConfig};

    /// What is wrong with a configuration that is the default but for `change`.
    fn refused(change: impl FnOnce(&mut Draft)) -> String {
        let mut draft = Draft::of(vec![PathBuf::from("a.cwasm")]);
        change(&mut draft);
        draft.check().unwrap_err().to_string()
    }

    /// The same for one plugin that is named.
    fn refused_plugin(change: impl FnOnce(&mut Grants, &mut Pooling, &mut Placement)) -> String {
        refused(|draft| {
            let mut plugin = PluginConfig::default();
            let PluginConfig {
                grants,
                pooling,
                placement,
                ..
            } = &mut plugin;
            change(Arc::make_mut(grants), pooling, Arc::make_mut(placement));
            draft.services = vec![ServiceConfig {
                name: Some("p".to_owned()),
                config: plugin,
            }];
        })
    }

    #[test]
    fn the_defaults_pass() {
        let config = Draft::of(vec![PathBuf::from("a.cwasm")]).check().unwrap();
        assert_eq!(config.services[0].config.pooling.instances, 10);
    }

    #[test]
    fn counts_and_sizes_are_refused_by_their_flags() {
        for (told, says) in [
            (
                refused(|draft| draft.memory = Some(1 << 20)),
                "--memory-max: 1Mi is too little; at least 12Mi (without a unit it is bytes; units are Ki, Mi and Gi)",
            ),
            (
                refused(|draft| draft.limits.cache = Some(1)),
                "--cache-max: must be at least 256Ki",
            ),
            (
                refused(|draft| draft.limits.connections = 0),
                "--max-connections: must be at least 1",
            ),
            (
                refused(|draft| draft.limits.handles = HANDLES_MAX + 1),
                "--max-handles: must be at most 1048576",
            ),
            (
                refused(|draft| draft.threads = Some(65)),
                "--threads: must be at most 64",
            ),
            (
                refused(|draft| draft.usual.pooling.instances = 1025),
                "--max-instances: must be at most 1024",
            ),
            (
                refused(|draft| draft.usual.pooling.reuse = 0),
                "--reuse: must be at least 1",
            ),
        ] {
            assert_eq!(told, says);
        }
    }

    #[test]
    fn a_folder_has_a_name_and_the_binary_log_a_folder() {
        let told = refused(|draft| draft.data_dir = Some(PathBuf::new()));
        assert_eq!(told, "--data-dir: is empty; name a folder");
        let told = refused(|draft| draft.log = LogOutput::Both);
        assert!(told.starts_with("--log: the binary log needs"), "{told}");
    }

    #[test]
    fn a_time_is_at_most_a_day() {
        let told = refused(|draft| draft.timeouts.drain = Duration::MAX);
        assert_eq!(
            told,
            "--timeout: drain: is out of range; at least 1ms, at most 24 hours"
        );
        let told = refused_plugin(|_, pooling, _| pooling.idle_timeout = Some(Duration::ZERO));
        assert!(
            told.starts_with("p: idle_timeout: is out of range"),
            "{told}"
        );
    }

    #[test]
    fn every_door_has_a_port_of_its_own() {
        let https = |count| crate::config::Https {
            identities: vec![
                crate::config::IdentityFiles {
                    certificate: PathBuf::from("a"),
                    key: PathBuf::from("b"),
                    is_credential: false,
                };
                count
            ],
        };
        let at = |is_https| Door {
            address: ([127, 0, 0, 1], 8080).into(),
            is_https,
            named: 0,
            redirect: None,
        };
        let told = refused(|draft| draft.doors.push(at(true)));
        assert!(
            told.starts_with("--tls-port: 8080 is the port of HTTP already"),
            "{told}"
        );
        let told = refused(|draft| draft.doors.push(at(false)));
        assert_eq!(
            told,
            "--port: 8080 is the port of another endpoint already; choose another"
        );
        let told = refused(|draft| draft.entrance.https = Some(https(33)));
        assert_eq!(told, "--tls-cert: more than 32 certificates");
    }

    #[test]
    fn one_to_64_plugins_are_served() {
        let told = refused(|draft| draft.services.clear());
        assert!(told.starts_with("what shall be served?"), "{told}");
        let told = refused(|draft| draft.services = vec![ServiceConfig::default(); 65]);
        assert_eq!(told, "more than 64 plugins");
    }

    #[test]
    fn a_health_check_asks_for_a_path_and_waits_for_something() {
        type Check = (&'static str, u16, Option<Duration>, Option<u32>);
        let refused = |(url, expect_status, time, retries): Check| {
            let health = HealthCheck {
                url: url.to_owned(),
                expect_status,
                interval: time,
                timeout: None,
                retries,
                start_grace: None,
            };
            check_health(&health).err()
        };
        assert_eq!(
            refused(("/up?a=b", 200, Some(Duration::from_secs(86_400)), Some(1))),
            None
        );
        for (check, says) in [
            (
                ("up", 200, None, None),
                "health.check.url: wants a path, which begins with a slash",
            ),
            (
                ("/a b", 200, None, None),
                "health.check.url: wants a path, which begins with a slash",
            ),
            (
                ("/", 100, None, None),
                "health.check.expect_status: wants a status from 200 to 599",
            ),
            (
                ("/", 200, Some(Duration::ZERO), None),
                "health.interval: is out of range; at least 1ms, at most 24 hours",
            ),
            (
                ("/", 200, None, Some(0)),
                "health.retries: wants a number from 1",
            ),
        ] {
            assert_eq!(refused(check).as_deref(), Some(says));
        }
    }

    #[test]
    fn what_is_wrong_with_a_named_plugin_is_told_by_its_setting() {
        for (told, says) in [
            (
                refused_plugin(|_, pooling, _| pooling.instances = 1025),
                "max_instances: wants a number from 1 to 1024",
            ),
            (
                refused_plugin(|_, pooling, _| pooling.reuse = 0),
                "reuse: wants a number from 1",
            ),
            (
                refused_plugin(|_, pooling, _| pooling.min_instances = 11),
                "min_instances: 11 is more than max_instances, which is 10: lower it, or raise max_instances",
            ),
            (
                refused_plugin(|_, pooling, _| pooling.request_timeout = Some(Duration::ZERO)),
                "request_timeout: is out of range; at least 1ms, at most 24 hours",
            ),
            (
                refused_plugin(|_, pooling, _| pooling.max_memory = Some((64 << 10) - 1)),
                "max_memory: 65535 is too little; at least 64Ki (without a unit it is bytes; units are Ki, Mi and Gi)",
            ),
            (
                refused_plugin(|grants, _, _| grants.namespace = Some(String::new())),
                "kv_namespace: wants a name",
            ),
            (
                refused_plugin(|grants, _, _| grants.roles = Some(Vec::new())),
                "roles: wants at least one",
            ),
            (
                refused_plugin(|grants, _, _| grants.secrets = Some(vec!["s".to_owned()])),
                "there is no secret 's': --secrets-file, --secret-credential or --secret-env bring it",
            ),
            (
                refused_plugin(|_, _, placement| placement.paths = Some(Vec::new())),
                "paths: wants at least one",
            ),
            (
                refused_plugin(|_, _, placement| placement.services = Some(Vec::new())),
                "services: wants at least one",
            ),
        ] {
            assert_eq!(told, format!("p: {says}"));
        }
    }
}
