//! JSON Web Tokens signed with HS256 (RFC 7515, RFC 7519). No host here: it is tested natively.

use hmac::{Hmac, Mac};
use serde_json::{Map, Value};
use sha2::Sha256;

/// The longest token that is looked at, in bytes.
const MAX_TOKEN: usize = 8192;

/// Checks the signature first and believes nothing before, then the times.
/// Answers every claim that is a text, a number or a truth value.
///
/// `now` is in seconds since the epoch. The error says in plain words what is wrong.
pub(crate) fn check(token: &str, secret: &[u8], now: u64) -> Result<Vec<(String, String)>, String> {
    if token.len() > MAX_TOKEN {
        return Err("Malformed token".to_owned());
    }
    let parts: Vec<&str> = token.split('.').collect();
    let [header, payload, signature] = parts[..] else {
        return Err("Malformed token".to_owned());
    };
    // The algorithm is ours to choose, never the token's: `none` and all others end here.
    if object(header)?.get("alg").and_then(Value::as_str) != Some("HS256") {
        return Err("Unsupported algorithm".to_owned());
    }
    let signed = &token[..header.len() + 1 + payload.len()];
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).map_err(|error| error.to_string())?;
    mac.update(signed.as_bytes());
    // Takes the same time wherever the first difference is.
    mac.verify_slice(&base64url(signature)?)
        .map_err(|_| "Invalid signature".to_owned())?;

    let claims = object(payload)?;
    if time(&claims, "exp")?.is_some_and(|end| now as f64 >= end) {
        return Err("Token expired".to_owned());
    }
    if time(&claims, "nbf")?.is_some_and(|start| (now as f64) < start) {
        return Err("Token not yet valid".to_owned());
    }
    let texts = claims.into_iter().filter_map(|(name, value)| match value {
        Value::String(text) => Some((name, text)),
        Value::Number(number) => Some((name, number.to_string())),
        Value::Bool(truth) => Some((name, truth.to_string())),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    });
    Ok(texts.collect())
}

/// One of the token's parts as the JSON object that it has to be.
fn object(part: &str) -> Result<Map<String, Value>, String> {
    serde_json::from_slice(&base64url(part)?).map_err(|_| "Malformed token".to_owned())
}

/// A NumericDate (RFC 7519, section 2): seconds, perhaps with a fraction. One
/// that is there and is no number is an error, not absent.
fn time(claims: &Map<String, Value>, name: &str) -> Result<Option<f64>, String> {
    match claims.get(name) {
        None => Ok(None),
        Some(value) => match value.as_f64() {
            Some(seconds) => Ok(Some(seconds)),
            None => Err(format!("The claim {name} is not a time")),
        },
    }
}

