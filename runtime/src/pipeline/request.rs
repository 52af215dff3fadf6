//! A client's request, as it changes on its way through the stages.

mod body;
mod record;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::SystemTime;

use http::HeaderMap;
use http::header::{CONTENT_LENGTH, EXPECT, HOST, HeaderName};

use super::bodies::{SMALL_BODY, WholeBodies};
use super::fields::Fields;
use super::reach::Reached;
use super::token::{self, Token};
use super::upgrading::Upgrading;
use crate::clock;
use crate::config::BodyAccess;
use crate::failure::Failure;
use crate::host::common::KeyValue;
use crate::host::http_types::{HttpVersion, RequestMetadata};
use crate::host::request_types::PluginRequest;
use crate::memory::Reservation;
use crate::message::fields::CREDENTIALS;
use crate::message::{Client, IncomingBody, Scheme};
use crate::upstream::{ForClient, Target};
use body::{RequestBody, WholeBody};

pub use record::Record;

/// The key under which the context tells whether the record holds the request's body.
const BODY_KEY: &str = "body";

/// A client's request on its way through the stages.
pub struct Request {
    /// The request's method, target and headers.
    pub head: http::request::Parts,
    /// The client, and how it speaks.
    pub client: Client,
    /// The request's id, which log records and responses that report a failure carry.
    pub id: Arc<str>,
    /// When the request's head was complete.
    pub received_at: SystemTime,
    /// The ways to services that it comes: all of them, until the pipeline has looked.
    pub(super) reached: Reached,
    /// The upstream that a router chose, if the request does not go to a handler.
    pub upstream: Option<Target>,
    /// Whether the request has passed through this daemon before, which still waits for the
    /// response to it.
    pub came_round: bool,
    /// Whether an authenticator knows the client.
    pub is_authenticated: bool,
    /// Whether it begins a WebSocket.
    pub upgrading: Upgrading,
    /// The token that it brings where a browser can put one, until the authenticators are through.
    pub token: Option<Token>,
    /// What an upstream has to know about the client, if the request goes to one.
    pub for_client: ForClient,
    /// The [`CREDENTIALS`] and other personal fields that the client itself sent, whatever
    /// middlewares change.
    brought: HeaderMap,
    /// Personal fields beside the credentials.
    personal: Arc<[HeaderName]>,
    body: RequestBody,
    /// `head` and `context` in the contract's types, made when a stage first asks for them and
    /// dropped when one of the two changes. Its body is empty except while a [`Record`] lives.
    record: Option<Box<PluginRequest>>,
    /// The context: pairs that stages set for later ones.
    context: Vec<KeyValue>,
}

