//! What the admin socket and who asks it read.

#[path = "../../../runtime/src/admin/answer.rs"]
mod answer;
#[path = "../../../runtime/src/admin/fuzz.rs"]
pub mod fuzz;
#[path = "../../../runtime/src/admin/json.rs"]
mod json;
#[path = "../../../runtime/src/admin/loopback.rs"]
mod loopback;
#[path = "../../../runtime/src/admin/message.rs"]
mod message;
#[path = "../../../runtime/src/admin/query.rs"]
mod query;
#[path = "../../../runtime/src/admin/reading.rs"]
mod reading;
