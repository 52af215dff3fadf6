//! The authenticator: `x-test-auth` is one of
//!
//! - `authenticated NAME=VALUE…`: with these claims, parted by spaces
//! - `denied TEXT`, `challenge TEXT`, `skip` (or nothing)
//! - `seen`: authenticated, with what it was given as the claim `seen`
//! - `many N`: with N claims, `big N`: with one of N bytes, `odd`: with claims whose names are no names
//! - `trap`, `spin`, `wait MS` and then any of these
//!
//! `validate-token` takes the same words as its token. What is not
//! `authenticated`, `many` or `big` is no good token.

use support::{number, unescape, word};

use crate::describe;
use crate::exports::zlayer::plugin::authenticator::{AuthResult, Guest};
use crate::stage::{Stage, asked, begin, pair, trace};
use crate::zlayer::plugin::common::{Error, KeyValue};
use crate::zlayer::plugin::request_types::PluginRequest;

impl Guest for Stage {
    fn authenticate(request: PluginRequest) -> AuthResult {
        trace("authenticate", &request.headers);
        let asked = asked(&request.headers, "auth");
        let (verb, rest) = word(&asked);
        match verb {
            "denied" => AuthResult::Denied(unescape(rest)),
            "challenge" => AuthResult::Challenge(unescape(rest)),
            "seen" => AuthResult::Authenticated(vec![pair("seen", describe::request(&request))]),
            _ => claims(&asked).map_or(AuthResult::Skip, AuthResult::Authenticated),
        }
    }

    fn validate_token(token: String) -> Result<Vec<KeyValue>, Error> {
        trace("validate-token", &[]);
        claims(begin(&token)).ok_or_else(|| Error {
            code: "INVALID_TOKEN".to_owned(),
            message: format!("{token:?} names no claims"),
        })
    }
}

fn claims(asked: &str) -> Option<Vec<KeyValue>> {
    let (verb, rest) = word(asked);
    let count = number(rest, 0).0 as usize;
    match verb {
        "authenticated" => {
            let claims = rest.split_whitespace().map(|claim| {
                let (name, value) = claim.split_once('=').unwrap_or((claim, ""));
                pair(&unescape(name), unescape(value))
            });
            Some(claims.collect())
        }
        "many" => Some((0..count).map(|i| pair(&format!("n{i}"), "many")).collect()),
        "big" => Some(vec![pair("big", "b".repeat(count))]),
        "odd" => {
            let names = [
                "",
                "a b",
                "a\r\nx-injected: yes",
                "client_ip",
                "claim.sub",
                "\u{e9}",
            ];
            Some(names.iter().map(|name| pair(name, "odd")).collect())
        }
        _ => None,
    }
}
