//! Who asks a registry: names and passwords, each for the one registry that it was given for.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use zlayer_bundle::open_regular;

use crate::Error;

/// A name and a password. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Who asks.
    pub username: String,
    /// The password, or a token that the registry takes for one.
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").finish_non_exhaustive()
    }
}

/// Where credentials are looked for: what was given for one registry, then docker's `config.json`.
#[derive(Clone, Debug, Default)]
pub struct Keyring {
    given: Vec<(String, Credentials)>,
    docker: Option<PathBuf>,
}

/// What was found for a registry.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) credentials: Option<Credentials>,
    /// Why there are none, where somebody may believe that there are.
    pub(crate) note: Option<String>,
}

/// The variables that name a registry, who asks it, and the password.
const VARIABLES: [&str; 3] = [
    "ZLAYER_REGISTRY",
    "ZLAYER_REGISTRY_USERNAME",
    "ZLAYER_REGISTRY_PASSWORD",
];

impl Keyring {
    /// What the environment says: the three variables `ZLAYER_REGISTRY…`, and where docker's `config.json` is.
    ///
    /// # Errors
    ///
    /// Some of the variables are missing, or say what cannot be read.
    pub fn from_environment(get: impl Fn(&str) -> Option<OsString>) -> Result<Keyring, Error> {
        let mut keyring = Keyring::default();
        let said = VARIABLES.map(|name| get(name).filter(|value| !value.is_empty()));
        let is_said = said.each_ref().map(Option::is_some);
        match said {
            // One password is never shown to a registry that it was not meant for.
            [Some(registry), Some(username), Some(password)] => {
                let text = |value: OsString, name: &str| {
                    value
                        .into_string()
                        .map_err(|_| Error::Credentials(format!("{name} is not UTF-8")))
                };
                let credentials = Credentials {
                    username: text(username, VARIABLES[1])?,
                    password: text(password, VARIABLES[2])?,
                };
                keyring.give(&text(registry, VARIABLES[0])?, credentials);
            }
            [None, None, None] => {}
            _ => {
                let missing = VARIABLES.into_iter().zip(is_said);
                let missing = missing.filter(|(_, said)| !said).map(|(name, _)| name);
                return Err(Error::Credentials(format!(
                    "{} is not set: {} go together",
                    missing.collect::<Vec<_>>().join(", "),
                    VARIABLES.join(", ")
                )));
            }
        }
        let folder = |name: &str| {
            get(name)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        };
        let docker = folder("DOCKER_CONFIG").or_else(|| Some(folder("HOME")?.join(".docker")));
        keyring.docker = docker.map(|folder| folder.join("config.json"));
        Ok(keyring)
    }

    /// Takes credentials for one registry; they come before all that was known of it.
    pub fn give(&mut self, registry: &str, credentials: Credentials) {
        self.given.insert(0, (registry.to_owned(), credentials));
    }

    /// What is known for a registry.
    pub(crate) fn find(&self, registry: &str) -> Result<Found, Error> {
        if let Some((_, given)) = self.given.iter().find(|(host, _)| host == registry) {
            return Ok(Found {
                credentials: Some(given.clone()),
                note: None,
            });
        }
        let Some(path) = &self.docker else {
            return Ok(Found::default());
        };
        let read = open_regular(path).and_then(|(mut file, _)| {
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes).map(|_| bytes)
        });
        match read {
            Ok(bytes) => in_docker_config(path, &bytes, registry),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Found::default()),
            Err(source) => Err(Error::File {
                what: format!("cannot read {}", path.display()),
                source,
            }),
        }
    }
}

/// Docker's `config.json`, as far as it is understood.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DockerConfig {
    #[serde(default)]
    auths: BTreeMap<String, DockerAuth>,
    #[serde(default)]
    creds_store: Option<String>,
    #[serde(default)]
    cred_helpers: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
struct DockerAuth {
    /// Name and password with a colon between them, in base64.
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
}

fn in_docker_config(path: &Path, bytes: &[u8], registry: &str) -> Result<Found, Error> {
    let path = path.display();
    // What serde says of a mistake may repeat a password.
    let config: DockerConfig = serde_json::from_slice(bytes).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        Error::Credentials(format!(
            "{path}:{line}:{column}: it is not docker's config.json"
        ))
    })?;
    let is_registrys = |name: &str| names_of(registry).iter().any(|known| known == name);
    let entry = config.auths.iter().find(|(name, _)| is_registrys(name));
    if let Some((_, entry)) = entry
        && let Some(credentials) = credentials(entry)
            .map_err(|what| Error::Credentials(format!("{path}: `auths` of {registry} {what}")))?
    {
        return Ok(Found {
            credentials: Some(credentials),
            note: None,
        });
    }
    let is_token = entry.is_some_and(|(_, entry)| entry.identitytoken.is_some());
    let helper = config
        .cred_helpers
        .iter()
        .find(|(name, _)| is_registrys(name));
    let helper = helper
        .map(|(_, helper)| helper)
        .or(config.creds_store.as_ref());
    let note = match helper {
        Some(helper) => Some(format!(
            "{path} leaves passwords to the program docker-credential-{}, and this tool asks no such program",
            helper.escape_debug()
        )),
        None if is_token => Some(format!(
            "{path} has an identity token for it, which this tool cannot use"
        )),
        None => None,
    };
    Ok(Found {
        credentials: None,
        note,
    })
}

