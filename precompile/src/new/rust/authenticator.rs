//! An authenticator: knows clients by the secret that they send in `x-api-key`.

zlayer_plugin::world!("zlayer-authenticator");

use crate::common::{Error, KeyValue};
use crate::exports::authenticator::{AuthResult, Guest};
use crate::request_types::PluginRequest;

struct Plugin;

impl Guest for Plugin {
    fn authenticate(request: PluginRequest) -> AuthResult {
        match request
            .headers
            .iter()
            .find(|header| header.key == "x-api-key")
        {
            None => AuthResult::Challenge("ApiKey".to_owned()),
            Some(header) => match Self::validate_token(header.value.clone()) {
                Ok(claims) => AuthResult::Authenticated(claims),
                Err(error) => AuthResult::Denied(error.message),
            },
        }
    }

    fn validate_token(token: String) -> Result<Vec<KeyValue>, Error> {
        if token != crate::secrets::get_required("api_key")? {
            return Err(Error {
                code: "WRONG_KEY".to_owned(),
                message: "the key is not the one".to_owned(),
            });
        }
        // Later stages find it in a request's context, as `claim.sub`.
        Ok(vec![KeyValue {
            key: "sub".to_owned(),
            value: "client".to_owned(),
        }])
    }
}

export!(Plugin);

#[cfg(test)]
mod tests {
    use super::*;
    use zlayer_plugin::double::Host;

    #[test]
    fn the_right_key_is_let_in_and_no_other() {
        let _host = Host::new().secret("api_key", "sesame");
        assert!(Plugin::validate_token("sesame".to_owned()).is_ok());
        assert!(Plugin::validate_token("simsalabim".to_owned()).is_err());
    }

    #[test]
    fn without_a_secret_nobody_is_let_in() {
        let _host = Host::new();
        let error = Plugin::validate_token("sesame".to_owned()).err();
        assert_eq!(
            error.map(|error| error.code).as_deref(),
            Some("SECRET_MISSING")
        );
    }
}
