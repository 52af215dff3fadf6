//! What a stage returns: a response, and the work that goes on behind it.
//!
//! A plugin that exports `wasi:http/incoming-handler` is not done when it has set its response: it
//! still writes the body, and may do more when that is out. Something has to poll it meanwhile,
//! and whoever holds the response is the one who can. So the rest of the work travels with the
//! response, as its [`Tail`], and each layer that a response passes follows three rules:
//!
//! - While it works on the response, as it reads the body or calls a plugin, it polls the tail
//!   beside that: [`Tail::beside`], or [`Tail::during`] where the work has to come to its end.
//! - What it has to do itself once the response has gone on becomes a part of the tail:
//!   [`Tail::running`], with the tail that came before inside.
//! - It hands the tail on with the response. To drop it is to stop the plugin where it stands.
//!
//! In the end the server polls the tail beside the writing of the body.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use super::{Marks, Pipeline};
use crate::failure::Failure;
use crate::message::Response;
use crate::plugin::Working;
use crate::upstream::Round;

/// A response on its way out, with the work that goes on behind it.
pub struct Reply {
    /// What the client gets.
    pub response: Response,
    /// What the server has to know about the response beyond its head.
    pub marks: Marks,
    /// The work that still has to be polled while the response is written, and after that.
    pub tail: Tail,
}

impl From<Response> for Reply {
    /// Makes a reply of a response that is complete: no work goes on behind it.
    fn from(response: Response) -> Reply {
        Reply {
            response,
            marks: Marks::default(),
            tail: Tail::ended(Ok(())),
        }
    }
}

impl Reply {
    /// Makes a reply of a complete response and its marks.
    pub fn marked(response: Response, marks: Marks) -> Reply {
        Reply {
            marks,
            ..Reply::from(response)
        }
    }
}

/// The work that goes on once the head of a response is known, and how it ended once it has.
///
/// To await it is to do the work to its end. It may be polled again after that.
pub struct Tail {
    work: Work,
    /// Kept until the work has ended, then dropped.
    at_work: Option<AtWork>,
}

enum Work {
    Running(Boxed),
    Ended(Result<(), Failure>),
}

type Boxed = Pin<Box<dyn Future<Output = Result<(), Failure>> + Send>>;

/// What lasts as long as plugins work on a request, its tail included.
pub(super) struct AtWork {
    /// Keeps the engine's clock ticking.
    pub(super) _ticking: Option<Working>,
    /// Keeps the request's id known, so that requests which it leads to can be recognised as its
    /// own.
    pub(super) _round: Option<Round>,
    /// Has the pipeline last as long.
    pub(super) _pipeline: Arc<Pipeline>,
}

impl Tail {
    /// Makes a tail of work that has ended already, with this result.
    pub fn ended(result: Result<(), Failure>) -> Tail {
        Tail {
            work: Work::Ended(result),
            at_work: None,
        }
    }

    /// Makes a tail of work that goes on.
    pub fn running(work: impl Future<Output = Result<(), Failure>> + Send + 'static) -> Tail {
        Tail::boxed(Box::pin(work))
    }

    /// Makes a tail of work that is on the heap already.
    pub(super) fn boxed(work: Boxed) -> Tail {
        Tail {
            work: Work::Running(work),
            at_work: None,
        }
    }

    /// Whether there is work left.
    pub fn is_running(&self) -> bool {
        matches!(self.work, Work::Running(_))
    }

    /// Keeps `at_work` until the work has ended.
    pub(super) fn keep_until_end(&mut self, at_work: AtWork) {
        self.at_work = self.is_running().then_some(at_work);
    }

    /// Works on the tail until `other` has ended. If the tail fails before that, or has failed
    /// already, `other` is dropped: a response whose maker failed is not worth working on.
    ///
    /// # Errors
    ///
    /// The tail's failure, or that of `other`.
    pub async fn beside<T>(
        &mut self,
        other: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let mut other = pin!(other);
        poll_fn(|cx| {
            // The tail is polled first. So a body that breaks off because the plugin failed is seen
            // as that, and not as a short body.
            if let Poll::Ready(Err(failure)) = self.poll_end(cx) {
                return Poll::Ready(Err(failure.clone()));
            }
            other.as_mut().poll(cx)
        })
        .await
    }

