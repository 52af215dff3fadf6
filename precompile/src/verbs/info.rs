//! `info`: what a file is and what it needs.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use argh::FromArgs;
use serde_json::{Map, Value, json};
use zlayer_bundle::{Profile, Role, Target, read_manifest};
use zlayer_precompile::Settings;

use super::grants::Grants;
use super::{Outcome, about, describe_signature, is_compiled, open_artifact, prepare, user_trust};
use crate::show;

/// show what a plugin or a compiled artifact is and needs
#[derive(FromArgs)]
#[argh(subcommand, name = "info")]
pub(crate) struct Info {
    /// a .wasm or .cwasm file
    #[argh(positional)]
    file: PathBuf,

    /// compile a plugin for every target to say how large it becomes
    #[argh(switch)]
    sizes: bool,

    /// print one JSON object
    #[argh(switch)]
    #[expect(
        dead_code,
        reason = "`main` looks for the word itself, for errors in the arguments too"
    )]
    json: bool,
}

impl Info {
    pub(crate) fn run(self) -> Result<Outcome> {
        if is_compiled(&self.file) {
            self.artifact()
        } else {
            self.plugin()
        }
    }

    fn plugin(self) -> Result<Outcome> {
        let plugin = prepare(&self.file, None)?;
        let checked = &plugin.checked;
        let bytes = self.file_size()?;
        let mut rows = vec![
            ("kind", "plugin".to_owned()),
            ("name", plugin.name.clone()),
            ("version", plugin.version.clone()),
            ("size", show::size(bytes)),
            ("roles", role_names(&checked.roles)),
            (
                "memory",
                memory_range(checked.memory_initial, checked.memory_max),
            ),
            ("exports", checked.exports.join("\n")),
            ("imports", checked.imports.join("\n")),
        ];
        let grants = Grants::of(&plugin.name, &checked.roles, &checked.imports);
        rows.extend(grants.rows());
        let mut json = json!({
            "file": self.file,
            "kind": "plugin",
            "name": plugin.name,
            "version": plugin.version,
            "bytes": bytes,
            "roles": checked.roles,
            "imports": checked.imports,
            "exports": checked.exports,
            "memory_initial": checked.memory_initial,
            "memory_max": checked.memory_max,
            "grants": grants.json(),
        });
        if self.sizes {
            let (mut lines, mut sizes) = (String::new(), Map::new());
            for target in Target::ALL {
                let settings = Settings::new(target, Profile::default());
                let bytes = plugin.build(&settings, None)?.bytes.len();
                lines += &format!("{target} {}\n", show::size(bytes as u64));
                sizes.insert(target.to_string(), json!(bytes));
            }
            rows.push(("compiled", lines));
            json["compiled_bytes"] = Value::Object(sizes);
        }
        Ok(Outcome {
            text: show::table(&rows),
            json,
        })
    }

    fn artifact(self) -> Result<Outcome> {
        let file = open_artifact(&self.file)?;
        let (manifest, signature) = about(&self.file, read_manifest(&file))?;
        let bytes = self.file_size()?;
        let (signed, signature) = describe_signature(&signature, &user_trust()?);
        let grants = Grants::of(&manifest.name, &manifest.roles, &manifest.imports);
        let mut rows = vec![
            ("kind", "artifact".to_owned()),
            ("name", manifest.name.clone()),
            ("version", manifest.version.clone()),
            ("size", show::size(bytes)),
            ("target", manifest.target.to_string()),
            ("profile", manifest.profile.to_string()),
            ("cpu flags", manifest.cpu_flags.join(" ")),
            (
                "board",
                manifest
                    .board
                    .as_ref()
                    .map_or_else(String::new, ToString::to_string),
            ),
            ("engine", manifest.engine_version.clone()),
            ("signature", signed),
            ("digest", manifest.digest_text()),
            ("roles", role_names(&manifest.roles)),
            (
                "memory",
                memory_range(manifest.memory_initial, manifest.memory_max),
            ),
            ("imports", manifest.imports.join("\n")),
        ];
        // Only a transformer takes bodies: both, where its author has said nothing.
        let bodies = manifest.roles.contains(&Role::Transformer).then(|| {
            let said = manifest.bodies.unwrap_or_default();
            rows.push(("bodies", said.name().to_owned()));
            said.name()
        });
        rows.extend(grants.rows());
        let mut json = serde_json::to_value(&manifest).context("the manifest has no JSON form")?;
        json["file"] = json!(self.file);
        json["kind"] = json!("artifact");
        json["bytes"] = json!(bytes);
        json["digest"] = json!(manifest.digest_text());
        json["bodies"] = json!(bodies);
        json["signature"] = signature;
        json["grants"] = grants.json();
        Ok(Outcome {
            text: show::table(&rows),
            json,
        })
    }

    fn file_size(&self) -> Result<u64> {
        let metadata = std::fs::metadata(&self.file);
        Ok(metadata
            .with_context(|| format!("cannot read {}", self.file.display()))?
            .len())
    }
}

fn role_names(roles: &[Role]) -> String {
    roles
        .iter()
        .map(|role| role.to_string())
        .collect::<Vec<_>>()
        .join(", ")
}

fn memory_range(initial: u64, max: Option<u64>) -> String {
    let max = max.map_or_else(|| "no bound of its own".to_owned(), show::memory);
    format!("{} at first, at most {max}", show::memory(initial)).replace("at most no", "with no")
}
