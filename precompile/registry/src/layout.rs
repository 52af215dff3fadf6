//! An OCI image layout: content in a folder, for tools that carry it to a registry, or to where there is none.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::Path;

use serde_json::{Map, Value, json};
use zlayer_bundle::open_regular;

use crate::Error;
use crate::content::{Bytes, Content, Layer, copy, digest_of};
use crate::document::media;

/// Bytes of a layout's documents that are read.
const INDEX_BYTES: u64 = 4 << 20;
/// Under which name other tools find the content of a layout.
const NAME: &str = "org.opencontainers.image.ref.name";

impl Content {
    /// Writes the content as an image layout under this name: into a new folder, or beside what is in a layout that is
    /// there. What had the name there has it no more, and its blobs stay, as other tools keep them.
    ///
    /// # Errors
    ///
    /// The folder holds something else, or cannot be written: nothing of a new one stays then, and what was in a
    /// layout is found there as it was.
    pub fn write_layout(&self, folder: &Path, name: &str) -> Result<(), Error> {
        let failed = |source| Error::File {
            what: format!("cannot write {}", folder.display()),
            source,
        };
        let is_new = match fs::create_dir(folder) {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
            Err(error) => return Err(failed(error)),
        };
        let written = self.write_into(folder, name, is_new);
        written.map_err(|error| {
            if is_new {
                let _ = fs::remove_dir_all(folder);
            }
            failed(error)
        })
    }

    fn write_into(&self, folder: &Path, name: &str, is_new: bool) -> io::Result<()> {
        let index = match is_new {
            true => Map::new(),
            // A folder that holds anything else belongs to somebody.
            false => present(folder, name)?,
        };
        let blobs = folder.join("blobs/sha256");
        fs::create_dir_all(&blobs)?;
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
        write(&folder.join("index.json"), &self.entry(name, index))
    }

    /// What `index.json` says, which is `index` with this one at the end. What else that holds is not ours.
    fn entry(&self, name: &str, mut index: Map<String, Value>) -> Value {
        let own = self.top().map(|(bytes, media_type)| {
            let mut entry = bytes.descriptor(media_type);
            entry.annotations.insert(NAME.to_owned(), name.to_owned());
            json!(entry)
        });
        let others = index.remove("manifests");
        let others = others.as_ref().and_then(Value::as_array);
        let manifests: Vec<Value> = others
            .cloned()
            .unwrap_or_default()
            .into_iter()
            .chain(own)
            .collect();
        index.insert("schemaVersion".to_owned(), json!(2));
        index.entry("mediaType").or_insert(json!(media::INDEX));
        index.insert("manifests".to_owned(), json!(manifests));
        Value::Object(index)
    }
}

/// The `index.json` of a layout, without what has this name; nothing for an empty folder.
fn present(folder: &Path, name: &str) -> io::Result<Map<String, Value>> {
    if fs::read_dir(folder)?.next().is_none() {
        return Ok(Map::new());
    }
    let layout = document(folder, "oci-layout")?;
    let index = document(folder, "index.json")?;
    let version = layout["imageLayoutVersion"].as_str().unwrap_or_default();
    match (version, index) {
        ("1.0.0", Value::Object(mut index))
            if index.get("manifests").is_some_and(Value::is_array) =>
        {
            if let Some(Value::Array(manifests)) = index.get_mut("manifests") {
                manifests.retain(|one| one["annotations"][NAME] != name);
            }
            Ok(index)
        }
        _ => Err(io::Error::other(format!(
            "it holds an OCI image layout of version '{}', and 1.0.0 is known here, or its index.json lists no \
             manifests; name another folder with -o",
            version.escape_debug()
        ))),
    }
}

/// A document of a layout.
fn document(folder: &Path, name: &str) -> io::Result<Value> {
    let foreign = || {
        io::Error::other(
            "it holds something else than an OCI image layout; name another folder with -o",
        )
    };
    let failed = |error: io::Error| {
        io::Error::new(
            error.kind(),
            format!("{name} there cannot be read: {error}"),
        )
    };
    let path = folder.join(name);
    let (file, _) = match open_regular(&path) {
        Ok(opened) => opened,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(foreign()),
        // A folder, say.
        Err(_) if fs::metadata(&path).is_ok_and(|found| !found.is_file()) => return Err(foreign()),
        Err(error) => return Err(failed(error)),
    };
    let mut text = Vec::new();
    { file.take(INDEX_BYTES + 1) }
        .read_to_end(&mut text)
        .map_err(failed)?;
    if text.len() as u64 > INDEX_BYTES {
        return Err(io::Error::other(format!(
            "{name} there has more than {} MiB, the most; name another folder with -o",
            INDEX_BYTES >> 20
        )));
    }
    serde_json::from_slice(&text).map_err(|_| foreign())
}

