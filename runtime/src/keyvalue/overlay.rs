//! Changes on their way to the disk.
//!
//! Every change of a durable namespace lands here first, under its key: a counter that changes a
//! thousand times between two commits is written once. Reads look here before they look into the
//! database. The keeper takes what has gathered as one batch and writes it whole.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fjall::Slice;

use super::change::{BatchResult, Change, Stored, cost, length};
use super::writes::Payment;

type Changes = BTreeMap<Slice, Change>;

/// The changes that the database does not hold yet.
#[derive(Default)]
pub(super) struct Overlay {
    pending: Changes,
    pending_bytes: usize,
    /// When the first of the pending changes has to be on its way to the disk, and the shortest of
    /// the times that they may wait.
    due: Option<(Instant, Duration)>,
    /// Whether somebody waits until the pending changes are on the disk.
    awaited: bool,
    /// Whether somebody waits until there is room for another change.
    is_crowded: bool,
    outcome: Arc<BatchResult>,
    /// The batch that is being written, and who waits for it.
    committing: Option<(Arc<Changes>, Arc<BatchResult>)>,
    committing_bytes: usize,
    /// Why changes are refused, while the disk takes none.
    refusing: Option<String>,
    /// Why all but removals are refused, while the disk has hardly any room.
    scarce: Option<String>,
}

impl Overlay {
    /// The change of `key` that is on its way, if there is one.
    pub(super) fn get(&self, key: &[u8]) -> Option<&Stored> {
        let committing = || self.committing.as_ref()?.0.get(key);
        self.pending
            .get(key)
            .or_else(committing)
            .map(|change| &change.stored)
    }

    /// The first changes of keys that start with `prefix` and come behind `after`, sorted: `most`
    /// of them, or twice as many. The second value is the last key up to which they are complete,
    /// if they are not all.
    pub(super) fn range(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        most: usize,
    ) -> (BTreeMap<Slice, Stored>, Option<Slice>) {
        let from = match after {
            Some(after) => Bound::Excluded(after),
            None => Bound::Included(prefix),
        };
        let mut found = BTreeMap::new();
        let mut complete: Option<Slice> = None;
        let batch = self.committing.as_ref().map(|(batch, _)| batch.as_ref());
        // The older first: a younger change of the same key takes its place.
        for changes in batch.into_iter().chain([&self.pending]) {
            let mut range = changes
                .range::<[u8], _>((from, Bound::Unbounded))
                .take_while(|(key, _)| key.starts_with(prefix));
            let mut last = None;
            for (key, change) in range.by_ref().take(most) {
                found.insert(key.clone(), change.stored.clone());
                last = Some(key);
            }
            if let (Some(_), Some(last)) = (range.next(), last)
                && complete.as_ref().is_none_or(|complete| last < complete)
            {
                complete = Some(last.clone());
            }
        }
        if let Some(complete) = &complete {
            found.retain(|key, _| key <= complete);
        }
        (found, complete)
    }

    /// Whether there is room for a change of `key` whose value takes `bytes`: little is pending (else a large
    /// value would wait for as long as small changes come), or no more than `most` is then, or it takes the
    /// place of one that is pending and at least as large.
    pub(super) fn has_room(&self, key: &[u8], bytes: usize, most: usize) -> bool {
        let replaces = || {
            let earlier = self.pending.get(key).map(|change| &change.stored);
            earlier.is_some_and(|stored| length(stored) >= bytes)
        };
        self.pending_bytes <= most / 2 || self.pending_bytes + bytes <= most || replaces()
    }

    /// Notes that somebody waits for room.
    pub(super) fn wants_room(&mut self) {
        self.is_crowded = true;
    }

    /// Whether somebody waits for room.
    pub(super) fn is_crowded(&self) -> bool {
        self.is_crowded
    }

    /// What was paid for the pending change of `key`.
    pub(super) fn payment(&self, key: &[u8]) -> Option<&Payment> {
        self.pending.get(key)?.payment.as_ref()
    }

    /// Adds a change that may wait for `within`. Returns the outcome of the batch that it will be
    /// part of.
    pub(super) fn add_change(
        &mut self,
        key: Slice,
        mut change: Change,
        within: Duration,
    ) -> Arc<BatchResult> {
        self.awaited |= change.undo.is_some();
        // One that may wait as long as another before it is due after that one: the clock is not
        // asked for each.
        if self.due.is_none_or(|(_, shortest)| within < shortest) {
            let own = Instant::now() + within;
            let due = self.due.map_or(own, |(due, _)| due.min(own));
            self.due = Some((due, within));
        }
        self.pending_bytes += cost(&key, &change);
        if let Some(earlier) = self.pending.get(&key) {
            self.pending_bytes = self.pending_bytes.saturating_sub(cost(&key, earlier));
            // Undoing leads back to before the first change of the batch.
            change.undo = earlier.undo.clone().or(change.undo);
        }
        self.pending.insert(key, change);
        Arc::clone(&self.outcome)
    }