/// The credentials of an entry, `None` where it has none.
fn credentials(entry: &DockerAuth) -> Result<Option<Credentials>, &'static str> {
    if let (Some(username), Some(password)) = (&entry.username, &entry.password) {
        return Ok(Some(Credentials {
            username: username.clone(),
            password: password.clone(),
        }));
    }
    let Some(auth) = entry.auth.as_deref().filter(|auth| !auth.is_empty()) else {
        return Ok(None);
    };
    let decoded = STANDARD.decode(auth).map_err(|_| "is not base64")?;
    let text = String::from_utf8(decoded).map_err(|_| "is not UTF-8")?;
    let (username, password) = text.split_once(':').ok_or("has no colon")?;
    Ok(Some(Credentials {
        username: username.to_owned(),
        // Some programs pad it.
        password: password.trim_end_matches('\0').to_owned(),
    }))
}

/// What docker and its kin call a registry in that file.
fn names_of(registry: &str) -> Vec<String> {
    let mut names = vec![
        registry.to_owned(),
        format!("https://{registry}"),
        format!("https://{registry}/"),
        format!("https://{registry}/v1/"),
        format!("https://{registry}/v2/"),
        format!("http://{registry}"),
    ];
    if registry == "docker.io" {
        names.extend(names_of("index.docker.io"));
    }
    names
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> Result<Keyring, Error> {
        let pairs: BTreeMap<String, OsString> = { pairs.iter() }
            .map(|(name, value)| ((*name).to_owned(), (*value).into()))
            .collect();
        Keyring::from_environment(|name| pairs.get(name).cloned())
    }

    fn docker(text: &str, registry: &str) -> Result<Found, Error> {
        in_docker_config(Path::new("config.json"), text.as_bytes(), registry)
    }

    fn pair(username: &str, password: &str) -> Option<Credentials> {
        Some(Credentials {
            username: username.to_owned(),
            password: password.to_owned(),
        })
    }

    #[test]
    fn a_password_is_for_one_registry() {
        let keyring = environment(&[
            ("ZLAYER_REGISTRY", "r.example:5000"),
            ("ZLAYER_REGISTRY_USERNAME", "me"),
            ("ZLAYER_REGISTRY_PASSWORD", "hunter2"),
        ])
        .unwrap();
        let found = |registry| keyring.find(registry).unwrap().credentials;
        assert_eq!(found("r.example:5000"), pair("me", "hunter2"));
        assert_eq!(found("r.example"), None);
        assert!(!format!("{keyring:?}").contains("hunter2"));
    }

    #[test]
    fn variables_that_go_together_are_named() {
        let told = environment(&[("ZLAYER_REGISTRY_PASSWORD", "hunter2")]);
        let told = told.unwrap_err().to_string();
        assert!(told.starts_with("ZLAYER_REGISTRY, ZLAYER_REGISTRY_USERNAME is not set"));
        assert!(!told.contains("hunter2"));
    }

    #[test]
    fn docker_keeps_passwords_under_several_names() {
        // me:hunter:2
        let text =
            |name: &str| format!(r#"{{"auths": {{"{name}": {{"auth": "bWU6aHVudGVyOjI="}}}}}}"#);
        for (name, registry) in [
            ("r.example", "r.example"),
            ("https://r.example", "r.example"),
            ("https://index.docker.io/v1/", "docker.io"),
        ] {
            let found = docker(&text(name), registry).unwrap();
            assert_eq!(found.credentials, pair("me", "hunter:2"), "{name}");
        }
        let other = docker(&text("other.example"), "r.example").unwrap();
        assert_eq!((other.credentials, other.note), (None, None));
        let plain = r#"{"auths": {"r.example": {"username": "me", "password": "p"}}}"#;
        let plain = docker(plain, "r.example").unwrap();
        assert_eq!(plain.credentials, pair("me", "p"));
    }

    #[test]
    fn what_is_not_supported_is_told_and_never_what_is_secret() {
        for (text, says) in [
            (r#"{"credsStore": "pass"}"#, "docker-credential-pass"),
            (
                r#"{"credHelpers": {"r.example": "ecr"}}"#,
                "docker-credential-ecr",
            ),
            (
                r#"{"auths": {"r.example": {"identitytoken": "hunter2"}}}"#,
                "identity token",
            ),
        ] {
            let note = docker(text, "r.example").unwrap().note.unwrap();
            assert!(note.contains(says) && !note.contains("hunter2"), "{note}");
        }
        for text in [
            r#"{"auths": {"r.example": "hunter2"}}"#,
            r#"{"auths": {"r.example": {"auth": "hunter2!"}}}"#,
            // hunter2
            r#"{"auths": {"r.example": {"auth": "aHVudGVyMg=="}}}"#,
        ] {
            let told = docker(text, "r.example").unwrap_err().to_string();
            assert!(told.contains("config.json"), "{told}");
            assert!(
                !told.contains("hunter2") && !told.contains("aHVudGVyMg"),
                "{told}"
            );
        }
    }
}
