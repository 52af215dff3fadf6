//! What the resolver reads.

#[path = "../../src/resolver/fuzz.rs"]
pub mod fuzz;
#[path = "../../src/resolver/hosts.rs"]
mod hosts;
#[path = "../../src/resolver/message.rs"]
mod message;
#[path = "../../src/resolver/resolv_conf.rs"]
mod resolv_conf;
