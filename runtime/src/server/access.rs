//! The access log: a line for each request, written when it is over.
//!
//! What a client says is in it in quotes ([`shown`]). Tokens and passwords in queries are masked by the
//! names of their parameters, and the values of secrets as everywhere.

pub(super) mod shown;
mod urls;

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use http::header::{HeaderName, REFERER, USER_AGENT};
use log::Level;
use zlayer_binlog::{ACCESS_TARGET, Record};

use super::sent::Sent;
use crate::config::AccessOutput;
use crate::logger;
use shown::quoted;

/// Most bytes of a request line as it is shown, and of a header field. With both fields a line is
/// shorter than what the log takes, and than what a pipe takes in one piece.
const LINE: usize = 2048;
const FIELD: usize = 512;

/// The status of a request whose client left before a response began, by nginx's convention.
pub(super) const CLIENT_LEFT: u16 = 499;
/// The status of a request whose connection was closed without a response, likewise.
pub(super) const CLOSED: u16 = 444;

/// A request that is on its way. Its line is written when this is dropped, however it ended.
pub(super) struct Entry {
    output: AccessOutput,
    client: IpAddr,
    id: Option<Arc<str>>,
    /// The request line, in quotes.
    request: String,
    /// The two fields of the format, each in quotes.
    fields: String,
    begun: Instant,
    sent: Arc<Sent>,
    /// The status if nothing was sent.
    unsent: u16,
}

impl Entry {
    /// For a request whose first byte came at `begun`.
    pub(super) fn new(
        output: AccessOutput,
        client: IpAddr,
        id: &Arc<str>,
        head: &http::request::Parts,
        begun: Instant,
        sent: &Arc<Sent>,
    ) -> Entry {
        let line = format!("{} {} {:?}", head.method, head.uri, head.version);
        let field = |name: &HeaderName| {
            let value = head.headers.get(name).map(|value| value.as_bytes());
            quoted(value.unwrap_or_default(), FIELD)
        };
        sent.begin_request();
        Entry {
            output,
            client,
            id: Some(Arc::clone(id)),
            request: quoted(line.as_bytes(), LINE),
            fields: format!("{} {}", field(&REFERER), field(&USER_AGENT)),
            begun,
            sent: Arc::clone(sent),
            unsent: CLIENT_LEFT,
        }
    }

    /// For a request whose head did not come, or came to nothing: `bytes` is what there is of it.
    /// `unsent` is its status if it gets no response.
    pub(super) fn unread(
        output: AccessOutput,
        client: IpAddr,
        bytes: &[u8],
        begun: Instant,
        sent: &Arc<Sent>,
        unsent: u16,
    ) -> Entry {
        let line = bytes.split(|byte| *byte == b'\n').next();
        let line = line.unwrap_or_default();
        sent.begin_request();
        Entry {
            output,
            client,
            id: None,
            request: quoted(line.strip_suffix(b"\r").unwrap_or(line), LINE),
            fields: "\"-\" \"-\"".to_owned(),
            begun,
            sent: Arc::clone(sent),
            unsent,
        }
    }

    /// Writes the line of a connection that was refused before anything was read from it.
    pub(super) fn without_place(output: AccessOutput, client: IpAddr, status: u16) {
        let sent = Arc::default();
        drop(Entry::unread(
            output,
            client,
            &[],
            Instant::now(),
            &sent,
            status,
        ));
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let unsent = match self.sent.is_cut_off() {
            true => CLOSED,
            false => self.unsent,
        };
        let (status, bytes) = self.sent.response().unwrap_or((unsent, 0));
        let message = format!(
            "{} - - {} {status} {bytes} {} {:.3}",
            self.client.to_canonical(),
            self.request,
            self.fields,
            self.begun.elapsed().as_secs_f64()
        );
        let mut line = Record::new(Record::now(), Level::Info, ACCESS_TARGET, &message);
        line.request = self.id.as_deref().map(Cow::Borrowed);
        logger::access(&line, self.output);
    }
}
