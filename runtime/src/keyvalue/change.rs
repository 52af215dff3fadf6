//! One change of a key, and how it ends.

use fjall::Slice;
use smol::lock::OnceCell;

use super::writes::Payment;

/// What the database is to hold under a key; `None` if the key is to be removed.
pub(super) type Stored = Option<Slice>;

/// Memory that a change takes beside its key and value: map nodes, headers of the slices.
const CHANGE_BYTES: usize = 160;

/// The change of one key.
#[derive(Clone)]
pub(super) struct Change {
    pub(super) stored: Stored,
    /// What to go back to if the commit fails, where somebody waits for the commit and will be told
    /// of the failure. `None` if the change was acknowledged already: it is kept until it can be
    /// written.
    pub(super) undo: Option<Stored>,
    /// What was paid for it out of a plugin's budget of writes.
    pub(super) payment: Option<Payment>,
}

/// How a batch ended, for those who wait for it.
#[derive(Default)]
pub(super) struct BatchResult(OnceCell<std::result::Result<(), String>>);

impl BatchResult {
    pub(super) async fn wait(&self) -> std::result::Result<(), String> {
        self.0.wait().await.clone()
    }

    pub(super) fn is(&self, result: std::result::Result<(), String>) {
        // Each outcome is set once, because the overlay drops it at the same time.
        let _ = self.0.set_blocking(result);
    }
}

pub(super) fn cost(key: &Slice, change: &Change) -> usize {
    CHANGE_BYTES + key.len() + length(&change.stored) + change.undo.as_ref().map_or(0, length)
}

pub(super) fn length(stored: &Stored) -> usize {
    stored.as_ref().map_or(0, |stored| stored.len())
}
