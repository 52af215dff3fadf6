//! `zlayer:plugin/logging` of a test.

use std::cell::{Cell, RefCell};

use crate::logging::Level;
use crate::types::common::KeyValue;

/// One record of the log.
#[derive(Clone, Debug)]
pub struct Record {
    /// How much it matters.
    pub level: Level,
    /// The message.
    pub message: String,
    /// The fields beside it.
    pub fields: Vec<(String, String)>,
}

#[derive(Debug)]
pub(crate) struct Log {
    records: RefCell<Vec<Record>>,
    /// The least level that is kept; nothing where the log is off.
    least: Cell<Option<Level>>,
    pub(super) denied: Cell<bool>,
}

impl Default for Log {
    fn default() -> Self {
        Log {
            records: RefCell::default(),
            least: Cell::new(Some(Level::Info)),
            denied: Cell::new(false),
        }
    }
}

impl Log {
    /// Takes the level from the configuration; a word that is no level means `info`.
    pub(super) fn set_level(&self, word: Option<String>) {
        let word = word.map(|word| word.to_ascii_lowercase());
        self.least.set(match word.as_deref() {
            Some("off") => None,
            Some("error") => Some(Level::Error),
            Some("warn") => Some(Level::Warn),
            Some("debug") => Some(Level::Debug),
            Some("trace") => Some(Level::Trace),
            _ => Some(Level::Info),
        });
    }

    pub(super) fn records(&self) -> Vec<Record> {
        self.records.borrow().clone()
    }

    pub(crate) fn log(&self, level: Level, message: &str) {
        self.log_structured(level, message, &[]);
    }

    pub(crate) fn log_structured(&self, level: Level, message: &str, fields: &[KeyValue]) {
        if self.is_enabled(level) {
            let field = |field: &KeyValue| (field.key.clone(), field.value.clone());
            self.records.borrow_mut().push(Record {
                level,
                message: message.to_owned(),
                fields: fields.iter().map(field).collect(),
            });
        }
    }

    pub(crate) fn trace(&self, message: &str) {
        self.log(Level::Trace, message);
    }

    pub(crate) fn debug(&self, message: &str) {
        self.log(Level::Debug, message);
    }

    pub(crate) fn info(&self, message: &str) {
        self.log(Level::Info, message);
    }

    pub(crate) fn warn(&self, message: &str) {
        self.log(Level::Warn, message);
    }

    pub(crate) fn error(&self, message: &str) {
        self.log(Level::Error, message);
    }

    pub(crate) fn is_enabled(&self, level: Level) -> bool {
        let is_kept = |least: Level| rank(level) >= rank(least);
        !self.denied.get() && self.least.get().is_some_and(is_kept)
    }
}

/// How much a level matters, from 0.
fn rank(level: Level) -> u8 {
    match level {
        Level::Trace => 0,
        Level::Debug => 1,
        Level::Info => 2,
        Level::Warn => 3,
        Level::Error => 4,
    }
}

#[cfg(test)]
mod tests {
    use crate::double::{Capability, Host};
    use crate::logging::{self, Level};
    use crate::types::common::KeyValue;

    #[test]
    fn records_are_kept_from_the_plugins_own_level_on() {
        let host = Host::new();
        logging::debug("not yet");
        assert!(logging::is_enabled(Level::Info) && !logging::is_enabled(Level::Debug));
        host.set_config("RUST_LOG", "error");
        host.set_config("LOG_LEVEL", "DEBUG");
        logging::debug("now");
        logging::trace("never");
        let field = KeyValue {
            key: "path".to_owned(),
            value: "/".to_owned(),
        };
        logging::log_structured(Level::Warn, "served", &[field]);
        let logged = host.logged();
        let messages: Vec<&str> = logged
            .iter()
            .map(|record| record.message.as_str())
            .collect();
        assert_eq!(messages, ["now", "served"]);
        assert_eq!(logged[1].fields, [("path".to_owned(), "/".to_owned())]);
        let host = host.config("LOG_LEVEL", "off");
        logging::error("lost");
        let host = host.config("LOG_LEVEL", "trace").deny(Capability::Logging);
        logging::error("lost too");
        assert!(!logging::is_enabled(Level::Error));
        assert_eq!(host.logged().len(), 2);
    }
}
