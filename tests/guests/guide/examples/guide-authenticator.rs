//! The paths of the guide's authenticator.

wit_bindgen::generate!({
    world: "zlayer-authenticator",
    path: "../wit",
});

use crate::common::{Error, KeyValue};
use crate::exports::authenticator::{AuthResult, Guest};
use crate::request_types::PluginRequest;

struct Door;

impl Guest for Door {
    fn authenticate(request: PluginRequest) -> AuthResult {
        let header = request
            .headers
            .iter()
            .find(|h| h.key.to_lowercase() == "x-pass");
        match header {
            None => AuthResult::Challenge("Pass realm=\"door\"".to_string()),
            Some(header) => match check(&header.value) {
                Ok(claims) => AuthResult::Authenticated(claims),
                Err(why) => AuthResult::Denied(why),
            },
        }
    }

    fn validate_token(token: String) -> Result<Vec<KeyValue>, Error> {
        check(&token).map_err(|message| Error {
            code: "NOT_THE_WORD".to_string(),
            message,
        })
    }
}

fn check(word: &str) -> Result<Vec<KeyValue>, String> {
    let password = crate::secrets::get_required("password").map_err(|error| error.message)?;
    if word != password {
        return Err("that is not the word".to_string());
    }
    Ok(vec![KeyValue {
        key: "sub".to_string(),
        value: "friend".to_string(),
    }])
}

export!(Door);

#[cfg(test)]
mod tests {
    use super::*;
    use wit_bindgen::double::Host;

    #[test]
    fn friends_know_the_word() {
        let _host = Host::new().secret("password", "mellon");
        let claims = Door::validate_token("mellon".to_string());
        assert!(claims.is_ok_and(|claims| claims[0].value == "friend"));
        let error = Door::validate_token("speak".to_string()).err();
        assert_eq!(
            error.map(|error| error.code).as_deref(),
            Some("NOT_THE_WORD")
        );
    }

    #[test]
    fn without_a_word_nobody_is_a_friend() {
        let _host = Host::new();
        let error = Door::validate_token("mellon".to_string()).err();
        assert!(error.is_some_and(|error| error.message.contains("password")));
    }
}
