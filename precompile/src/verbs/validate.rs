//! `validate`: every check, and nothing written.

use std::path::PathBuf;

use anyhow::Result;
use argh::FromArgs;
use serde_json::json;
use zlayer_bundle::{ArtifactError, ENGINE_VERSION, SignatureState, check_digest, read_manifest};

use super::{Outcome, about, describe_signature, is_compiled, open_artifact, prepare, user_trust};

/// check a plugin, or a compiled artifact and its signature
#[derive(FromArgs)]
#[argh(subcommand, name = "validate")]
pub(crate) struct Validate {
    /// a .wasm or .cwasm file
    #[argh(positional)]
    file: PathBuf,

    /// print one JSON object
    #[argh(switch)]
    #[expect(
        dead_code,
        reason = "`main` looks for the word itself, for errors in the arguments too"
    )]
    json: bool,
}

impl Validate {
    pub(crate) fn run(self) -> Result<Outcome> {
        if is_compiled(&self.file) {
            self.artifact()
        } else {
            self.plugin()
        }
    }

    fn plugin(self) -> Result<Outcome> {
        let plugin = prepare(&self.file, None)?;
        let roles: Vec<String> = plugin
            .checked
            .roles
            .iter()
            .map(|role| role.to_string())
            .collect();
        let text = format!(
            "{}: valid plugin: {}\n",
            self.file.display(),
            roles.join(", ")
        );
        let json = json!({
            "valid": true,
            "file": self.file,
            "kind": "plugin",
            "roles": roles,
        });
        Ok(Outcome { text, json })
    }

    fn artifact(self) -> Result<Outcome> {
        let file = open_artifact(&self.file)?;
        let (manifest, signature) = about(&self.file, read_manifest(&file))?;
        if let SignatureState::Invalid(key) = signature {
            return about(
                &self.file,
                Err(ArtifactError::BadSignature { key: key.id() }),
            );
        }
        about(&self.file, check_digest(&file, &manifest))?;
        if manifest.engine_version != ENGINE_VERSION {
            let found = manifest.engine_version;
            return about(
                &self.file,
                Err(ArtifactError::WrongEngine {
                    found,
                    wanted: ENGINE_VERSION,
                }),
            );
        }
        let (signed, signature) = describe_signature(&signature, &user_trust()?);
        let shown = self.file.display();
        let text = format!(
            "{shown}: valid artifact: {} {} for {}, profile {}\n{shown}: signature: {signed}\n",
            manifest.name, manifest.version, manifest.target, manifest.profile
        );
        let json = json!({
            "valid": true,
            "file": self.file,
            "kind": "artifact",
            "roles": manifest.roles,
            "target": manifest.target,
            "profile": manifest.profile,
            "signature": signature,
        });
        Ok(Outcome { text, json })
    }
}
