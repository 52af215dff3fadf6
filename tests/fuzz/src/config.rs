//! What an owner writes behind flags.

#[path = "../../../runtime/src/config/entrance.rs"]
mod entrance;
#[path = "../../../runtime/src/config/fuzz.rs"]
pub mod fuzz;
#[path = "../../../runtime/src/config/placement.rs"]
mod placement;

pub(crate) use zlayer_bundle::Networks;
