//! `validate`: every check, and nothing written.

use std::path::PathBuf;

use anyhow::Result;
use argh::FromArgs;
use serde_json::json;
use zlayer_bundle::{
    ArtifactError, SignatureState, TrustStore, check_digest, check_engine, check_revoked,
    read_manifest,
};
use zlayer_precompile::{Problem, Refused};

use super::device::Devices;
use super::grants::Grants;
use super::{
    Outcome, about, describe_signature, is_compiled, open_artifact, prepare, tell, trust_list,
    usage, user_trust_by,
};

/// check a plugin, or a compiled artifact and its signature
#[derive(FromArgs)]
#[argh(subcommand, name = "validate")]
pub(crate) struct Validate {
    /// a .wasm or .cwasm file
    #[argh(positional)]
    file: PathBuf,

    /// what a plugin has to fit, as `build` takes it: x86_64, aarch64, armv7, or several with commas
    /// (default: this machine's)
    #[argh(option)]
    target: Vec<String>,

    /// engine settings of the device that a plugin has to fit: compact or wide (default compact)
    #[argh(option)]
    profile: Option<String>,

    /// accept a compiled artifact only if a key in this folder, or of this file, has signed it; may be
    /// repeated
    #[argh(option)]
    keys: Vec<PathBuf>,

    /// trust list that a compiled artifact is held to, as a device would
    #[argh(option)]
    trust_list: Option<PathBuf>,

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

    /// Whether a key that `--keys` names has signed it, as a device would ask.
    fn check_signer(&self, signature: &SignatureState) -> Result<Result<(), ArtifactError>> {
        let mut trust = TrustStore::empty();
        if let Some(list) = &self.trust_list {
            trust.heed(trust_list::read(list)?.last().list.clone());
        }
        for path in &self.keys {
            for left_out in trust.load(path)? {
                tell(&format!("{left_out}; this key is left out"));
            }
        }
        Ok(match signature.key() {
            None => Err(ArtifactError::Unsigned),
            Some(key) if trust.trusts(&key) => Ok(()),
            // That is told for itself.
            Some(key) if trust.revoked(&key).is_some() => Ok(()),
            Some(key) => Err(ArtifactError::UntrustedKey {
                key: key.id(),
                searched: self.keys.clone(),
            }),
        })
    }

    fn plugin(self) -> Result<Outcome> {
        if self.trust_list.is_some() {
            return Err(usage(
                "--trust-list is for a compiled artifact: nobody has signed this",
            ));
        }
        if !self.keys.is_empty() {
            let what = "it is not compiled, so nobody has signed it";
            let problem = Problem::new("--keys", what, "name the .cwasm file, or leave --keys out");
            return Err(Refused::from(problem).into());
        }
        let devices = Devices::read(&self.target, self.profile.as_deref())?;
        let settings = devices.settings()?;
        let plugin = prepare(&self.file, None)?;
        for settings in &settings {
            plugin.check_room(settings)?;
        }
        let roles: Vec<String> = plugin
            .checked
            .roles
            .iter()
            .map(|role| role.to_string())
            .collect();
        let shown = self.file.display();
        let mut text = format!("{shown}: valid plugin: {}\n", roles.join(", "));
        let checked = &plugin.checked;
        let grants = Grants::of(&plugin.name, &checked.roles, &checked.imports);
        for note in &grants.notes {
            text += &format!("{shown}: {note}\n");
        }
        let json = json!({
            "valid": true,
            "file": self.file,
            "kind": "plugin",
            "roles": roles,
            "grants": grants.json(),
        });
        Ok(Outcome { text, json })
    }

    fn artifact(self) -> Result<Outcome> {
        if !self.target.is_empty() || self.profile.is_some() {
            return Err(usage(
                "--target and --profile are for a plugin, and this is compiled: its own are in it",
            ));
        }
        let file = open_artifact(&self.file)?;
        let (manifest, signature) = about(&self.file, read_manifest(&file))?;
        if let SignatureState::Invalid(key) = signature {
            return about(
                &self.file,
                Err(ArtifactError::BadSignature { key: key.id() }),
            );
        }
        about(&self.file, check_digest(&file, &manifest))?;
        if !self.keys.is_empty() {
            about(&self.file, self.check_signer(&signature)?)?;
        }
        let trust = user_trust_by(self.trust_list.as_deref())?;
        let checked = check_revoked(&manifest, &signature, &trust)
            .and_then(|()| check_engine(&manifest.engine_version, &trust));
        about(&self.file, checked)?;
        let (signed, signature) = describe_signature(&signature, &trust);
        let shown = self.file.display();
        let mut text = format!(
            "{shown}: valid artifact: {} {} for {}, profile {}\n{shown}: signature: {signed}\n",
            manifest.name, manifest.version, manifest.target, manifest.profile
        );
        let grants = Grants::of(&manifest.name, &manifest.roles, &manifest.imports);
        for note in &grants.notes {
            text += &format!("{shown}: {note}\n");
        }
        let json = json!({
            "valid": true,
            "file": self.file,
            "kind": "artifact",
            "roles": manifest.roles,
            "grants": grants.json(),
            "target": manifest.target,
            "profile": manifest.profile,
            "signature": signature,
        });
        Ok(Outcome { text, json })
    }
}
