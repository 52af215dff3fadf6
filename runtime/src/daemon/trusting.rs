//! Installs trust lists: in the folder of a daemon that does not run, and what both ways have in common.

use std::io::Read;
use std::path::Path;

use zlayer_bundle::{BundleError, ENGINE_VERSION, EngineVersion, TrustFile, TrustList};

use super::installation::{Installation, locked};
use super::trust::{Trustees, install_list, trusted};
use super::trust_list::MOST;
use crate::error::{Error, Result, WhichList};
use crate::generations::Generations;

impl Installation {
    /// Installs a trust list, which people know by its `name`, in the folder of a daemon that does not run. What is served from there and will not be
    /// any more is told.
    ///
    /// # Errors
    ///
    /// A daemon uses the folder, or as of [`install_list`].
    pub fn trust(&self, name: &Path, bytes: &[u8]) -> Result<TrustList> {
        // Before a folder is made for what is no list.
        TrustFile::read(bytes).map_err(|source| Error::TrustList {
            which: WhichList::Given(name.to_owned()),
            source,
        })?;
        let _data = locked(&self.data_dir)?;
        let list = install_list(&self.data_dir, &self.key_dirs, name, bytes)?;
        for told in consequences(&self.data_dir, &self.trustees(), &list) {
            log::warn!("{told}");
        }
        Ok(list)
    }
}

/// Reads a trust list, as far as one may go. People know it by this `name`.
///
/// # Errors
///
/// It cannot be read.
pub fn read_list(name: &Path, from: impl Read) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = from.take(MOST).read_to_end(&mut bytes);
    read.map_err(|error| Error::device(format!("cannot read {}", name.display()), error))?;
    Ok(bytes)
}

/// What the owner of a list may not have thought of, which was installed just now.
pub(super) fn consequences(
    data_dir: &Path,
    trustees: &Trustees<'_>,
    list: &TrustList,
) -> Vec<String> {
    let mut told = Vec::new();
    let own = ENGINE_VERSION.parse::<EngineVersion>();
    if let (Ok(own), Some(floor)) = (own, list.engine_floor)
        && own < floor
    {
        told.push(format!(
            "trust list {} lets none below engine {floor} run, and this program's is {own}: it serves nothing from \
             the next start on, until zlayer itself is updated",
            list.number
        ));
    }
    if let Some((number, error)) = refused_now(data_dir, trustees) {
        told.push(format!(
            "generation {number}, which is active, is refused from the next start on: {error}"
        ));
    }
    told
}

/// The active generation, if its bundle is refused by now.
fn refused_now(data_dir: &Path, trustees: &Trustees<'_>) -> Option<(u64, BundleError)> {
    let generations = Generations::of(data_dir);
    // Whatever cannot be read is told by who starts it.
    let number = generations.active().ok()??;
    let head = generations.head(number).ok()?;
    let trust = trusted(trustees, false).ok()?;
    let error = head.verify(&trust).err()?;
    Some((number, error))
}
