//! A request's body on its way from the socket to a plugin.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_lite::Stream;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use smol::channel::{Receiver, Sender, bounded};

use super::BodyError;
use crate::memory::Reservation;

/// How many pieces may wait between the socket and the plugin: one, so that the client is slowed
/// down to the plugin's pace.
const PIECES: usize = 1;

/// A piece of a body, as the connection hands it to the plugin.
pub(crate) enum Piece {
    Data(Bytes),
    /// The end of the body, with its trailers. Without it the body counts as broken off.
    End(HeaderMap),
    /// The client has had all the time that a body may take.
    TooLong,
    /// The client broke the body's framing.
    Malformed(zlayer_http1::BodyError),
}

/// The connection's end of a body, through which it sends the pieces.
pub(crate) struct BodySender {
    pieces: Sender<Piece>,
    demand: Arc<Demand>,
}

/// What the plugin has asked for, shared by both ends of a body.
#[derive(Default)]
pub(crate) struct Demand {
    /// The plugin has asked for the body: a client that expects `100 Continue` gets it now.
    asked: AtomicBool,
    /// The plugin waits for the next piece.
    waiting: AtomicBool,
    /// The plugin wants no more of the body, which has not come to its end.
    dropped: AtomicBool,
    waker: atomic_waker::AtomicWaker,
}

impl Demand {
    /// Whether the plugin waits for the client.
    pub(crate) fn is_waiting(&self) -> bool {
        self.waiting.load(Ordering::Acquire)
    }

    /// Whether anybody has asked for the body.
    pub(crate) fn is_asked(&self) -> bool {
        self.asked.load(Ordering::Acquire)
    }

    /// Whether whoever could have read the body has given it up.
    pub(crate) fn is_dropped(&self) -> bool {
        self.dropped.load(Ordering::Acquire)
    }
}

impl BodySender {
    /// Waits until there is room, and sends a piece. Returns false when the plugin has dropped the
    /// body.
    pub(crate) async fn send(&self, piece: Piece) -> bool {
        self.pieces.send(piece).await.is_ok()
    }

    /// Whether the next piece gets through only because the plugin reads: it waits for one, or has to
    /// take the one before first.
    pub(crate) fn is_wanted(&self) -> bool {
        self.demand.is_waiting() || self.pieces.is_full()
    }

    /// What the plugin asks for, for others to look at.
    pub(crate) fn demand(&self) -> Arc<Demand> {
        Arc::clone(&self.demand)
    }