impl Request {
    /// Makes a request whose head was just read. The fields that its `Connection` names are taken
    /// out, and an `Upgrade` that is none.
    pub fn new(
        mut head: http::request::Parts,
        body: IncomingBody,
        client: impl Into<Client>,
        id: Arc<str>,
    ) -> Request {
        let client = client.into();
        let mut brought = HeaderMap::new();
        for name in &CREDENTIALS {
            add(&mut brought, name, &head.headers);
        }
        crate::upstream::strip_named(&mut head.headers);
        let upgrading = Upgrading::decide(&mut head);
        let token = match upgrading {
            Upgrading::Begins => Token::of(&head),
            Upgrading::No | Upgrading::Malformed(_) => None,
        };
        let pair = |key: &str, value| KeyValue {
            key: key.to_owned(),
            value,
        };
        let address = client.address.ip().to_canonical().to_string();
        // Whether `timestamp` can be believed.
        let clock = clock::state().name().to_owned();
        let mut context = vec![pair("client_ip", address), pair("clock", clock)];
        if client.scheme == Scheme::Https {
            context.push(pair("scheme", client.scheme.name().to_owned()));
        }
        Request {
            brought,
            personal: Arc::default(),
            upgrading,
            token,
            head,
            client,
            id,
            received_at: SystemTime::now(),
            reached: Reached::default(),
            upstream: None,
            came_round: false,
            is_authenticated: false,
            for_client: ForClient::default(),
            body: RequestBody::Streamed(body),
            record: None,
            context,
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
        access: BodyAccess,
    ) -> Result<(), Failure> {
        // The client is not known yet, so it must not fill the memory that all share.
        let most = bodies.limit().min(SMALL_BODY);
        let fits = self.body.length().is_some_and(|bytes| bytes <= most as u64);
        self.body.show();
        match access {
            BodyAccess::Whole => self.read_whole(bodies).await?,
            // A client that waits for a word about its body is not asked for it on this account.
            BodyAccess::Auto if fits && !self.expects_continue() => {
                self.read_whole(bodies).await?;
            }
            BodyAccess::Auto => {}
            // The body may have been read for another stage.
            BodyAccess::None => self.body.hide(),
        }
        let told = match self.body {
            RequestBody::Whole(_) => "whole",
            RequestBody::Streamed(_) | RequestBody::Hidden(_) => "streamed",
        };
        self.set_context(BODY_KEY, told);
        Ok(())
    }

    /// Reads the body to its end.
    ///
    /// # Errors
    ///
    /// The body is too long, is broken, or there is no memory for it.
    pub async fn read_whole(&mut self, bodies: &WholeBodies) -> Result<(), Failure> {
        self.body.show();
        if let RequestBody::Streamed(body) = &mut self.body {
            let mut body = std::mem::take(body);
            let (data, held) = bodies.read_request(&mut body).await?;
            self.set_body(data, held);
        }
        Ok(())
    }

    /// Drops the body, and releases the memory that it is charged to.
    pub fn drop_body(&mut self) {
        drop(self.body.take());
    }

    /// Replaces the body by a whole one.
    pub fn set_body(&mut self, data: Vec<u8>, held: Option<Reservation>) {
        self.body = RequestBody::Whole(WholeBody { data, held });
    }

    /// Whether there is a body.
    pub fn has_body(&self) -> bool {
        !self.body.is_empty()
    }

    /// The claims about the client that an authenticator returned.
    pub fn claims(&self) -> impl Iterator<Item = (&str, &str)> {
        self.context.iter().filter_map(|pair| {
            let name = pair.key.strip_prefix("claim.")?;
            Some((name, pair.value.as_str()))
        })
    }

    /// Keeps these fields too as the client sent them. They are personal: they tell clients apart as
    /// credentials do.
    pub fn keep_personal(&mut self, names: &Arc<[HeaderName]>) {
        for name in names.iter() {
            add(&mut self.brought, name, &self.head.headers);
        }
        self.personal = Arc::clone(names);
    }

    /// The headers, together with the client's own personal fields where a stage has changed those.
    pub fn telling_headers(&self) -> HeaderMap {
        let mut headers = self.head.headers.clone();
        for name in CREDENTIALS.iter().chain(self.personal.iter()) {
            if self.brought.get_all(name) != self.head.headers.get_all(name) {
                add(&mut headers, name, &self.brought);
            }
        }
        headers
    }

    /// Whether a credential is there and is the one that the client sent.
    pub fn has_brought(&self, name: &HeaderName) -> bool {
        let brought = self.brought.get_all(name);
        self.brought.contains_key(name) && brought == self.head.headers.get_all(name)
    }

    /// Replaces the whole body by one that a plugin has made.
    ///
    /// # Errors
    ///
    /// The new body is too long, or there is no memory for it. The old one is still there then.
    pub fn replace_body(&mut self, data: Vec<u8>, bodies: &WholeBodies) -> Result<(), Failure> {
        let mut none = None;
        let held = match self.body.whole_mut() {
            Some(whole) => &mut whole.held,
            None => &mut none,
        };
        bodies.recharge_request(held, data.len())?;
        let held = held.take();
        self.set_body(data, held);
        Ok(())
    }

    /// Whether the client still waits for `100 Continue` before it sends the body. A stage that took
    /// the field out, or read the body, has decided that already; HTTP/1.0 has no such field
    /// (RFC 9110 section 10.1.1).
    pub fn expects_continue(&self) -> bool {
        let expected = self.head.headers.get(EXPECT);
        expected.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
            && self.head.version != http::Version::HTTP_10
            && self.body.is_untouched()
    }

    /// Takes the body out, as a stream of pieces.
    pub fn stream(&mut self) -> IncomingBody {
        self.body.take().into_stream()
    }

    /// The body, if it was read to its end.
    pub fn whole_body(&self) -> Option<&Vec<u8>> {
        self.body.whole().map(|whole| &whole.data)
    }

    /// The request in the contract's types. Its body is included if it was read to its end and is
    /// not hidden from the stage.
    ///
    /// # Errors
    ///
    /// The contract has no case for the method.
    pub fn record(&mut self) -> Result<Record<'_>, Failure> {
        let record = match &mut self.record {
            Some(record) => record,
            none => {
                let described =
                    record::describe(&self.head, &self.id, self.received_at, &self.context);
                let record = none.insert(described?);
                record
                    .headers
                    .extend(self.token.as_ref().and_then(Token::shown));
                record
            }
        };
        Ok(Record::new(record, self.body.shown()))
    }

