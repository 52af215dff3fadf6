//! An OCI image layout: content in a folder, for tools that carry it to a registry, or to where there is none.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

use serde_json::json;

use crate::Error;
use crate::content::{Bytes, Content, Layer, copy, digest_of};
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
        // Its manifest is made: what came of the file since then is not what that says.
        let copied = copy(&mut File::open(&self.path)?, &mut to)?;
        if copied != (self.digest.clone(), self.size) {
            return Err(io::Error::other(format!(
                "{} changed while it was read; try again",
                self.path.display()
            )));
        }
        to.sync_all()
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

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;
    use crate::ComponentFile;

    #[test]
    fn a_file_that_changed_since_its_digest_was_made_does_not_get_into_a_layout() {
        let name = format!("zlayer-registry-layout-{}", std::process::id());
        let dir = std::env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir(&dir).unwrap();
        let (path, layout) = (dir.join("web.wasm"), dir.join("layout"));
        fs::write(&path, b"as it was").unwrap();
        let content = Content::component(ComponentFile {
            path: path.clone(),
            version: String::new(),
            exports: Vec::new(),
            imports: Vec::new(),
        })
        .unwrap();
        for other in [&b"as it is."[..], b"as it was, and more", b"as"] {
            fs::write(&path, other).unwrap();
            let told = content.write_layout(&layout, "v1").unwrap_err().to_string();
            assert!(
                told.contains("web.wasm changed while it was read"),
                "{told}"
            );
            assert!(!layout.exists());
        }
        fs::write(&path, b"as it was").unwrap();
        content.write_layout(&layout, "v1").unwrap();
        fs::remove_dir_all(dir).unwrap();
    }
}
