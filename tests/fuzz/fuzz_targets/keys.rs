//! Key files of any bytes: a second, plainer reading takes the same key, what is taken is written and
//! read again, and what is said of a secret one never repeats it.
#![cfg_attr(fuzzing, no_main)]

use zlayer_bundle::{PublicKey, SecretKey};
use zlayer_fuzz::fuzz_target;

fuzz_target!(|data: &[u8]| {
    // As it stands, and as the number in a file that is well-formed but for that.
    let text = String::from_utf8_lossy(data);
    check(&text);
    for kind in ["public", "secret", "root-public", "root-secret"] {
        check(&format!("zlayer-{kind}-key ed25519 {text}"));
        let digits: String = data.iter().map(|byte| format!("{byte:02x}")).collect();
        check(&format!("zlayer-{kind}-key ed25519 {digits} {text}"));
    }
});

fn check(text: &str) {
    let simple = simple(text);
    match PublicKey::parse(text) {
        Ok(key) => {
            assert_eq!(simple, Some(("zlayer-public-key", *key.as_bytes())));
            assert_eq!(PublicKey::parse(&key.to_text("a b")), Ok(key));
        }
        // Not every number is a point of the curve.
        Err(said) => assert!(!said.is_empty()),
    }
    if let Ok(key) = PublicKey::parse_root(text) {
        assert_eq!(simple, Some(("zlayer-root-public-key", *key.as_bytes())));
        assert_eq!(PublicKey::parse_root(&key.to_root_text("a b")), Ok(key));
    }
    match SecretKey::parse_root(text) {
        Ok(_) => assert!(simple.is_some_and(|(kind, _)| kind == "zlayer-root-secret-key")),
        Err(said) => shows_nothing(&said, text),
    }
    match SecretKey::parse(text) {
        Ok(key) => {
            assert!(simple.is_some_and(|(kind, _)| kind == "zlayer-secret-key"));
            let again = SecretKey::parse(&key.to_text());
            assert_eq!(again.map(|again| again.public()), Ok(key.public()));
            // Whatever it is the key of can be told.
            let public = key.public();
            assert_eq!(PublicKey::parse(&public.to_text("")), Ok(public));
            shows_nothing(&format!("{key:?}"), text);
        }
        Err(said) => {
            assert!(simple.is_none_or(|(kind, _)| kind != "zlayer-secret-key"));
            shows_nothing(&said, text);
        }
    }
}

/// `WORD ed25519 HEX [comment]` in one line, as plainly as can be.
fn simple(text: &str) -> Option<(&str, [u8; 32])> {
    let line = text.trim_end();
    let mut words = line.split_ascii_whitespace();
    let (kind, algorithm, digits) = (words.next()?, words.next()?, words.next()?);
    let is_hex = digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    if line.contains(['\n', '\r']) || algorithm != "ed25519" || !is_hex {
        return None;
    }
    let mut bytes = [0; 32];
    for (place, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&digits[2 * place..2 * place + 2], 16).ok()?;
    }
    Some((kind, bytes))
}

/// No word of the text that could be a part of a key is said.
fn shows_nothing(said: &str, text: &str) {
    let is_number =
        |word: &&str| word.len() >= 16 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    for word in text.split_ascii_whitespace().filter(is_number) {
        assert!(!said.contains(word), "{said}");
    }
}
