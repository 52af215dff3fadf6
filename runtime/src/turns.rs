//! Whose turn it is: a share of the processor for each plugin.
//!
//! The executor's queue is fair to requests, not to plugins: one that computes in all its instances
//! would have all others wait until each of them had its slice. So a plugin that computes for long
//! does not go back to the queue when it is interrupted. It waits here until its plugin's turn
//! comes, and gets it in the order in which the plugins stand: one slice of one instance, then one
//! of the next plugin. At most as many slices run at the same time as threads serve, and one less
//! of a single plugin, where there are more threads than one.
//!
//! Slices end with the ticks of the engine's clock (`plugin/engine.rs`), or with the piece of work that
//! they are part of ([`piece`]). The clock ticks a hundred times a second while plugins work, and two
//! thousand times while any waits for its turn: then slices are short, and who has little to do does
//! not wait long for a thread.
//!
//! A plugin that is alone has all turns: it only gives way to the daemon's own work, and to what its
//! other clients ask for.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Poll, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

use crate::sync;

/// How often the engine's clock ticks while plugins work. A deadline is seen within one of these.
pub const TICK: Duration = Duration::from_millis(10);
/// The same while plugins wait for their turns.
const SHORT_TICK: Duration = Duration::from_micros(500);
/// After how long a piece of work gives way at the next opportunity.
const LONG: Duration = Duration::from_micros(100);
/// After how many short ticks without any turn the long ones begin again.
const CALM_TICKS: u32 = 200;
/// How many short ticks a turn that was given is kept for somebody who does not take it, because
/// nobody polls it.
const KEPT_TICKS: u32 = 20;
/// A call that has computed for less than this does not wait when it is interrupted: it is most likely
/// done soon, and whoever waits for many such calls of one client has a turn anyway (`clients`).
const LITTLE: Duration = SHORT_TICK;
/// A plugin computes much if ticks have found it at work for this long of the last
/// [`WINDOW`] or so: its calls wait for turns from their first interruption on, others from their
/// second.
const MUCH: Duration = Duration::from_millis(40);
const WINDOW: Duration = Duration::from_millis(80);

thread_local! {
    /// When the piece of work began that this thread is at.
    static PIECE: Cell<Option<Instant>> = const { Cell::new(None) };
    /// The turn that has begun in it and not ended, unless a tick has ended it.
    static BEGUN: RefCell<Option<Begun>> = const { RefCell::new(None) };
}

/// The plugins that want to compute, and whose turn it is.
pub struct Turns {
    state: Mutex<State>,
    /// The thread that ticks. It sleeps for a long tick when somebody begins to wait.
    ticker: OnceLock<Thread>,
}

struct State {
    /// How many turns there are at the same time, of all plugins and of one.
    most: usize,
    most_each: usize,
    /// How many are given.
    given: usize,
    /// A line for each plugin, and those that plugins have left.
    lines: Vec<Line>,
    /// The lines that plugins have left, for the next that come.
    left: Vec<usize>,
    /// The line that is asked first for the next turn.
    next: usize,
    /// The number of the last one who has waited.
    last: u64,
    /// Ticks so far.
    ticks: u64,
    /// Plugins wait for turns, or did lately.
    is_busy: bool,
    /// Ticks without any turn.
    calm_ticks: u32,
}

/// The instances of one plugin that wait, and those whose turn it is.
#[derive(Default)]
struct Line {
    waiting: VecDeque<(u64, Waker)>,
    /// It is the turn of these, and they have not been polled since.
    called: Vec<Called>,
    /// How many have begun since the last tick, which ends their turns.
    begun: usize,
    /// Ticks since the last one have found this many instances at work.
    interrupted: u32,
    /// How long it was at work lately.
    worked: Duration,
}

struct Called {
    number: u64,
    /// Ticks since then. Beyond [`KEPT_TICKS`] it holds nobody up any more.
    ticks: u32,
}

/// A turn that has begun.
struct Begun {
    place: Place,
    /// The tick behind which it began: the next one ends it.
    tick: u64,
}

