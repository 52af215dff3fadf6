//! `diff`: what changes from one bundle to another.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use argh::FromArgs;
use serde_json::{Value, json};
use zlayer_precompile::{BundleFile, Change, differences};

use super::Outcome;
use crate::show;

/// show what changes from one bundle to another
#[derive(FromArgs)]
#[argh(subcommand, name = "diff")]
pub(crate) struct Diff {
    /// a .zlb file
    #[argh(positional)]
    old: PathBuf,

    /// the .zlb file that takes its place
    #[argh(positional)]
    new: PathBuf,

    /// print one JSON object
    #[argh(switch)]
    #[expect(
        dead_code,
        reason = "`main` looks for the word itself, for errors in the arguments too"
    )]
    json: bool,
}

impl Diff {
    pub(crate) fn run(self) -> Result<Outcome> {
        let (old, new) = (BundleFile::read(&self.old)?, BundleFile::read(&self.new)?);
        let changes = differences(&old, &new);
        let text = match changes.is_empty() {
            true => "no difference\n".to_owned(),
            false => changes.iter().map(line).collect(),
        };
        let json = json!({ "same": changes.is_empty(), "changes": changes });
        let checked = [(&self.old, &old), (&self.new, &new)]
            .into_iter()
            .try_for_each(|(path, bundle)| {
                { bundle.check_signatures() }.with_context(|| path.display().to_string())
            });
        Outcome { text, json }.unless(checked)
    }
}

/// A line about one change.
fn line(change: &Change) -> String {
    let Change { what, from, to } = change;
    match (from, to) {
        (Value::Null, to) => format!("{what}: added, {}\n", show::value(to)),
        (from, Value::Null) => format!("{what}: removed, was {}\n", show::value(from)),
        (from, to) => format!("{what}: {} -> {}\n", show::value(from), show::value(to)),
    }
}
