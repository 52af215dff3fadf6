//! The access log, without what writes it.

#[path = "../../../src/server/access/shown.rs"]
pub(super) mod shown;
