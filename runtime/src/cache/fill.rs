//! Collects a response while the client gets it.
//!
//! Others wait for the response, and shall not wait for that client: a body is read ahead of it as far as it
//! may be collected at all. What the client has still to get lies in the entry alone, whose memory is charged.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::response::Parts;
use http_body::{Body, Frame, SizeHint};
use zlayer_http1::forbids_body;

use super::ask::Ask;
use super::entry::Entry;
use super::fetch::{Bounds, Fetch, Policy};

use crate::sync::lock;

/// A response on its way into the cache.
#[derive(Debug)]
pub struct Fill {
    fetch: Fetch,
    /// Its body grows.
    entry: Entry,
    bounds: Bounds,
}

/// Bytes of a piece that the client gets out of what is still being collected.
const PIECE_BYTES: usize = 16 << 10;

/// What a body answers: a frame, an error or its end.
type Next<B> = Option<Result<Frame<Bytes>, <B as Body>::Error>>;

/// What goes on with a response.
struct Collecting<B: Body> {
    /// None once the client has gone: whoever makes it is to know.
    body: Option<B>,
    /// None once it is decided.
    fill: Option<Fill>,
    /// The body has come to its end.
    ended: bool,
    /// Whoever made the response has done so well.
    approved: bool,
    /// Bytes of what was collected that the client has.
    read: usize,
    /// The entry, once it is decided, until the client has all of it.
    rest: Option<Arc<Entry>>,
    /// What came behind the entry before the client asked for it.
    next: Option<Next<B>>,
}

/// Passes a body on and collects it. Dropped before the end, it stores nothing.
///
/// One task has to poll it and [`Approval::read_ahead`]: a body wakes only who asked last.
pub struct Tee<B: Body>(Arc<Mutex<Collecting<B>>>);

/// Stands for the work that makes a response. A body that only ends, with no length
/// announced, may well be what a plugin that trapped left behind; so it is stored only when the work is
/// known to have gone well. Dropped, it says that it has not.
#[must_use = "dropped, it says that the response is not whole"]
pub struct Approval<B: Body>(Arc<Mutex<Collecting<B>>>);

impl Fetch {
    /// Begins to collect the response that `ask` got, `policy` being the plugin's word on it.
    ///
    /// # Errors
    ///
    /// It is not stored; the reason is for a log. Those who wait have been told, and what it
    /// was to replace is dropped, unless the response was a server's failure.
    pub fn store(
        self,
        ask: &Ask<'_>,
        response: &Parts,
        policy: Option<Policy>,
    ) -> Result<Fill, &'static str> {
        let begun = match policy {
            Some(policy) => self.draft(ask, response, policy),
            None => Err("the plugin decided so"),
        };
        match begun {
            Ok((entry, bounds)) => Ok(Fill::new(self, entry, bounds)),
            Err(reason) => {
                self.end(response.status.is_server_error());
                Err(reason)
            }
        }
    }
}

impl Fill {
    fn new(fetch: Fetch, entry: Entry, bounds: Bounds) -> Fill {
        Fill {
            fetch,
            entry,
            bounds,
        }
    }

    /// Collects what goes through `body`, and stores it once that has come to its end and the work behind it
    /// is approved.
    pub fn tee<B: Body<Data = Bytes>>(self, body: B) -> (Tee<B>, Approval<B>) {
        // Nobody asks for a body that is known to be empty.
        let ended = body.is_end_stream() || forbids_body(self.entry.status.as_u16());
        let mut collecting = Collecting {
            body: Some(body),
            fill: Some(self),
            ended,
            approved: false,
            read: 0,
            rest: None,
            next: None,
        };
        collecting.decide();
        let collecting = Arc::new(Mutex::new(collecting));
        (Tee(Arc::clone(&collecting)), Approval(collecting))
    }

    /// Takes a piece. False if it is one too many.
    fn push(&mut self, data: &[u8]) -> bool {
        let body = &mut self.entry.body;
        let length = body.len().saturating_add(data.len());
        if length
            > self
                .bounds
                .limit
                .min(self.bounds.announced.unwrap_or(usize::MAX))
        {
            return false;
        }
        if length > body.capacity() {
            let capacity = length.max(2 * body.capacity()).min(self.bounds.limit);
            let cache = &self.fetch.cache;
            let more = capacity - body.capacity();
            if !cache.make_room(&mut cache.state(), &mut self.entry.charge, more) {
                return false;
            }
            body.reserve_exact(capacity - body.len());
        }
        body.extend_from_slice(data);
        true
    }

    fn finish(mut self) -> Arc<Entry> {
        let body = &mut self.entry.body;
        let before = body.capacity();
        body.shrink_to_fit();
        let after = body.capacity();
        self.entry.charge.shrink(before.saturating_sub(after));
        let entry = Arc::new(self.entry);
        self.fetch.succeed(Arc::clone(&entry));
        entry
    }
}

impl<B: Body> Collecting<B> {
    /// Stores it, or gives up, if that can be decided by now.
    fn decide(&mut self) {
        let Some(fill) = &self.fill else { return };
        if !self.ended {
            return;
        }
        let complete = fill
            .bounds
            .announced
            .map(|announced| announced == fill.entry.body.len());
        match (complete, self.approved) {
            (Some(true), _) | (None, true) => {
                if let Some(fill) = self.fill.take() {
                    let entry = fill.finish();
                    self.keep(entry);
                }
            }
            (Some(false), _) => self.refuse(),
            (None, false) => {}
        }
    }

    fn end(&mut self) {
        self.ended = true;
        self.decide();
    }

