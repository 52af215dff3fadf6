//! What the pipeline reads.

#[path = "../../src/pipeline/fuzz.rs"]
pub mod fuzz;
#[path = "../../src/pipeline/readings.rs"]
mod readings;
#[path = "../../src/pipeline/token.rs"]
mod token;
