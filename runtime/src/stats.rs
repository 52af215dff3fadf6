//! What the daemon counts about its own work, for the admin interface.
//!
//! Counting is a few atomic additions a request; only a trap takes a lock.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use crate::metrics::{BUCKETS, Histogram};
use crate::redact;
use crate::sync;

/// How many incidents of a plugin are remembered, the latest ones.
pub const INCIDENTS: usize = 8;
/// Bytes of an incident's reason that are kept.
const REASON_BYTES: usize = 256;

/// How a request that reached a plugin ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The plugin made a response, whatever its status.
    Answered,
    /// No plugin wanted to handle it.
    NotHandled,
    /// The client's request could not be handled, or its body did not come.
    Client,
    /// The client went away.
    Gone,
    /// The plugin trapped.
    Trap,
    /// The plugin trapped after it was refused memory.
    OutOfMemory,
    /// The plugin did not respond in time, or its response stood still.
    Deadline,
    /// The plugin reported an error.
    PluginError,
    /// The plugin's response was not valid HTTP, or there was none.
    BadResponse,
    /// The plugin's `init` had failed.
    InitFailed,
    /// There was no memory or no instance left.
    Busy,
    /// The upstream that it was forwarded to could not be reached, or did not respond as it should.
    Upstream,
}

impl Outcome {
    /// All outcomes, in the order of their declaration.
    pub const ALL: [Outcome; 12] = [
        Outcome::Answered,
        Outcome::NotHandled,
        Outcome::Client,
        Outcome::Gone,
        Outcome::Trap,
        Outcome::OutOfMemory,
        Outcome::Deadline,
        Outcome::PluginError,
        Outcome::BadResponse,
        Outcome::InitFailed,
        Outcome::Busy,
        Outcome::Upstream,
    ];

    /// The outcome's name in metrics and status.
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Answered => "answered",
            Outcome::NotHandled => "not_handled",
            Outcome::Client => "client_error",
            Outcome::Gone => "client_gone",
            Outcome::Trap => "trap",
            Outcome::OutOfMemory => "out_of_memory",
            Outcome::Deadline => "deadline",
            Outcome::PluginError => "plugin_error",
            Outcome::BadResponse => "bad_answer",
            Outcome::InitFailed => "init_failed",
            Outcome::Busy => "busy",
            Outcome::Upstream => "upstream",
        }
    }
}

/// The figures of the server as a whole.
#[derive(Debug)]
pub struct ServerStats {
    started: Instant,
    /// Requests by the first digit of the response's status; 0 counts responses that were not sent
    /// whole.
    codes: [AtomicU64; 6],
    buckets: [AtomicU64; BUCKETS.len() + 1],
    /// The time that all requests took together.
    microseconds: AtomicU64,
    connections: AtomicUsize,
}

impl ServerStats {
    /// Starts counting from zero; the uptime begins now.
    pub fn new() -> Arc<ServerStats> {
        Arc::new(ServerStats {
            started: Instant::now(),
            codes: Default::default(),
            buckets: Default::default(),
            microseconds: AtomicU64::new(0),
            connections: AtomicUsize::new(0),
        })
    }

    /// How long the daemon has been up.
    pub fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// Counts a request that took `took` and got a response with `status` (0: one that was not sent
    /// whole).
    pub fn count_request(&self, status: u16, took: Duration) {
        let class = usize::from(status / 100).min(self.codes.len() - 1);
        self.codes[class].fetch_add(1, Ordering::Relaxed);
        let seconds = took.as_secs_f64();
        let bucket = BUCKETS.partition_point(|&bound| bound < seconds);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.microseconds.fetch_add(took, Ordering::Relaxed);
    }

    /// The number of requests by class of their response's status.
    pub fn requests(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let names = [
            (0, "none"),
            (1, "1xx"),
            (2, "2xx"),
            (3, "3xx"),
            (4, "4xx"),
            (5, "5xx"),
        ];
        names
            .into_iter()
            .map(|(class, name)| (name, self.codes[class].load(Ordering::Relaxed)))
    }

    /// A histogram of how long requests took, in seconds.
    pub fn seconds(&self) -> Histogram {
        let mut sum = 0;
        let counts = self.buckets.each_ref().map(|bucket| {
            sum += bucket.load(Ordering::Relaxed);
            sum
        });
        let mut buckets = [0; BUCKETS.len()];
        buckets.copy_from_slice(&counts[..BUCKETS.len()]);
        Histogram {
            buckets,
            count: sum,
            sum: self.microseconds.load(Ordering::Relaxed) as f64 / 1e6,
        }
    }

    /// Counts a connection as open until the returned value is dropped.
    pub fn count_connection(self: &Arc<Self>) -> OpenConnection {
        self.connections.fetch_add(1, Ordering::Relaxed);
        OpenConnection(Arc::clone(self))
    }

