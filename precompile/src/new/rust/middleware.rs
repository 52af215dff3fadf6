//! A middleware: refuses hidden files, and adds the configuration's `header.NAME` to each response.

zlayer_plugin::world!("zlayer-middleware");

use crate::common::KeyValue;
use crate::exports::middleware::{Guest, MiddlewareAction};
use crate::http_types::RequestMetadata;

struct Plugin;

impl Guest for Plugin {
    fn on_request(
        _method: String,
        path: String,
        headers: Vec<KeyValue>,
        _metadata: RequestMetadata,
    ) -> MiddlewareAction {
        if path.contains("/.") {
            return MiddlewareAction::Abort((404, "there is nothing here\n".to_owned()));
        }
        MiddlewareAction::ContinueWith(headers)
    }

    fn on_response(_status: u16, mut headers: Vec<KeyValue>) -> MiddlewareAction {
        for (key, value) in crate::config::get_prefix("header.") {
            let key = key.trim_start_matches("header.").to_owned();
            headers.push(KeyValue { key, value });
        }
        MiddlewareAction::ContinueWith(headers)
    }
}

export!(Plugin);

#[cfg(test)]
mod tests {
    use super::*;
    use zlayer_plugin::double::Host;

    #[test]
    fn responses_get_what_is_configured() {
        let _host = Host::new().config("header.x-frame-options", "DENY");
        let MiddlewareAction::ContinueWith(headers) = Plugin::on_response(200, vec![]) else {
            panic!("the response is refused");
        };
        assert_eq!(headers[0].key, "x-frame-options");
        assert_eq!(headers[0].value, "DENY");
    }
}
