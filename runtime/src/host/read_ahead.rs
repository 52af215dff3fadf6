//! Reads the start of an upstream's body before a plugin sees the response.
//!
//! The plugin guide reads a body with `read` in a loop that ends at the first empty piece, and
//! `read` returns an empty piece whenever nothing is there yet. Such a plugin would see nothing of
//! a body that is still on its way. So a response waits a moment for the start of its body. Short
//! bodies are complete by then, and a plugin that reads properly sees no difference.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::Frame;
use http_body_util::BodyExt;
use smol::Timer;

use crate::memory::Reservation;
use crate::message::{Body, BodyError};
use crate::timeout;
use crate::upstream::Upstreams;

/// How many bytes are read ahead.
const BYTES: usize = 64 << 10;
/// How long a response waits for these bytes. A response that streams slowly is late by as much.
const TIME: Duration = Duration::from_millis(250);
/// Memory in bytes for what is read ahead; the last piece may go beyond [`BYTES`].
const SHARE: usize = BYTES + (16 << 10);

type Next = Option<Result<Frame<Bytes>, BodyError>>;

/// Reads the start of `body`, and returns the body with that at hand. Where there is no memory for
/// it, the body is returned as it was.
pub(super) async fn read_ahead(upstreams: &Upstreams, mut body: Body) -> Body {
    let Some(memory) = upstreams.reserve(SHARE) else {
        return body;
    };
    let mut start = Vec::new();
    let mut timer = Timer::after(TIME);
    let mut behind = None;
    let mut ended = false;
    while !ended && start.len() < BYTES {
        let next = timeout::before_timer(&mut timer, body.frame());
        let Some(next) = next.await else { break };
        match next {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => start.extend_from_slice(&data),
                Err(trailers) => (behind, ended) = (Some(Ok(trailers)), true),
            },
            last => (behind, ended) = (last, true),
        }
    }
    Ahead {
        start: start.into(),
        behind,
        rest: (!ended).then_some(body),
        _memory: memory,
    }
    .boxed_unsync()
}

struct Ahead {
    start: Bytes,
    /// The trailers or the error that ended the body behind its start.
    behind: Next,
    /// The rest of the body; none if it has ended.
    rest: Option<Body>,
    _memory: Reservation,
}

impl http_body::Body for Ahead {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Next> {
        if !self.start.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.start)))));
        }
        match &mut self.rest {
            Some(rest) => Pin::new(rest).poll_frame(cx),
            None => Poll::Ready(self.behind.take()),
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use std::sync::Arc;

    use futures_lite::future::poll_once;
    use http_body_util::StreamBody;
    use smol::Executor;
    use smol::channel::Receiver;

    use super::*;
    use crate::memory::Budget;

    static EXECUTOR: Executor<'static> = Executor::new();

    /// A body whose frames come through a channel, read ahead, and the budget that it is charged
    /// to.
    async fn ahead(frames: Receiver<Result<Frame<Bytes>, BodyError>>) -> (Body, Arc<Budget>) {
        let budget = Budget::new(1 << 20);
        let settings = crate::upstream::Settings::default();
        let upstreams = Upstreams::new(settings, Arc::clone(&budget), &EXECUTOR);
        let body = StreamBody::new(Box::pin(frames)).boxed_unsync();
        (read_ahead(&upstreams, body).await, budget)
    }

    fn data(text: &'static [u8]) -> Result<Frame<Bytes>, BodyError> {
        Ok(Frame::data(Bytes::from_static(text)))
    }

    /// The frame that is there already, as data.
    async fn there(body: &mut Body) -> Bytes {
        let frame = poll_once(body.frame()).await.unwrap().unwrap();
        frame.unwrap().into_data().unwrap()
    }

    #[test]
    fn a_short_body_is_whole_and_its_end_known() {
        smol::block_on(async {
            let (send, receive) = smol::channel::unbounded();
            for piece in [&b"a"[..], b"", b"bc"] {
                send.try_send(data(piece)).unwrap();
            }
            let mut trailers = http::HeaderMap::new();
            trailers.insert("x-sum", "1".parse().unwrap());
            send.try_send(Ok(Frame::trailers(trailers))).unwrap();
            let (mut body, budget) = ahead(receive).await;
            assert_eq!(budget.used(), SHARE);
            assert_eq!(there(&mut body).await, "abc");
            let last = poll_once(body.frame()).await.unwrap().unwrap().unwrap();
            assert!(last.is_trailers());
            assert!(body.frame().await.is_none());
            drop(body);
            assert_eq!(budget.used(), 0);
        });
    }

    #[test]
    fn a_body_that_takes_its_time_is_handed_on() {
        smol::block_on(async {
            let (send, receive) = smol::channel::unbounded();
            send.try_send(data(b"start")).unwrap();
            let (mut body, _) = ahead(receive).await;
            assert_eq!(there(&mut body).await, "start");
            assert!(poll_once(body.frame()).await.is_none());
            send.try_send(data(b"more")).unwrap();
            assert_eq!(there(&mut body).await, "more");
            send.try_send(Err(BodyError::UpstreamLost)).unwrap();
            assert!(body.frame().await.unwrap().is_err());
        });
    }

    #[test]
    fn no_more_is_held_than_is_paid_for() {
        smol::block_on(async {
            static PIECE: [u8; 16 << 10] = [0; 16 << 10];
            let (send, receive) = smol::channel::bounded(100);
            for _ in 0..100 {
                send.try_send(data(&PIECE)).unwrap();
            }
            let left = receive.clone();
            let (mut body, _) = ahead(receive).await;
            assert_eq!(left.len(), 96);
            assert_eq!(there(&mut body).await.len(), BYTES);
        });
    }
}