    /// Bytes of memory that the pending changes take.
    pub(super) fn pending_bytes(&self) -> usize {
        self.pending_bytes
    }

    /// Bytes of memory that all changes take which are not on the disk yet.
    pub(super) fn unwritten_bytes(&self) -> usize {
        self.pending_bytes + self.committing_bytes
    }

    /// When the pending changes have to be written; `None` if there are none.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due.map(|(due, _)| due)
    }

    /// Whether no change waits to be written.
    pub(super) fn is_empty(&self) -> bool {
        self.pending.is_empty() && self.committing.is_none()
    }

    /// Whether somebody waits for a commit.
    pub(super) fn is_awaited(&self) -> bool {
        self.awaited
    }

    /// Why changes are refused at the moment.
    pub(super) fn refusing(&self) -> Option<&str> {
        self.refusing.as_deref()
    }

    /// Why all but removals are refused at the moment.
    pub(super) fn scarce(&self) -> Option<&str> {
        self.scarce.as_deref()
    }

    /// Refuses all but removals for this reason, or nothing any more.
    pub(super) fn set_scarce(&mut self, reason: Option<&str>) {
        self.scarce = reason.map(str::to_owned);
    }

    /// Refuses changes from now on, if none is on its way. Returns whether it does.
    pub(super) fn refuse_if_empty(&mut self, reason: &str) -> bool {
        let empty = self.is_empty();
        if empty {
            self.refusing = Some(reason.to_owned());
        }
        empty
    }

    /// Begins a batch with all pending changes; `None` if there are none.
    pub(super) fn begin_batch(&mut self) -> Option<Arc<Changes>> {
        self.is_crowded = false;
        if self.pending.is_empty() {
            return None;
        }
        let batch = Arc::new(std::mem::take(&mut self.pending));
        let outcome = std::mem::take(&mut self.outcome);
        self.committing_bytes = std::mem::take(&mut self.pending_bytes);
        (self.awaited, self.due) = (false, None);
        self.committing = Some((Arc::clone(&batch), outcome));
        Some(batch)
    }

    /// Ends the batch: it is on the disk.
    pub(super) fn committed(&mut self) {
        self.refusing = None;
        self.committing_bytes = 0;
        if let Some((_, outcome)) = self.committing.take() {
            outcome.is(Ok(()));
        }
    }

    /// Ends the batch: it is not on the disk, or only in part, which nobody can tell. Acknowledged
    /// changes stay and are written again. The others are undone, even if they may have reached the
    /// disk. The caller makes sure that nobody makes a change meanwhile.
    pub(super) fn failed(&mut self, reason: &str) {
        self.refusing = Some(reason.to_owned());
        self.committing_bytes = 0;
        let committing = self.committing.take();
        let late = std::mem::take(&mut self.pending);
        let waiting = std::mem::take(&mut self.outcome);
        let batch = match &committing {
            Some((batch, _)) => batch.as_ref().clone(),
            None => BTreeMap::new(),
        };
        let mut kept = Changes::new();
        for (key, change) in batch {
            let stored = change.undo.unwrap_or(change.stored);
            // It was paid for, and may well have been written.
            let (undo, payment) = (None, None);
            kept.insert(
                key,
                Change {
                    stored,
                    undo,
                    payment,
                },
            );
        }
        for (key, change) in late {
            match change.undo {
                None => drop(kept.insert(key, change)),
                // If the batch has the key too, the batch's own value is the one to go back to.
                Some(_) if kept.contains_key(&key) => {}
                // The key is in no batch yet, so the disk holds what it held before.
                Some(_) => {}
            }
        }
        self.pending_bytes = kept.iter().map(|(key, change)| cost(key, change)).sum();
        // What is left has waited for as long as it may.
        self.due = (!kept.is_empty()).then(|| (Instant::now(), Duration::ZERO));
        self.pending = kept;
        self.awaited = false;
        for outcome in committing
            .map(|(_, outcome)| outcome)
            .into_iter()
            .chain([waiting])
        {
            outcome.is(Err(reason.to_owned()));
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn change(value: &str, undo: Option<Option<&str>>) -> Change {
        Change {
            stored: Some(value.into()),
            undo: undo.map(|undo| undo.map(Slice::from)),
            payment: None,
        }
    }

    fn shown(overlay: &Overlay, key: &str) -> Option<String> {
        let stored = overlay.get(key.as_bytes())?.as_ref()?;
        Some(String::from_utf8(stored.to_vec()).unwrap())
    }

    #[test]
    fn the_newest_change_is_seen_while_an_older_one_is_written() {
        let mut overlay = Overlay::default();
        overlay.add_change("k".into(), change("1", None), SECOND);
        let batch = overlay.begin_batch().unwrap();
        overlay.add_change("k".into(), change("2", None), SECOND);
        assert_eq!(batch.len(), 1);
        assert_eq!(shown(&overlay, "k").unwrap(), "2");
        overlay.committed();
        assert_eq!(shown(&overlay, "k").unwrap(), "2");
        assert!(overlay.begin_batch().is_some());
        overlay.committed();
        assert!(overlay.is_empty() && overlay.begin_batch().is_none());
    }

    #[test]
    fn many_changes_of_one_key_take_the_room_of_one() {
        let mut overlay = Overlay::default();
        overlay.add_change("k".into(), change("1", None), SECOND);
        let once = overlay.pending_bytes();
        for _ in 0..1000 {
            overlay.add_change("k".into(), change("2", None), SECOND);
        }
        assert_eq!(overlay.pending_bytes(), once);
        assert_eq!(overlay.range(b"k", None, 9).0.len(), 1);
        assert_eq!(overlay.range(b"other", None, 9).0.len(), 0);
        assert!(overlay.has_room(b"k", 1, 0) && !overlay.has_room(b"k", 2, 0));
        assert!(!overlay.has_room(b"l", 1, once) && overlay.has_room(b"l", 1, once + 1));
    }

    #[test]
    fn changes_are_listed_piece_by_piece_whichever_batch_they_are_in() {
        let mut overlay = Overlay::default();
        for key in ["a0", "a2", "a4", "a6"] {
            overlay.add_change(key.into(), change("old", None), SECOND);
        }
        overlay.begin_batch().unwrap();
        for key in ["a1", "a2", "a3", "a9", "b"] {
            overlay.add_change(key.into(), change("new", None), SECOND);
        }
        let mut after: Option<Slice> = None;
        let mut seen = Vec::new();
        for _ in 0..9 {
            let (found, complete) = overlay.range(b"a", after.as_deref(), 2);
            seen.extend(found.into_iter().map(|(key, stored)| {
                let text = [key.to_vec(), b"=".to_vec(), stored.unwrap().to_vec()].concat();
                String::from_utf8(text).unwrap()
            }));
            after = complete;
            if after.is_none() {
                break;
            }
        }
        let all = "a0=old a1=new a2=new a3=new a4=old a6=old a9=new";
        assert_eq!(seen.join(" "), all);
    }

    #[test]
    fn after_a_failure_acknowledged_changes_stay_and_others_are_undone() {
        let mut overlay = Overlay::default();
        overlay.add_change("acknowledged".into(), change("a", None), SECOND);
        let first = overlay.add_change("waited".into(), change("new", Some(Some("old"))), SECOND);
        overlay.begin_batch().unwrap();
        let second =
            overlay.add_change("waited".into(), change("newer", Some(Some("new"))), SECOND);
        overlay.add_change("late".into(), change("x", Some(None)), SECOND);
        overlay.failed("no space");
        for outcome in [first, second] {
            assert_eq!(smol::block_on(outcome.wait()), Err("no space".to_owned()));
        }
        assert_eq!(overlay.refusing(), Some("no space"));
        assert_eq!(shown(&overlay, "acknowledged").unwrap(), "a");
        assert_eq!(shown(&overlay, "waited").unwrap(), "old");
        assert!(overlay.get(b"late").is_none());
        assert!(overlay.begin_batch().is_some());
        overlay.committed();
        assert_eq!(overlay.refusing(), None);
    }

    #[test]
    fn several_awaited_changes_of_one_batch_go_back_to_before_the_first() {
        let mut overlay = Overlay::default();
        overlay.add_change("k".into(), change("1", Some(None)), SECOND);
        overlay.add_change("k".into(), change("2", Some(Some("1"))), SECOND);
        overlay.begin_batch().unwrap();
        overlay.failed("why");
        assert_eq!(overlay.get(b"k"), Some(&None), "a removal, to be written");
    }

    #[test]
    fn changes_are_due_when_the_first_of_them_is() {
        let mut overlay = Overlay::default();
        let mut add = |key: &str, within| {
            let before = Instant::now() + within;
            overlay.add_change(key.into(), change("1", None), within);
            (before, overlay.due().unwrap(), Instant::now() + within)
        };
        let (before, minute, after) = add("a", 60 * SECOND);
        assert!(before <= minute && minute <= after);
        // As long, or longer: the first counts, of the same key as well.
        assert_eq!(add("b", 60 * SECOND).1, minute);
        assert_eq!(add("a", 3600 * SECOND).1, minute);
        let (before, second, after) = add("c", SECOND);
        assert!(before <= second && second <= after);
        assert_eq!(add("d", 60 * SECOND).1, second);
        overlay.begin_batch().unwrap();
        assert_eq!(overlay.due(), None);
        // What comes while the batch is written is due by itself.
        overlay.add_change("e".into(), change("1", None), 60 * SECOND);
        assert!(overlay.due().unwrap() > Instant::now() + 59 * SECOND);
        overlay.failed("why");
        assert!(overlay.due().unwrap() <= Instant::now());
        overlay.begin_batch().unwrap();
        overlay.committed();
        assert_eq!(overlay.due(), None);
    }
}
