//! The log (`zlayer:plugin/logging`).

pub use crate::bindings::zlayer::plugin::logging::Level;

use crate::ask;
use crate::types::common::KeyValue;

/// Writes `message` at `level`.
pub fn log(level: Level, message: &str) {
    ask!(logging.log(level, message));
}

/// Writes `message` at `level` with named fields beside it.
pub fn log_structured(level: Level, message: &str, fields: &[KeyValue]) {
    ask!(logging.log_structured(level, message, fields));
}

/// Writes `message` at the level `trace`.
pub fn trace(message: &str) {
    ask!(logging.trace(message));
}

/// Writes `message` at the level `debug`.
pub fn debug(message: &str) {
    ask!(logging.debug(message));
}

/// Writes `message` at the level `info`.
pub fn info(message: &str) {
    ask!(logging.info(message));
}

/// Writes `message` at the level `warn`.
pub fn warn(message: &str) {
    ask!(logging.warn(message));
}

/// Writes `message` at the level `error`.
pub fn error(message: &str) {
    ask!(logging.error(message));
}

/// Whether a record at `level` would be kept. Ask before building an expensive message.
pub fn is_enabled(level: Level) -> bool {
    ask!(logging.is_enabled(level))
}
