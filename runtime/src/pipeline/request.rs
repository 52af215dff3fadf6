//! A client's request, as it changes on its way through the stages.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONTENT_LENGTH, HOST, HeaderName};
use http_body::Body as _;

use super::bodies::{SMALL_BODY, WholeBodies};
use super::fields;
use crate::config::RequestBody;
use crate::failure::Failure;
use crate::host::common::KeyValue;
use crate::host::http_types::{HttpVersion, RequestMetadata};
use crate::host::request_types::{HttpMethod, PluginRequest};
use crate::memory::Reservation;
use crate::message::IncomingBody;
use crate::message::fields::CREDENTIALS;
use crate::upstream::Target;

/// The key under which the context tells whether the record holds the request's body.
const BODY_KEY: &str = "body";

/// A client's request.
pub struct Request {
    /// Method, target, headers.
    pub head: http::request::Parts,
    /// Who asks.
    pub client: SocketAddr,
    /// The id that log records and error answers carry.
    pub id: Arc<str>,
    /// When the head was complete.
    pub received_at: SystemTime,
    /// Where a router sends it instead of to a handler.
    pub upstream: Option<Target>,
    /// It has come by this daemon before, which waits for its answer.
    pub came_round: bool,
    /// An authenticator knows the client.
    pub is_authenticated: bool,
    /// What the client itself brought of [`CREDENTIALS`], whatever middlewares make of that.
    brought: HeaderMap,
    /// The body, unless it was read as a whole.
    body: IncomingBody,
    /// The request as the contract has it, once a stage has asked for it.
    record: Option<Box<PluginRequest>>,
    /// The body lies in `record`.
    is_whole: bool,
    /// The whole body, while a stage is asked that is not to see it.
    hidden: Option<Vec<u8>>,
    /// The memory that it is charged to.
    held: Option<Reservation>,
    /// `head` or `context` have changed since `record` was filled.
    is_stale: bool,
    /// What stages tell later ones.
    context: Vec<KeyValue>,
}

impl Request {
    /// A request whose head was just read. What its `Connection` names is taken out.
    pub fn new(
        mut head: http::request::Parts,
        body: IncomingBody,
        client: SocketAddr,
        id: Arc<str>,
    ) -> Request {
        let mut brought = HeaderMap::new();
        for name in &CREDENTIALS {
            add(&mut brought, name, &head.headers);
        }
        crate::upstream::strip_named(&mut head.headers);
        Request {
            brought,
            head,
            client,
            id,
            received_at: SystemTime::now(),
            upstream: None,
            came_round: false,
            is_authenticated: false,
            body,
            record: None,
            is_whole: false,
            hidden: None,
            held: None,
            is_stale: true,
            context: vec![KeyValue {
                key: "client_ip".to_owned(),
                value: client.ip().to_canonical().to_string(),
            }],
        }
    }

    /// Reads the body for a stage that takes records, if that stage is to see it.
    ///
    /// # Errors
    ///
    /// The body is too long, is broken, or there is no memory for it.
    pub async fn prepare(
        &mut self,
        bodies: &WholeBodies,
        wanted: RequestBody,
    ) -> Result<(), Failure> {
        let hint = self.body.size_hint();
        // Nobody knows the client yet: what is shared is not for it to fill.
        let most = bodies.limit().min(SMALL_BODY);
        let fits = hint.exact().is_some_and(|bytes| bytes <= most as u64);
        self.show();
        match wanted {
            RequestBody::Whole => self.read_whole(bodies).await?,
            RequestBody::Auto if fits => self.read_whole(bodies).await?,
            RequestBody::Auto => {}
            RequestBody::None => {
                // Another stage may have had it read.
                let whole = self.record.as_mut().filter(|_| self.is_whole);
                self.hidden = whole.map(|record| std::mem::take(&mut record.body));
            }
        }
        let is_seen = self.is_whole && self.hidden.is_none();
        let told = if is_seen { "whole" } else { "streamed" };
        self.tell(BODY_KEY, told);
        Ok(())
    }

    /// Reads the body to its end.
    ///
    /// # Errors
    ///
    /// The body is too long, is broken, or there is no memory for it.
    pub async fn read_whole(&mut self, bodies: &WholeBodies) -> Result<(), Failure> {
        self.show();
        if !self.is_whole {
            let mut body = std::mem::take(&mut self.body);
            let (data, held) = bodies.read_request(&mut body).await?;
            self.set_body(data, held);
        }
        Ok(())
    }

    /// The body, once it was read as a whole; empty else.
    pub fn take_body(&mut self) -> (Vec<u8>, Option<Reservation>) {
        self.show();
        self.is_whole = false;
        let data = self
            .record
            .as_mut()
            .map(|record| std::mem::take(&mut record.body));
        (data.unwrap_or_default(), self.held.take())
    }

