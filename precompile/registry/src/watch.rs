//! What a registry may take of this machine: memory, and time.
//!
//! The client's library reads every answer that is no file whole, whatever its length, and has nothing to stop it
//! (its issue 206). Its time-out for reading ends an upload that takes longer (reqwest's issue 2784). And a token
//! that fits into no header makes it panic. So each of its requests is watched from outside.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

/// How long an answer may take, and [`MOVES`] bytes of a file.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// Bytes of a file after which a registry has earned more patience. One that sends byte after byte would be waited
/// for without end.
const MOVES: u64 = 1 << 20;

/// The most memory that an answer may take while it comes, 8 MiB: twice the largest document, [`DOCUMENT_MAX`]. What
/// is made of it then takes more, which is why this is no larger.
pub(crate) const MEMORY_MAX: u64 = 8 << 20;

/// The largest manifest or index, 4 MiB: what the distribution specification wants registries to take at least.
pub(crate) const DOCUMENT_MAX: usize = 4 << 20;

/// Why a request was ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Its answer took more than [`MEMORY_MAX`].
    TooLarge,
    /// Nothing came, or went, for too long.
    TooSlow,
    /// The library was led into a panic.
    Confused,
}

/// Bytes of a file that went their way, for one who waits.
#[derive(Clone, Debug, Default)]
pub(crate) struct Moved(Arc<AtomicU64>);

impl Moved {
    /// Some more have.
    pub(crate) fn add(&self, count: usize) {
        self.0.fetch_add(count as u64, Ordering::Relaxed);
    }

    /// How often they have earned patience.
    fn times(&self) -> u64 {
        self.0.load(Ordering::Relaxed) / MOVES
    }
}

/// What a request answers, unless that takes too much. `moved` is what it sends meanwhile.
pub(crate) async fn watched<T>(
    request: impl Future<Output = T>,
    patience: Duration,
    moved: &Moved,
) -> Result<T, Ended> {
    watched_by(memory, request, patience, moved).await
}

async fn watched_by<T>(
    memory: impl Fn() -> u64,
    request: impl Future<Output = T>,
    patience: Duration,
    moved: &Moved,
) -> Result<T, Ended> {
    let mut request = pin!(request);
    let mut late = pin!(sleep(patience));
    let (before, mut times) = (memory(), moved.times());
    poll_fn(|context| {
        // After a panic it is not asked again.
        let polled = catch_unwind(AssertUnwindSafe(|| request.as_mut().poll(context)));
        match polled {
            Ok(Poll::Ready(answer)) => return Poll::Ready(Ok(answer)),
            Ok(Poll::Pending) => {}
            Err(_) => return Poll::Ready(Err(Ended::Confused)),
        }
        // It waits after each piece that comes, and so it is looked at after each.
        if memory().saturating_sub(before) > MEMORY_MAX {
            return Poll::Ready(Err(Ended::TooLarge));
        }
        if moved.times() != times {
            times = moved.times();
            late.as_mut().reset(Instant::now() + patience);
        }
        late.as_mut().poll(context).map(|()| Err(Ended::TooSlow))
    })
    .await
}

/// The time that is left for the next of a file that comes.
pub(crate) struct Deadline {
    patience: Duration,
    at: Instant,
    /// Bytes since it was put off.
    came: u64,
}

impl Deadline {
    pub(crate) fn new(patience: Duration) -> Deadline {
        Deadline {
            patience,
            at: Instant::now() + patience,
            came: 0,
        }
    }

    /// What comes next, unless that takes too long.
    pub(crate) async fn next<T>(&self, piece: impl Future<Output = T>) -> Result<T, Ended> {
        let next = timeout_at(self.at, piece).await;
        next.map_err(|_| Ended::TooSlow)
    }

    /// So many bytes have come.
    pub(crate) fn came(&mut self, count: usize) {
        self.came += count as u64;
        if self.came >= MOVES {
            *self = Deadline::new(self.patience);
        }
    }
}

