//! The work of the plugins on one request.

use std::pin::Pin;
use std::sync::OnceLock;
use std::task::{Context, Poll};

use crate::failure::Failure;
use crate::message::Response;
use crate::pipeline::{Marks, Reply, Responding, Tail};
use crate::reactor;

/// The plugins' work on a request.
pub(super) enum Work {
    /// There is no response yet.
    Responding(Responding),
    /// There is a response or a failure, and this work goes on while that is written.
    Tail(Tail),
}

impl Work {
    /// Polls the work. Returns its result once: a response, or the reason why there is none. How
    /// the work as a whole ended is put into `outcome` when it is known, which may be at the same
    /// time.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        outcome: &OnceLock<Result<(), Failure>>,
    ) -> Option<Handled> {
        let mut handled = None;
        if let Work::Responding(responding) = self
            && let Poll::Ready(replied) = Pin::new(&mut reactor::enter(responding)).poll(cx)
        {
            let (result, tail) = match replied {
                Ok(Reply {
                    response,
                    marks,
                    tail,
                }) => (Ok((response, marks)), tail),
                Err(failure) => (Err(failure.clone()), Tail::ended(Err(failure))),
            };
            *self = Work::Tail(tail);
            handled = Some(result);
        }
        if outcome.get().is_none()
            && let Work::Tail(tail) = self
            && let Poll::Ready(ended) = Pin::new(&mut reactor::enter(tail)).poll(cx)
        {
            // It cannot have been set already: that was checked above.
            let _ = outcome.set(ended);
        }
        handled
    }
}

/// The result of the plugins' work: a response, or the reason why there is none.
pub(super) type Handled = Result<(Response, Marks), Failure>;
