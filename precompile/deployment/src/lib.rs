//! Reads a `deployment.yaml` on the build host.
//!
//! [`read()`] makes a [`zlayer_bundle::Deployment`] of it, which goes to devices, and says where the plugins'
//! images are. It opens no image, asks nobody, and holds no compiler.
//!
//! # How it reads
//!
//! One table (`keys.rs`) says which keys there are, what each may hold and what it is for. Three things are
//! made of that table, so that they cannot differ: the check of a file, its JSON Schema ([`schema()`]), and the
//! tables of `docs/deployment.md`.
//!
//! 1. `tree.rs` reads YAML into a tree in which everything knows its place.
//! 2. `check.rs` compares the tree with the table and tells every difference.
//! 3. `read.rs` takes the values out, and tells what does not fit together.
//!
//! Whatever is wrong is told with file, line and column, with the key's path, and with what mends it. Values
//! of `env` are never repeated: they may be secrets.
//!
//! # Example
//!
//! ```no_run
//! let file = zlayer_deployment::read("deployment.yaml".as_ref())?;
//! for (service, image) in file.deployment.services.iter().zip(&file.images) {
//!     println!("{:?} from {:?}", service.name, image.source);
//! }
//! # Ok::<(), zlayer_deployment::Refusals>(())
//! ```

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod agreement;
mod check;
mod image;
mod keys;
#[cfg(test)]
mod mutations;
mod patterns;
mod place;
mod read;
mod report;
mod schema;
mod shape;
#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tables;
mod tree;
mod view;

pub use image::{Image, ImageSource, Spot};
pub use place::Place;
pub use read::{DeploymentFile, read};
pub use report::{Note, Refusal, Refusals};
pub use schema::schema;