    /// The number of connections that are open.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

/// A connection that counts as open: see [`ServerStats::count_connection`].
#[derive(Debug)]
pub struct OpenConnection(Arc<ServerStats>);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The figures of one plugin.
#[derive(Debug, Default)]
pub struct PluginStats {
    outcomes: [AtomicU64; Outcome::ALL.len()],
    traps: AtomicU64,
    /// Deadlines that are the plugin's own.
    late: AtomicU64,
    incidents: Mutex<VecDeque<Incident>>,
}

/// A failure after which an instance was thrown away.
#[derive(Debug, Clone)]
pub struct Incident {
    /// When it happened.
    pub at: SystemTime,
    /// The request that the instance worked on; `None` in `init`, `info` and `shutdown`.
    pub request: Option<Arc<str>>,
    /// The outcome: `trap`, `out_of_memory` or `deadline`.
    pub kind: Outcome,
    /// The engine's error, cut short and without secrets.
    pub reason: String,
}

impl PluginStats {
    /// Counts a request that ended with `outcome`.
    pub fn count_request(&self, outcome: Outcome) {
        self.outcomes[outcome as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// The number of requests that ended with `outcome`.
    pub fn requests(&self, outcome: Outcome) -> u64 {
        self.outcomes[outcome as usize].load(Ordering::Relaxed)
    }

    /// Remembers an incident, in place of the oldest if there are too many, and counts it if it is
    /// a trap.
    pub fn add_incident(&self, request: Option<Arc<str>>, kind: Outcome, reason: &str) {
        if kind != Outcome::Deadline {
            self.traps.fetch_add(1, Ordering::Relaxed);
        }
        let incident = Incident {
            at: SystemTime::now(),
            request,
            kind,
            reason: redact::cut(reason, REASON_BYTES).into_owned(),
        };
        let mut kept = sync::lock(&self.incidents);
        if kept.len() == INCIDENTS {
            kept.pop_front();
        }
        kept.push_back(incident);
    }

    /// Remembers that a call was not done in time; if that `is_its_own` and no upstream's fault, it counts.
    pub fn add_late(&self, request: Option<Arc<str>>, is_its_own: bool, reason: &str) {
        if is_its_own {
            self.late.fetch_add(1, Ordering::Relaxed);
        }
        self.add_incident(request, Outcome::Deadline, reason);
    }

    /// The number of calls that were not done in time, and waited for no upstream.
    pub fn late(&self) -> u64 {
        self.late.load(Ordering::Relaxed)
    }

    /// The number of traps in all calls, with those after the memory ran out.
    pub fn traps(&self) -> u64 {
        self.traps.load(Ordering::Relaxed)
    }

    /// The latest incidents, oldest first.
    pub fn incidents(&self) -> Vec<Incident> {
        let kept = sync::lock(&self.incidents);
        kept.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_by_class_and_time() {
        let stats = ServerStats::new();
        for (status, millis) in [
            (200, 1),
            (204, 3),
            (404, 30_000),
            (503, 0),
            (0, 5),
            (999, 1),
        ] {
            stats.count_request(status, Duration::from_millis(millis));
        }
        let counts: Vec<_> = stats.requests().collect();
        assert_eq!(
            counts,
            [
                ("none", 1),
                ("1xx", 0),
                ("2xx", 2),
                ("3xx", 0),
                ("4xx", 1),
                ("5xx", 2)
            ]
        );
        let seconds = stats.seconds();
        // A bound belongs to its bucket.
        assert_eq!(seconds.buckets[..3], [3, 3, 5]);
        assert_eq!((seconds.buckets[11], seconds.count), (5, 6));
        assert!((seconds.sum - 30.01).abs() < 1e-9, "{}", seconds.sum);
    }

    #[test]
    fn the_latest_incidents_are_kept() {
        let stats = PluginStats::default();
        for number in 0..20 {
            stats.add_incident(
                Some("1".into()),
                Outcome::Trap,
                &format!("{number} {}", "x".repeat(999)),
            );
        }
        stats.add_late(None, false, "waits for another");
        stats.add_late(None, true, "late");
        let kept = stats.incidents();
        assert_eq!((kept.len(), stats.traps()), (INCIDENTS, 20));
        assert_eq!(stats.late(), 1);
        assert!(kept[0].reason.starts_with("14 ") && kept[0].reason.len() == REASON_BYTES);
        assert_eq!(kept[7].reason, "late");
    }

    #[test]
    fn a_connection_counts_while_it_is_open() {
        let stats = ServerStats::new();
        let (first, second) = (stats.count_connection(), stats.count_connection());
        assert_eq!(stats.connections(), 2);
        drop((first, second));
        assert_eq!(stats.connections(), 0);
    }
}
