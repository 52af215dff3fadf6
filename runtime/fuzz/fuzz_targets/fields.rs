//! Any lines as a target and the fields of a request and of a response, as far as the codec lets them
//! through: what cache, proxies and WebSockets read from them.
#![no_main]

use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use libfuzzer_sys::fuzz_target;
use zlayer_http1::Header;
use zlayer_runtime_fuzz::cache::fuzz::heads;
use zlayer_runtime_fuzz::pipeline::fuzz::{spelling, token};
use zlayer_runtime_fuzz::server::fuzz::origin;

fuzz_target!(|input: &[u8]| {
    let mut lines = input.split(|byte| *byte == b'\n');
    let uri = lines.next().and_then(|line| Uri::try_from(line).ok());
    let mut fields = lines.filter_map(field);
    // An empty line ends the request.
    let request: Vec<Header<'_>> = fields
        .by_ref()
        .take_while(|one| !one.name.is_empty())
        .collect();
    let response: Vec<Header<'_>> = fields.filter(|one| !one.name.is_empty()).collect();
    spelling(&request);
    let (request, response) = (map(&request), map(&response));
    heads(&request, &response);
    origin(&request);
    if let Some(uri) = uri {
        token(&uri, &request);
    }
});

/// A line as a field. An empty one is a field without a name.
fn field(line: &[u8]) -> Option<Header<'_>> {
    let at = line.iter().position(|byte| *byte == b':').unwrap_or(0);
    let (name, value) = line.split_at(at);
    let name = std::str::from_utf8(name).ok()?;
    let value = value.strip_prefix(b":").unwrap_or(value);
    let is_field = name.is_empty() || HeaderName::try_from(name).is_ok();
    (is_field && HeaderValue::from_bytes(value).is_ok()).then_some(Header { name, value })
}

fn map(fields: &[Header<'_>]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for field in fields {
        let name = HeaderName::try_from(field.name);
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(field.value)) {
            map.append(name, value);
        }
    }
    map
}