/// Bytes of memory that this process has to itself; nothing where the system does not say.
///
/// It does nothing but wait for a registry meanwhile, so that what becomes more is the answer.
fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = { status.lines() }.find_map(|line| line.strip_prefix("RssAnon:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    number.and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) << 10
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use std::cell::Cell;
    use std::net::TcpListener;

    use tokio::runtime::{Builder, Runtime};
    use tokio::task::yield_now;

    use super::*;
    use crate::{Access, Registry};

    /// Longer than any of these tests takes, and no time at all.
    const LONG: Duration = Duration::from_secs(600);
    const SHORT: Duration = Duration::from_millis(1);

    fn runtime() -> Runtime {
        Builder::new_current_thread().enable_time().build().unwrap()
    }

    /// Watches a request during which the memory of this process stays as it is, whatever other tests take.
    fn watch<T>(request: impl Future<Output = T>, patience: Duration) -> Result<T, Ended> {
        runtime().block_on(watched_by(|| 1, request, patience, &Moved::default()))
    }

    #[test]
    fn an_answer_that_comes_is_given_on() {
        assert_eq!(watch(async { yield_now().await }, LONG), Ok(()));
    }

    #[test]
    fn one_that_does_not_end_is_ended_by_its_memory() {
        let taken = Cell::new(5 << 30);
        let endless = async {
            loop {
                taken.set(taken.get() + (1 << 20));
                yield_now().await;
            }
        };
        let moved = Moved::default();
        let watched = watched_by(|| taken.get(), endless, LONG, &moved);
        assert_eq!(runtime().block_on(watched), Err::<(), _>(Ended::TooLarge));
        // A piece more than it may take, and no other.
        assert_eq!(taken.get(), (5 << 30) + MEMORY_MAX + (1 << 20));
    }

    #[test]
    fn one_that_does_not_come_is_ended_by_time() {
        let never = std::future::pending::<()>();
        assert_eq!(watch(never, SHORT), Err(Ended::TooSlow));
    }

    #[test]
    fn an_upload_that_moves_has_all_the_time_that_it_needs() {
        let moved = Moved::default();
        let (pieces, patience) = (moved.clone(), Duration::from_millis(50));
        let upload = async {
            // Ten times as long as anything may take that does not move.
            let end = Instant::now() + 10 * patience;
            while Instant::now() < end {
                pieces.add(1 << 20);
                sleep(SHORT).await;
            }
        };
        let ended = runtime().block_on(watched_by(|| 1, upload, patience, &moved));
        assert_eq!(ended, Ok(()));
    }

    #[test]
    fn a_file_that_comes_byte_by_byte_is_ended_by_time() {
        runtime().block_on(async {
            let mut deadline = Deadline::new(SHORT);
            let ended = loop {
                match deadline.next(yield_now()).await {
                    Ok(()) => deadline.came(1),
                    Err(ended) => break ended,
                }
            };
            assert_eq!(ended, Ended::TooSlow);
            // And one of which enough comes is not.
            let mut deadline = Deadline::new(LONG);
            let before = deadline.at;
            deadline.came(1 << 20);
            assert!(deadline.at > before);
        });
    }

    #[test]
    fn a_panic_of_the_library_is_none_of_the_program() {
        let panics = async { panic!("a token that no header can hold") };
        assert_eq!(watch::<()>(panics, LONG), Err(Ended::Confused));
    }

    #[test]
    fn a_registry_that_says_nothing_is_left() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let place = format!("{}/a/web:v1", listener.local_addr().unwrap());
        let access = Access {
            plain_http: true,
            ..Access::default()
        };
        let mut registry = Registry::open(&place.parse().unwrap(), &access).unwrap();
        registry.patience = SHORT;
        let error = registry.find(None).unwrap_err();
        assert!(!error.is_refusal());
        assert!(error.to_string().contains("nothing more came"), "{error}");
    }

    #[test]
    fn the_system_says_how_much_memory_there_is() {
        assert!(memory() > 0);
    }
}
