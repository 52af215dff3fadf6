//! `keygen`: a new key pair.

use std::path::PathBuf;

use anyhow::Result;
use argh::FromArgs;
use serde_json::json;
use zlayer_precompile::{KeyKind, create_key_pair};

use super::{Outcome, usage};

/// make a key pair to sign with
#[derive(FromArgs)]
#[argh(subcommand, name = "keygen")]
pub(crate) struct Keygen {
    /// folder to write to (default: the current one)
    #[argh(option, short = 'o', default = "PathBuf::from(\".\")")]
    output: PathBuf,

    /// name of the two files, without ending (default zlayer)
    #[argh(option, default = "\"zlayer\".to_owned()")]
    name: String,

    /// make a root key, NAME.root.key and NAME.root, which signs trust lists and no code
    #[argh(switch)]
    root: bool,

    /// print one JSON object
    #[argh(switch)]
    #[expect(
        dead_code,
        reason = "`main` looks for the word itself, for errors in the arguments too"
    )]
    json: bool,
}

impl Keygen {
    pub(crate) fn run(self) -> Result<Outcome> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if self.name.is_empty() || self.name.starts_with('.') || !self.name.chars().all(plain) {
            return Err(usage(
                "--name takes letters, digits, `-`, `_` and `.`, not first",
            ));
        }
        let kind = match self.root {
            true => KeyKind::Root,
            false => KeyKind::Signing,
        };
        let (key, secret, public) = create_key_pair(&self.output, &self.name, kind)?;
        let id = key.public().id().to_string();
        let text = format!(
            "{}key {id}\nsecret  {}  keep it {}\npublic  {}  put it into the key folder of \
             each device\n",
            if self.root { "root " } else { "" },
            secret.display(),
            if self.root {
                "offline: it signs trust lists alone"
            } else {
                "to yourself"
            },
            public.display()
        );
        let json = json!({ "key_id": id, "secret_key": secret, "public_key": public });
        Ok(Outcome { text, json })
    }
}
