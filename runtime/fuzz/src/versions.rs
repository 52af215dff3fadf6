//! Which versions of plugins ran.

#[path = "../../src/daemon/versions/fuzz.rs"]
pub mod fuzz;
#[path = "../../src/daemon/versions/order.rs"]
mod order;
#[path = "../../src/daemon/versions/seen.rs"]
mod seen;
