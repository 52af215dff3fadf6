//! What the admin socket and who asks it read.

#[path = "../../src/admin/answer.rs"]
mod answer;
#[path = "../../src/admin/fuzz.rs"]
pub mod fuzz;
#[path = "../../src/admin/json.rs"]
mod json;
#[path = "../../src/admin/loopback.rs"]
mod loopback;
#[path = "../../src/admin/message.rs"]
mod message;
#[path = "../../src/admin/query.rs"]
mod query;
#[path = "../../src/admin/reading.rs"]
mod reading;
