//! `push`: a plugin, or what was made of it for devices, into a registry.

use std::path::PathBuf;

use anyhow::Result;
use argh::FromArgs;
use serde_json::json;
use zlayer_precompile::{Shipment, of_registry};
use zlayer_registry::{Reference, Registry};

use super::access::{Asker, for_reference};
use super::progress::Progress;
use super::{Outcome, usage};
use crate::show;

/// put a plugin (.wasm) into an OCI registry, or compiled artifacts (.cwasm) or bundles (.zlb), one for each
/// target, under one reference
#[derive(FromArgs)]
#[argh(subcommand, name = "push")]
pub(crate) struct Push {
    /// the files, and behind them the reference: REGISTRY/NAME:TAG
    #[argh(positional)]
    words: Vec<String>,

    /// who asks, if the registry wants to know
    #[argh(option)]
    username: Option<String>,

    /// file with the password in its first line, mode 0600, or - for standard input
    #[argh(option)]
    password_file: Option<PathBuf>,

    /// the password itself, which others can see: better in a file
    #[argh(option)]
    password: Option<String>,

    /// speak without TLS with a registry on this machine
    #[argh(switch)]
    plain_http: bool,

    /// print one JSON object
    #[argh(switch)]
    #[expect(
        dead_code,
        reason = "`main` looks for the word itself, for errors in the arguments too"
    )]
    json: bool,
}

impl Push {
    pub(crate) fn run(self) -> Result<Outcome> {
        let Some((reference, files)) = self
            .words
            .split_last()
            .filter(|(_, files)| !files.is_empty())
        else {
            return Err(usage(
                "push wants files, and behind them a reference: REGISTRY/NAME:TAG",
            ));
        };
        let reference: Reference = reference.parse().map_err(of_registry)?;
        if reference.digest().is_some() {
            return Err(usage(format!(
                "{reference} names a digest, which follows from the files: name a tag"
            )));
        }
        let asker = Asker {
            username: self.username.as_deref(),
            password_file: self.password_file.as_deref(),
            password: self.password.as_deref(),
        };
        let access = for_reference(&reference, self.plain_http, &asker)?;
        let files: Vec<PathBuf> = files.iter().map(PathBuf::from).collect();
        let shipment = Shipment::read(&files)?;
        let progress = Progress::start(&format!("pushing to {reference}"));
        let pushed = Registry::open(&reference, &access)
            .and_then(|registry| registry.push(&shipment.content));
        drop(progress);
        pushed.map_err(of_registry)?;

        let digest = shipment.content.digest();
        let platforms = shipment.content.platforms();
        let mut rows = vec![
            ("kind", shipment.kind.name().to_owned()),
            ("pinned", reference.at(digest)),
        ];
        if !platforms.is_empty() {
            rows.push(("platforms", platforms.join(", ")));
        }
        if !shipment.notes.is_empty() {
            rows.push(("to know", shipment.notes.join("\n")));
        }
        let text = format!("{reference}  pushed\n{}", show::table(&rows));
        let json = json!({
            "reference": reference.to_string(),
            "kind": shipment.kind,
            "digest": digest,
            "pinned": reference.at(digest),
            "platforms": platforms,
            "notes": shipment.notes,
        });
        Ok(Outcome { text, json })
    }
}