    /// Shows the request's token to the authenticator that is asked next, or to nobody.
    pub fn show_token(&mut self, is_shown: bool) {
        if let Some(token) = &mut self.token {
            token.show(is_shown);
            self.record = None;
        }
    }

    /// Ends the authentication by a token. If an authenticator knows the client, by a token or
    /// otherwise, all tokens are taken out of a request that begins a WebSocket: nobody behind the
    /// authenticators is to see them.
    ///
    /// # Errors
    ///
    /// Why the token was refused, if no authenticator has taken it.
    pub fn settle_token(&mut self) -> Result<(), String> {
        let is_taken = match self.token.take() {
            Some(token) => {
                // An authenticator that failed may have been shown it.
                self.record = None;
                token.settled()?
            }
            None => false,
        };
        if is_taken || self.is_authenticated && self.upgrading == Upgrading::Begins {
            self.record = None;
            token::strip(&mut self.head);
        }
        Ok(())
    }

    /// What the contract tells routers and middlewares about the connection.
    pub fn metadata(&self) -> RequestMetadata {
        let tls = self.client.tls.as_deref();
        let host = self.client.forwarded_host.as_ref();
        let host = host.or_else(|| self.head.headers.get(HOST));
        RequestMetadata {
            client_ip: self.client.address.ip().to_canonical().to_string(),
            client_port: self.client.address.port(),
            tls_version: tls.map(|tls| tls.version.to_owned()),
            tls_cipher: tls.map(|tls| tls.cipher.clone()),
            server_name: match tls {
                Some(tls) => tls.server_name.clone(),
                // Without TLS there is no indicated server name: the name in Host is used.
                None => host
                    .and_then(|host| host.to_str().ok())
                    .map(|host| without_port(host).to_owned()),
            },
            http_version: match self.head.version {
                http::Version::HTTP_10 => HttpVersion::Http10,
                _ => HttpVersion::Http11,
            },
            received_at: record::nanoseconds(self.received_at),
        }
    }

    /// Sets a pair of the context for later stages, in place of one with the same key.
    pub fn set_context(&mut self, key: &str, value: &str) {
        let known = self.context.iter_mut().find(|pair| pair.key == key);
        match known {
            Some(pair) if pair.value == value => return,
            Some(pair) => value.clone_into(&mut pair.value),
            None => self.context.push(KeyValue {
                key: key.to_owned(),
                value: value.to_owned(),
            }),
        }
        self.record = None;
    }

    /// Replaces the headers. Host stays if the new list has none, because a request must have one
    /// (RFC 9112 section 3.2).
    pub fn set_headers(&mut self, mut headers: HeaderMap) {
        if let Some(host) = self.head.headers.remove(HOST) {
            headers.entry(HOST).or_insert(host);
        }
        self.head.headers = headers;
        self.record = None;
    }

    /// Puts other headers in the place of those that there are, which it returns.
    pub fn swap_headers(&mut self, headers: HeaderMap) -> HeaderMap {
        self.record = None;
        std::mem::replace(&mut self.head.headers, headers)
    }

    /// Replaces the headers by those that a plugin wants, as [`Request::set_headers`] does.
    pub fn set_fields(&mut self, fields: Fields) {
        fields.spellings.put(&mut self.head.extensions);
        self.set_headers(fields.headers);
    }

    /// Sets the Content-Length of a whole body. A request without a body and without that field
    /// does not get one.
    pub fn mend_length(&mut self) {
        let Some(length) = self.whole_body().map(Vec::len) else {
            return;
        };
        let headers = &mut self.head.headers;
        headers.remove(http::header::TRANSFER_ENCODING);
        if length > 0 || headers.contains_key(CONTENT_LENGTH) {
            headers.insert(CONTENT_LENGTH, length.into());
        }
        self.record = None;
    }
}

/// Adds the lines of a field, as far as there is room.
fn add(to: &mut HeaderMap, name: &HeaderName, from: &HeaderMap) {
    for value in from.get_all(name) {
        let _ = to.try_append(name, value.clone());
    }
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    }
}
