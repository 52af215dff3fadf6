//! Collects a response while the client gets it.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use zlayer_http1::forbids_body;

use super::entry::Entry;
use super::fetch::Fetch;

/// A response on its way into the cache.
#[derive(Debug)]
pub struct Fill {
    fetch: Fetch,
    /// Its body grows.
    entry: Entry,
    bounds: Bounds,
}

/// How long a body may be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// At most, in bytes.
    pub(super) limit: usize,
    /// What the response's head announces: neither more nor less is a whole response.
    pub(super) announced: Option<usize>,
}

/// What goes on with a response.
#[derive(Debug)]
struct Collecting {
    /// None once it is decided.
    fill: Option<Fill>,
    /// The body has come to its end.
    ended: bool,
    /// Whoever made the response has done so well.
    approved: bool,
}

/// Passes a body on and collects it. Dropped before the end, it stores nothing.
#[derive(Debug)]
pub struct Tee<B> {
    body: B,
    collecting: Arc<Mutex<Collecting>>,
}

/// Stands for the work that makes a response. A body that only ends, with no length
/// announced, may well be what a plugin that trapped left behind; so it is stored only when the work is
/// known to have gone well. Dropped, it says that it has not.
#[derive(Debug)]
#[must_use = "dropped, it says that the response is not whole"]
pub struct Approval(Arc<Mutex<Collecting>>);

impl Fill {
    pub(super) fn new(fetch: Fetch, entry: Entry, bounds: Bounds) -> Fill {
        Fill {
            fetch,
            entry,
            bounds,
        }
    }

    /// Collects what goes through `body`, and stores it once that has come to its end and the work behind it
    /// is approved.
    pub fn tee<B: Body<Data = Bytes>>(self, body: B) -> (Tee<B>, Approval) {
        // Nobody asks for a body that is known to be empty.
        let ended = body.is_end_stream() || forbids_body(self.entry.status.as_u16());
        let mut collecting = Collecting {
            fill: Some(self),
            ended,
            approved: false,
        };
        collecting.decide();
        let collecting = Arc::new(Mutex::new(collecting));
        let approval = Approval(Arc::clone(&collecting));
        (Tee { body, collecting }, approval)
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

    fn finish(mut self) {
        let body = &mut self.entry.body;
        let before = body.capacity();
        body.shrink_to_fit();
        let after = body.capacity();
        self.entry.charge.shrink(before.saturating_sub(after));
        self.fetch.succeed(self.entry);
    }
}

impl Collecting {
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
                    fill.finish();
                }
            }
            (Some(false), _) => self.refuse(),
            (None, false) => {}
        }
    }

    /// Gives up what can never be stored: the next one is likely to be like it, and nobody shall wait
    /// for that.
    fn refuse(&mut self) {
        if let Some(fill) = self.fill.take() {
            fill.fetch.refuse();
        }
    }
}

impl Approval {
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

impl Drop for Approval {
    fn drop(&mut self) {
        let mut collecting = lock(&self.0);
        if !collecting.approved {
            collecting.fill = None;
        }
    }
}

impl<B> Tee<B> {
    fn take(&self, data: &[u8]) {
        let mut collecting = lock(&self.collecting);
        if let Some(fill) = &mut collecting.fill
            && !fill.push(data)
            && let Some(fill) = collecting.fill.take()
        {
            // The next one is likely to be as long.
            fill.fetch.end(false);
        }
    }

    fn end(&self) {
        let mut collecting = lock(&self.collecting);
        collecting.ended = true;
        collecting.decide();
    }

    fn give_up(&self) {
        lock(&self.collecting).refuse();
    }
}

/// A client that went away says nothing of the response.
impl<B> Drop for Tee<B> {
    fn drop(&mut self) {
        let mut collecting = lock(&self.collecting);
        if !collecting.ended {
            collecting.fill = None;
        }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Tee<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        match &polled {
            Poll::Pending => {}
            Poll::Ready(None) => self.end(),
            Poll::Ready(Some(Ok(frame))) => match frame.data_ref() {
                Some(data) => self.take(data),
                // Trailers are not stored, nor what they belong to.
                None => self.give_up(),
            },
            Poll::Ready(Some(Err(_))) => self.give_up(),
        }
        // Nobody has to ask once more.
        if polled.is_ready() && self.body.is_end_stream() {
            self.end();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn lock(collecting: &Mutex<Collecting>) -> std::sync::MutexGuard<'_, Collecting> {
    collecting.lock().unwrap_or_else(PoisonError::into_inner)
}
