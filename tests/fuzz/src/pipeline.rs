//! What the pipeline reads.

#[path = "../../../runtime/src/pipeline/fuzz.rs"]
pub mod fuzz;
#[path = "../../../runtime/src/pipeline/readings.rs"]
mod readings;
#[path = "../../../runtime/src/pipeline/token.rs"]
mod token;
