//! `export`: what `push` would put into a registry, in a folder.

use std::path::PathBuf;

use anyhow::Result;
use argh::FromArgs;
use serde_json::json;
use zlayer_precompile::{Shipment, of_registry};

use super::{Outcome, usage};
use crate::show;

/// write a plugin (.wasm), or compiled artifacts (.cwasm) or bundles (.zlb), as an OCI image layout, for tools
/// that carry it to a registry
#[derive(FromArgs)]
#[argh(subcommand, name = "export")]
pub(crate) struct Export {
    /// the files
    #[argh(positional)]
    files: Vec<PathBuf>,

    /// what it is called in the layout: myapp:v1
    #[argh(option, short = 'n')]
    name: String,

    /// folder to make, or the layout to add to (default: the last part of the name with -oci, in the current folder)
    #[argh(option, short = 'o')]
    output: Option<PathBuf>,

    /// print one JSON object
    #[argh(switch)]
    #[expect(
        dead_code,
        reason = "`main` looks for the word itself, for errors in the arguments too"
    )]
    json: bool,
}

impl Export {
    pub(crate) fn run(self) -> Result<Outcome> {
        if self.files.is_empty() {
            return Err(usage(
                "export wants files: a .wasm, or .cwasm or .zlb files",
            ));
        }
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-:/@+".contains(c);
        if self.name.is_empty() || !self.name.chars().all(is_plain) {
            return Err(usage(format!(
                "--name {:?} is none for an image: write it like myapp:v1",
                self.name
            )));
        }
        let folder = match self.output {
            Some(folder) => folder,
            None => folder_of(&self.name)?,
        };
        let shipment = Shipment::read(&self.files)?;
        let written = shipment.content.write_layout(&folder, &self.name);
        written.map_err(of_registry)?;
        let (digest, platforms) = (shipment.content.digest(), shipment.content.platforms());
        let mut rows = vec![
            ("kind", shipment.kind.name().to_owned()),
            ("name", self.name.clone()),
            ("digest", digest.to_owned()),
        ];
        if !platforms.is_empty() {
            rows.push(("platforms", platforms.join(", ")));
        }
        if !shipment.notes.is_empty() {
            rows.push(("to know", shipment.notes.join("\n")));
        }
        let text = format!("{}\n{}", folder.display(), show::table(&rows));
        let json = json!({
            "folder": folder,
            "name": self.name,
            "kind": shipment.kind,
            "digest": digest,
            "platforms": platforms,
            "notes": shipment.notes,
        });
        Ok(Outcome { text, json })
    }
}

/// The folder that a name stands for: `ghcr.io/myorg/myapp:v1` becomes `myapp-oci`.
fn folder_of(name: &str) -> Result<PathBuf> {
    let last = name.rsplit('/').next().unwrap_or_default();
    let last = last.split([':', '@']).next().unwrap_or_default();
    match last.trim_matches('.').is_empty() {
        true => Err(usage(
            "--name names nothing: say which folder to make with -o",
        )),
        false => Ok(PathBuf::from(format!("{last}-oci"))),
    }
}
