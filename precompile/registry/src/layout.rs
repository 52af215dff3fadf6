//! An OCI image layout: content in a folder, for tools that carry it to a registry, or to where there is none.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

use serde_json::json;

use crate::Error;
use crate::content::{Bytes, Content, Layer, digest_of};
use crate::document::media;

/// Under which name other tools find the content of a layout.
const NAME: &str = "org.opencontainers.image.ref.name";

impl Content {
    /// Writes the content as an image layout into a new folder, under this name.
    ///
    /// # Errors
    ///
    /// The folder is there already, or cannot be written; then nothing of it stays.
    pub fn write_layout(&self, folder: &Path, name: &str) -> Result<(), Error> {
        let failed = |source| Error::File {
            what: format!("cannot write {}", folder.display()),
            source,
        };
        let blobs = folder.join("blobs/sha256");
        // A folder that is there belongs to somebody.
        fs::create_dir(folder).map_err(failed)?;
        let written = fs::create_dir_all(&blobs).and_then(|()| {
            for member in &self.members {
                member.layer.copy_to(&blobs)?;
                write_blob(&blobs, &member.config)?;
                write_blob(&blobs, &member.manifest)?;
            }
            if let Some(index) = &self.index {
                write_blob(&blobs, index)?;
            }
            write(
                &folder.join("oci-layout"),
                &json!({ "imageLayoutVersion": "1.0.0" }),
            )?;
            // The last file: with it the layout is whole.
            write(&folder.join("index.json"), &self.entry(name))
        });
        written.map_err(|error| {
            let _ = fs::remove_dir_all(folder);
            failed(error)
        })
    }

    /// What `index.json` says.
    fn entry(&self, name: &str) -> serde_json::Value {
        let manifests = self.top().map(|(bytes, media_type)| {
            let mut entry = bytes.descriptor(media_type);
            entry.annotations.insert(NAME.to_owned(), name.to_owned());
            entry
        });
        json!({
            "schemaVersion": 2,
            "mediaType": media::INDEX,
            "manifests": manifests.into_iter().collect::<Vec<_>>(),
        })
    }
}

impl Layer {
    fn copy_to(&self, blobs: &Path) -> io::Result<()> {
        let path = blobs.join(file_name(&self.digest));
        let mut to = File::create(&path)?;
        io::copy(&mut File::open(&self.path)?, &mut to)?;
        to.sync_all()?;
        Ok(())
    }
}

fn write_blob(blobs: &Path, blob: &Bytes) -> io::Result<()> {
    debug_assert_eq!(blob.digest, digest_of(&blob.bytes));
    write_bytes(&blobs.join(file_name(&blob.digest)), &blob.bytes)
}

fn write(path: &Path, document: &serde_json::Value) -> io::Result<()> {
    write_bytes(path, document.to_string().as_bytes())
}

fn write_bytes(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// A blob's file has the digits of its digest for a name.
fn file_name(digest: &str) -> &str {
    digest.split_once(':').map_or(digest, |(_, digits)| digits)
}
