//! The probe as a typed handler.

use crate::exports::zlayer::plugin::handler::{
    Capabilities, Guest, InitError, PluginInfo, Version,
};
use crate::zlayer::plugin::request_types::{HandleResult, PluginRequest, PluginResponse};
use crate::{Ask, Probe};

impl<T: Probe> Guest for T {
    fn init() -> Result<Capabilities, InitError> {
        Ok(T::CAPABILITIES)
    }

    fn info() -> PluginInfo {
        PluginInfo {
            id: format!("zlayer-tests:{}", T::NAME),
            name: T::NAME.to_owned(),
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
        if request.path.starts_with("/http/") {
            return HandleResult::PassThrough;
        }
        let ask = Ask {
            path: request.path,
            query: request.query.unwrap_or_default(),
            request_id: Some(request.request_id),
        };
        match T::answer(&ask) {
            Ok(answer) => HandleResult::Response(PluginResponse {
                status: answer.status,
                headers: Vec::new(),
                body: answer.body.into_bytes(),
            }),
            Err(text) => HandleResult::Error(text),
        }
    }

    fn shutdown() {}
}
