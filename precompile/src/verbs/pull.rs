//! `pull`: what a registry has under a reference, as a file.

use std::path::PathBuf;

use anyhow::Result;
use argh::FromArgs;
use serde_json::json;
use zlayer_bundle::Target;
use zlayer_precompile::{Problem, Refused, of_registry, write_atomically_with};
use zlayer_registry::{Kind, Reference, Registry};

use super::access::{Asker, for_reference};
use super::progress::Progress;
use super::{Outcome, spare};
use crate::show;

/// fetch a plugin, a compiled artifact or a bundle from an OCI registry
#[derive(FromArgs)]
#[argh(subcommand, name = "pull")]
pub(crate) struct Pull {
    /// where it is: REGISTRY/NAME:TAG or REGISTRY/NAME@sha256:DIGEST
    #[argh(positional)]
    reference: String,

    /// what it is for, where there is one for each: x86_64, aarch64 or armv7 (default: this machine's)
    #[argh(option)]
    target: Option<String>,

    /// file to write (default: the last part of the name with the target and .wasm, .cwasm or .zlb, in the
    /// current folder)
    #[argh(option, short = 'o')]
    output: Option<PathBuf>,

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

impl Pull {
    pub(crate) fn run(self) -> Result<Outcome> {
        let reference: Reference = self.reference.parse().map_err(of_registry)?;
        let target = match &self.target {
            Some(name) => Some(name.parse::<Target>()?),
            None => Target::host(),
        };
        let asker = Asker {
            username: self.username.as_deref(),
            password_file: self.password_file.as_deref(),
            password: self.password.as_deref(),
        };
        let access = for_reference(&reference, self.plain_http, &asker)?;
        let progress = Progress::start(&format!("pulling {reference}"));
        let registry = Registry::open(&reference, &access).map_err(of_registry)?;
        let found = registry.find(target).map_err(of_registry)?;
        let path = match self.output {
            Some(path) => path,
            None => {
                let target = target.filter(|_| found.platform.is_some());
                file_name(&reference, found.kind, target)
            }
        };
        if path.is_dir() {
            let what = "it is a folder";
            let problem = Problem::new(path.display().to_string(), what, "name a file with -o");
            return Err(Refused::from(problem).into());
        }
        spare(&path, self.password_file.as_deref())?;
        // Under its name there is nothing, or what was there before, until all of it is known to be right.
        write_atomically_with(&path, 0o644, |file| {
            registry.pull(&found, file).map_err(of_registry)
        })?;
        drop(progress);

        let pinned = reference.at(&found.digest);
        let mut rows = vec![
            ("kind", found.kind.name().to_owned()),
            ("pinned", pinned.clone()),
        ];
        if let Some(platform) = &found.platform {
            rows.push(("platform", platform.clone()));
        }
        let text = format!(
            "{}  {}\n{}",
            path.display(),
            show::size(found.size),
            show::table(&rows)
        );
        let json = json!({
            "path": path,
            "bytes": found.size,
            "reference": reference.to_string(),
            "kind": found.kind,
            "digest": found.digest,
            "pinned": pinned,
            "platform": found.platform,
        });
        Ok(Outcome { text, json })
    }
}

/// What a file is called unless its owner says, as `build` and `pack` call it.
fn file_name(reference: &Reference, kind: Kind, target: Option<Target>) -> PathBuf {
    let name = reference.name();
    let end = match kind {
        Kind::Component => "wasm",
        Kind::Artifact => "cwasm",
        Kind::Bundle => "zlb",
    };
    PathBuf::from(match target.filter(|_| kind != Kind::Component) {
        Some(target) => format!("{name}.{target}.{end}"),
        None => format!("{name}.{end}"),
    })
}
