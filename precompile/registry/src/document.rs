//! The documents of a registry: manifests and indexes, as the image specification has them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Platform;

/// Media types.
pub(crate) mod media {
    /// A manifest: one content with its configuration.
    pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    /// An index: a manifest for each platform.
    pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
    /// What docker calls them.
    pub(crate) const DOCKER: [&str; 2] = [
        "application/vnd.docker.distribution.manifest.v2+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
    ];
    /// A component: as a whole, its configuration, and the file.
    pub(crate) const COMPONENT: &str = "application/vnd.wasm.component.v1+wasm";
    pub(crate) const WASM_CONFIG: &str = "application/vnd.wasm.config.v0+json";
    pub(crate) const WASM: &str = "application/wasm";
    /// A compiled artifact, and its file.
    pub(crate) const ARTIFACT: &str = "application/vnd.zlayer.artifact.v1";
    pub(crate) const CWASM: &str = "application/vnd.zlayer.artifact.v1.cwasm";
    /// A bundle, and its file.
    pub(crate) const BUNDLE: &str = "application/vnd.zlayer.bundle.v1";
    pub(crate) const ZLB: &str = "application/vnd.zlayer.bundle.v1.zlb";
    /// What is said of either.
    pub(crate) const CONFIG: &str = "application/vnd.zlayer.config.v1+json";
}

/// Points to content by its digest.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    pub(crate) media_type: String,
    pub(crate) digest: String,
    pub(crate) size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) platform: Option<Platform>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) artifact_type: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) annotations: BTreeMap<String, String>,
}

/// One content.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Manifest {
    pub(crate) schema_version: u8,
    #[serde(default)]
    pub(crate) media_type: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) artifact_type: Option<String>,
    pub(crate) config: Descriptor,
    pub(crate) layers: Vec<Descriptor>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) annotations: BTreeMap<String, String>,
}

/// Several, of which a platform gets one.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Index {
    pub(crate) schema_version: u8,
    #[serde(default)]
    pub(crate) media_type: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) artifact_type: Option<String>,
    pub(crate) manifests: Vec<Descriptor>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) annotations: BTreeMap<String, String>,
}

/// What a reference leads to.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Document {
    Index(Index),
    Manifest(Manifest),
}
