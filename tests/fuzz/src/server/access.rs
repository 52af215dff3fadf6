//! The access log, without what writes it.

#[path = "../../../../runtime/src/server/access/shown.rs"]
pub(super) mod shown;
#[path = "../../../../runtime/src/server/access/urls.rs"]
mod urls;
