//! Converts header fields between HTTP and the contract's lists.

use http::header::{HOST, HeaderMap, HeaderName, HeaderValue};

use crate::failure::Failure;
use crate::host::common::KeyValue;
use crate::message::fields::{LIST_BYTES, LIST_HEADERS, OWN_FIELDS};
use crate::plugin::SHOWN_BYTES;
use crate::redact::cut;

/// Makes a list for a plugin. The contract's strings are Unicode, so bytes of a value that are not
/// become U+FFFD.
pub fn to_list(map: &HeaderMap) -> Vec<KeyValue> {
    let pairs = map.iter().map(|(name, value)| KeyValue {
        key: name.as_str().to_owned(),
        value: String::from_utf8_lossy(value.as_bytes()).into_owned(),
    });
    pairs.collect()
}

/// Reads a plugin's list.
///
/// # Errors
///
/// A name or value is not valid HTTP, or the list is too long. Nothing of the list is used then.
pub fn from_list(list: Vec<KeyValue>) -> Result<HeaderMap, Failure> {
    let sizes = list
        .iter()
        .map(|pair| pair.key.len() + pair.value.len() + 4);
    let bytes: usize = sizes.sum();
    if list.len() > LIST_HEADERS || bytes > LIST_BYTES {
        return Err(Failure::BadResponse(format!(
            "{} headers of {bytes} bytes; at most {LIST_HEADERS} and {LIST_BYTES}",
            list.len()
        )));
    }
    let mut map = HeaderMap::with_capacity(list.len());
    for KeyValue { key, value } in list {
        let name = HeaderName::from_bytes(key.as_bytes()).map_err(|_| {
            Failure::BadResponse(format!("header name {:?}", cut(&key, SHOWN_BYTES)))
        })?;
        let value = HeaderValue::from_bytes(value.as_bytes())
            .map_err(|_| Failure::BadResponse(format!("value of header {name}")))?;
        map.append(name, value);
    }
    Ok(map)
}

/// Reads a plugin's text that is to be a field's whole value: not empty, and no longer than a list
/// may be.
///
/// # Errors
///
/// It is not valid HTTP, or too long; `what` is the text's name for the message.
pub fn value(what: &str, text: &str) -> Result<HeaderValue, Failure> {
    let value = match text.trim().is_empty() || text.len() > LIST_BYTES {
        true => None,
        false => HeaderValue::from_str(text).ok(),
    };
    value.ok_or_else(|| Failure::BadResponse(format!("{what} {:?}", cut(text, SHOWN_BYTES))))
}

/// Reads the list that a plugin wants in the place of a request's headers, as [`replace`] does.
///
/// # Errors
///
/// Those of [`from_list`], and a `Host` that is not valid.
pub fn replace_request(old: &HeaderMap, list: Vec<KeyValue>) -> Result<HeaderMap, Failure> {
    let new = replace(old, list)?;
    if new.get_all(HOST).iter().count() > 1 {
        // The next server might choose either of them (RFC 9112 section 3.2).
        return Err(Failure::BadResponse("more than one host".to_owned()));
    }
    if let Some(host) = new.get(HOST)
        && !zlayer_http1::is_valid_host(host.as_bytes())
    {
        // A client's own Host was checked when its request was read.
        let shown = String::from_utf8_lossy(host.as_bytes());
        return Err(Failure::BadResponse(format!(
            "host {:?}",
            cut(&shown, SHOWN_BYTES)
        )));
    }
    Ok(new)
}

