//! `new`: a plugin to start from, in a folder of its own that needs nothing of this repository.

mod languages;
mod name;
mod sources;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use argh::FromArgs;
use serde_json::json;
use zlayer_bundle::Role;
use zlayer_precompile::{Problem, Refused};

use super::Outcome;
use languages::Language;
use name::Name;

/// begin a plugin: a folder with its source, a test that needs no device, and the contract
#[derive(FromArgs)]
#[argh(subcommand, name = "new")]
pub(crate) struct New {
    /// the plugin's name: small letters, digits and hyphens
    #[argh(positional)]
    name: Name,

    /// its role: handler, http-handler, transformer, authenticator, rate-limiter, middleware, router,
    /// cache or websocket
    #[argh(option)]
    role: Role,

    /// the language: rust, js or python (default rust)
    #[argh(option, default = "Language::Rust")]
    lang: Language,

    /// the folder to make the plugin's folder in (default: the current folder)
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

/// One file of a plugin: where it goes in the plugin's folder, and its text.
pub(super) struct File {
    pub(super) path: String,
    pub(super) text: String,
}

impl New {
    pub(crate) fn run(self) -> Result<Outcome> {
        let files = self.lang.files(&self.name, self.role);
        let folder = self.output.unwrap_or_default().join(self.name.as_str());
        create(&folder)?;
        for file in &files {
            write(&folder.join(&file.path), &file.text)?;
        }
        let shown = folder.display();
        let mut text = format!("{shown}: a {} in {}\n", self.role, self.lang);
        for command in self.lang.commands(&self.name, self.role) {
            text += &format!("  {command}\n");
        }
        let json = json!({
            "folder": folder,
            "name": self.name.as_str(),
            "role": self.role,
            "language": self.lang.to_string(),
            "files": files.iter().map(|file| file.path.as_str()).collect::<Vec<_>>(),
            "commands": self.lang.commands(&self.name, self.role),
        });
        Ok(Outcome { text, json })
    }
}

/// Makes the plugin's folder. One that is there belongs to somebody.
fn create(folder: &Path) -> Result<()> {
    if let Some(parent) = folder.parent() {
        fs::create_dir_all(parent)
            .with_context(|| format!("cannot make the folder {}", parent.display()))?;
    }
    match fs::create_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let problem = Problem::new(
                folder.display().to_string(),
                "it is there already, and nothing is overwritten",
                "choose another name, or another folder with -o",
            );
            Err(Refused::from(problem).into())
        }
        made => made.with_context(|| format!("cannot make the folder {}", folder.display())),
    }
}

/// Writes a file of the new folder, whose own folders are made on the way.
fn write(path: &Path, text: &str) -> Result<()> {
    let written = match path.parent() {
        Some(parent) => fs::create_dir_all(parent),
        None => Ok(()),
    };
    written
        .and_then(|()| fs::write(path, text))
        .with_context(|| format!("cannot write {}", path.display()))
}
