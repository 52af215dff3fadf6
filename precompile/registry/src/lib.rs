//! OCI registries, from the build host: what plugins and bundles are there, how they come there, and how they are
//! fetched.
//!
//! A component is one manifest, laid out as the CNCF's guide for WebAssembly artifacts has it, so that other tools
//! push what this one pulls, and pull what it pushes. Compiled artifacts and bundles are an index, with a manifest
//! for each platform. [`Content`] makes these documents of files, [`Content::write_layout`] puts them into a folder,
//! and [`Registry`] speaks with a registry.
//!
//! Nothing that comes is believed: whoever writes it down is told at its end whether it was what its digest says.
//! Files are sent and fetched piece by piece. Documents around them are held whole, and there is a most to them, and
//! to whatever else an answer takes of memory and time.
//!
//! This is for the build host alone. A device gets bundles, and knows nothing of registries.

mod answer;
mod content;
mod credentials;
mod document;
mod error;
mod layout;
mod platform;
mod proxy;
mod reference;
mod registry;
mod watch;

pub use content::{ComponentFile, Content, Kind, TargetFile};
pub use credentials::{Credentials, Keyring};
pub use error::Error;
pub use platform::Platform;
pub use reference::Reference;
pub use registry::{Access, Found, Registry};
