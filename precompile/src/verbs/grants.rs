//! What a device will ask about a plugin: its roles and imports against what it is granted.

use serde_json::{Value, json};
use zlayer_bundle::{Capabilities, Capability, Role};

/// What the roles of a plugin have it use, what it imports, and what does not fit.
pub(super) struct Grants {
    /// What its roles' worlds import.
    usual: Capabilities,
    /// What it imports itself.
    imported: Capabilities,
    worlds: Vec<&'static str>,
    /// What its owner has to say on the device, or should know.
    pub(super) notes: Vec<String>,
}

impl Grants {
    /// Of the plugin `name`.
    pub(super) fn of(name: &str, roles: &[Role], imports: &[String]) -> Grants {
        let usual = Role::capabilities_of(roles);
        let imported = Capabilities::imported(imports);
        let worlds: Vec<_> = roles.iter().map(|role| role.world()).collect();
        let mut notes = Vec::new();
        let beyond = imported.without(usual);
        if beyond != Capabilities::NONE {
            // The contract writes a dash, and deployments an underscore.
            let key = |one: Capability| format!("{}: true", one.name().replace('-', "_"));
            let keys: Vec<_> = beyond.iter().map(key).collect();
            notes.push(format!(
                "imports {beyond}, which is not in the world {}: denied without \
                 `wasm.capabilities: {{{}}}` in the service {name}",
                worlds.join(" and "),
                keys.join(", ")
            ));
        }
        let sends = imported.contains(Capability::HttpClient);
        let forwards = roles.contains(&Role::Router);
        if sends || forwards {
            let does = match (sends, forwards) {
                (true, true) => "sends requests and forwards them",
                (true, false) => "sends requests",
                _ => "forwards requests",
            };
            notes.push(format!(
                "{does}: only to hosts that --allow-host, or `wasm.allowed_hosts` in the service {name}, names"
            ));
        }
        if imported.contains(Capability::Secrets) {
            notes.push(format!(
                "reads secrets: beside other plugins only those of `env`, and those that `wasm.secrets` names, \
                 in the service {name}"
            ));
        }
        if !Role::belong_together(roles) {
            let names: Vec<_> = roles.iter().map(|role| role.name()).collect();
            notes.push(format!(
                "exports several roles: beside other plugins it has to be said which it plays, \
                 `wasm.roles: [{}]` in the service {name}",
                names.join(",")
            ));
        }
        Grants {
            usual,
            imported,
            worlds,
            notes,
        }
    }

    /// Rows of a table: what it uses, what it is granted without words, what is to be said.
    pub(super) fn rows(&self) -> [(&'static str, String); 3] {
        [
            ("uses", self.imported.to_string()),
            ("granted", format!("{} by its roles", self.usual)),
            ("to know", self.notes.join("\n")),
        ]
    }

    /// The same for programs.
    pub(super) fn json(&self) -> Value {
        let names = |set: Capabilities| set.iter().map(Capability::name).collect::<Vec<_>>();
        json!({
            "worlds": self.worlds,
            "uses": names(self.imported),
            "granted": names(self.usual),
            "beyond": names(self.imported.without(self.usual)),
            "notes": self.notes,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notes(roles: &[Role], imports: &[&str]) -> Vec<String> {
        let imports: Vec<_> = imports.iter().map(|one| (*one).to_owned()).collect();
        Grants::of("p", roles, &imports).notes
    }

    #[test]
    fn what_does_not_fit_is_told_with_what_mends_it() {
        let secrets = "zlayer:plugin/secrets@0.1.0";
        assert_eq!(
            notes(&[Role::Transformer], &[secrets]),
            [
                "imports secrets, which is not in the world zlayer-transformer: denied without `wasm.capabilities: {secrets: true}` in the service p",
                "reads secrets: beside other plugins only those of `env`, and those that `wasm.secrets` names, in the service p"
            ]
        );
        assert_eq!(
            notes(&[Role::Handler], &["wasi:http/outgoing-handler@0.2.0"]),
            [
                "sends requests: only to hosts that --allow-host, or `wasm.allowed_hosts` in the service p, names"
            ]
        );
        assert_eq!(
            notes(&[Role::Transformer, Role::Router], &[]),
            [
                "forwards requests: only to hosts that --allow-host, or `wasm.allowed_hosts` in the service p, names",
                "exports several roles: beside other plugins it has to be said which it plays, `wasm.roles: [transformer,router]` in the service p"
            ]
        );
        assert_eq!(notes(&[Role::Handler, Role::Cache], &[]), [""; 0]);
    }
}
