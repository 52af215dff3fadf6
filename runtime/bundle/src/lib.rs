//! What the build host and the device share about compiled plugins.
//!
//! `zlayer-precompile` turns a WebAssembly component into machine code for one
//! [`Target`], and the `zlayer` daemon maps that code and runs it. Both must agree
//! on the engine's settings (`engine_config`, with the feature `engine`), on the file's
//! layout ([`seal`] writes it, [`VerifiedArtifact::verify`] reads it) and on whose code
//! may run ([`TrustStore`]). This crate is that agreement. It holds no compiler and no
//! runtime.
//!
//! # The file
//!
//! A `.cwasm` is the engine's own artifact with a trailer behind it. Stock tools
//! read the artifact and ignore the trailer.
//!
//! ```text
//! [engine artifact, ELF][manifest, postcard][signature block: 0 or 96 bytes][footer: 24 bytes]
//! ```
//!
//! The [`Manifest`] holds the artifact's length and digest (`digest.rs`). The Ed25519 signature
//! covers a fixed prefix, the footer and the manifest, and through the digest the
//! artifact too. Every length is checked against the file before memory is taken
//! for it.
//!
//! # Trust
//!
//! Precompiled code is native code, and the engine checks it only lightly when it
//! loads it. So a loader must take nothing but a [`VerifiedArtifact`], which only
//! [`VerifiedArtifact::verify`] can make. It keeps the descriptor that was
//! checked: map that one, and never open the path again.
//!
//! # Example
//!
//! ```
//! use zlayer_bundle::{Manifest, Profile, SecretKey, Target, Trailer, seal};
//!
//! # fn main() -> Result<(), zlayer_bundle::ArtifactError> {
//! let key = SecretKey::from_seed([7; 32]);
//! let manifest = Manifest::new("hello", "1.0.0", Target::Aarch64, Profile::Compact);
//! let file = seal(b"machine code".to_vec(), manifest, Some(&key))?;
//!
//! let trailer = Trailer::from_bytes(&file)?;
//! assert_eq!(trailer.manifest.name, "hello");
//! assert!(trailer.signature.is_valid());
//! # Ok(())
//! # }
//! ```

mod allowed_hosts;
mod artifact;
mod as_text;
mod board;
mod bodies;
mod body_access;
mod bundle;
mod byte_order_mark;
mod byte_size;
mod capability;
mod deployment;
mod description;
mod digest;
mod durability;
mod duration;
#[cfg(feature = "engine")]
mod engine;
mod engine_version;
mod error;
mod exposure;
mod file_kind;
mod hex;
mod host_pattern;
mod keys;
mod limits;
mod log_output;
mod manifest;
mod misplaced;
mod nearest;
mod network;
mod on_failure;
mod path_pattern;
mod profile;
mod shares;
mod signature;
mod store_sizes;
mod target;
mod trailer;
mod trust;
mod trust_list;
mod world;

pub use allowed_hosts::{AllowedHost, AllowedHosts};
pub use artifact::{
    VerifiedArtifact, check_digest, check_digest_of, check_engine, check_revoked, read_manifest,
};
pub use board::{BoardSettings, MEMORY_MIN, OutOfBounds, THREADS_MAX};
pub use bodies::Bodies;
pub use body_access::BodyAccess;
pub use bundle::{
    Blob, BundleError, BundleHead, BundleManifest, MAX_BUNDLE_MANIFEST, VerifiedBundle, copy_blob,
    seal_bundle,
};
pub use byte_order_mark::{between_marks, without_mark};
pub use byte_size::{ByteSize, NotASize};
pub use capability::{Capabilities, Capability};
pub use deployment::{
    CertificateFiles, Deployment, DeviceSettings, ENDPOINTS_MAX, Endpoint, Expose, HealthCheck,
    KeyvalueSettings, NotAValue, Port, Protocol, SERVICES_MAX, Service, ServiceSettings,
    TimeoutSettings, Value, Variable,
};
pub use description::{CodeDescription, DESCRIPTION_SECTION};
pub use digest::fingerprint;
pub use durability::{COMMIT_INTERVAL, Durability};
pub use duration::parse_duration;
#[cfg(feature = "engine")]
pub use engine::{WASM_FEATURES, engine_config};
pub use engine_version::{ENGINE_FLOOR, EngineVersion, NotAnEngineVersion};
pub use error::ArtifactError;
pub use exposure::{Exposure, own_account};
pub use file_kind::FileKind;
pub use host_pattern::HostPattern;
pub use keys::{KeyError, KeyId, MAX_KEY_FILE, PublicKey, SecretKey};
pub use limits::{
    CORE_INSTANCES_MAX, DEFAULT_INSTANCES, INSTANCE_BYTES_MAX, MEMORIES_MAX, TABLE_ELEMENTS_MAX,
    TABLES_MAX,
};
pub use log_output::{AccessOutput, LogOutput};
pub use manifest::{ENGINE_VERSION, EngineBytes, MANIFEST_FORMAT, MAX_MANIFEST, Manifest, Role};
pub use misplaced::RoleSettings;
pub use nearest::{empty_word, flags_in, missing, nearest};
pub use network::{Network, Networks};
pub use on_failure::OnFailure;
pub use path_pattern::PathPattern;
pub use profile::{Profile, UnknownProfile, UnsupportedProfile};
pub use shares::{
    ADMIN_SHARE, CACHE_MIN, CALL_SHARE, CONNECTION_SHARE, CONNECTIONS_DEFAULT, GROWTH_SHARE,
    IDENTITY_SHARE, INSTANCE_SHARE, LOG_SHARE, MEMORY_DEFAULT, TLS_SHARE, WHOLE_DEFAULT,
    bodies_least, cache_share, call_share, connections_within, least_memory, own_share,
};
pub use signature::SignatureState;
pub use store_sizes::StoreSizes;
pub use target::{Target, UnknownTarget};
pub use trailer::{Trailer, have_same_trailer, seal};
pub use trust::{TrustStore, user_key_dir};
pub use trust_list::{
    MAX_TRUST_FILE, SignedTrustList, TRUST_ENTRIES_MAX, TRUST_LIST_MAGIC, TRUST_ROOTS_MAX,
    TrustFile, TrustList, TrustListError, VerifiedTrust, digest_of_text, seal_trust_list,
};