    /// Works on the tail until `other` has ended, which is not cut short whatever becomes of the
    /// tail.
    pub async fn during<T>(&mut self, other: impl Future<Output = T>) -> T {
        let mut other = pin!(other);
        poll_fn(|cx| {
            let _ = self.poll_end(cx);
            other.as_mut().poll(cx)
        })
        .await
    }

    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<&Result<(), Failure>> {
        if let Work::Running(work) = &mut self.work {
            let ended = ready!(work.as_mut().poll(cx));
            self.work = Work::Ended(ended);
            self.at_work = None;
        }
        match &self.work {
            Work::Ended(ended) => Poll::Ready(ended),
            Work::Running(_) => Poll::Pending,
        }
    }
}

impl Future for Tail {
    type Output = Result<(), Failure>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.poll_end(cx).map(Clone::clone)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use futures_lite::future::{block_on, pending, poll_once, yield_now};
    use http_body_util::{BodyExt, StreamBody};
    use smol::channel::{Receiver, bounded};

    use super::*;

    /// A tail that waits for a word and ends with it; the second value tells whether it lives.
    fn waiting_tail(word: Receiver<Result<(), Failure>>) -> (Tail, Arc<()>) {
        let alive = Arc::new(());
        let held = Arc::clone(&alive);
        let tail = Tail::running(async move {
            let _held = held;
            word.recv().await.unwrap_or(Ok(()))
        });
        (tail, alive)
    }

    #[test]
    fn a_tail_that_fails_while_a_body_is_read_ends_the_reading_with_its_failure() {
        block_on(async {
            let (frames, body) = bounded::<Result<http_body::Frame<bytes::Bytes>, Failure>>(1);
            let mut body = StreamBody::new(Box::pin(body));
            // The plugin writes a piece, then traps, and its end of the body goes with it.
            let mut tail = Tail::running(async move {
                let piece = http_body::Frame::data(bytes::Bytes::from_static(b"half"));
                frames.send(Ok(piece)).await.unwrap();
                yield_now().await;
                drop(frames);
                Err(Failure::Trap("unreachable".to_owned()))
            });
            let mut read = 0;
            let reading = async {
                while let Some(frame) = body.frame().await {
                    read += frame?.into_data().unwrap().len();
                }
                Ok(())
            };
            let ended = tail.beside(reading).await;
            assert!(matches!(ended, Err(Failure::Trap(_))), "{ended:?}");
            assert_eq!(read, 4);
            // It is known from then on.
            assert!(matches!(
                tail.beside(pending::<Result<(), _>>()).await,
                Err(Failure::Trap(_))
            ));
            assert!(!tail.is_running() && tail.await.is_err());
        });
    }

    #[test]
    fn a_tail_outlives_what_is_done_with_the_response() {
        block_on(async {
            let (send, word) = bounded(1);
            let (mut tail, alive) = waiting_tail(word);
            let done = tail.beside(async { Ok(1) }).await;
            assert_eq!(done.unwrap() + tail.during(async { 1 }).await, 2);
            assert!(tail.is_running() && Arc::strong_count(&alive) == 2);
            // What fails beside it does not end it.
            let failed = tail
                .beside(async { Err::<(), _>(Failure::NoResponse) })
                .await;
            assert!(matches!(failed, Err(Failure::NoResponse)) && tail.is_running());
            assert!(poll_once(&mut tail).await.is_none());
            send.send(Ok(())).await.unwrap();
            assert!((&mut tail).await.is_ok() && !tail.is_running());
            // Its memory is free before it is dropped.
            assert_eq!(Arc::strong_count(&alive), 1);
        });
    }

    #[test]
    fn a_tail_that_ended_before_holds_nothing_up() {
        block_on(async {
            let mut tail = Tail::ended(Ok(()));
            assert_eq!(tail.beside(async { Ok(1) }).await.unwrap(), 1);
            assert_eq!(tail.during(async { 2 }).await, 2);
            assert!(poll_once(tail).await.unwrap().is_ok());
            let mut failed = Tail::ended(Err(Failure::NoResponse));
            let beside = failed.beside(async { Ok(1) }).await;
            assert!(matches!(beside, Err(Failure::NoResponse)));
            assert_eq!(failed.during(async { 2 }).await, 2);
        });
    }

    #[test]
    fn dropping_a_tail_stops_the_work() {
        let (_send, word) = bounded(1);
        let (tail, alive) = waiting_tail(word);
        drop(tail);
        assert_eq!(Arc::strong_count(&alive), 1);
    }
}
