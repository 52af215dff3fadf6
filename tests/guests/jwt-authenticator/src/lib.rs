//! The plugin guide's JWT authenticator. Without credentials it challenges,
//! another scheme than Bearer is denied, and a token is checked for real:
//! HS256 with the secret `jwt_secret`, see [`token::check`].

wit_bindgen::generate!({ world: "zlayer-authenticator", path: "../../../wit", generate_all });

mod token;

use exports::zlayer::plugin::authenticator::{AuthResult, Guest};
use wasi::clocks::wall_clock;
use zlayer::plugin::common::{Error, KeyValue};
use zlayer::plugin::request_types::PluginRequest;
use zlayer::plugin::secrets;

const SCHEME: &str = "Bearer ";

struct JwtAuthenticator;

impl Guest for JwtAuthenticator {
    fn authenticate(request: PluginRequest) -> AuthResult {
        let is_credentials = |field: &&KeyValue| field.key.eq_ignore_ascii_case("authorization");
        let Some(credentials) = request.headers.iter().find(is_credentials) else {
            return AuthResult::Challenge("Bearer realm=\"api\"".to_owned());
        };
        let Some(token) = credentials.value.strip_prefix(SCHEME) else {
            return AuthResult::Denied("Invalid authorization scheme".to_owned());
        };
        match claims(token, request.timestamp / 1_000_000_000) {
            Ok(claims) => AuthResult::Authenticated(claims),
            Err(reason) => AuthResult::Denied(reason),
        }
    }

    fn validate_token(token: String) -> Result<Vec<KeyValue>, Error> {
        // No request here that would say what time it is.
        claims(&token, wall_clock::now().seconds).map_err(|message| Error {
            code: "INVALID_TOKEN".to_owned(),
            message,
        })
    }
}

/// The claims of a good token at `now`, in seconds since the epoch.
fn claims(token: &str, now: u64) -> Result<Vec<KeyValue>, String> {
    let secret =
        secrets::get_required("jwt_secret").map_err(|_| "JWT secret not configured".to_owned())?;
    let claims = token::check(token, secret.as_bytes(), now)?;
    let pairs = claims
        .into_iter()
        .map(|(key, value)| KeyValue { key, value });
    Ok(pairs.collect())
}

export!(JwtAuthenticator);
