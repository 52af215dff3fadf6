//! `trust-list`: which keys devices trust, and what they run no more, signed by a root key.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use argh::FromArgs;
use serde_json::{Value, json};
use zlayer_bundle::{
    BundleHead, EngineVersion, KeyId, MAX_TRUST_FILE, NotAnEngineVersion, PublicKey, SecretKey,
    SignedTrustList, TrustFile, TrustList, check_digest, digest_of_text, read_manifest,
    seal_trust_list,
};
use zlayer_precompile::{open_input, write_atomically};

use super::{Outcome, about, is_compiled, open_artifact, spare, usage};

/// make a trust list: which keys devices trust from now on, and what they run no more
#[derive(FromArgs)]
#[argh(subcommand, name = "trust-list")]
pub(crate) struct MakeTrustList {
    /// secret root key to sign with, as `keygen --root` makes it
    #[argh(option)]
    root: PathBuf,

    /// the list that this one comes after: what it says holds on, but for what the other flags say
    #[argh(option)]
    after: Option<PathBuf>,

    /// its number, higher than that of any list before (default: one more than that of --after)
    #[argh(option)]
    number: Option<u64>,

    /// public key whose signatures count, a .pub file; may be repeated
    #[argh(option)]
    trust: Vec<PathBuf>,

    /// what runs no more: the id of a key (16 hexadecimal digits) or its .pub file, a digest (64 digits) as info and
    /// inspect show them, a .cwasm file or a .zlb file; may be repeated
    #[argh(option)]
    revoke: Vec<String>,

    /// the lowest release of the engine whose code may run, such as 48.0.8
    #[argh(option)]
    engine_floor: Option<String>,

    /// public root key that signs later lists, a .root file, instead of those that count now; may be repeated
    #[argh(option)]
    next_root: Vec<PathBuf>,

    /// file to write
    #[argh(option, short = 'o')]
    output: PathBuf,

    /// print one JSON object
    #[argh(switch)]
    #[expect(
        dead_code,
        reason = "`main` looks for the word itself, for errors in the arguments too"
    )]
    json: bool,
}

impl MakeTrustList {
    pub(crate) fn run(self) -> Result<Outcome> {
        let root = SecretKey::read_root(&self.root)?;
        spare(&self.output, self.inputs())?;
        let before = self.after.as_deref().map(read).transpose()?;
        let list = self.list(before.as_ref())?;
        let mut bytes = match &before {
            Some(before) => before.before_next(),
            None => Vec::new(),
        };
        bytes.extend(seal_trust_list(&list, Some(&root))?);
        // What no device would take is not written.
        let made = TrustFile::read(&bytes).and_then(TrustFile::verify_from_first);
        made.context("no device would take this list")?;
        write_atomically(&self.output, &bytes, 0o644)?;
        let id = root.public().id();
        let text = format!(
            "{}  trust list {}, signed by root key {id}\n",
            self.output.display(),
            list.number
        );
        let mut json = said(&list);
        json["path"] = json!(self.output);
        json["root_key_id"] = json!(id.to_string());
        Ok(Outcome { text, json })
    }

    /// The files that it is made of. What `--revoke` names need not be one.
    fn inputs(&self) -> impl Iterator<Item = &Path> {
        let keys = self.trust.iter().chain(&self.next_root);
        std::iter::once(&self.root)
            .chain(&self.after)
            .chain(keys)
            .map(PathBuf::as_path)
            .chain(self.revoke.iter().map(Path::new))
    }