/// A plugin's place among the others. It is free again when all its clones are dropped.
#[derive(Clone)]
pub struct Place(Arc<Seat>);

/// What the clones of a place have in common.
struct Seat {
    turns: Arc<Turns>,
    line: usize,
}

/// Ready once it is the turn of the instance that waits. Others run at least once before that.
pub struct Turn {
    place: Place,
    /// The number under which it waits, or was called.
    number: Option<u64>,
    is_done: bool,
}

impl Turns {
    /// Turns for so many threads that serve.
    pub fn new(threads: usize) -> Arc<Turns> {
        Arc::new(Turns {
            state: Mutex::new(State {
                most: threads.max(1),
                most_each: threads.max(1),
                given: 0,
                lines: Vec::new(),
                left: Vec::new(),
                next: 0,
                last: 0,
                ticks: 0,
                is_busy: false,
                calm_ticks: 0,
            }),
            ticker: OnceLock::new(),
        })
    }

    /// A place for one more plugin.
    pub fn join(self: &Arc<Self>) -> Place {
        let mut state = sync::lock(&self.state);
        let line = match state.left.pop() {
            Some(line) => line,
            None => {
                state.lines.push(Line::default());
                state.lines.len() - 1
            }
        };
        state.share_out();
        drop(state);
        Place(Arc::new(Seat {
            turns: Arc::clone(self),
            line,
        }))
    }

    /// Says which thread calls [`Turns::tick`].
    pub fn tick_from(&self, thread: Thread) {
        // There is one.
        let _ = self.ticker.set(thread);
    }

    /// Ends the turns that have begun, gives new ones, and returns when to tick next.
    pub fn tick(&self) -> Duration {
        let mut called = Vec::new();
        let mut state = sync::lock(&self.state);
        let length = match state.is_busy {
            true => SHORT_TICK,
            false => TICK,
        };
        let mut is_used = false;
        let mut ended = 0;
        state.ticks += 1;
        for line in &mut state.lines {
            is_used |= line.begun > 0 || !line.called.is_empty() || !line.waiting.is_empty();
            ended += std::mem::take(&mut line.begun);
            for one in &mut line.called {
                one.ticks += 1;
                ended += usize::from(one.ticks == KEPT_TICKS);
            }
            let found = length * std::mem::take(&mut line.interrupted);
            line.worked = lately(line.worked, length) + found;
        }
        state.given = state.given.saturating_sub(ended);
        state.call(&mut called);
        state.calm_ticks = match is_used {
            true => 0,
            false => state.calm_ticks.saturating_add(1),
        };
        state.is_busy &= state.calm_ticks < CALM_TICKS;
        let next = match state.is_busy {
            true => SHORT_TICK,
            false => TICK,
        };
        drop(state);
        called.into_iter().for_each(Waker::wake);
        next
    }
}

impl State {
    /// Decides how many turns one plugin may have: all where it is alone.
    fn share_out(&mut self) {
        self.most_each = match self.lines.len() - self.left.len() {
            0 | 1 => self.most,
            _ => (self.most - 1).max(1),
        };
    }

    /// Gives the turns that are free to those who have waited longest, a plugin after the other.
    fn call(&mut self, called: &mut Vec<Waker>) {
        while self.given < self.most {
            let count = self.lines.len();
            let mut order = (0..count).map(|step| (self.next + step) % count);
            let wants = |line: &Line| !line.waiting.is_empty() && line.given() < self.most_each;
            let Some(index) = order.find(|&index| wants(&self.lines[index])) else {
                return;
            };
            self.next = index + 1;
            let line = &mut self.lines[index];
            if let Some((number, waker)) = line.waiting.pop_front() {
                line.called.push(Called { number, ticks: 0 });
                called.push(waker);
                self.given += 1;
            }
        }
    }
}

impl Line {
    /// How many turns it has.
    fn given(&self) -> usize {
        let called = self.called.iter().filter(|one| one.ticks < KEPT_TICKS);
        called.count() + self.begun
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut called = Vec::new();
        let mut state = sync::lock(&self.turns.state);
        // A turn that was begun ends with it. Nobody waits, for whoever does has a place.
        let line = std::mem::take(&mut state.lines[self.line]);
        state.given = state.given.saturating_sub(line.given());
        state.left.push(self.line);
        state.share_out();
        state.call(&mut called);
        drop(state);
        called.into_iter().for_each(Waker::wake);
    }
}