/// Base64 with the alphabet of URLs and no padding (RFC 7515, appendix C).
/// Bits that no byte needs have to be zero, so that a token has one spelling.
fn base64url(text: &str) -> Result<Vec<u8>, String> {
    let malformed = || "Malformed token".to_owned();
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3 + 2);
    let (mut held, mut bits) = (0u32, 0u32);
    for letter in text.bytes() {
        let value = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'-' => 62,
            b'_' => 63,
            _ => return Err(malformed()),
        };
        held = held << 6 | u32::from(value);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((held >> bits) as u8);
            held &= (1 << bits) - 1;
        }
    }
    // Six bits left are a letter that makes no byte.
    if bits == 6 || held != 0 {
        return Err(malformed());
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7515, appendix A.1: the token and its key, for `exp` 1300819380.
    const RFC_TOKEN: &str = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.\
        eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.\
        dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    const RFC_KEY: &str =
        "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";

    fn rfc(token: &str, now: u64) -> Result<Vec<(String, String)>, String> {
        check(token, &base64url(RFC_KEY).unwrap(), now)
    }

    /// A token with this header and these claims, signed with `secret`.
    fn sign(header: &str, claims: &str, secret: &[u8]) -> String {
        let signed = format!(
            "{}.{}",
            encode(header.as_bytes()),
            encode(claims.as_bytes())
        );
        let mut mac = Hmac::<Sha256>::new_from_slice(secret).unwrap();
        mac.update(signed.as_bytes());
        format!("{signed}.{}", encode(&mac.finalize().into_bytes()))
    }

    fn encode(bytes: &[u8]) -> String {
        let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let mut text = String::new();
        for chunk in bytes.chunks(3) {
            let mut held = [0; 4];
            held[1..=chunk.len()].copy_from_slice(chunk);
            let held = u32::from_be_bytes(held);
            for place in 0..=chunk.len() {
                text.push(letters[(held >> (18 - 6 * place) & 63) as usize] as char);
            }
        }
        text
    }

    #[test]
    fn the_token_of_the_rfc_is_good_until_it_expires() {
        let claims = rfc(RFC_TOKEN, 1_300_819_379).unwrap();
        let claim = |name: &str| {
            claims
                .iter()
                .find(|(key, _)| key == name)
                .unwrap()
                .1
                .clone()
        };
        assert_eq!(claims.len(), 3);
        assert_eq!(claim("iss"), "joe");
        assert_eq!(claim("exp"), "1300819380");
        assert_eq!(claim("http://example.com/is_root"), "true");
        assert_eq!(rfc(RFC_TOKEN, 1_300_819_380).unwrap_err(), "Token expired");
    }

    #[test]
    fn what_was_changed_is_refused() {
        for place in 0..RFC_TOKEN.len() {
            let mut bytes = RFC_TOKEN.as_bytes().to_vec();
            bytes[place] = if bytes[place] == b'A' { b'B' } else { b'A' };
            let token = String::from_utf8(bytes).unwrap();
            assert!(rfc(&token, 0).is_err(), "{token}");
        }
        assert!(check(RFC_TOKEN, b"another secret", 0).is_err());
    }

    #[test]
    fn other_algorithms_are_refused() {
        for alg in [
            r#"{"alg":"none"}"#,
            r#"{"alg":"HS512"}"#,
            r#"{"alg":"hs256"}"#,
            "{}",
            "[]",
        ] {
            assert!(check(&sign(alg, "{}", b"s"), b"s", 0).is_err(), "{alg}");
        }
        let none = format!("{}.{}.", encode(br#"{"alg":"none"}"#), encode(b"{}"));
        assert_eq!(check(&none, b"s", 0).unwrap_err(), "Unsupported algorithm");
    }

    #[test]
    fn times_rule_and_have_to_be_numbers() {
        let at = |claims: &str, now| check(&sign(r#"{"alg":"HS256"}"#, claims, b"s"), b"s", now);
        assert!(at(r#"{"nbf":100,"exp":200}"#, 99).is_err());
        assert!(at(r#"{"nbf":100,"exp":200}"#, 100).is_ok());
        assert!(at(r#"{"nbf":100,"exp":200.5}"#, 200).is_ok());
        assert!(at(r#"{"nbf":100,"exp":200}"#, 200).is_err());
        assert!(at(r#"{"exp":"200"}"#, 0).is_err());
        assert!(at("{}", u64::MAX).is_ok());
    }

    #[test]
    fn only_plain_values_become_claims() {
        let claims =
            r#"{"sub":"alice","role":"admin","n":-1.5,"ok":false,"list":[1],"none":null,"o":{}}"#;
        let found = check(&sign(r#"{"alg":"HS256"}"#, claims, b"s"), b"s", 0).unwrap();
        let mut found: Vec<_> = found.iter().map(|(k, v)| format!("{k}={v}")).collect();
        found.sort();
        assert_eq!(found, ["n=-1.5", "ok=false", "role=admin", "sub=alice"]);
    }

    #[test]
    fn what_is_no_token_is_malformed() {
        for text in [
            "",
            ".",
            "..",
            "a.b",
            "a.b.c.d",
            "=.=.=",
            "A.A.A",
            "\u{e9}.b.c",
        ] {
            assert!(check(text, b"s", 0).is_err(), "{text}");
        }
        assert!(check(&"a.".repeat(MAX_TOKEN), b"s", 0).is_err());
    }

    #[test]
    fn base64_has_one_spelling() {
        assert_eq!(base64url("TQ").unwrap(), b"M");
        assert_eq!(base64url("_-8").unwrap(), [0xff, 0xef]);
        // The same byte with other bits behind it, a single letter, padding.
        for text in ["TR", "T", "TQ==", "T+"] {
            assert!(base64url(text).is_err(), "{text}");
        }
    }
}
