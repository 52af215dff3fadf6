//! Which connection's task runs next.

use std::cell::Cell;
use std::collections::{HashMap, VecDeque};
use std::future::{Future, poll_fn};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use async_task::{Runnable, ScheduleInfo, WithInfo};

use super::{Claim, Network};
use crate::sync;

/// How long a thread works for connections before it looks what else has become ready. Whose turn it is
/// can only be told of those that are known to be ready: a client whose request has come would wait
/// for all that is in the queue before it, whoever's that is.
pub const SLICE: Duration = Duration::from_micros(100);

thread_local! {
    /// The number under which this thread serves.
    static SERVER: Cell<Option<usize>> = const { Cell::new(None) };
}

/// The tasks of clients' connections that can go on. The network goes first for which threads have
/// worked least lately, and of one network the task that was woken first. So a client that keeps many
/// connections or plugins busy makes another one's request wait for the piece of work that is being
/// done, and for no more.
///
/// A task that has given way goes on behind those that are found ready by the next look at the sockets,
/// also of its own network: otherwise a request that has just come would wait for one more piece of each
/// plugin that computes.
///
/// Each thread that serves takes from this queue ([`RunQueue::serve`]), beside what it does for the
/// executor. It is no task of the executor: that one looks at sockets only after two hundred of its
/// tasks, each of which can be a whole request.
pub struct RunQueue {
    state: Mutex<State>,
    run: fn(Runnable),
}

struct State {
    /// The networks that have something to run, the one that has waited longest first.
    ready: VecDeque<(Network, VecDeque<Runnable>)>,
    used: Used,
    /// Tasks that have given way since the last look at the sockets.
    gave_way: Vec<(Network, Runnable)>,
    /// Those who serve the queue, while there is nothing to run.
    sleeping: Vec<Option<Waker>>,
}