impl Place {
    /// A tick has interrupted an instance, for the `times`th time in its call, which was found to have
    /// `computed` for so long. Returns what it has to wait for before it goes on; `None` if it only has
    /// to let others run.
    pub fn interrupted(&self, times: u32, computed: Duration) -> Option<Turn> {
        let mut state = sync::lock(&self.0.turns.state);
        let line = &mut state.lines[self.0.line];
        line.interrupted += 1;
        let waits = computed >= LITTLE && (times > 1 || line.worked >= MUCH);
        drop(state);
        waits.then(|| self.turn())
    }

    /// What an instance waits for that goes on with long work of its own in the host.
    pub fn turn(&self) -> Turn {
        Turn {
            place: self.clone(),
            number: None,
            is_done: false,
        }
    }
}

/// Does a piece of work: what a thread does for one task before it looks what else there is. Whoever
/// runs tasks in which plugins compute runs them so.
pub fn piece<R>(work: impl FnOnce() -> R) -> R {
    PIECE.set(Some(Instant::now()));
    let result = work();
    PIECE.set(None);
    if let Some(begun) = BEGUN.take() {
        begun.end();
    }
    result
}

/// Gives way to other tasks if the piece of work that this thread is at has lasted for long: what has
/// to do with sockets asks this before it goes on, since a peer that takes or sends as fast as it can
/// would never have it wait.
pub fn give_way(cx: &Context<'_>) -> Poll<()> {
    if PIECE.get().is_none_or(|began| began.elapsed() < LONG) {
        return Poll::Ready(());
    }
    cx.waker().wake_by_ref();
    Poll::Pending
}

/// How long the piece of work has lasted that this thread is at.
pub fn lasted() -> Duration {
    PIECE.get().map_or(TICK, |began| began.elapsed())
}

impl Begun {
    /// Ends the turn, unless a tick has: what it was for has ended, or waits for something. Otherwise
    /// those who wait would wait for the next tick.
    fn end(self) {
        let mut called = Vec::new();
        let Seat { turns, line } = &*self.place.0;
        let mut state = sync::lock(&turns.state);
        if state.ticks == self.tick {
            let line = &mut state.lines[*line];
            line.begun = line.begun.saturating_sub(1);
            state.given = state.given.saturating_sub(1);
            state.call(&mut called);
        }
        drop(state);
        called.into_iter().for_each(Waker::wake);
    }
}

/// What is left of a duration that was measured over the last [`WINDOW`] or so, this much later.
fn lately(measured: Duration, later: Duration) -> Duration {
    let forgotten = measured.mul_f64(later.div_duration_f64(WINDOW));
    measured.saturating_sub(forgotten)
}