    /// Puts a whole body in the place of the one that there was.
    pub fn set_body(&mut self, data: Vec<u8>, held: Option<Reservation>) {
        self.hidden = None;
        let record = self.record.get_or_insert_with(empty_record);
        record.body = data;
        self.held = held;
        self.is_whole = true;
    }

    /// Whether there is a body.
    pub fn has_body(&self) -> bool {
        match self.whole_body() {
            Some(body) => !body.is_empty(),
            None => !self.body.is_end_stream(),
        }
    }

    /// What the authenticate stage found out of the client.
    pub fn claims(&self) -> impl Iterator<Item = (&str, &str)> {
        self.context.iter().filter_map(|pair| {
            let name = pair.key.strip_prefix("claim.")?;
            Some((name, pair.value.as_str()))
        })
    }

    /// The headers, and with them what the client brought to tell who it is, where a stage has changed
    /// that.
    pub fn telling_headers(&self) -> HeaderMap {
        let mut headers = self.head.headers.clone();
        for name in &CREDENTIALS {
            if self.brought.get_all(name) != self.head.headers.get_all(name) {
                add(&mut headers, name, &self.brought);
            }
        }
        headers
    }

    /// Whether a credential is there, and the one that the client brought.
    pub fn has_brought(&self, name: &str) -> bool {
        let brought = self.brought.get_all(name);
        self.brought.contains_key(name) && brought == self.head.headers.get_all(name)
    }

    /// Puts a body that a plugin has made in the place of the whole one that there was.
    ///
    /// # Errors
    ///
    /// It is too long, or there is no memory for it: then the old one is still there.
    pub fn replace_body(&mut self, data: Vec<u8>, bodies: &WholeBodies) -> Result<(), Failure> {
        bodies.recharge_request(&mut self.held, data.len())?;
        let held = self.held.take();
        self.set_body(data, held);
        Ok(())
    }

    /// The body for whoever reads it piece by piece.
    pub fn stream(&mut self) -> IncomingBody {
        if !self.is_whole {
            return std::mem::take(&mut self.body);
        }
        let (data, held) = self.take_body();
        IncomingBody::whole(Bytes::from(data), held)
    }

    /// The body, where it was read as a whole.
    pub fn whole_body(&self) -> Option<&Vec<u8>> {
        let record = self.record.as_ref().filter(|_| self.is_whole);
        let body = self.hidden.as_ref();
        body.or_else(|| record.map(|record| &record.body))
    }

    /// Puts a body that was hidden from a stage back in its place.
    fn show(&mut self) {
        if let Some((body, record)) = self.hidden.take().zip(self.record.as_mut()) {
            record.body = body;
        }
    }

    /// The request as the contract has it. Its body is there if it was read as a whole.
    ///
    /// # Errors
    ///
    /// The contract has no case for the method.
    pub fn record(&mut self) -> Result<&PluginRequest, Failure> {
        let record = self.record.get_or_insert_with(empty_record);
        if std::mem::take(&mut self.is_stale) {
            record.method = method(&self.head.method).ok_or_else(|| {
                self.is_stale = true;
                Failure::Method(self.head.method.to_string())
            })?;
            record.request_id = self.id.to_string();
            record.path = self.head.uri.path().to_owned();
            record.query = self.head.uri.query().map(str::to_owned);
            record.headers = fields::to_list(&self.head.headers);
            record.timestamp = nanoseconds(self.received_at);
            record.context.clone_from(&self.context);
        }
        Ok(record)
    }

    /// What the contract tells routers and middlewares of the connection.
    pub fn metadata(&self) -> RequestMetadata {
        let host = self.head.headers.get(HOST);
        RequestMetadata {
            client_ip: self.client.ip().to_canonical().to_string(),
            client_port: self.client.port(),
            tls_version: None,
            tls_cipher: None,
            // Without TLS no name was indicated; the one in Host is in the headers.
            server_name: host
                .and_then(|host| host.to_str().ok())
                .map(|host| without_port(host).to_owned()),
            http_version: match self.head.version {
                http::Version::HTTP_10 => HttpVersion::Http10,
                _ => HttpVersion::Http11,
            },
            received_at: nanoseconds(self.received_at),
        }
    }

    /// Tells later stages something, in the place of what was said under the same key.
    pub fn tell(&mut self, key: &str, value: &str) {
        let known = self.context.iter_mut().find(|pair| pair.key == key);
        match known {
            Some(pair) if pair.value == value => return,
            Some(pair) => value.clone_into(&mut pair.value),
            None => self.context.push(KeyValue {
                key: key.to_owned(),
                value: value.to_owned(),
            }),
        }
        self.is_stale = true;
    }

    /// Puts another list of headers in the place of the one that there was. Host stays if the list has
    /// none: a request has to have one (RFC 9112 section 3.2).
    pub fn set_headers(&mut self, mut headers: HeaderMap) {
        if let Some(host) = self.head.headers.remove(HOST) {
            headers.entry(HOST).or_insert(host);
        }
        self.head.headers = headers;
        self.is_stale = true;
    }

