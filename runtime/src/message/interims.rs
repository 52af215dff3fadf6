//! Interim responses on their way from an upstream to the client (RFC 9110 section 15.2).

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Arc, Mutex};
use std::task::Poll;

use http::response::Parts;

use crate::sync::lock;

/// How many interim responses a client gets for one request. Servers send one, with all that they
/// know early; more than a handful would only be a way to keep the connection busy.
const MOST: usize = 8;

/// A queue of interim responses for the client of one request. Clones are one queue.
#[derive(Clone, Default)]
pub struct Interims(Arc<Shared>);

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    waker: atomic_waker::AtomicWaker,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Parts>,
    /// How many there have been.
    count: usize,
}

impl Interims {
    /// Passes the head of an interim response on. What is too much is dropped.
    pub(crate) fn send(&self, head: Parts) {
        let mut queue = lock(&self.0.queue);
        if queue.count < MOST {
            queue.count += 1;
            queue.waiting.push_back(head);
            drop(queue);
            self.0.waker.wake();
        }
    }

    /// Waits for the next one.
    pub(crate) async fn next(&self) -> Parts {
        poll_fn(|cx| {
            self.0.waker.register(cx.waker());
            match lock(&self.0.queue).waiting.pop_front() {
                Some(head) => Poll::Ready(head),
                None => Poll::Pending,
            }
        })
        .await
    }
}

impl std::fmt::Debug for Interims {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Interims").finish_non_exhaustive()
    }
}