impl Future for Turn {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let place = self.place.clone();
        let Seat { turns, line } = &*place.0;
        let (mut called, mut before) = (Vec::new(), None);
        let mut state = sync::lock(&turns.state);
        let index = *line;
        let line = &mut state.lines[index];
        let polled = match self.number {
            None => {
                state.last += 1;
                let number = state.last;
                self.number = Some(number);
                let waiting = (number, cx.waker().clone());
                state.lines[index].waiting.push_back(waiting);
                // It may be its turn at once. The waker has others polled first all the same.
                state.call(&mut called);
                state.calm_ticks = 0;
                if !std::mem::replace(&mut state.is_busy, true) {
                    // Its long tick would be too long.
                    turns.ticker.get().inspect(|ticker| ticker.unpark());
                }
                Poll::Pending
            }
            Some(number) => match line.called.iter().position(|one| one.number == number) {
                Some(at) => {
                    // One that was kept for too long has lost its place, and is let through.
                    let is_given = line.called.swap_remove(at).ticks < KEPT_TICKS;
                    line.begun += usize::from(is_given);
                    self.is_done = true;
                    let begun = is_given.then(|| Begun {
                        place: self.place.clone(),
                        tick: state.ticks,
                    });
                    // One that had begun before in the same piece of work ends with the next tick.
                    // What it was for may have been the last that had its place, which needs the lock.
                    before = BEGUN.replace(begun);
                    Poll::Ready(())
                }
                None => {
                    let own = line.waiting.iter_mut().find(|one| one.0 == number);
                    if let Some((_, waker)) = own {
                        waker.clone_from(cx.waker());
                    }
                    Poll::Pending
                }
            },
        };
        drop((state, before));
        called.into_iter().for_each(Waker::wake);
        polled
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let Some(number) = self.number.filter(|_| !self.is_done) else {
            return;
        };
        let mut called = Vec::new();
        let Seat { turns, line } = &*self.place.0;
        let mut state = sync::lock(&turns.state);
        let line = &mut state.lines[*line];
        line.waiting.retain(|one| one.0 != number);
        let at = line.called.iter().position(|one| one.number == number);
        let was_given = at.is_some_and(|at| line.called.swap_remove(at).ticks < KEPT_TICKS);
        if was_given {
            // Its turn is somebody else's.
            state.given = state.given.saturating_sub(1);
            state.call(&mut called);
        }
        drop(state);
        called.into_iter().for_each(Waker::wake);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::task::Wake;

    use super::*;