/// Reads the list that a plugin wants in the place of `old`. Fields that frame the message stay as
/// they were, and values that the plugin did not change keep bytes that are not Unicode.
///
/// # Errors
///
/// Those of [`from_list`].
pub fn replace(old: &HeaderMap, list: Vec<KeyValue>) -> Result<HeaderMap, Failure> {
    let mut new = from_list(list)?;
    for name in &OWN_FIELDS {
        new.remove(name);
    }
    for (name, value) in &mut new {
        let same = |known: &&HeaderValue| {
            known.to_str().is_err()
                && String::from_utf8_lossy(known.as_bytes()).as_bytes() == value.as_bytes()
        };
        if let Some(known) = old.get_all(name).iter().find(same) {
            *value = known.clone();
        }
    }
    for name in &OWN_FIELDS {
        for value in old.get_all(name) {
            new.append(name.clone(), value.clone());
        }
    }
    Ok(new)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use http::header::CONTENT_LENGTH;

    use super::*;

    fn pair(key: &str, value: &str) -> KeyValue {
        KeyValue {
            key: key.to_owned(),
            value: value.to_owned(),
        }
    }

    #[test]
    fn what_is_not_http_is_refused_as_a_whole() {
        for (key, value) in [
            ("", "x"),
            ("a b", "x"),
            ("a:", "x"),
            ("a\r\nb", "x"),
            ("a", "x\r\ny: z"),
            ("a", "x\0"),
            ("a", "x\n"),
        ] {
            let list = vec![pair("fine", "fine"), pair(key, value)];
            assert!(
                matches!(from_list(list), Err(Failure::BadResponse(_))),
                "{key:?} {value:?}"
            );
        }
    }

    #[test]
    fn lists_are_bounded_in_number_and_bytes() {
        let many = |count| (0..count).map(|n| pair(&format!("x-{n}"), "")).collect();
        for count in [257, 24_575, 24_576, 100_000] {
            assert!(matches!(
                from_list(many(count)),
                Err(Failure::BadResponse(_))
            ));
        }
        // Nothing that is put on top panics.
        let mut old = HeaderMap::new();
        old.insert(CONTENT_LENGTH, 5.into());
        assert_eq!(replace(&old, many(256)).unwrap().len(), 257);
        let long = |bytes| vec![pair("a", &"x".repeat(bytes))];
        assert!(from_list(long(LIST_BYTES - 5)).is_ok());
        assert!(from_list(long(LIST_BYTES - 4)).is_err());
    }

    #[test]
    fn one_value_is_bounded_too() {
        assert_eq!(value("location", "/a").unwrap(), "/a");
        for text in ["", " ", "a\nb", &"x".repeat(LIST_BYTES + 1)] {
            let error = value("location", text).unwrap_err();
            assert!(error.to_string().contains("location"), "{error}");
        }
    }

    #[test]
    fn a_host_is_an_authority() {
        for host in ["", "a", "a:80", "[::1]:80"] {
            assert!(replace_request(&HeaderMap::new(), vec![pair("Host", host)]).is_ok());
        }
        for host in ["evil x/y", "\u{e9}", "a:b", "u@a", "a, b"] {
            // In a response, Host is a field like any other.
            assert!(replace(&HeaderMap::new(), vec![pair("Host", host)]).is_ok());
            let error = replace_request(&HeaderMap::new(), vec![pair("Host", host)]).unwrap_err();
            assert!(error.to_string().contains("host \""), "{error}");
            assert_eq!(error.status(), 502);
        }
    }

    #[test]
    fn framing_stays_and_the_rest_is_replaced() {
        let mut old = HeaderMap::new();
        old.insert("content-length", "5".parse().unwrap());
        old.insert("x-old", "1".parse().unwrap());
        let bytes = HeaderValue::from_bytes(b"caf\xe9").unwrap();
        old.insert("x-latin", bytes.clone());
        let mut list = to_list(&old);
        list.retain(|pair| pair.key != "x-old");
        list.extend([
            pair("Content-Length", "99"),
            pair("transfer-encoding", "chunked"),
            pair("Connection", "x-latin"),
            pair("X-New", "2"),
            pair("x-new", "3"),
        ]);
        let new = replace(&old, list).unwrap();
        assert_eq!(new.get_all("content-length").iter().count(), 1);
        assert_eq!(new["content-length"], "5");
        assert_eq!(new["x-latin"], bytes);
        assert_eq!(new.get_all("x-new").iter().count(), 2);
        assert!(!new.contains_key("x-old") && !new.contains_key("transfer-encoding"));
        assert!(!new.contains_key("connection"));
    }
}
