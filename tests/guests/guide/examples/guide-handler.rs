//! The paths of the guide's full plugin. One that it leaves out is added: it uses `KeyValue` without
//! saying where that is from. The method is shown as text, as there.

wit_bindgen::generate!({
    world: "zlayer-plugin",
    path: "../wit",
});

use crate::common::KeyValue;
use crate::exports::handler::{Capabilities, Guest, InitError, PluginInfo, Version};
use crate::request_types::{HandleResult, PluginRequest, PluginResponse};

struct Notes;

impl Guest for Notes {
    fn init() -> Result<Capabilities, InitError> {
        if crate::config::get("owner").is_none() {
            return Err(InitError::ConfigMissing("owner".to_string()));
        }
        Ok(Capabilities::CONFIG | Capabilities::KEYVALUE | Capabilities::LOGGING)
    }

    fn info() -> PluginInfo {
        PluginInfo {
            id: "example:notes".to_string(),
            name: "Notes".to_string(),
            version: Version {
                major: 0,
                minor: 2,
                patch: 1,
                pre_release: Some("beta".to_string()),
            },
            description: "Keeps a note under each path".to_string(),
            author: "ZLayer".to_string(),
            license: None,
            homepage: None,
            metadata: vec![],
        }
    }

    fn handle(request: PluginRequest) -> HandleResult {
        crate::logging::info(&format!("{} {}", request.method, request.path));
        if !request.path.starts_with("/notes/") {
            return HandleResult::PassThrough;
        }
        match note(&request) {
            Ok(Some(body)) => HandleResult::Response(PluginResponse {
                status: 200,
                headers: vec![KeyValue {
                    key: "content-type".to_string(),
                    value: "text/plain".to_string(),
                }],
                body,
            }),
            Ok(None) => HandleResult::Response(PluginResponse {
                status: 404,
                headers: vec![],
                body: vec![],
            }),
            Err(error) => HandleResult::Error(error.to_string()),
        }
    }

    fn shutdown() {
        crate::logging::info("no more notes");
    }
}

/// Keeps a request's body; without one, what was kept.
fn note(request: &PluginRequest) -> Result<Option<Vec<u8>>, crate::keyvalue::KvError> {
    if request.body.is_empty() {
        return crate::keyvalue::get(&request.path);
    }
    crate::keyvalue::set(&request.path, &request.body)?;
    Ok(Some(request.body.clone()))
}

export!(Notes);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request_types::HttpMethod;
    use wit_bindgen::double::Host;

    fn request(method: HttpMethod, path: &str, body: &str) -> PluginRequest {
        PluginRequest {
            request_id: "1".to_string(),
            path: path.to_string(),
            method,
            query: None,
            headers: vec![],
            body: body.as_bytes().to_vec(),
            timestamp: crate::clock::now(),
            context: vec![],
        }
    }

    #[test]
    fn a_note_is_kept_and_read() {
        let host = Host::new().config("owner", "ada");
        assert!(Notes::init().is_ok());
        for (method, path, body, status, text) in [
            (HttpMethod::Get, "/notes/a", "", 404, ""),
            (HttpMethod::Put, "/notes/a", "milk", 200, "milk"),
            (HttpMethod::Get, "/notes/a", "", 200, "milk"),
        ] {
            let HandleResult::Response(response) = Notes::handle(request(method, path, body))
            else {
                panic!("{method} {path} has no response");
            };
            assert_eq!((response.status, response.body), (status, text.into()));
        }
        assert_eq!(host.logged()[1].message, "PUT /notes/a");
    }

    #[test]
    fn what_goes_wrong_is_told() {
        let host = Host::new();
        assert!(matches!(Notes::init(), Err(InitError::ConfigMissing(key)) if key == "owner"));
        let other = Notes::handle(request(HttpMethod::Get, "/", ""));
        assert!(matches!(other, HandleResult::PassThrough));
        host.break_store(Some("worn out"));
        let broken = Notes::handle(request(HttpMethod::Get, "/notes/a", ""));
        assert!(matches!(broken, HandleResult::Error(text) if text.contains("worn out")));
    }
}
