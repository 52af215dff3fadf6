//! `sign`: put another signature on an artifact.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use argh::FromArgs;
use serde_json::json;
use zlayer_bundle::{check_digest, read_manifest, seal};
use zlayer_precompile::write_atomically;

use super::{Outcome, about, open_artifact, read_key, spare};

/// sign a compiled artifact, replacing any signature that it has
#[derive(FromArgs)]
#[argh(subcommand, name = "sign")]
pub(crate) struct Sign {
    /// a .cwasm file
    #[argh(positional)]
    file: PathBuf,

    /// secret key to sign with
    #[argh(option)]
    key: PathBuf,

    /// file to write (default: the same one)
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

impl Sign {
    pub(crate) fn run(self) -> Result<Outcome> {
        use std::os::unix::fs::FileExt as _;
        let key = read_key(&self.key)?;
        // The artifact itself may be signed in its place.
        let output = self.output.as_ref().unwrap_or(&self.file);
        spare(output, [self.key.as_path()])?;
        let file = open_artifact(&self.file)?;
        let (manifest, _) = about(&self.file, read_manifest(&file))?;
        // A signature must not vouch for code that was changed since it was compiled.
        about(&self.file, check_digest(&file, &manifest))?;
        let mut code = vec![0; usize::try_from(manifest.artifact_len)?];
        file.read_exact_at(&mut code, 0)
            .with_context(|| format!("cannot read {}", self.file.display()))?;
        let bytes = seal(code, manifest, Some(&key))?;
        write_atomically(output, &bytes, 0o644)?;
        let id = key.public().id().to_string();
        let text = format!("{}  signed by {id}\n", output.display());
        Ok(Outcome {
            text,
            json: json!({ "path": output, "key_id": id }),
        })
    }
}
