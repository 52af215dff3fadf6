//! Collects a response while the client gets it.
//!
//! Others wait for the response, and must not wait for that client. So the body is read ahead of
//! it, as far as it may be collected at all. What the client has still to get is only in the entry,
//! whose memory is charged.

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

/// A response that is being collected for the cache.
#[derive(Debug)]
pub struct Fill {
    fetch: Fetch,
    /// The entry, whose body grows.
    entry: Entry,
    bounds: Bounds,
}

/// Most bytes that the client gets at once out of a body that is still being collected.
const PIECE_BYTES: usize = 16 << 10;

/// What polling a body returns: a frame, an error or its end.
type Next<B> = Option<Result<Frame<Bytes>, <B as Body>::Error>>;

/// The state of a response that is passed on and collected.
struct Collecting<B: Body> {
    /// `None` once the client has gone, so that whoever makes the body notices.
    body: Option<B>,
    /// `None` once it is decided whether the response is stored.
    fill: Option<Fill>,
    /// The body has come to its end.
    ended: bool,
    /// Whether the work that makes the response has succeeded.
    approved: bool,
    /// How many of the collected bytes the client has.
    read: usize,
    /// The entry, once it is decided, until the client has all of it.
    rest: Option<Arc<Entry>>,
    /// What came after the collected bytes, until the client asks for it.
    next: Option<Next<B>>,
}

/// Passes a body on and collects it. If it is dropped before the body's end, nothing is stored.
///
/// One task has to poll both this and [`Approval::read_ahead`]: a body wakes only who polled it
/// last.
pub struct Tee<B: Body>(Arc<Mutex<Collecting<B>>>);

/// Stands for the work that makes a response. A body that just ends, with no length announced, may
/// be what a trapped plugin left behind. So it is stored only when the work is approved. Dropping
/// this says that the work has failed.
#[must_use = "dropped, it says that the response is not whole"]
pub struct Approval<B: Body>(Arc<Mutex<Collecting<B>>>);

impl Fetch {
    /// Begins to collect the response that `ask` got. `policy` is the plugin's decision.
    ///
    /// # Errors
    ///
    /// The response is not stored, and why, for a log. Those who wait have been woken, and the
    /// entry that it was to replace is dropped, unless the response was a server's failure.
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
                self.end_unstored(response.status.is_server_error());
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

    /// Collects what goes through `body`. Stores it once the body has ended and the work behind it
    /// is approved.
    pub fn tee<B: Body<Data = Bytes>>(self, body: B) -> (Tee<B>, Approval<B>) {
        // Nobody polls a body that is known to be empty.
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

    /// Adds a piece to the entry's body. Returns `false` if that becomes too long.
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
    /// Stores the response or gives it up, if that can be decided by now.
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
                    self.keep_rest(entry);
                }
            }
            (Some(false), _) => self.refuse(),
            (None, false) => {}
        }
    }

    fn end_body(&mut self) {
        self.ended = true;
        self.decide();
    }

    /// Gives up a response that can never be stored. The next one is likely to be like it, so
    /// nobody is to wait for that one.
    fn refuse(&mut self) {
        if let Some(fetch) = self.abandon() {
            fetch.refuse();
        }
    }

    /// Stops collecting. The client still gets what was collected.
    fn abandon(&mut self) -> Option<Fetch> {
        let Fill { fetch, entry, .. } = self.fill.take()?;
        self.keep_rest(Arc::new(entry));
        Some(fetch)
    }

    fn keep_rest(&mut self, entry: Arc<Entry>) {
        if self.read < entry.body.len() {
            self.rest = Some(entry);
        }
    }

    /// How many collected bytes the client does not have.
    fn ahead(&self) -> usize {
        let collected = match (&self.rest, &self.fill) {
            (Some(entry), _) => entry.body.len(),
            (None, Some(fill)) => fill.entry.body.len(),
            (None, None) => 0,
        };
        collected.saturating_sub(self.read)
    }

    /// Returns some of those bytes.
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
    /// Collects a piece. Without `ahead` the client has it already. Returns `false` if it is not
    /// collected.
    fn push(&mut self, data: &[u8], ahead: bool) -> bool {
        let Some(fill) = &mut self.fill else {
            return false;
        };
        if fill.push(data) {
            self.read += if ahead { 0 } else { data.len() };
            return true;
        }
        if let Some(fetch) = self.abandon() {
            // The next response is likely to be as long.
            fetch.end_unstored(false);
        }
        false
    }

    /// Polls the body. Returns what came, and whether it was collected.
    fn poll_body(&mut self, cx: &mut Context<'_>, ahead: bool) -> Poll<(Next<B>, bool)> {
        let Some(body) = &mut self.body else {
            return Poll::Ready((None, false));
        };
        let next = ready!(Pin::new(&mut *body).poll_frame(cx));
        let is_end = body.is_end_stream();
        let mut is_collected = false;
        match &next {
            None => self.end_body(),
            Some(Ok(frame)) => match frame.data_ref() {
                Some(data) => is_collected = self.push(data, ahead),
                // Trailers are not stored, and so neither is the response.
                None => self.refuse(),
            },
            Some(Err(_)) => self.refuse(),
        }
        // The end is known with the last frame, so nobody has to poll once more.
        if is_end {
            self.end_body();
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
    /// Says that the work has succeeded.
    pub fn approve(self) {
        let mut collecting = lock(&self.0);
        collecting.approved = true;
        collecting.decide();
    }

    /// Says that the work has failed, and that the next attempt is likely to fail, too.
    pub fn refuse(self) {
        lock(&self.0).refuse();
    }
}

impl<B: Body<Data = Bytes> + Unpin> Approval<B> {
    /// Collects the body at its own pace, however slow the client is, until it has ended or turns
    /// out not to be storable.
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

/// A client that goes away ends the collecting. That says nothing about the response, so the next
/// request may try again.
impl<B: Body> Drop for Tee<B> {
    fn drop(&mut self) {
        let mut collecting = lock(&self.0);
        // The client wants no more.
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

    /// The size of the body and of what was read ahead. An ended body that did not announce a
    /// length still gives none: the work may have failed.
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
