//! What the resolver reads.

#[path = "../../../runtime/src/resolver/fuzz.rs"]
pub mod fuzz;
#[path = "../../../runtime/src/resolver/hosts.rs"]
mod hosts;
#[path = "../../../runtime/src/resolver/message.rs"]
mod message;
#[path = "../../../runtime/src/resolver/resolv_conf.rs"]
mod resolv_conf;
