//! Makes heads of any bytes, for those who check what holds for them.

use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use zlayer_http1::Header;

use super::fields::header_map;

/// The two heads of an exchange.
pub struct Heads<'a> {
    /// What is asked for, if it is a target at all.
    pub uri: Option<Uri>,
    /// The fields of the request, as the codec reads them.
    pub fields: Vec<Header<'a>>,
    /// The same as a map.
    pub request: HeaderMap,
    /// The fields of the response.
    pub response: HeaderMap,
}

impl<'a> Heads<'a> {
    /// The first line of `input` is the target. Fields follow, one a line, as far as the codec lets them
    /// through; an empty line ends those of the request.
    pub fn of(input: &'a [u8]) -> Heads<'a> {
        let mut lines = input.split(|byte| *byte == b'\n');
        let uri = lines.next().and_then(|line| Uri::try_from(line).ok());
        let request = lines.by_ref().take_while(|line| !line.is_empty());
        let fields: Vec<Header<'_>> = request.filter_map(field).collect();
        let response: Vec<Header<'_>> = lines.filter_map(field).collect();
        Heads {
            uri,
            request: header_map(&fields).unwrap_or_default(),
            response: header_map(&response).unwrap_or_default(),
            fields,
        }
    }
}

fn field(line: &[u8]) -> Option<Header<'_>> {
    let at = line.iter().position(|byte| *byte == b':')?;
    let name = std::str::from_utf8(&line[..at]).ok()?;
    let value = line[at + 1..].trim_ascii();
    let is_field = HeaderName::try_from(name).is_ok() && HeaderValue::from_bytes(value).is_ok();
    is_field.then_some(Header { name, value })
}
