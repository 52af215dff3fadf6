//! What an owner writes behind flags.

#[path = "../../src/config/entrance.rs"]
mod entrance;
#[path = "../../src/config/fuzz.rs"]
pub mod fuzz;
#[path = "../../src/config/placement.rs"]
mod placement;

pub(crate) use entrance::Networks;
