//! What the cache reads.

#[path = "../../../runtime/src/cache/age.rs"]
mod age;
#[path = "../../../runtime/src/cache/conditional.rs"]
mod conditional;
#[path = "../../../runtime/src/cache/directives.rs"]
mod directives;
#[path = "../../../runtime/src/cache/excluded.rs"]
mod excluded;
#[path = "../../../runtime/src/cache/fuzz.rs"]
pub mod fuzz;
#[path = "../../../runtime/src/cache/vary.rs"]
mod vary;
