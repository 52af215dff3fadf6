//! **Authenticator** (`zlayer:plugin/authenticator`): knows clients by the key in `x-api-key`.
//!
//! The host calls `authenticate` for each request before any other stage. The verdict is one of
//! four:
//!
//! - `Authenticated`: the client is known. Each claim reaches later stages as `claim.NAME` in the
//!   request's `context`; a client cannot forge one;
//! - `Challenge`: the client gets 401, with this text as `www-authenticate`;
//! - `Denied`: the client gets 403, or 401 where it sent no credentials;
//! - `Skip`: the next authenticator is asked, and where there is none the request goes on.
//!
//! Secrets: `api_key.CLIENT`, the key of the client named CLIENT. There may be any number of them. Where
//! several plugins serve, one sees only the secrets that `wasm.secrets` gives its service, as in
//! [`deployment.yaml`](../deployment.yaml).
//! The client's name is its claim `sub`.
//!
//! ```console
//! $ cargo build --release --target wasm32-wasip2
//! $ zlayer run api-key-authenticator/deployment.yaml --port 8080 --secret api_key.ada=correct-horse
//! $ curl -i http://localhost:8080/
//! HTTP/1.1 401 Unauthorized
//! www-authenticate: ApiKey realm="api"
//! ...
//! $ curl -i -H 'x-api-key: wrong' http://localhost:8080/
//! HTTP/1.1 403 Forbidden
//! ...
//! $ curl -H 'x-api-key: correct-horse' http://localhost:8080/
//! {"method":"GET","path":"/"}
//! ```
//!
//! On a device secrets belong into a file: `--secrets-file`.

zlayer_plugin::world!("zlayer-authenticator");

use crate::common::{Error, KeyValue};
use crate::exports::authenticator::{AuthResult, Guest};
use crate::request_types::PluginRequest;
use crate::{logging, secrets};

/// What the names of this plugin's secrets begin with.
const PREFIX: &str = "api_key.";

struct ApiKeyAuthenticator;

impl Guest for ApiKeyAuthenticator {
    fn authenticate(request: PluginRequest) -> AuthResult {
        let mut fields = request.headers.iter();
        let Some(field) = fields.find(|field| field.key.eq_ignore_ascii_case("x-api-key")) else {
            return AuthResult::Challenge("ApiKey realm=\"api\"".to_owned());
        };
        match client(&field.value) {
            Some(client) => AuthResult::Authenticated(claims(client)),
            None => {
                logging::warn("a request with a key that is nobody's");
                AuthResult::Denied("the API key is not known".to_owned())
            }
        }
    }

    /// The same for a token that came alone, as a WebSocket's does in a browser.
    fn validate_token(token: String) -> Result<Vec<KeyValue>, Error> {
        client(&token).map(claims).ok_or_else(|| Error {
            code: "INVALID_TOKEN".to_owned(),
            message: "the API key is not known".to_owned(),
        })
    }
}

/// Whose key this is.
fn client(key: &str) -> Option<String> {
    let mut names = secrets::list_names().into_iter();
    names.find_map(|name| {
        let client = name.strip_prefix(PREFIX)?.to_owned();
        let secret = secrets::get(&name).ok()??;
        is_same(secret.as_bytes(), key.as_bytes()).then_some(client)
    })
}

/// Compares to the end, so that the time it takes does not tell how much of a guess was right.
fn is_same(secret: &[u8], guess: &[u8]) -> bool {
    let pairs = secret.iter().zip(guess);
    let differences = pairs.fold(0, |found, (a, b)| found | std::hint::black_box(a ^ b));
    secret.len() == guess.len() && differences == 0
}

fn claims(client: String) -> Vec<KeyValue> {
    vec![KeyValue {
        key: "sub".to_owned(),
        value: client,
    }]
}

export!(ApiKeyAuthenticator);

#[cfg(test)]
mod tests {
    use super::is_same;

    #[test]
    fn only_the_whole_key_is_the_same() {
        assert!(is_same(b"correct-horse", b"correct-horse"));
        assert!(!is_same(b"correct-horse", b"correct-house"));
        assert!(!is_same(b"correct-horse", b"correct"));
        assert!(!is_same(b"correct-horse", b""));
    }
}
