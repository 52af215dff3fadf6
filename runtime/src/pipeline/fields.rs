//! Converts header fields between HTTP and the contract's lists.

use http::header::{HOST, HeaderMap, HeaderName, HeaderValue};

use crate::failure::Failure;
use crate::host::common::KeyValue;
use crate::message::Spellings;
use crate::message::fields::{LIST_BYTES, LIST_HEADERS, OWN_FIELDS};
use crate::plugin::SHOWN_BYTES;
use crate::redact::cut;

/// Fields as a plugin wrote them.
#[derive(Debug)]
pub struct Fields {
    /// Names, in lower case, and values.
    pub headers: HeaderMap,
    /// How the names are spelled.
    pub spellings: Spellings,
}

impl Fields {
    /// Puts the fields into a response, in the place of those that it has.
    pub fn put<T>(self, response: &mut http::Response<T>) {
        self.spellings.put(response.extensions_mut());
        *response.headers_mut() = self.headers;
    }
}

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
pub fn from_list(list: Vec<KeyValue>) -> Result<Fields, Failure> {
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
    let spellings = Spellings::of(list.iter().map(|pair| pair.key.as_str()));
    let mut headers = HeaderMap::with_capacity(list.len());
    for KeyValue { key, value } in list {
        let name = HeaderName::from_bytes(key.as_bytes()).map_err(|_| {
            Failure::BadResponse(format!("header name {:?}", cut(&key, SHOWN_BYTES)))
        })?;
        let value = HeaderValue::from_bytes(value.as_bytes())
            .map_err(|_| Failure::BadResponse(format!("value of header {name}")))?;
        headers.append(name, value);
    }
    Ok(Fields { headers, spellings })
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
pub fn replace_request(old: &http::request::Parts, list: Vec<KeyValue>) -> Result<Fields, Failure> {
    let spellings = Spellings::in_extensions(&old.extensions);
    let new = replace(&old.headers, &spellings, list)?;
    if new.headers.get_all(HOST).iter().count() > 1 {
        // The next server might choose either of them (RFC 9112 section 3.2).
        return Err(Failure::BadResponse("more than one host".to_owned()));
    }
    if let Some(host) = new.headers.get(HOST)
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

/// Reads the list that a plugin wants in the place of `old`, whose names are spelled so. Fields
/// that frame the message stay as they were, and values that the plugin did not change keep bytes
/// that are not Unicode.
///
/// # Errors
///
/// Those of [`from_list`].
pub fn replace(
    old: &HeaderMap,
    spellings: &Spellings,
    list: Vec<KeyValue>,
) -> Result<Fields, Failure> {
    let names: Vec<String> = list.iter().map(|pair| pair.key.clone()).collect();
    let mut new = from_list(list)?.headers;
    for name in &OWN_FIELDS {
        new.remove(name);
    }
    keep_bytes(old, &mut new);
    for name in &OWN_FIELDS {
        for value in old.get_all(name) {
            new.append(name.clone(), value.clone());
        }
    }
    let names = names.iter().map(String::as_str);
    let spellings = spellings.replaced(old, names);
    Ok(Fields {
        headers: new,
        spellings,
    })
}

/// Gives values that a plugin did not change their bytes back where these are not Unicode. Several
/// of them may have looked the same to the plugin: those of one field are matched in their order.
fn keep_bytes(old: &HeaderMap, new: &mut HeaderMap) {
    let mut unmatched: Vec<(&HeaderName, &HeaderValue)> = old
        .iter()
        .filter(|(_, value)| std::str::from_utf8(value.as_bytes()).is_err())
        .collect();
    if unmatched.is_empty() {
        return;
    }
    for (name, value) in new {
        let shown = value.as_bytes();
        let at = unmatched.iter().position(|(known, bytes)| {
            *known == name && String::from_utf8_lossy(bytes.as_bytes()).as_bytes() == shown
        });
        if let Some(at) = at {
            *value = unmatched.remove(at).1.clone();
        }
    }
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

    fn parts() -> http::request::Parts {
        http::Request::new(()).into_parts().0
    }

    #[test]
    fn values_that_look_the_same_keep_their_own_bytes() {
        let mut old = HeaderMap::new();
        for bytes in [&b"a=\xe9"[..], b"a=\xe8", b"b", b"a=\xea"] {
            old.append("set-cookie", HeaderValue::from_bytes(bytes).unwrap());
        }
        old.append("x-other", HeaderValue::from_bytes(b"a=\xff").unwrap());
        let same = replace(&old, &Spellings::default(), to_list(&old)).unwrap();
        assert_eq!(same.headers, old);
        // One more than there were is what the plugin wrote.
        let mut list = to_list(&old);
        list.push(pair("x-other", "a=\u{fffd}"));
        list.retain(|pair| pair.value != "b");
        let new = replace(&old, &Spellings::default(), list).unwrap().headers;
        let cookies: Vec<_> = new.get_all("set-cookie").iter().collect();
        assert_eq!(
            cookies,
            ["a=\u{e9}", "a=\u{e8}", "a=\u{ea}"]
                .map(latin1)
                .iter()
                .collect::<Vec<_>>()
        );
        let others: Vec<_> = new
            .get_all("x-other")
            .iter()
            .map(HeaderValue::as_bytes)
            .collect();
        assert_eq!(others, [&b"a=\xff"[..], "a=\u{fffd}".as_bytes()]);
    }

    fn latin1(text: &str) -> HeaderValue {
        let bytes: Vec<u8> = text.chars().map(|char| char as u8).collect();
        HeaderValue::from_bytes(&bytes).unwrap()
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
        assert_eq!(
            replace(&old, &Spellings::default(), many(256))
                .unwrap()
                .headers
                .len(),
            257
        );
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
            assert!(replace_request(&parts(), vec![pair("Host", host)]).is_ok());
        }
        for host in ["evil x/y", "\u{e9}", "a:b", "u@a", "a, b"] {
            // In a response, Host is a field like any other.
            let list = vec![pair("Host", host)];
            assert!(replace(&HeaderMap::new(), &Spellings::default(), list).is_ok());
            let error = replace_request(&parts(), vec![pair("Host", host)]).unwrap_err();
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
        let new = replace(&old, &Spellings::default(), list).unwrap().headers;
        assert_eq!(new.get_all("content-length").iter().count(), 1);
        assert_eq!(new["content-length"], "5");
        assert_eq!(new["x-latin"], bytes);
        assert_eq!(new.get_all("x-new").iter().count(), 2);
        assert!(!new.contains_key("x-old") && !new.contains_key("transfer-encoding"));
        assert!(!new.contains_key("connection"));
    }
}