    /// Gives up what can never be stored: the next one is likely to be like it, and nobody shall wait
    /// for that.
    fn refuse(&mut self) {
        if let Some(fetch) = self.abandon() {
            fetch.refuse();
        }
    }

    /// Collects no more. The client still gets what was collected.
    fn abandon(&mut self) -> Option<Fetch> {
        let Fill { fetch, entry, .. } = self.fill.take()?;
        self.keep(Arc::new(entry));
        Some(fetch)
    }

    fn keep(&mut self, entry: Arc<Entry>) {
        if self.read < entry.body.len() {
            self.rest = Some(entry);
        }
    }

    /// Bytes that were collected and that the client does not have.
    fn ahead(&self) -> usize {
        let collected = match (&self.rest, &self.fill) {
            (Some(entry), _) => entry.body.len(),
            (None, Some(fill)) => fill.entry.body.len(),
            (None, None) => 0,
        };
        collected.saturating_sub(self.read)
    }

    /// Some of them.
    fn take(&mut self) -> Option<Bytes> {
        let data = match (self.rest.take(), &self.fill) {
            (Some(entry), _) => entry.bytes(self.read),
            (None, Some(fill)) => {
                let data = fill.entry.body.get(self.read..)?;
                Bytes::copy_from_slice(&data[..data.len().min(PIECE_BYTES)])
            }
            (None, None) => return None,
        };
        self.read += data.len();
        (!data.is_empty()).then_some(data)
    }
}

impl<B: Body<Data = Bytes> + Unpin> Collecting<B> {
    /// Collects a piece, which the client has if it is not `ahead`. False if it is not collected.
    fn push(&mut self, data: &[u8], ahead: bool) -> bool {
        let Some(fill) = &mut self.fill else {
            return false;
        };
        if fill.push(data) {
            self.read += if ahead { 0 } else { data.len() };
            return true;
        }
        if let Some(fetch) = self.abandon() {
            // The next one is likely to be as long.
            fetch.end(false);
        }
        false
    }

    /// Asks the body: what comes, and whether that is collected.
    fn poll_body(&mut self, cx: &mut Context<'_>, ahead: bool) -> Poll<(Next<B>, bool)> {
        let Some(body) = &mut self.body else {
            return Poll::Ready((None, false));
        };
        let next = ready!(Pin::new(&mut *body).poll_frame(cx));
        let is_end = body.is_end_stream();
        let mut is_collected = false;
        match &next {
            None => self.end(),
            Some(Ok(frame)) => match frame.data_ref() {
                Some(data) => is_collected = self.push(data, ahead),
                // Trailers are not stored, nor what they belong to.
                None => self.refuse(),
            },
            Some(Err(_)) => self.refuse(),
        }
        // Nobody has to ask once more.
        if is_end {
            self.end();
        }
        Poll::Ready((next, is_collected))
    }

    fn poll_ahead(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.fill.is_some() && !self.ended {
            let (next, is_collected) = ready!(self.poll_body(cx, true));
            if !is_collected {
                self.next = Some(next);
            }
        }
        Poll::Ready(())
    }
}

impl<B: Body> Approval<B> {
    /// The work went well.
    pub fn approve(self) {
        let mut collecting = lock(&self.0);
        collecting.approved = true;
        collecting.decide();
    }

    /// It did not.
    pub fn refuse(self) {
        lock(&self.0).refuse();
    }
}

impl<B: Body<Data = Bytes> + Unpin> Approval<B> {
    /// Collects the body at its own pace, be the client as slow as it may, until it has ended or is not to be
    /// stored.
    pub async fn read_ahead(&self) {
        poll_fn(|cx| lock(&self.0).poll_ahead(cx)).await;
    }
}

impl<B: Body> Drop for Approval<B> {
    fn drop(&mut self) {
        let mut collecting = lock(&self.0);
        if !collecting.approved {
            drop(collecting.abandon());
        }
    }
}

/// A client that went away says nothing of the response.
impl<B: Body> Drop for Tee<B> {
    fn drop(&mut self) {
        let mut collecting = lock(&self.0);
        // It wants no more.
        collecting.read = usize::MAX;
        (collecting.rest, collecting.next) = (None, None);
        let body = collecting.body.take();
        if !collecting.ended {
            drop(collecting.abandon());
        }
        drop(collecting);
        drop(body);
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Tee<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Next<B>> {
        let mut collecting = lock(&self.0);
        if let Some(data) = collecting.take() {
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        if let Some(next) = collecting.next.take() {
            return Poll::Ready(next);
        }
        collecting.poll_body(cx, false).map(|(next, _)| next)
    }

    fn is_end_stream(&self) -> bool {
        let collecting = lock(&self.0);
        let body = collecting.body.as_ref();
        collecting.ahead() == 0 && collecting.next.is_none() && body.is_none_or(Body::is_end_stream)
    }

    /// That of the body, and what was read ahead. The end of a body that did not say how long it is tells no
    /// length: the work may have failed.
    fn size_hint(&self) -> SizeHint {
        let collecting = lock(&self.0);
        let mut ahead = collecting.ahead();
        if let Some(Some(Ok(frame))) = &collecting.next {
            ahead += frame.data_ref().map_or(0, Bytes::len);
        }
        let body = collecting.body.as_ref().map(Body::size_hint);
        let (ahead, body) = (ahead as u64, body.unwrap_or_default());
        let mut hint = SizeHint::new();
        hint.set_lower(body.lower().saturating_add(ahead));
        if let Some(upper) = body.upper() {
            hint.set_upper(upper.saturating_add(ahead));
        }
        hint
    }
}
