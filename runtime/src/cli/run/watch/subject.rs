//! What is watched: a deployment, or plugins of which a small one is made.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use zlayer_bundle::{Profile, Target};

use super::Given;
use crate::daemon::{self, Draftsman, Packed};
use crate::data_dir::TemporaryFolder;
use crate::error::{Error, Result};

/// Characters of a service's name at the most.
const NAME_MAX: usize = 60;

/// A deployment that is packed again whenever it changes.
pub(super) enum Subject {
    /// A `deployment.yaml`.
    Deployment(PathBuf),
    /// Plugins of which nothing is said but by flags, and the text of their deployment.
    Plugins(Vec<PathBuf>, String),
}

impl Subject {
    /// # Errors
    ///
    /// It is nothing that changes by what somebody writes.
    pub(super) fn of(given: Given) -> Result<Subject> {
        let refused = |why: String| Err(Error::Usage(format!("--watch: {why}")));
        match given {
            Given::Deployment(path) => Ok(Subject::Deployment(path)),
            Given::Plugins(files) => {
                let absolute = files.iter().map(std::path::absolute);
                let absolute = absolute.collect::<std::io::Result<Vec<_>>>();
                let absolute =
                    absolute.map_err(|error| Error::device("cannot tell where this is", error))?;
                // Before anything is packed: what there is not cannot be compiled.
                for file in &files {
                    daemon::open_regular(file)?;
                }
                let text = deployment(&absolute);
                Ok(Subject::Plugins(absolute, text))
            }
            Given::Bundle(path) => refused(format!(
                "{} was packed already, and nothing that it is made of is known here; name the deployment.yaml, or \
                 install new bundles with `zlayer install`",
                path.display()
            )),
            Given::Nothing => refused(
                "name what is to be watched, a deployment.yaml or plugins; what is installed changes with `zlayer \
                 install`, and the daemon that serves it need not be told to look"
                    .to_owned(),
            ),
        }
    }

    /// What people know it by.
    pub(super) fn path(&self) -> &Path {
        match self {
            Subject::Deployment(path) => path,
            // There is one at least.
            Subject::Plugins(files, _) => files.first().map_or(Path::new(""), PathBuf::as_path),
        }
    }

    /// The files that are known to be a part of it before it was read.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        match self {
            Subject::Deployment(path) => vec![path.clone()],
            Subject::Plugins(files, _) => files.clone(),
        }
    }

    /// Packs it.
    ///
    /// # Errors
    ///
    /// As [`daemon::pack_draft`].
    pub(super) fn pack(
        &self,
        settings: (Target, Profile),
        draftsman: &mut Draftsman,
    ) -> Result<Packed> {
        let text = match self {
            Subject::Deployment(path) => return daemon::pack_draft(path, settings, draftsman),
            Subject::Plugins(_, text) => text,
        };
        let failed = |error| Error::device("cannot write a deployment of the plugins", error);
        let folder = TemporaryFolder::make().map_err(failed)?;
        let file = folder.path().join("deployment.yaml");
        fs::write(&file, text).map_err(failed)?;
        daemon::pack_draft(&file, settings, draftsman)
    }
}

/// The deployment of plugins of which nothing is said: a service for each, which is called as its file is.
fn deployment(files: &[PathBuf]) -> String {
    let mut names = BTreeSet::new();
    let mut text = "version: v1\ndeployment: watched\nservices:\n".to_owned();
    for file in files {
        let stem = file.file_stem().unwrap_or_default().to_string_lossy();
        let wanted = name(&stem);
        let numbered = (2..).map(|number| format!("{wanted}-{number}"));
        let free = { std::iter::once(wanted.clone()).chain(numbered) }
            .find(|name| !names.contains(name))
            .unwrap_or_default();
        // What begins with a digit would be a number.
        text.push_str(&format!(
            "  {}: {{image: {}}}\n",
            quoted(&free),
            quoted(&file.to_string_lossy())
        ));
        names.insert(free);
    }
    text
}

/// The nearest name that a service may have.
fn name(stem: &str) -> String {
    let letters = stem.chars().map(|c| match c.to_ascii_lowercase() {
        c if c.is_ascii_lowercase() || c.is_ascii_digit() || "-._".contains(c) => c,
        _ => '-',
    });
    let name: String = letters.take(NAME_MAX).collect();
    match name.trim_start_matches(['-', '.', '_']) {
        "" => "plugin".to_owned(),
        name => name.to_owned(),
    }
}

/// A text as YAML has it between double quotes.
fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted.push_str(&format!("\\U{:08x}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plugins_become_services_with_names_of_their_own() {
        let files = ["/a/My Plugin.wasm", "/b/my-plugin.wasm", "/c/_.cwasm"].map(PathBuf::from);
        assert_eq!(
            deployment(&files),
            "version: v1\ndeployment: watched\nservices:\n  \
             \"my-plugin\": {image: \"/a/My Plugin.wasm\"}\n  \
             \"my-plugin-2\": {image: \"/b/my-plugin.wasm\"}\n  \
             \"plugin\": {image: \"/c/_.cwasm\"}\n"
        );
    }

    #[test]
    fn any_path_can_be_quoted() {
        assert_eq!(quoted("a\"b\\c\n"), "\"a\\\"b\\\\c\\U0000000a\"");
    }

    #[test]
    fn what_nobody_is_at_work_on_is_refused_with_the_reason() {
        let refused = |given| match Subject::of(given) {
            Err(error) => error.to_string(),
            Ok(_) => "taken".to_owned(),
        };
        let told = refused(Given::Bundle("a.zlb".into()));
        assert!(told.contains("a.zlb was packed already"), "{told}");
        let told = refused(Given::Nothing);
        assert!(told.contains("name what is to be watched"), "{told}");
        let told = refused(Given::Plugins(vec!["/nowhere/a.wasm".into()]));
        assert!(told.contains("/nowhere/a.wasm"), "{told}");
    }
}
