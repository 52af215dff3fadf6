//! Plugins that a deployment has from a registry.

use anyhow::Result;
use zlayer_bundle::Target;
use zlayer_registry::{Access, Kind, Reference, Registry};

use crate::{Problem, Refused, of_registry};

/// The largest plugin, in bytes, as the largest file may be.
const PLUGIN_MAX: u64 = 256 << 20;

/// A plugin that was fetched, and is what its digest says.
pub(super) struct Pulled {
    /// What it is called: the last part of the reference's name.
    pub(super) name: String,
    /// Where it is, by the digest that the reference led to.
    pub(super) image: String,
    /// The whole file.
    pub(super) bytes: Vec<u8>,
}

impl Pulled {
    /// Fetches what a reference leads to: a component, or the artifact for this target.
    pub(super) fn fetch(text: &str, target: Target, access: &Access) -> Result<Pulled> {
        let reference: Reference = text.parse().map_err(of_registry)?;
        let registry = Registry::open(&reference, access).map_err(of_registry)?;
        let found = registry.find(Some(target)).map_err(of_registry)?;
        let refused = |what: String, mend: &str| {
            Err(Refused::from(Problem::new(reference.to_string(), what, mend)).into())
        };
        if found.kind == Kind::Bundle {
            return refused(
                "it is a bundle, and a service is a plugin".to_owned(),
                "install the bundle as it is, or name the plugin",
            );
        }
        if found.size > PLUGIN_MAX {
            let what = format!("it has {} MB, more than any plugin", found.size >> 20);
            return refused(what, "name one of at most 256 MB");
        }
        let mut bytes = Vec::new();
        registry.pull(&found, &mut bytes).map_err(of_registry)?;
        Ok(Pulled {
            name: reference.name().to_owned(),
            image: reference.at(&found.digest),
            bytes,
        })
    }
}