    /// Writes a Content-Length that fits the whole body. A request without a body that never had one
    /// gets none.
    pub fn mend_length(&mut self) {
        let Some(length) = self.whole_body().map(Vec::len) else {
            return;
        };
        let headers = &mut self.head.headers;
        headers.remove(http::header::TRANSFER_ENCODING);
        if length > 0 || headers.contains_key(CONTENT_LENGTH) {
            headers.insert(CONTENT_LENGTH, length.into());
        }
        self.is_stale = true;
    }
}

/// Adds the lines of a field, as far as there is room.
fn add(to: &mut HeaderMap, name: &HeaderName, from: &HeaderMap) {
    for value in from.get_all(name) {
        let _ = to.try_append(name, value.clone());
    }
}

fn empty_record() -> Box<PluginRequest> {
    Box::new(PluginRequest {
        request_id: String::new(),
        path: String::new(),
        method: HttpMethod::Get,
        query: None,
        headers: Vec::new(),
        body: Vec::new(),
        timestamp: 0,
        context: Vec::new(),
    })
}

fn nanoseconds(at: SystemTime) -> u64 {
    let since = at.duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    })
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    }
}

fn method(method: &http::Method) -> Option<HttpMethod> {
    Some(match method.as_str() {
        "GET" => HttpMethod::Get,
        "POST" => HttpMethod::Post,
        "PUT" => HttpMethod::Put,
        "DELETE" => HttpMethod::Delete,
        "PATCH" => HttpMethod::Patch,
        "HEAD" => HttpMethod::Head,
        "OPTIONS" => HttpMethod::Options,
        "CONNECT" => HttpMethod::Connect,
        "TRACE" => HttpMethod::Trace,
        _ => return None,
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;

    fn request(method: &str) -> Request {
        let (head, ()) = http::Request::builder()
            .method(method)
            .uri("/a/b?c=d")
            .header("host", "device.local:8080")
            .body(())
            .unwrap()
            .into_parts();
        let client = "[::ffff:192.0.2.7]:4000".parse().unwrap();
        Request::new(head, IncomingBody::default(), client, "1".into())
    }

    #[test]
    fn the_record_follows_what_stages_change() {
        let mut request = request("PUT");
        let record = request.record().unwrap();
        assert_eq!(
            (record.path.as_str(), record.query.as_deref()),
            ("/a/b", Some("c=d"))
        );
        assert_eq!(record.context[0].value, "192.0.2.7");
        request.tell("claim.sub", "alice");
        request.tell("claim.sub", "bob");
        let mut headers = request.head.headers.clone();
        headers.insert("x-new", "1".parse().unwrap());
        request.set_headers(headers);
        request.set_body(b"hello".to_vec(), None);
        request.mend_length();
        let record = request.record().unwrap();
        let claims: Vec<_> = record
            .context
            .iter()
            .map(|pair| pair.value.as_str())
            .collect();
        assert_eq!(claims, ["192.0.2.7", "bob"]);
        assert_eq!(record.headers.len(), 3);
        assert_eq!(record.body, b"hello");
        assert_eq!(request.head.headers[CONTENT_LENGTH], "5");
        assert_eq!(request.stream().size_hint().exact(), Some(5));
    }

    #[test]
    fn what_the_client_brought_tells_who_it_is_whatever_stages_change() {
        let head = http::Request::builder()
            .header("authorization", "Bearer ada")
            .header("cookie", "a=b")
            .header("x-other", "1");
        let (head, ()) = head.body(()).unwrap().into_parts();
        let client = "192.0.2.7:4000".parse().unwrap();
        let mut request = Request::new(head, IncomingBody::default(), client, "1".into());
        assert_eq!(request.telling_headers(), request.head.headers);
        assert!(request.has_brought("cookie") && !request.has_brought("x-api-key"));
        let mut headers = HeaderMap::new();
        headers.insert("cookie", "c=d".parse().unwrap());
        request.set_headers(headers);
        let telling = request.telling_headers();
        assert_eq!(telling["authorization"], "Bearer ada");
        assert!(!request.has_brought("authorization") && !request.has_brought("cookie"));
        let cookies: Vec<_> = telling.get_all("cookie").iter().collect();
        assert_eq!(cookies, ["c=d", "a=b"]);
    }

    #[test]
    fn methods_without_a_case_are_refused_each_time() {
        let mut request = request("BREW");
        for _ in 0..2 {
            assert!(matches!(request.record(), Err(Failure::Method(name)) if name == "BREW"));
        }
    }

    #[test]
    fn the_server_name_has_no_port() {
        assert_eq!(
            request("GET").metadata().server_name.unwrap(),
            "device.local"
        );
        assert_eq!(without_port("[::1]"), "[::1]");
        assert_eq!(without_port("[::1]:80"), "[::1]");
        assert_eq!(without_port("a"), "a");
    }
}
