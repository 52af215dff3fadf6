//! What the cache reads.

#[path = "../../src/cache/age.rs"]
mod age;
#[path = "../../src/cache/conditional.rs"]
mod conditional;
#[path = "../../src/cache/directives.rs"]
mod directives;
#[path = "../../src/cache/excluded.rs"]
mod excluded;
#[path = "../../src/cache/fuzz.rs"]
pub mod fuzz;
#[path = "../../src/cache/vary.rs"]
mod vary;
