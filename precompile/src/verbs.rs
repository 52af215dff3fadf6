//! The verbs of the command line, one a file.

mod access;
pub(crate) mod build;
mod device;
pub(crate) mod diff;
pub(crate) mod explain;
pub(crate) mod export;
mod grants;
pub(crate) mod info;
pub(crate) mod inspect;
pub(crate) mod keygen;
pub(crate) mod logs;
pub(crate) mod new;
pub(crate) mod pack;
mod progress;
pub(crate) mod pull;
pub(crate) mod push;
pub(crate) mod sign;
mod signer;
pub(crate) mod trust_list;
pub(crate) mod validate;

use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use zlayer_bundle::{
    ArtifactError, ENGINE_VERSION, SecretKey, SignatureState, TrustStore, open_regular,
};
use zlayer_precompile::{Plugin, open_input, overwritten};

use crate::failure::{Amiss, Usage};

/// What a verb has to say when it went well.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// For people.
    pub(crate) text: String,
    /// For programs: one object.
    pub(crate) json: Value,
}

impl Outcome {
    /// What a verb has to say of a file, and that something is wrong with it, if so.
    fn unless(self, wrong: Result<()>) -> Result<Outcome> {
        match wrong {
            Ok(()) => Ok(self),
            Err(error) => Err(Amiss { shown: self, error }.into()),
        }
    }

    /// A text that has no more structure.
    pub(crate) fn text(text: String) -> Outcome {
        let json = json!({ "text": text });
        Outcome { text, json }
    }
}

/// What `--version` says.
pub(crate) fn version() -> Outcome {
    let version = env!("CARGO_PKG_VERSION");
    Outcome {
        text: format!("zlayer-precompile {version} (engine {ENGINE_VERSION})\n"),
        json: json!({ "version": version, "engine": ENGINE_VERSION }),
    }
}

/// The name of the plugin in a file: the file's name without its ending.
fn plugin_name(path: &Path) -> Result<String> {
    let name = path.file_stem().and_then(|stem| stem.to_str());
    let name = name.with_context(|| format!("{} has no name that could be used", path.display()));
    Ok(name?.to_owned())
}

/// Reads and checks the plugin in a WebAssembly file.
fn prepare(path: &Path, version: Option<&str>) -> Result<Plugin> {
    Plugin::prepare(
        &plugin_name(path)?,
        version,
        zlayer_precompile::read_input(path)?,
    )
}

/// Opens a compiled artifact.
fn open_artifact(path: &Path) -> Result<File> {
    let (file, _) = open_input(path, "give the .cwasm file")?;
    Ok(file)
}

/// Whether a file is compiled code, by its first bytes. Errors are left to whoever reads
/// the file next.
fn is_compiled(path: &Path) -> bool {
    use std::io::Read as _;
    let mut magic = [0; 4];
    open_regular(path)
        .and_then(|(mut file, _)| file.read_exact(&mut magic))
        .is_ok()
        && magic == *b"\x7fELF"
}

/// Names the file in an error about an artifact.
fn about<T>(path: &Path, result: Result<T, ArtifactError>) -> Result<T> {
    result.with_context(|| path.display().to_string())
}

/// Tells something beside the outcome, on standard error. Names of files must not steer a terminal.
fn tell(text: &str) {
    // Who does not listen to standard error does not want to know.
    let _ = writeln!(std::io::stderr(), "{}", zlayer_binlog::lines(text));
}

/// The keys of this user, for saying whether a signature is by one of them.
fn user_trust() -> Result<TrustStore> {
    let mut trust = TrustStore::empty();
    if let Some(dir) = zlayer_bundle::user_key_dir() {
        for left_out in trust.load(&dir)? {
            tell(&format!("{left_out}; this key is left out"));
        }
    }
    Ok(trust)
}

/// The same, held to a trust list that was named.
fn user_trust_by(list: Option<&Path>) -> Result<TrustStore> {
    let mut trust = user_trust()?;
    if let Some(path) = list {
        let file = trust_list::read(path)?;
        trust.heed(file.last().list.clone());
    }
    Ok(trust)
}

/// A signature's state as text and as JSON.
fn describe_signature(signature: &SignatureState, trust: &TrustStore) -> (String, Value) {
    let Some(key) = signature.key() else {
        let text = "none: a device refuses it unless it allows unsigned artifacts";
        return (text.to_owned(), json!({ "state": "unsigned" }));
    };
    let (id, trusted) = (key.id().to_string(), trust.trusts(&key));
    let state = if signature.is_valid() {
        "valid"
    } else {
        "invalid"
    };
    let whose = if trusted {
        "trusted by your account"
    } else {
        "not among your keys"
    };
    let text = format!("{state}, by key {id}, {whose}");
    (
        text,
        json!({ "state": state, "key_id": id, "trusted": trusted }),
    )
}

/// Reads a secret key that was named on the command line.
fn read_key(path: &Path) -> Result<SecretKey> {
    Ok(SecretKey::read(path)?)
}

/// Refuses to write a file over one that is read: a slip of the hand must not cost a key.
fn spare<'a>(output: &Path, inputs: impl IntoIterator<Item = &'a Path>) -> Result<()> {
    match overwritten(output, inputs) {
        None => Ok(()),
        Some(input) => Err(usage(format!(
            "-o {} would overwrite {}, which is read here: name another file",
            output.display(),
            input.display()
        ))),
    }
}

/// A mistake in the arguments.
fn usage(message: impl Into<String>) -> anyhow::Error {
    Usage(message.into()).into()
}