impl Layer {
    fn copy_to(&self, blobs: &Path) -> io::Result<()> {
        let path = blobs.join(file_name(&self.digest));
        replace(&path, |to| {
            // Its manifest is made: what came of the file since then is not what that says.
            let copied = copy(&mut open_regular(&self.path)?.0, to)?;
            if copied != (self.digest.clone(), self.size) {
                return Err(io::Error::other(format!(
                    "{} changed while it was read; try again",
                    self.path.display()
                )));
            }
            Ok(())
        })
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
    replace(path, |to| to.write_all(bytes))
}

/// Writes a file that takes its place when it is whole: what is there may be of another name in the layout.
fn replace(path: &Path, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let unfinished = path.with_extension("incoming");
    let written = File::create(&unfinished).and_then(|mut file| {
        write(&mut file)?;
        file.sync_all()?;
        fs::rename(&unfinished, path)
    });
    if written.is_err() {
        let _ = fs::remove_file(&unfinished);
    }
    written
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
        let content = content(&dir);
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
        // What is there already stays as it is.
        let blob = layout
            .join("blobs/sha256")
            .join(file_name(&content.members[0].layer.digest));
        fs::write(&path, b"as it is.").unwrap();
        assert!(content.write_layout(&layout, "v2").is_err());
        assert_eq!(fs::read(blob).unwrap(), b"as it was");
        assert_eq!(names(&layout), ["v1"]);
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn what_else_an_index_says_stays_and_one_that_cannot_be_read_is_told_from_another_folder() {
        let name = format!("zlayer-registry-index-{}", std::process::id());
        let dir = std::env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir(&dir).unwrap();
        let content = content(&dir);
        let layout = dir.join("layout");
        content.write_layout(&layout, "v1").unwrap();
        let index = layout.join("index.json");
        let mut known: Value = serde_json::from_slice(&fs::read(&index).unwrap()).unwrap();
        known["annotations"] = json!({ "made": "by hand" });
        known["x-later"] = json!([1]);
        fs::write(&index, known.to_string()).unwrap();
        content.write_layout(&layout, "v2").unwrap();
        let now: Value = serde_json::from_slice(&fs::read(&index).unwrap()).unwrap();
        assert_eq!(names(&layout), ["v1", "v2"]);
        for member in ["annotations", "x-later", "mediaType", "schemaVersion"] {
            assert_eq!(now[member], known[member], "{member}");
        }
        let told = || content.write_layout(&layout, "v3").unwrap_err().to_string();
        fs::write(&index, vec![b' '; INDEX_BYTES as usize + 1]).unwrap();
        assert!(
            told().contains("index.json there has more than 4 MiB"),
            "{}",
            told()
        );
        fs::write(&index, "[").unwrap();
        assert!(told().contains("something else"), "{}", told());
        fs::remove_file(&index).unwrap();
        assert!(told().contains("something else"), "{}", told());
        fs::remove_dir_all(dir).unwrap();
    }

    /// What is exported of a file in this folder.
    fn content(dir: &Path) -> Content {
        let path = dir.join("web.wasm");
        fs::write(&path, b"as it was").unwrap();
        Content::component(ComponentFile {
            path,
            version: String::new(),
            exports: Vec::new(),
            imports: Vec::new(),
        })
        .unwrap()
    }

    /// What is found in a layout.
    fn names(layout: &Path) -> Vec<String> {
        let index = fs::read(layout.join("index.json")).unwrap();
        let index: Value = serde_json::from_slice(&index).unwrap();
        let manifests = index["manifests"].as_array().unwrap().iter();
        let names = manifests.map(|one| one["annotations"][NAME].as_str().unwrap().to_owned());
        names.collect()
    }
}
