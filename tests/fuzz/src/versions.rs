//! Which versions of plugins ran.

#[path = "../../../runtime/src/daemon/versions/fuzz.rs"]
pub mod fuzz;
#[path = "../../../runtime/src/daemon/versions/order.rs"]
mod order;
#[path = "../../../runtime/src/daemon/versions/seen.rs"]
mod seen;
