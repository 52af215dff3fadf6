//! `zlayer trust` in the folder of a daemon that does not run.

use std::io::{self, Read};
use std::path::Path;

use zlayer_bundle::{BundleError, ENGINE_VERSION, EngineVersion, TrustFile, TrustList};

use super::compile::open;
use super::installation::{Installation, STANDARD_INPUT, locked};
use super::trust::{install_list, trusted};
use super::trust_list::MOST;
use crate::error::{Error, Result};
use crate::generations::Generations;

impl Installation {
    /// Installs a trust list, a file or [`STANDARD_INPUT`], in the folder of a daemon that does not run. What is
    /// served from there and will not be any more is told.
    ///
    /// # Errors
    ///
    /// A daemon uses the folder, or as of [`install_list`].
    pub fn trust(&self, list: &Path) -> Result<TrustList> {
        let bytes = read(list)?;
        // Before a folder is made for what is no list.
        TrustFile::read(&bytes).map_err(|source| Error::TrustList {
            installed: None,
            source,
        })?;
        let _data = locked(&self.data_dir)?;
        let list = install_list(&self.data_dir, &self.key_dirs, &bytes)?;
        for told in self.consequences(&list) {
            log::warn!("{told}");
        }
        Ok(list)
    }

    /// What its owner may not have thought of.
    fn consequences(&self, list: &TrustList) -> Vec<String> {
        let mut told = Vec::new();
        let own = ENGINE_VERSION.parse::<EngineVersion>();
        if let (Ok(own), Some(floor)) = (own, list.engine_floor)
            && own < floor
        {
            told.push(format!(
                "trust list {} lets none below engine {floor} run, and this program's is {own}: it serves nothing \
                 until zlayer itself is updated",
                list.number
            ));
        }
        if let Some((number, error)) = self.refused_now() {
            told.push(format!(
                "generation {number}, which is active, is refused from the next start on: {error}"
            ));
        }
        told
    }

    /// The active generation, if its bundle is refused by now.
    fn refused_now(&self) -> Option<(u64, BundleError)> {
        let generations = Generations::of(&self.data_dir);
        // Whatever cannot be read is told by who starts it.
        let number = generations.active().ok()??;
        let head = generations.head(number).ok()?;
        let trust = trusted(&self.trustees(), false).ok()?;
        let error = head.verify(&trust).err()?;
        Some((number, error))
    }
}

/// What is in a file, or comes over standard input, as far as a list may go.
fn read(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = match path == Path::new(STANDARD_INPUT) {
        true => io::stdin().lock().take(MOST).read_to_end(&mut bytes),
        false => open(path)?.take(MOST).read_to_end(&mut bytes),
    };
    read.map_err(|error| Error::device(format!("cannot read {}", path.display()), error))?;
    Ok(bytes)
}
