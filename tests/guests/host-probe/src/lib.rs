//! Checks from inside what the host promises.
//!
//! `/config`, `/keyvalue`, `/logging`, `/secrets` and `/metrics` answer 200
//! with `ok N checks`, or 500 with the first sentence that is not true.
//!
//! The host is to be given the configuration `name=probe`, `db.host=localhost`,
//! `db.port=5432`, `flag.yes=YES`, `flag.zero=0`, `flag.bad=maybe`, `num=42`,
//! `float=2.5`, `empty=` and the secrets `api_key=s3cr3t-value` and
//! `other=o7her-value`. A `LOG_LEVEL` in the configuration is checked against.
//!
//! What WASI shows of the machine: `/env` (variables and arguments, one a
//! line), `/fs` (open folders, one a line), `/clock`, `/sleep?ms=N`, `/random`.

wit_bindgen::generate!({ world: "zlayer-plugin", path: "../../../wit", generate_all });

mod checks;
mod config;
mod keyvalue;
mod reports;
mod wasi_view;

use checks::Checks;
use exports::zlayer::plugin::handler::{Capabilities, Guest, InitError, PluginInfo, Version};
use zlayer::plugin::request_types::{HandleResult, PluginRequest, PluginResponse};

struct Probe;

impl Guest for Probe {
    fn init() -> Result<Capabilities, InitError> {
        Ok(Capabilities::CONFIG
            | Capabilities::KEYVALUE
            | Capabilities::LOGGING
            | Capabilities::SECRETS
            | Capabilities::METRICS)
    }

    fn info() -> PluginInfo {
        PluginInfo {
            id: "zlayer-tests:host-probe".to_owned(),
            name: "Host probe".to_owned(),
            version: Version {
                major: 0,
                minor: 1,
                patch: 0,
                pre_release: None,
            },
            description: "Checks the host from inside".to_owned(),
            author: "The ZLayer tests".to_owned(),
            license: None,
            homepage: None,
            metadata: Vec::new(),
        }
    }

    fn handle(request: PluginRequest) -> HandleResult {
        let query = request.query.as_deref().unwrap_or_default();
        let result = match request.path.as_str() {
            "/config" => Checks::run(config::probe),
            "/keyvalue" => Checks::run(keyvalue::probe),
            "/logging" => Checks::run(reports::probe_logging),
            "/secrets" => Checks::run(config::probe_secrets),
            "/metrics" => Checks::run(reports::probe_metrics),
            "/env" => Ok(wasi_view::environment()),
            "/fs" => Ok(wasi_view::folders()),
            "/clock" => wasi_view::clocks(),
            "/sleep" => wasi_view::sleep(query),
            "/random" => wasi_view::random(),
            _ => return HandleResult::PassThrough,
        };
        let (status, text) = match result {
            Ok(text) => (200, text),
            Err(text) => (500, text),
        };
        HandleResult::Response(PluginResponse {
            status,
            headers: Vec::new(),
            body: text.into_bytes(),
        })
    }

    fn shutdown() {}
}

export!(Probe);
