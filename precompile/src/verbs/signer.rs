//! What the verbs sign with that make something for devices.

use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use zlayer_bundle::{SecretKey, user_key_dir};
use zlayer_precompile::development_key;

use super::{read_key, tell, usage};

/// The key to sign with, and how it is shown.
pub(super) struct Signer {
    /// `None`: it was said not to sign.
    pub(super) key: Option<SecretKey>,
    pub(super) text: String,
    pub(super) json: Value,
}

impl Signer {
    /// By the flags `--key` and `--unsigned`; without either it is the user's development key, which is made on
    /// first use. `what` is signed.
    pub(super) fn choose(key: Option<&Path>, is_unsigned: bool, what: &str) -> Result<Signer> {
        if is_unsigned {
            tell(&format!(
                "not signed: a device runs this only when it allows unsigned {what}"
            ));
            return Ok(Signer {
                key: None,
                text: "unsigned".to_owned(),
                json: json!(null),
            });
        }
        let (key, kind) = match key {
            Some(path) => (read_key(path)?, "key file"),
            None => {
                let dir = user_key_dir().context(
                    "no folder for a development key, as HOME is not set: give --key or --unsigned",
                )?;
                let (key, is_new) = development_key(&dir).context(
                    "no development key: name a key with --key (keygen makes one), or give --unsigned",
                )?;
                if is_new {
                    tell(&format!(
                        "made a development key in {}: `zlayer run` on this account trusts it",
                        dir.display()
                    ));
                }
                (key, "development key")
            }
        };
        let id = key.public().id().to_string();
        let text = format!("signed by {id} ({kind})");
        Ok(Signer {
            key: Some(key),
            text,
            json: json!({ "key_id": id, "kind": kind }),
        })
    }

    /// Whether the two flags fit together.
    pub(super) fn check(key: Option<&Path>, is_unsigned: bool) -> Result<()> {
        match is_unsigned && key.is_some() {
            true => Err(usage("--key and --unsigned contradict each other")),
            false => Ok(()),
        }
    }
}