    /// What it says.
    fn list(&self, before: Option<&TrustFile>) -> Result<TrustList> {
        let before = before.map(|before| before.last().list.clone());
        let next = match &before {
            Some(before) => Some(before.number.checked_add(1).ok_or_else(|| {
                usage(format!(
                    "--after: {} is the highest number that there is, and no list can come after it",
                    before.number
                ))
            })?),
            None => None,
        };
        let Some(number) = self.number.or(next) else {
            return Err(usage(
                "the list has no number: give --number, 1 for the first one, or --after the one before",
            ));
        };
        if next.is_some_and(|next| number < next) {
            return Err(usage(format!(
                "--number: {number} is not higher than that of --after, and no device would take it"
            )));
        }
        let mut list = TrustList {
            number,
            // They count already.
            roots: Vec::new(),
            ..before.unwrap_or_default()
        };
        for word in &self.revoke {
            match Revoked::find(word)? {
                Revoked::Key(id) => {
                    list.revoked_keys.push(id);
                    // That it was trusted is over.
                    list.keys.retain(|key| key.id() != id);
                }
                Revoked::Digest(digest) => list.revoked_digests.push(digest),
            }
        }
        for path in &self.trust {
            list.keys.push(PublicKey::read(path)?);
        }
        for path in &self.next_root {
            list.roots.push(PublicKey::read_root(path)?);
        }
        if let Some(floor) = &self.engine_floor {
            let floor = floor.parse::<EngineVersion>();
            let wrong = |error: NotAnEngineVersion| usage(format!("--engine-floor: {error}"));
            list.engine_floor = Some(floor.map_err(wrong)?);
        }
        list.sort();
        Ok(list)
    }
}

/// What `--revoke` names.
enum Revoked {
    Key(KeyId),
    Digest([u8; 32]),
}

impl Revoked {
    fn find(word: &str) -> Result<Revoked> {
        if let Some(id) = KeyId::parse(word) {
            return Ok(Revoked::Key(id));
        }
        if let Some(digest) = digest_of_text(word) {
            return Ok(Revoked::Digest(digest));
        }
        let path = Path::new(word);
        if is_compiled(path) {
            let file = open_artifact(path)?;
            let (manifest, _) = about(path, read_manifest(&file))?;
            about(path, check_digest(&file, &manifest))?;
            return Ok(Revoked::Digest(manifest.digest));
        }
        match path.extension().and_then(|ending| ending.to_str()) {
            Some("pub") => Ok(Revoked::Key(PublicKey::read(path)?.id())),
            Some("zlb") => {
                let (mut file, _) = open_input(path, "give the .zlb file")?;
                let head = BundleHead::read(&mut file).with_context(|| word.to_owned())?;
                Ok(Revoked::Digest(head.digest()))
            }
            _ => bail!(usage(format!(
                "--revoke: {word} is no id of a key (16 hexadecimal digits), no digest (64 digits), and no .pub, \
                 .cwasm or .zlb file"
            ))),
        }
    }
}

/// Reads a file of trust lists. Each has to be signed as it says, whosever root key that is.
pub(crate) fn read(path: &Path) -> Result<TrustFile> {
    let (file, _) = open_input(path, "give the file of the trust list")?;
    let mut bytes = Vec::new();
    // One byte more tells whether there are too many.
    { file.take(MAX_TRUST_FILE as u64 + 1).read_to_end(&mut bytes) }
        .with_context(|| format!("cannot read {}", path.display()))?;
    let file = TrustFile::read(&bytes).and_then(|file| {
        file.check_signatures()?;
        Ok(file)
    });
    file.with_context(|| path.display().to_string())
}

/// What a list says, for programs.
pub(crate) fn said(list: &TrustList) -> Value {
    let ids = |keys: &[PublicKey]| {
        let ids: Vec<_> = keys.iter().map(|key| key.id().to_string()).collect();
        json!(ids)
    };
    let revoked: Vec<_> = list.revoked_keys.iter().map(KeyId::to_string).collect();
    json!({
        "number": list.number,
        "trusted_keys": ids(&list.keys),
        "revoked_keys": revoked,
        "revoked_digests": list.digests(),
        "engine_floor": list.engine_floor.map(|floor| floor.to_string()),
        "next_roots": ids(&list.roots),
    })
}

/// What `inspect` shows of a file of trust lists.
pub(crate) fn show(path: &Path) -> Result<Outcome> {
    let file = read(path)?;
    let SignedTrustList {
        list, signature, ..
    } = file.last();
    let id = signature.key().map(|key| key.id().to_string());
    let changes = file.changes_of_roots();
    let mut text = format!(
        "kind            trust list\n{list}signed by       root key {}\n",
        id.as_deref().unwrap_or_default()
    );
    if changes > 0 {
        text += &format!("in front of it  {changes} that changed root keys\n");
    }
    let mut json = said(list);
    json["file"] = json!(path);
    json["kind"] = json!("trust list");
    json["root_key_id"] = json!(id);
    json["changes_of_roots"] = json!(changes);
    Ok(Outcome { text, json })
}
