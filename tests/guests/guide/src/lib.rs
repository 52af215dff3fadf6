//! Every function of the host, called as the guide calls it: from a module of the plugin that imports
//! the interfaces by `use crate::…`, with text and bytes as they come to hand.

#![expect(
    clippy::unnecessary_to_owned,
    reason = "the guide hands owned bytes over"
)]

wit_bindgen::generate!({
    world: "zlayer-plugin",
    path: "../wit",
});

mod visits {
    use crate::common::KeyValue;
    use crate::config;
    use crate::keyvalue;
    use crate::logging::{self, Level};
    use crate::metrics;
    use crate::secrets;

    /// What can go wrong, as text.
    pub(crate) type Outcome = Result<String, String>;

    fn label(key: &str, value: &str) -> KeyValue {
        KeyValue {
            key: key.to_string(),
            value: value.to_string(),
        }
    }

    /// Reads the configuration in each way.
    pub(crate) fn configured() -> Outcome {
        let name = config::get_required("name").map_err(|error| error.code)?;
        let title = config::get("title").unwrap_or_default();
        let parts = config::get_prefix("part.").len() + config::get_many(&["name", "none"]).len();
        let is_open = config::get_bool("open").unwrap_or(false);
        let seats = config::get_int("seats").unwrap_or(10);
        let share = config::get_float("share").unwrap_or(0.5);
        let has_door = config::exists("door");
        Ok(format!(
            "{title}{name} {parts} {is_open} {seats} {share} {has_door}"
        ))
    }

    /// Uses the store in each way.
    pub(crate) fn stored(data: Vec<u8>) -> Result<String, keyvalue::KvError> {
        keyvalue::set("guest:1", b"{\"name\":\"Ada\"}")?;
        keyvalue::set_string("guest:2", "Grace")?;
        keyvalue::set_with_ttl("guest:3", data, 60_000_000_000)?;
        let bytes = keyvalue::get("guest:1")?.map_or(0, |guest| guest.len());
        let name = keyvalue::get_string("guest:2")?.unwrap_or_default();
        let count = keyvalue::increment("count", 2)?;
        let is_locked = keyvalue::compare_and_swap("lock", None, b"locked".to_vec())?;
        let again = keyvalue::compare_and_swap("lock", None, b"again".to_vec())?;
        let guests = keyvalue::list_keys("guest:")?.len();
        let has_left = keyvalue::delete("guest:2")? && !keyvalue::exists("guest:2");
        Ok(format!(
            "{bytes} {name} {count} {is_locked} {again} {guests} {has_left}"
        ))
    }

    /// Writes a record at each level.
    pub(crate) fn logged() {
        logging::trace("a step");
        logging::debug("a hint");
        logging::info("a fact");
        logging::warn("a doubt");
        logging::error("a failure");
        logging::log(Level::Info, "another fact");
        logging::log_structured(
            Level::Info,
            "a visit",
            &[label("guest", "1"), label("path", "/")],
        );
        if logging::is_enabled(Level::Debug) {
            let costly = format!("{} hints", 2);
            logging::debug(&costly);
        }
    }

    /// Reads secrets in each way.
    pub(crate) fn told() -> Outcome {
        let key = secrets::get("key").map_err(|error| error.message)?;
        let password = secrets::get_required("password").map_err(|error| error.code)?;
        let names = secrets::list_names();
        Ok(format!(
            "{key:?} {} {} {names:?}",
            password.len(),
            secrets::exists("key")
        ))
    }

    /// Records a figure of each kind.
    pub(crate) fn counted() {
        let start = crate::clock::monotonic();
        metrics::counter_inc("visits_total", 1);
        metrics::counter_inc_labeled("visits_by_path", 1, &[label("path", "/")]);
        metrics::gauge_set("guests", 42.0);
        metrics::gauge_add("guests", -1.0);
        metrics::gauge_set_labeled("seats", 10.0, &[label("room", "hall")]);
        metrics::histogram_observe("stay", 0.25);
        metrics::histogram_observe_labeled("stay", 0.5, &[label("room", "hall")]);
        let duration = crate::clock::monotonic() - start;
        metrics::record_duration("visit", duration);
        metrics::record_duration_labeled("visit", duration, &[label("room", "hall")]);
    }
}

use crate::exports::handler::{Capabilities, Guest, InitError, PluginInfo, Version};
use crate::request_types::{HandleResult, PluginRequest};

struct Visits;

impl Guest for Visits {
    fn init() -> Result<Capabilities, InitError> {
        Ok(Capabilities::all())
    }

    fn info() -> PluginInfo {
        PluginInfo {
            id: "example:visits".to_string(),
            name: "Visits".to_string(),
            version: Version {
                major: 1,
                minor: 0,
                patch: 0,
                pre_release: None,
            },
            description: "Calls every function of the host".to_string(),
            author: "ZLayer".to_string(),
            license: None,
            homepage: None,
            metadata: vec![],
        }
    }

    fn handle(request: PluginRequest) -> HandleResult {
        visits::logged();
        visits::counted();
        let told = visits::configured().and_then(|text| Ok(text + &visits::told()?));
        match (told, visits::stored(request.body)) {
            (Ok(_), Ok(_)) => HandleResult::PassThrough,
            (Err(error), _) => HandleResult::Error(error),
            (_, Err(error)) => HandleResult::Error(error.to_string()),
        }
    }

    fn shutdown() {}
}

export!(Visits);

#[cfg(test)]
mod tests {
    use super::visits;
    use wit_bindgen::double::Host;

    #[test]
    fn the_double_answers_for_each_interface() {
        let host = Host::new()
            .config("name", "Ada")
            .config("part.1", "a")
            .config("open", "yes")
            .config("seats", "3")
            .secret("password", "12345");
        let configured = visits::configured();
        assert_eq!(configured.as_deref(), Ok("Ada 2 true 3 0.5 false"));
        let stored = visits::stored(vec![1]);
        assert!(stored.is_ok_and(|text| text == "14 Grace 2 true false 3 true"));
        let told = visits::told();
        assert_eq!(told.as_deref(), Ok("None 5 false [\"password\"]"));
        visits::logged();
        assert_eq!(host.logged().len(), 5);
        visits::counted();
        assert_eq!(host.counter("visits_by_path", &[("path", "/")]), 1);
        assert_eq!(host.gauge("guests", &[]), Some(41.0));
        assert_eq!(host.histogram("visit_seconds", &[]), [0.0]);
    }
}
