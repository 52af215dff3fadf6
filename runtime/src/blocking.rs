//! Threads for work that waits for the disk.
//!
//! Not those of the crate `blocking`: its last thread stays for ever and wakes twice a second to
//! see whether it should.

use std::any::Any;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::sync;

/// Most threads at the same time; more work waits for one of them.
const THREADS: usize = 4;
/// A thread without work ends after this, and an idle daemon has none.
const IDLE: Duration = Duration::from_secs(2);

static POOL: Pool = Pool {
    state: Mutex::new(State {
        waiting: VecDeque::new(),
        threads: 0,
        idle: 0,
    }),
    more: Condvar::new(),
};

struct Pool {
    state: Mutex<State>,
    /// Notified for each piece of work that begins to wait.
    more: Condvar,
}

struct State {
    waiting: VecDeque<Work>,
    threads: usize,
    /// How many threads wait for work. One that was notified counts until it runs.
    idle: usize,
}

type Work = Box<dyn FnOnce() + Send>;

/// Does `work` on a thread of its own, and waits for it without holding one of the executor. It is
/// done to its end even if nobody waits any longer. A panic goes on in whoever waits.
pub(crate) async fn unblock<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    type Done<T> = Result<T, Box<dyn Any + Send>>;
    let (done, result) = smol::channel::bounded::<Done<T>>(1);
    POOL.start(Box::new(move || {
        // There is room for the one result; whoever wanted it may be gone.
        let _ = done.try_send(catch_unwind(AssertUnwindSafe(work)));
    }));
    match result.recv().await {
        Ok(Ok(value)) => value,
        Ok(Err(panic)) => resume_unwind(panic),
        Err(_) => unreachable!("work that was started sends its result"),
    }
}

impl Pool {
    fn start(&'static self, work: Work) {
        let mut state = sync::lock(&self.state);
        state.waiting.push_back(work);
        if state.waiting.len() <= state.idle || state.threads >= THREADS {
            drop(state);
            return self.more.notify_one();
        }
        state.threads += 1;
        drop(state);
        let spawned = thread::Builder::new()
            .name("blocking".to_owned())
            .spawn(|| self.work());
        if let Err(error) = spawned {
            log::warn!("cannot start a thread for work with the disk: {error}; all else waits");
            self.work_off();
        }
    }

    /// Does what waits, on the thread that could not start another.
    fn work_off(&self) {
        let mut state = sync::lock(&self.state);
        state.threads -= 1;
        while let Some(work) = state.waiting.pop_front() {
            drop(state);
            work();
            state = sync::lock(&self.state);
        }
    }

    fn work(&self) {
        let mut state = sync::lock(&self.state);
        loop {
            while let Some(work) = state.waiting.pop_front() {
                drop(state);
                work();
                state = sync::lock(&self.state);
            }
            state.idle += 1;
            let waited = self.more.wait_timeout(state, IDLE);
            let (again, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            state = again;
            state.idle -= 1;
            if timeout.timed_out() && state.waiting.is_empty() {
                state.threads -= 1;
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, Barrier};

    use smol::block_on;

    use super::*;

    #[test]
    fn work_is_done_beside_other_work_and_panics_reach_whoever_waits() {
        // Each of the two waits for the other.
        let both = Arc::new(Barrier::new(2));
        let one = |number| {
            let both = Arc::clone(&both);
            unblock(move || {
                both.wait();
                number
            })
        };
        let (first, second) = block_on(futures_lite::future::zip(one(1), one(2)));
        assert_eq!((first, second), (1, 2));
        let panics = unblock(|| panic!("as told"));
        assert!(catch_unwind(AssertUnwindSafe(|| block_on(panics))).is_err());
        assert_eq!(block_on(unblock(|| 3)), 3);
    }

    #[test]
    fn more_work_than_threads_is_done_all_the_same() {
        static DONE: AtomicUsize = AtomicUsize::new(0);
        let works: Vec<_> = (0..100)
            .map(|_| {
                let mut work = Box::pin(unblock(|| DONE.fetch_add(1, Ordering::SeqCst)));
                // The first poll starts it.
                assert!(
                    block_on(futures_lite::future::poll_once(&mut work)).is_none_or(|at| at < 100)
                );
                work
            })
            .collect();
        drop(works);
        // Nobody waits for it any longer.
        while DONE.load(Ordering::SeqCst) < 100 {
            thread::yield_now();
        }
        assert!(sync::lock(&POOL.state).threads <= THREADS);
    }
}
