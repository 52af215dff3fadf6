//! Chooses the records to show.

use log::Level;

use crate::record::Record;

/// What a record must have to be shown. A part that is `None` accepts all records.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// The record concerns this plugin: it wrote it, or the daemon tells something about it.
    pub plugin: Option<String>,
    /// The record is at least as severe as this.
    pub level: Option<Level>,
    /// The record belongs to the request with this id.
    pub request: Option<String>,
    /// Only lines of the access log.
    pub access: bool,
}

impl Filter {
    /// Whether the filter accepts the record.
    pub fn shows(&self, record: &Record<'_>) -> bool {
        let plugin = self.plugin.as_deref();
        let request = self.request.as_deref();
        (!self.access || record.is_access())
            && plugin.is_none_or(|name| record.about() == Some(name))
            && self.level.is_none_or(|level| record.level <= level)
            && request.is_none_or(|id| record.request.as_deref() == Some(id))
    }
}

/// Parses a level as it is written on a command line, in any case.
///
/// # Errors
///
/// A sentence that lists the levels.
pub fn level(word: &str) -> Result<Level, String> {
    word.parse()
        .map_err(|_| format!("{word:?} is no level: take error, warn, info, debug or trace"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::ACCESS_TARGET;
    use crate::record::ABOUT_PLUGIN;

    #[test]
    fn every_wish_must_be_met() {
        let mut record = Record::new(0, Level::Warn, "plugin a", "m");
        record.request = Some("7".into());
        let filter = |plugin: &str, level: Level, request: &str| Filter {
            plugin: Some(plugin.to_owned()),
            level: Some(level),
            request: Some(request.to_owned()),
            access: false,
        };
        assert!(Filter::default().shows(&record));
        assert!(filter("a", Level::Warn, "7").shows(&record));
        assert!(filter("a", Level::Trace, "7").shows(&record));
        for other in [
            filter("b", Level::Warn, "7"),
            filter("a", Level::Error, "7"),
            filter("a", Level::Warn, "8"),
        ] {
            assert!(!other.shows(&record), "{other:?}");
        }
        record.target = "zlayer_runtime".into();
        assert!(!filter("a", Level::Warn, "7").shows(&record));
        record.fields = vec![(ABOUT_PLUGIN.into(), "a".into())];
        assert!(filter("a", Level::Warn, "7").shows(&record));
        let access = Filter {
            access: true,
            ..Filter::default()
        };
        assert!(!access.shows(&record));
        record.target = ACCESS_TARGET.into();
        assert!(access.shows(&record) && Filter::default().shows(&record));
    }

    #[test]
    fn a_level_that_there_is_not_is_told_those_that_there_are() {
        assert_eq!(level("WARN"), Ok(Level::Warn));
        assert!(level("x").is_err_and(|told| told.contains("\"x\"") && told.contains("debug")));
    }
}
