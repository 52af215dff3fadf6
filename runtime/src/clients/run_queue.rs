//! Which connection's task runs next.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use async_task::Runnable;
use futures_lite::future::yield_now;

use super::{Claim, Network};
use crate::sync;

/// The tasks of clients' connections that can go on, in turn: one of each network, and of one network
/// the one that was woken first. So a client that keeps many connections busy makes another one's
/// request wait for one piece of work, and not for one of each of its connections.
///
/// The tasks run in the executor all the same: each thread that serves has a task there that takes
/// from this queue ([`RunQueue::serve`]).
pub struct RunQueue {
    state: Mutex<State>,
}

struct State {
    /// The networks that have something to run, the one whose turn it is first.
    ready: VecDeque<(Network, VecDeque<Runnable>)>,
    /// Those who serve the queue, while there is nothing to run.
    sleeping: Vec<Option<Waker>>,
}

impl RunQueue {
    /// An empty queue that so many [`serve`](RunQueue::serve).
    pub fn new(servers: usize) -> Arc<RunQueue> {
        Arc::new(RunQueue {
            state: Mutex::new(State {
                ready: VecDeque::new(),
                sleeping: vec![None; servers],
            }),
        })
    }

    /// Runs `future` to its end, in the turn of whoever `claim` belongs to.
    pub fn spawn(
        self: &Arc<Self>,
        claim: &Arc<Claim>,
        future: impl Future<Output = ()> + Send + 'static,
    ) {
        let (queue, claim) = (Arc::clone(self), Arc::clone(claim));
        let schedule = move |runnable| queue.push(claim.network(), runnable);
        let (runnable, task) = async_task::spawn(future, schedule);
        task.detach();
        runnable.schedule();
    }

    /// Runs what is ready, for ever. `server` is this one's number among those that serve.
    pub async fn serve(&self, server: usize) {
        loop {
            let runnable = poll_fn(|cx| self.poll_next(server, cx)).await;
            runnable.run();
            // What else the executor has to do takes turns with connections.
            yield_now().await;
        }
    }

    fn push(&self, network: Network, runnable: Runnable) {
        let mut state = self.lock();
        let ready = &mut state.ready;
        match ready.iter_mut().find(|(other, _)| *other == network) {
            Some((_, queue)) => queue.push_back(runnable),
            None => ready.push_back((network, VecDeque::from([runnable]))),
        }
        let server = state.sleeping.iter_mut().find_map(Option::take);
        drop(state);
        if let Some(server) = server {
            server.wake();
        }
    }

    fn poll_next(&self, server: usize, cx: &mut Context<'_>) -> Poll<Runnable> {
        let mut state = self.lock();
        // No queue in the list is empty.
        let turn = state.ready.front_mut();
        let next = turn.and_then(|(network, queue)| Some((*network, queue.pop_front()?)));
        let Some((_, runnable)) = next else {
            if let Some(sleeping) = state.sleeping.get_mut(server) {
                *sleeping = Some(cx.waker().clone());
            }
            return Poll::Pending;
        };
        if let Some((network, queue)) = state.ready.pop_front()
            && !queue.is_empty()
        {
            state.ready.push_back((network, queue));
        }
        Poll::Ready(runnable)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        sync::lock(&self.state)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_lite::future::or;

    use super::*;

    #[test]
    fn networks_run_in_turn_however_many_tasks_one_has() {
        let queue = RunQueue::new(1);
        let order = Arc::<Mutex<Vec<u8>>>::default();
        let (done, all) = smol::channel::bounded::<()>(1);
        for (address, tasks) in [("192.0.2.1", 5u8), ("192.0.2.2", 2)] {
            let claim = Claim::new(address.parse().unwrap());
            for _ in 0..tasks {
                let (order, done) = (Arc::clone(&order), done.clone());
                queue.spawn(&claim, async move {
                    order.lock().unwrap().push(tasks);
                    drop(done);
                });
            }
        }
        drop(done);
        smol::block_on(or(queue.serve(0), async {
            let _ = all.recv().await;
        }));
        assert_eq!(*order.lock().unwrap(), [5, 2, 5, 2, 5, 5, 5]);
    }

    #[test]
    fn what_is_woken_runs_again_and_several_threads_lose_nothing() {
        let queue = RunQueue::new(4);
        let (done, all) = smol::channel::bounded::<()>(1);
        let turns = Arc::new(AtomicUsize::new(0));
        for last in 1..=50 {
            let claim = Claim::new(format!("192.0.2.{last}").parse().unwrap());
            let (turns, done) = (Arc::clone(&turns), done.clone());
            queue.spawn(&claim, async move {
                for _ in 0..100 {
                    turns.fetch_add(1, Ordering::Relaxed);
                    yield_now().await;
                }
                drop(done);
            });
        }
        drop(done);
        std::thread::scope(|scope| {
            for server in 0..4 {
                let (queue, all) = (&queue, all.clone());
                scope.spawn(move || {
                    smol::block_on(or(queue.serve(server), async {
                        let _ = all.recv().await;
                    }));
                });
            }
        });
        assert_eq!(turns.load(Ordering::Relaxed), 5000);
    }
}
