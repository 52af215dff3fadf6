//! What a plugin is granted: what its configuration says of it, and what its roles and its company
//! make of the rest.

use zlayer_bundle::Role;

use super::Grants;
use crate::capability::{Capabilities, Capability};

/// What one plugin may do, once it is known what it can.
#[derive(Debug)]
pub struct Granted {
    /// The plugin's name.
    name: String,
    /// The roles that it plays.
    pub roles: Vec<Role>,
    /// Those that it exports beside, which nobody calls.
    pub withheld: Vec<Role>,
    /// What it may call of the host.
    pub capabilities: Capabilities,
    /// What it imports of it.
    pub imported: Capabilities,
    /// Names of the secrets that it may see, or how they begin before a `*`; `None` is all of them.
    secrets: Option<Vec<String>>,
    /// What was denied to it by name.
    denied: Capabilities,
    /// Whether it has hosts to send requests to.
    has_hosts: bool,
}

impl Granted {
    /// Decides for the plugin `name`, which exports `roles` and imports `imported`. One that is alone in its daemon plays
    /// all its roles and sees all secrets, so that trying it out needs no words. Beside others it
    /// plays what [belongs together](Role::belong_together), and secrets are for those who are named.
    ///
    /// # Errors
    ///
    /// It has to be said which of its roles it plays, or a role is named that it does not export.
    pub fn decide(
        grants: &Grants,
        name: &str,
        roles: &[Role],
        imported: Capabilities,
        is_alone: bool,
    ) -> Result<Granted, String> {
        let granted: Vec<Role> = match &grants.roles {
            Some(named) => {
                if let Some(missing) = named.iter().find(|role| !roles.contains(role)) {
                    let roles = listed(roles);
                    return Err(format!(
                        "{name}: roles names {missing}, which it does not export; its roles are {roles}"
                    ));
                }
                let known = Role::ALL.into_iter();
                known.filter(|role| named.contains(role)).collect()
            }
            None if is_alone || Role::belong_together(roles) => roles.to_vec(),
            None => {
                let roles = listed(roles);
                return Err(format!(
                    "{name} exports several roles, {roles}; beside other plugins it has to be said \
                     which of them it plays: `wasm.roles: [{roles}]` in its service, or some of these"
                ));
            }
        };
        let capabilities = Role::capabilities_of(&granted);
        let capabilities = capabilities.and(grants.allowed).without(grants.denied);
        let has_hosts = !grants.allowed_hosts.is_empty();
        let withheld = roles.iter().filter(|role| !granted.contains(role));
        Ok(Granted {
            name: name.to_owned(),
            withheld: withheld.copied().collect(),
            roles: granted,
            imported,
            capabilities: match has_hosts {
                true => capabilities,
                false => capabilities.without(HTTP_CLIENT),
            },
            secrets: match (&grants.secrets, is_alone) {
                (None, false) => Some(Vec::new()),
                (named, _) => named.clone(),
            },
            denied: grants.denied,
            has_hosts,
        })
    }

    /// Whether it may see the secret of this name.
    pub fn shows_secret(&self, name: &str) -> bool {
        let fits = |one: &String| match one.strip_suffix('*') {
            Some(beginning) => name.starts_with(beginning),
            None => one == name,
        };
        let names = self.secrets.as_ref();
        names.is_none_or(|names| names.iter().any(fits))
    }

    /// Whether it may see no secret at all.
    pub fn shows_no_secret(&self) -> bool {
        self.secrets.as_ref().is_some_and(Vec::is_empty)
    }

    /// Why it is not granted `one`, and what grants it.
    pub fn why_not(&self, one: Capability) -> String {
        let Granted { name, roles, .. } = self;
        let usual = Role::capabilities_of(roles);
        if self.denied.contains(one) {
            format!(
                "{one}: taken away by --deny {one}, or `wasm.capabilities.{}: false`",
                key(one)
            )
        } else if one == Capability::HttpClient && !self.has_hosts && usual.contains(one) {
            format!(
                "{one}: no host is allowed, `wasm.allowed_hosts: [HOST]` in the service {name} or \
                 --allow-host HOST[:PORT] allows one"
            )
        } else {
            let worlds: Vec<_> = roles.iter().map(|role| role.world()).collect();
            let worlds = worlds.join(" and ");
            format!(
                "{one}: not in the world {worlds}, `wasm.capabilities.{}: true` in the service {name} grants it",
                key(one)
            )
        }
    }

    /// Whether what it imports and is not granted is no more than requests of its own, for which no host
    /// is allowed.
    pub fn lacks_hosts_alone(&self) -> bool {
        let usual = Role::capabilities_of(&self.roles).without(self.denied);
        self.imported.without(self.capabilities) == HTTP_CLIENT
            && !self.has_hosts
            && usual.contains(Capability::HttpClient)
    }

    /// What of `asked` it is not granted, with the reasons: nothing if it is granted all.
    pub fn beyond(&self, asked: Capabilities) -> Vec<String> {
        let beyond = asked.without(self.capabilities);
        beyond.iter().map(|one| self.why_not(one)).collect()
    }

    /// What it imports and is not granted, with the reasons.
    pub fn not_granted(&self) -> Vec<String> {
        self.beyond(self.imported)
    }
}

