//! Where the plugin of a service comes from.

use std::fmt;
use std::path::{Path, PathBuf};

use zlayer_bundle::Role;

use crate::Place;

/// Where the plugin of a service comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// A file, or a place in a registry.
    pub source: ImageSource,
    /// Roles of which the component has to export one, as `service_type` says. `None`: any will do.
    pub service_type: Option<Vec<Role>>,
    /// Where the image is named.
    pub place: Place,
    /// The path of the key that names it, such as `services.auth.image`.
    pub path: String,
    /// The service's other keys, and those in its mappings: what is wrong with one may show only once the plugin
    /// is known.
    pub keys: Vec<Spot>,
}

/// A key, and where its value stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spot {
    /// Its path within the service, such as `wasm.max_memory`.
    pub key: String,
    /// Its whole path, such as `services.auth.wasm.max_memory`.
    pub path: String,
    /// Where its value stands.
    pub place: Place,
}

impl Image {
    /// The place and the path of the first of these keys of the service that the file has, by their paths within
    /// it. Where it has none, it is what the image has itself.
    pub fn spot(&self, keys: &[&str]) -> (&Place, &str) {
        let found = keys
            .iter()
            .find_map(|key| self.keys.iter().find(|spot| spot.key == *key));
        match found {
            Some(spot) => (&spot.place, &spot.path),
            None => (&self.place, &self.path),
        }
    }
}

/// A file, or a place in a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageSource {
    /// A file. A relative path counts from the folder of the `deployment.yaml`.
    File(PathBuf),
    /// An OCI reference.
    Reference(String),
}

impl ImageSource {
    /// What `name` means in a file of `folder`.
    pub(crate) fn of(name: &str, folder: &Path) -> ImageSource {
        let begins = ["./", "../", "/"]
            .iter()
            .any(|start| name.starts_with(start));
        let ends = [".wasm", ".cwasm"].iter().any(|end| name.ends_with(end));
        match begins || ends {
            true => ImageSource::File(folder.join(name.strip_prefix("./").unwrap_or(name))),
            false => ImageSource::Reference(name.to_owned()),
        }
    }
}

impl fmt::Display for ImageSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ImageSource::File(path) => path.display().fmt(f),
            ImageSource::Reference(name) => f.write_str(name),
        }
    }
}

/// Whether `name` can be an image at all.
pub(crate) fn check_name(name: &str) -> Result<(), String> {
    let shown = name.escape_debug();
    if name.is_empty() {
        return Err("is empty; name a file such as ./plugin.wasm, or an OCI reference".to_owned());
    }
    if name.contains("://") {
        return Err(format!(
            "'{shown}' is a URL; write an OCI reference without the scheme, such as ghcr.io/myorg/plugin:v1"
        ));
    }
    // Whether it is a file or a reference: neither ends so.
    let is_folder = ["/", "/.", "/.."].iter().any(|end| name.ends_with(end));
    if is_folder {
        return Err(format!(
            "'{shown}' is a folder; name the file in it, such as ./plugin.wasm"
        ));
    }
    let is_odd = match ImageSource::of(name, Path::new("")) {
        ImageSource::File(_) => name.chars().any(char::is_control),
        ImageSource::Reference(_) => !name.chars().all(|c| c.is_ascii_graphic()),
    };
    match is_odd {
        true => Err(format!(
            "'{shown}' is no image; write an OCI reference like ghcr.io/myorg/plugin:v1, or a file that begins \
             with ./ or ends in .wasm"
        )),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_told_from_references() {
        for (name, path) in [
            ("./a.wasm", "apps/a.wasm"),
            ("./a", "apps/a"),
            ("../a.cwasm", "apps/../a.cwasm"),
            ("/opt/a", "/opt/a"),
            ("plugins/a b.wasm", "apps/plugins/a b.wasm"),
        ] {
            let source = ImageSource::of(name, Path::new("apps"));
            assert_eq!(source, ImageSource::File(PathBuf::from(path)), "{name}");
            assert_eq!(check_name(name), Ok(()));
        }
        for name in ["ghcr.io/myorg/a:v1", "a", "localhost:5000/a@sha256:00"] {
            let source = ImageSource::of(name, Path::new("apps"));
            assert_eq!(source, ImageSource::Reference(name.to_owned()));
            assert_eq!(check_name(name), Ok(()));
        }
    }

    #[test]
    fn what_is_no_image_is_told_with_what_is() {
        for (name, says) in [
            ("", "is empty; name a file"),
            ("https://ghcr.io/a", "without the scheme"),
            ("ghcr.io/my org/a", "is no image"),
            ("ä", "is no image"),
            ("./", "'./' is a folder; name the file in it"),
            ("/opt/..", "is a folder"),
            ("./a\n.wasm", "'./a\\n.wasm' is no image"),
        ] {
            let told = check_name(name).err().unwrap_or_default();
            assert!(told.contains(says), "{name}: {told}");
        }
    }
}
