//! How a pipeline ends that another has taken the place of.
//!
//! Its requests go on to their ends, and its WebSockets are closed with the status of a server that goes
//! away, upon which clients connect again and reach the next pipeline. A response may be endless, and a peer may
//! not answer a close: what is still at work when its memory is needed is cut off, and waits for nobody.

use smol::channel::{Receiver, Sender, bounded};

use crate::wire::stopped;

/// What tells the requests of a pipeline that it retires.
pub(super) struct Retirement {
    retiring: Sender<()>,
    retired: Receiver<()>,
    cutting: Sender<()>,
    cut: Receiver<()>,
    /// Dropped with the pipeline, which every request holds.
    _end: Sender<()>,
    ended: Receiver<()>,
}

impl Default for Retirement {
    fn default() -> Retirement {
        let ((retiring, retired), (cutting, cut)) = (bounded(1), bounded(1));
        let (end, ended) = bounded(1);
        Retirement {
            retiring,
            retired,
            cutting,
            cut,
            _end: end,
            ended,
        }
    }
}

impl super::Pipeline {
    /// Has its WebSockets end, since another pipeline has taken its place.
    pub fn retire(&self) {
        self.retirement.retiring.close();
    }

    /// Cuts off whatever is still at work in it.
    pub fn cut_off(&self) {
        self.retire();
        self.retirement.cutting.close();
    }

    /// Closed when it retires.
    pub fn retired(&self) -> Receiver<()> {
        self.retirement.retired.clone()
    }

    /// Resolves when what is at work in it is to be cut off.
    pub async fn cut(&self) {
        stopped(&self.retirement.cut).await;
    }

    /// Closed when what is at work in it is to be cut off.
    pub fn cutting(&self) -> Receiver<()> {
        self.retirement.cut.clone()
    }

    /// Whether what is at work in it is to be cut off.
    pub fn is_cut_off(&self) -> bool {
        self.retirement.cut.is_closed()
    }

    /// Closed when nobody holds it any more, which is when its last request has ended.
    pub fn ended(&self) -> Receiver<()> {
        self.retirement.ended.clone()
    }
}