const HTTP_CLIENT: Capabilities = Capabilities::NONE.with(Capability::HttpClient);

/// Names of roles as a list of a `deployment.yaml` takes them, without its brackets.
fn listed(roles: &[Role]) -> String {
    let names: Vec<_> = roles.iter().map(|role| role.name()).collect();
    names.join(",")
}

/// The key of a capability in a `deployment.yaml`.
fn key(one: Capability) -> String {
    one.name().replace('-', "_")
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;

    const STAGES: [Role; 2] = [Role::Transformer, Role::Router];

    fn decide(grants: &Grants, roles: &[Role], is_alone: bool) -> Result<Granted, String> {
        Granted::decide(grants, "p", roles, Capabilities::NONE, is_alone)
    }

    #[test]
    fn one_plugin_plays_all_its_roles_and_sees_all_secrets() {
        let granted = decide(&Grants::default(), &STAGES, true).unwrap();
        assert_eq!(granted.roles, STAGES);
        assert!(granted.shows_secret("any"));
    }

    #[test]
    fn one_of_several_plays_what_belongs_together_or_what_is_named() {
        let grants = Grants::default();
        let service = [Role::Handler, Role::Cache, Role::WebSocket];
        assert_eq!(decide(&grants, &service, false).unwrap().roles, service);
        assert_eq!(
            decide(&grants, &STAGES, false).unwrap_err(),
            "p exports several roles, transformer,router; beside other plugins it has to be said \
             which of them it plays: `wasm.roles: [transformer,router]` in its service, or some of these"
        );
        let named = |roles: &[Role]| Grants {
            roles: Some(roles.to_vec()),
            ..Grants::default()
        };
        for is_alone in [true, false] {
            let granted = decide(&named(&[Role::Transformer]), &STAGES, is_alone).unwrap();
            assert_eq!(granted.roles, [Role::Transformer]);
            assert_eq!(granted.withheld, [Role::Router]);
            assert_eq!(granted.capabilities.to_string(), "logging");
        }
        let told = decide(&named(&[Role::Handler]), &STAGES, true).unwrap_err();
        assert!(told.starts_with("p: roles names handler, which it does not export"));
    }

    #[test]
    fn secrets_of_several_plugins_are_for_those_who_are_named() {
        let mut grants = Grants::default();
        let shown = |grants: &Grants, is_alone| {
            let granted = decide(grants, &[Role::Handler], is_alone).unwrap();
            ["a", "b"].map(|name| granted.shows_secret(name))
        };
        assert_eq!(shown(&grants, true), [true, true]);
        assert_eq!(shown(&grants, false), [false, false]);
        grants.secrets = Some(vec!["a".to_owned()]);
        for is_alone in [true, false] {
            assert_eq!(shown(&grants, is_alone), [true, false]);
        }
        grants.secrets = Some(Vec::new());
        assert_eq!(shown(&grants, true), [false, false]);
        grants.secrets = Some(vec!["api.*".to_owned()]);
        let granted = decide(&grants, &[Role::Handler], false).unwrap();
        assert!(granted.shows_secret("api.") && granted.shows_secret("api.a"));
        assert!(!granted.shows_secret("api") && !granted.shows_secret("x.api.a"));
    }

    #[test]
    fn a_plugin_may_call_what_its_worlds_import_and_what_is_allowed_but_what_is_denied() {
        let mut grants = Grants::default();
        let told = |grants: &Grants, roles: &[Role]| {
            let granted = decide(grants, roles, true).unwrap();
            granted.capabilities.to_string()
        };
        assert_eq!(told(&grants, &[Role::Router]), "config, keyvalue, logging");
        grants
            .allowed_hosts
            .extend("a.example".parse().into_iter().collect());
        assert_eq!(
            told(&grants, &[Role::Router]),
            "config, keyvalue, logging, http-client"
        );
        assert_eq!(told(&grants, &[Role::Transformer]), "logging");
        grants.allowed = [Capability::HttpClient, Capability::Config]
            .into_iter()
            .collect();
        assert_eq!(
            told(&grants, &[Role::Transformer]),
            "config, logging, http-client"
        );
        grants.denied = Capabilities::NONE.with(Capability::Config);
        assert_eq!(told(&grants, &[Role::Transformer]), "logging, http-client");
    }

    #[test]
    fn what_is_not_granted_is_told_with_what_grants_it() {
        let grants = Grants {
            denied: Capabilities::NONE.with(Capability::Logging),
            ..Grants::default()
        };
        let granted = decide(&grants, &STAGES, true).unwrap();
        for (one, says) in [
            (Capability::Logging, "taken away by --deny logging"),
            (
                Capability::HttpClient,
                "http-client: no host is allowed, `wasm.allowed_hosts: [HOST]` in the service p or --allow-host HOST[:PORT]",
            ),
            (
                Capability::Secrets,
                "not in the world zlayer-transformer and zlayer-router, `wasm.capabilities.secrets: true` in the service p",
            ),
        ] {
            let told = granted.why_not(one);
            assert!(told.contains(says), "{told}");
        }
        assert!(granted.beyond(granted.capabilities).is_empty());
        assert!(granted.not_granted().is_empty());
    }
}
