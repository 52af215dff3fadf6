//! The rules that the targets check, shared with the mutation test in `tests/`.

#[path = "../../tests/properties/mod.rs"]
pub mod properties;