    /// Waits until the plugin has asked for the body.
    pub(crate) async fn wanted(&self) {
        std::future::poll_fn(|cx| {
            self.demand.waker.register(cx.waker());
            if self.demand.asked.load(Ordering::Acquire) {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }
}

/// The plugin's end of a body.
#[derive(Default)]
pub struct IncomingBody {
    source: Source,
}

#[derive(Default)]
enum Source {
    #[default]
    Empty,
    Whole {
        data: Bytes,
        /// The memory that `data` is charged to.
        _held: Option<Reservation>,
    },
    Stream {
        pieces: Pin<Box<Receiver<Piece>>>,
        demand: Arc<Demand>,
        /// What is left of the announced Content-Length.
        left: Option<u64>,
    },
}

impl IncomingBody {
    /// Makes a body that comes in pieces; `length` is what Content-Length announced.
    pub(crate) fn stream(length: Option<u64>) -> (Option<BodySender>, IncomingBody) {
        let (send, receive) = bounded(PIECES);
        let demand = Arc::new(Demand::default());
        let sender = BodySender {
            pieces: send,
            demand: Arc::clone(&demand),
        };
        let source = Source::Stream {
            pieces: Box::pin(receive),
            demand,
            left: length,
        };
        (Some(sender), IncomingBody { source })
    }

    /// Whether nobody has asked for any of the body yet, so that a client that expects `100
    /// Continue` still waits.
    pub(crate) fn is_untouched(&self) -> bool {
        match &self.source {
            Source::Stream { demand, .. } => !demand.asked.load(Ordering::Acquire),
            Source::Empty | Source::Whole { .. } => false,
        }
    }

    /// What whoever reads it asks for, for others to look at; `None` if it does not come from a client
    /// any more.
    pub(crate) fn demand(&self) -> Option<Arc<Demand>> {
        match &self.source {
            Source::Stream { demand, .. } => Some(Arc::clone(demand)),
            Source::Empty | Source::Whole { .. } => None,
        }
    }

    /// Makes a body that was read to its end before.
    pub fn whole(data: Bytes, held: Option<Reservation>) -> IncomingBody {
        IncomingBody {
            source: Source::Whole { data, _held: held },
        }
    }
}

impl Drop for IncomingBody {
    fn drop(&mut self) {
        // A plugin that has dropped the body does not wait for the client any more.
        if let Source::Stream { demand, .. } = &self.source {
            demand.waiting.store(false, Ordering::Release);
            demand.dropped.store(true, Ordering::Release);
        }
    }
}

impl Body for IncomingBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let piece = match &mut self.source {
            Source::Empty => return Poll::Ready(None),
            Source::Whole { data, .. } if data.is_empty() => {
                self.source = Source::Empty;
                return Poll::Ready(None);
            }
            Source::Whole { data, .. } => {
                return Poll::Ready(Some(Ok(Frame::data(std::mem::take(data)))));
            }
            Source::Stream { pieces, demand, .. } => {
                if !demand.asked.swap(true, Ordering::AcqRel) {
                    demand.waker.wake();
                }
                let polled = pieces.as_mut().poll_next(cx);
                demand.waiting.store(polled.is_pending(), Ordering::Release);
                match polled {
                    Poll::Ready(piece) => piece,
                    Poll::Pending => return Poll::Pending,
                }
            }
        };
        let frame = match piece {
            Some(Piece::Data(data)) => {
                if let Source::Stream {
                    left: Some(left), ..
                } = &mut self.source
                {
                    *left = left.saturating_sub(data.len() as u64);
                }
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
            Some(Piece::End(trailers)) if trailers.is_empty() => None,
            Some(Piece::End(trailers)) => Some(Ok(Frame::trailers(trailers))),
            Some(Piece::TooLong) => Some(Err(BodyError::ClientTooLong)),
            Some(Piece::Malformed(error)) => {
                Some(Err(BodyError::ClientMalformed(error.to_string())))
            }
            None => Some(Err(BodyError::ClientBrokeOff)),
        };
        self.source = Source::Empty;
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.source, Source::Empty)
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Empty => SizeHint::with_exact(0),
            Source::Whole { data, .. } => SizeHint::with_exact(data.len() as u64),
            Source::Stream {
                left: Some(left), ..
            } => SizeHint::with_exact(*left),
            Source::Stream { left: None, .. } => SizeHint::default(),
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    fn stream(length: Option<u64>) -> (BodySender, IncomingBody) {
        let (sender, body) = IncomingBody::stream(length);
        (sender.unwrap(), body)
    }

    #[test]
    fn a_body_that_breaks_off_is_not_a_body_that_ended() {
        smol::block_on(async {
            let (sender, mut body) = stream(None);
            assert!(sender.send(Piece::Data(Bytes::from_static(b"half"))).await);
            drop(sender);
            assert!(matches!(body.frame().await, Some(Ok(frame)) if frame.is_data()));
            assert!(matches!(
                body.frame().await,
                Some(Err(BodyError::ClientBrokeOff))
            ));
            assert!(body.frame().await.is_none());

            let (sender, mut body) = stream(Some(0));
            assert!(sender.send(Piece::End(HeaderMap::new())).await);
            assert!(body.frame().await.is_none());
        });
    }

    #[test]
    fn asking_for_the_body_is_what_wakes_its_sender() {
        smol::block_on(async {
            let (sender, mut body) = stream(None);
            assert!(
                futures_lite::future::poll_once(sender.wanted())
                    .await
                    .is_none()
            );
            assert!(
                futures_lite::future::poll_once(body.frame())
                    .await
                    .is_none()
            );
            sender.wanted().await;
        });
    }
}
