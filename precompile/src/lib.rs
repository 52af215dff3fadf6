//! Turns plugins, which are WebAssembly components, into signed machine code for devices.
//!
//! The steps are functions, in the order in which the command line tool calls them:
//!
//! 1. [`read_input`] tells components, core modules and compiled artifacts apart.
//! 2. [`wrap_module`] makes a component of a core module, where that is possible.
//! 3. [`check_component`] compares imports and exports with the plugin contract, so that
//!    what a device would refuse is refused here, by name.
//! 4. [`check_limits`] counts what an instance is made of, and refuses what no device sets aside.
//! 5. [`strip_component`] drops what no device reads.
//! 6. [`compile_component`] writes machine code for one target.
//! 7. [`zlayer_bundle::seal`] adds the manifest and the signature.
//!
//! [`Explainer`] goes the way back, from a place in the machine code to the plugin's source.
//!
//! [`Unpacked`] and [`Packed`] make the bundle of a whole deployment; [`BundleFile`] reads one, and
//! [`differences`] tells two apart.
//!
//! [`Shipment`] is what goes to a registry.
//!
//! [`Plugin`] does all of them after the first. The result depends on its input alone: the same component,
//! name and key give the same bytes on every host.
//!
//! The contract is compiled in from `wit/`, WASI included, so the tool needs no files.

mod build;
mod bundle_file;
mod check;
mod code_cache;
mod compare;
mod compile;
mod contract;
mod describe;
mod difference;
mod explain;
mod input;
mod keys;
mod limits;
mod output;
mod pack;
mod refused;
mod said;
mod shipment;
mod strip;
mod wrap;

pub use build::{Artifact, Plugin, Settings};
pub use bundle_file::BundleFile;
pub use check::{Checked, check_component, check_memory};
pub use code_cache::CodeCache;
pub use compile::{compile_component, known_cpu_flags};
pub use contract::contract_files;
pub use difference::{Change, differences};
pub use explain::{Explainer, Line, Place};
pub use input::{Input, no_deployment, open_input, read_input};
pub use keys::{KeyKind, create_key_pair, development_key};
pub use limits::check_limits;
pub use output::{overwritten, write_atomically, write_atomically_with, write_pieces_atomically};
pub use pack::{Ceiling, Compiled, Packed, Room, RoomRow, Unpacked};
pub use refused::{Problem, Refused};
pub use said::{said_of_device, said_of_service};
pub use shipment::{Shipment, of_registry};
pub use strip::strip_component;
pub use wrap::wrap_module;