    struct Woken(AtomicBool);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::SeqCst);
        }
    }

    /// Somebody who waits, and whether they were woken.
    struct Waiter {
        turn: Pin<Box<Turn>>,
        woken: Arc<Woken>,
    }

    impl Waiter {
        fn begin(place: &Place) -> Waiter {
            let mut waiter = Waiter {
                turn: Box::pin(place.turn()),
                woken: Arc::new(Woken(AtomicBool::new(false))),
            };
            assert!(!waiter.poll(), "others come first");
            waiter
        }

        fn poll(&mut self) -> bool {
            let waker = Waker::from(Arc::clone(&self.woken));
            let polled = self.turn.as_mut().poll(&mut Context::from_waker(&waker));
            polled.is_ready()
        }

        /// Whether it is called; if so it begins its turn.
        fn runs(&mut self) -> bool {
            let called = self.woken.0.swap(false, Ordering::SeqCst);
            assert_eq!(self.poll(), called, "woken and ready are the same");
            called
        }
    }

    #[test]
    fn plugins_take_turns_however_many_of_their_instances_wait() {
        let turns = Turns::new(1);
        let (many, one) = (turns.join(), turns.join());
        let mut crowd: Vec<_> = (0..12).map(|_| Waiter::begin(&many)).collect();
        // Nobody else had asked.
        assert!(crowd[0].runs());
        let mut single = Waiter::begin(&one);
        assert!(!single.runs() && !crowd[1].runs());
        turns.tick();
        assert!(single.runs(), "the next plugin, before the second instance");
        assert!(!crowd[1].runs());
        for next in 1..12 {
            turns.tick();
            assert!(crowd[next].runs());
            assert!(!crowd[(next + 1) % 12].poll() || next == 11);
        }
    }

    #[test]
    fn one_plugin_leaves_a_thread_to_others() {
        let turns = Turns::new(3);
        let (first, second) = (turns.join(), turns.join());
        let mut crowd: Vec<_> = (0..5).map(|_| Waiter::begin(&first)).collect();
        assert!(crowd[0].runs() && crowd[1].runs() && !crowd[2].runs());
        let mut others: Vec<_> = (0..2).map(|_| Waiter::begin(&second)).collect();
        assert!(others[0].runs() && !others[1].runs(), "three in all");
    }

    #[test]
    fn a_plugin_that_is_alone_has_all_threads() {
        let turns = Turns::new(3);
        let place = turns.join();
        let mut crowd: Vec<_> = (0..4).map(|_| Waiter::begin(&place)).collect();
        let at_work = crowd.iter_mut().filter_map(|one| one.runs().then_some(()));
        assert_eq!(at_work.count(), 3);
    }

    #[test]
    fn who_leaves_gives_the_turn_on_and_who_sleeps_holds_nobody_up_for_long() {
        let turns = Turns::new(1);
        let (place, _other) = (turns.join(), turns.join());
        let first = Waiter::begin(&place);
        let gone = Waiter::begin(&place);
        let mut third = Waiter::begin(&place);
        drop(gone);
        drop(first);
        assert!(third.runs());
        let mut sleeper = Waiter::begin(&place);
        let mut next = Waiter::begin(&place);
        for _ in 0..KEPT_TICKS {
            turns.tick();
            assert!(!next.runs());
        }
        turns.tick();
        assert!(next.runs());
        assert!(sleeper.runs(), "it is let through all the same");
    }

    #[test]
    fn ticks_are_short_while_plugins_wait() {
        let turns = Turns::new(2);
        let (place, _other) = (turns.join(), turns.join());
        assert!(place.interrupted(1, LITTLE).is_none());
        assert!(
            place.interrupted(9, LITTLE / 2).is_none(),
            "as good as done"
        );
        assert_eq!(turns.tick(), TICK);
        let turn = place.interrupted(2, LITTLE);
        assert!(turn.is_some());
        // Not polled: it does not wait.
        assert_eq!(turns.tick(), TICK);
        drop(turn);
        let mut waiter = Waiter::begin(&place);
        assert_eq!(turns.tick(), SHORT_TICK);
        assert!(waiter.runs());
        for _ in 0..CALM_TICKS {
            assert_eq!(turns.tick(), SHORT_TICK);
        }
        assert_eq!(turns.tick(), TICK);
    }

    #[test]
    fn a_plugin_whose_calls_are_short_and_many_waits_too() {
        let turns = Turns::new(1);
        let (place, _other) = (turns.join(), turns.join());
        let ticks = (0..100).take_while(|_| {
            turns.tick();
            place.interrupted(1, LITTLE).is_none()
        });
        // Five long ticks are 50 ms.
        assert!((4..=8).contains(&ticks.count()));
        for _ in 0..100 {
            turns.tick();
        }
        assert!(place.interrupted(1, LITTLE).is_none(), "that was long ago");
    }

    #[test]
    fn what_ends_before_the_tick_gives_its_turn_on_at_once() {
        let turns = Turns::new(1);
        let (place, _other) = (turns.join(), turns.join());
        let mut crowd: Vec<_> = (0..3).map(|_| Waiter::begin(&place)).collect();
        piece(|| assert!(crowd[0].runs() && !crowd[1].runs()));
        piece(|| {
            assert!(crowd[1].runs() && !crowd[2].runs());
            // That ends the turn, and the next begins: it is not ended in its place.
            turns.tick();
        });
        let mut last = Waiter::begin(&place);
        assert!(crowd[2].runs() && !last.runs());
    }

    #[test]
    fn who_leaves_gives_the_line_and_its_turn_to_others() {
        let turns = Turns::new(1);
        let (stays, leaves) = (turns.join(), turns.join());
        let last = Waiter::begin(&leaves);
        let mut waits = Waiter::begin(&stays);
        assert!(!waits.runs());
        drop((last, leaves));
        assert!(waits.runs(), "its turn ended with it");
        let comes = turns.join();
        let _third = turns.join();
        assert_eq!(comes.0.line, 1, "the line is taken again");
        assert_eq!(sync::lock(&turns.state).lines.len(), 3);
    }

    #[test]
    fn a_piece_gives_way_when_it_has_lasted_for_long_and_the_next_does_not_at_once() {
        let woken = Arc::new(Woken(AtomicBool::new(false)));
        let waker = Waker::from(Arc::clone(&woken));
        let cx = Context::from_waker(&waker);
        assert!(give_way(&cx).is_ready(), "no piece of work");
        piece(|| {
            while lasted() < LONG {
                std::hint::spin_loop();
            }
            assert!(give_way(&cx).is_pending());
        });
        assert!(woken.0.load(Ordering::SeqCst));
        assert_eq!(lasted(), TICK, "no piece of work any more");
    }
}