impl RunQueue {
    /// An empty queue that so many threads [`serve`](RunQueue::serve). `run` runs a task, or a piece of
    /// it.
    pub fn new(servers: usize, run: fn(Runnable)) -> Arc<RunQueue> {
        Arc::new(RunQueue {
            run,
            state: Mutex::new(State {
                ready: VecDeque::new(),
                used: Used::default(),
                gave_way: Vec::new(),
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
        let queue = Arc::clone(self);
        let (own, claim) = (Arc::clone(claim), Arc::clone(claim));
        let schedule = WithInfo(move |runnable, info: ScheduleInfo| {
            queue.push(claim.network(), runnable, info.woken_while_running);
        });
        let future = async move {
            future.await;
            // The task has the claim, and the claim what wakes the task: none of them would ever go.
            own.forget_waker();
        };
        let (runnable, task) = async_task::spawn(future, schedule);
        task.detach();
        runnable.schedule();
    }

    /// Runs what is ready, for ever. `server` is the number of this thread among those that serve; it
    /// must look at its sockets whenever this gives way.
    pub async fn serve<T>(&self, server: usize) -> T {
        /// Whoever does not serve any more is not to be woken in another's stead.
        struct Serving<'a>(&'a RunQueue, usize);
        impl Drop for Serving<'_> {
            fn drop(&mut self) {
                SERVER.set(None);
                let mut state = self.0.lock();
                if let Some(sleeping) = state.sleeping.get_mut(self.1) {
                    *sleeping = None;
                }
                let next = match state.is_idle() {
                    true => None,
                    false => state.next_sleeper(None),
                };
                drop(state);
                next.inspect(Waker::wake_by_ref);
            }
        }
        SERVER.set(Some(server));
        let _serving = Serving(self, server);
        let (mut end, mut last) = (None, None);
        loop {
            let runnable = poll_fn(|cx| self.poll_next(server, &mut end, &mut last, cx)).await;
            (self.run)(runnable);
        }
    }

    /// `is_running`: it is this thread that ran the task last, just now.
    fn push(&self, network: Network, runnable: Runnable, is_running: bool) {
        let server = SERVER.get();
        let mut state = self.lock();
        let was_idle = state.is_idle();
        match is_running {
            true => state.gave_way.push((network, runnable)),
            false => state.push(network, runnable),
        }
        // What gives way is taken again by the thread that it gives way on, behind the executor's tasks
        // and a look at the sockets.
        let sleeper = match is_running && was_idle && server.is_some() {
            true => None,
            false => state.next_sleeper(server),
        };
        drop(state);
        if let Some(sleeper) = sleeper {
            sleeper.wake();
        }
    }

    /// The next task, unless the slice is over, whose `end` is set once it has begun. `last` is whose
    /// the last one was, and when it began.
    fn poll_next(
        &self,
        server: usize,
        end: &mut Option<Instant>,
        last: &mut Option<(Network, Instant)>,
        cx: &mut Context<'_>,
    ) -> Poll<Runnable> {
        let now = Instant::now();
        let mut state = self.lock();
        if let Some((network, began)) = last.take() {
            state.used.add(network, now.duration_since(began), now);
        }
        let is_over = match end {
            None => {
                state.take_back();
                false
            }
            Some(end) => now >= *end || state.ready.is_empty(),
        };
        if is_over && !state.is_idle() {
            *end = None;
            drop(state);
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        // No queue in the list is empty.
        let turn = state
            .least_used()
            .and_then(|index| state.ready.remove(index));
        let next = turn.and_then(|(network, mut queue)| Some((queue.pop_front()?, network, queue)));
        let is_awake = next.is_some();
        if let Some(sleeping) = state.sleeping.get_mut(server) {
            *sleeping = (!is_awake).then(|| cx.waker().clone());
        }
        let Some((runnable, network, queue)) = next else {
            *end = None;
            return Poll::Pending;
        };
        if !queue.is_empty() {
            state.ready.push_back((network, queue));
        }
        *last = Some((network, now));
        end.get_or_insert(now + SLICE);
        Poll::Ready(runnable)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        sync::lock(&self.state)
    }
}

impl State {
    /// Whether there is nothing to run.
    fn is_idle(&self) -> bool {
        self.ready.is_empty() && self.gave_way.is_empty()
    }

    fn push(&mut self, network: Network, runnable: Runnable) {
        let ready = &mut self.ready;
        match ready.iter_mut().find(|(other, _)| *other == network) {
            Some((_, queue)) => queue.push_back(runnable),
            None => ready.push_back((network, VecDeque::from([runnable]))),
        }
    }

    /// The place of the network that goes first.
    fn least_used(&self) -> Option<usize> {
        if self.ready.len() < 2 {
            return (!self.ready.is_empty()).then_some(0);
        }
        let counted = self.ready.iter().enumerate();
        let least = counted.min_by_key(|(_, (network, _))| self.used.of(*network));
        least.map(|(index, _)| index)
    }

    /// Puts those that have given way behind those that are ready.
    fn take_back(&mut self) {
        for (network, runnable) in std::mem::take(&mut self.gave_way) {
            self.push(network, runnable);
        }
    }

    /// Whom to wake for what has become ready: `server`, whose thread this is, if it has nothing to do
    /// but look at sockets, else any other.
    fn next_sleeper(&mut self, server: Option<usize>) -> Option<Waker> {
        let own = server.and_then(|own| self.sleeping.get_mut(own)?.take());
        own.or_else(|| self.sleeping.iter_mut().find_map(Option::take))
    }
}

/// For how long threads have worked for each network lately.
#[derive(Default)]
struct Used {
    networks: HashMap<Network, Duration>,
    /// When this was halved last.
    halved: Option<Instant>,
}

impl Used {
    /// After how long half of what was used is forgotten.
    const HALF_LIFE: Duration = Duration::from_millis(10);
    /// What is less than this is forgotten.
    const LITTLE: Duration = Duration::from_micros(20);

    fn of(&self, network: Network) -> Duration {
        self.networks.get(&network).copied().unwrap_or_default()
    }

    fn add(&mut self, network: Network, used: Duration, now: Instant) {
        let since = now.duration_since(*self.halved.get_or_insert(now));
        let halvings = since.div_duration_f64(Self::HALF_LIFE) as u32;
        if halvings > 0 {
            self.halved = Some(now);
            self.networks.retain(|_, used| {
                *used = used.checked_div(1 << halvings.min(31)).unwrap_or_default();
                *used >= Self::LITTLE
            });
        }
        let before = self.networks.entry(network).or_default();
        *before = before.saturating_add(used);
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_lite::future::{or, yield_now};

    use super::*;

    fn run(runnable: Runnable) {
        runnable.run();
    }

    #[test]
    fn the_network_that_was_worked_for_least_goes_first_however_many_tasks_it_has() {
        let queue = RunQueue::new(1, run);
        let [many, one] = ["192.0.2.1", "192.0.2.2"].map(|text| Claim::new(text.parse().unwrap()));
        for claim in [&many, &many, &many, &one] {
            queue.spawn(claim, async {});
        }
        let now = Instant::now();
        let mut state = queue.lock();
        let first = |state: &State| state.least_used().map(|index| state.ready[index].0);
        assert_eq!(first(&state), Some(many.network()), "it has waited longest");
        state
            .used
            .add(many.network(), Duration::from_millis(2), now);
        state.used.add(one.network(), Duration::from_millis(1), now);
        assert_eq!(first(&state), Some(one.network()));
        state.used.add(one.network(), Duration::from_millis(2), now);
        assert_eq!(first(&state), Some(many.network()));
    }

    #[test]
    fn a_task_that_has_ended_leaves_nothing_behind() {
        let queue = RunQueue::new(1, run);
        let claim = Claim::new("192.0.2.1".parse().unwrap());
        let own = Arc::clone(&claim);
        queue.spawn(&claim, async move {
            let asked = own.wait_until_asked(super::super::asked::LEAVE);
            assert!(futures_lite::future::poll_once(asked).await.is_none());
        });
        let turns = async {
            yield_now().await;
            yield_now().await;
        };
        futures_lite::future::block_on(or(turns, queue.serve(0)));
        assert_eq!(Arc::strong_count(&claim), 1);
    }

    #[test]
    fn what_was_used_is_forgotten() {
        let claim = Claim::new("192.0.2.1".parse().unwrap());
        let (network, now) = (claim.network(), Instant::now());
        let mut used = Used::default();
        used.add(network, Duration::from_millis(8), now);
        used.add(network, Duration::ZERO, now + 3 * Used::HALF_LIFE);
        assert_eq!(used.of(network), Duration::from_millis(1));
        used.add(Network::OWN, Duration::ZERO, now + 1000 * Used::HALF_LIFE);
        assert_eq!(used.of(network), Duration::ZERO);
        assert_eq!(used.networks.len(), 1, "no trace of it");
    }

    #[test]
    fn what_gives_way_goes_on_behind_what_has_become_ready() {
        let queue = RunQueue::new(1, run);
        let order = Arc::<Mutex<Vec<&str>>>::default();
        let claim = Claim::new("192.0.2.1".parse().unwrap());
        let (sender, receiver) = smol::channel::bounded::<()>(1);
        let noted = Arc::clone(&order);
        queue.spawn(&claim, async move {
            for _ in 0..2 {
                noted.lock().unwrap().push("computes");
                yield_now().await;
            }
        });
        let noted = Arc::clone(&order);
        let (done, all) = smol::channel::bounded::<()>(1);
        queue.spawn(&claim, async move {
            let _ = receiver.recv().await;
            noted.lock().unwrap().push("is asked");
            drop(done);
        });
        // What is looked at between two slices, as sockets are.
        let mut looked = false;
        let look = std::future::poll_fn(move |_| {
            if !looked && !order.lock().unwrap().is_empty() {
                looked = true;
                let _ = sender.try_send(());
            }
            match all.is_closed() {
                true => Poll::Ready(order.lock().unwrap().clone()),
                false => Poll::Pending,
            }
        });
        let order = smol::block_on(or(look, queue.serve(0)));
        assert_eq!(order[..2], ["computes", "is asked"]);
    }

    #[test]
    fn what_is_woken_runs_again_and_several_threads_lose_nothing() {
        let queue = RunQueue::new(4, run);
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
