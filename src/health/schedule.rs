//! Which check is due when. Pure: the caller passes times in milliseconds.

use std::collections::{BTreeSet, HashMap};

/// Identifies one check of one registration; never reused.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(super) struct CheckId(pub(super) u64);

/// Checks in the order in which they are due, each at most once.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    turns: BTreeSet<(u64, CheckId)>,
    due: HashMap<CheckId, u64>,
}

impl Schedule {
    /// Schedules a check; replaces an earlier time.
    pub(super) fn book(&mut self, check: CheckId, due_ms: u64) {
        if let Some(before) = self.due.insert(check, due_ms) {
            self.turns.remove(&(before, check));
        }
        self.turns.insert((due_ms, check));
    }

    /// Removes a check.
    pub(super) fn remove(&mut self, check: CheckId) {
        if let Some(due) = self.due.remove(&check) {
            self.turns.remove(&(due, check));
        }
    }

    /// Whether a check is scheduled.
    pub(super) fn is_booked(&self, check: CheckId) -> bool {
        self.due.contains_key(&check)
    }

    /// When the next check is due.
    pub(super) fn next_due(&self) -> Option<u64> {
        self.turns.first().map(|(due, _)| *due)
    }

    /// Takes the check that has been due for longest, with its due time.
    pub(super) fn take_due(&mut self, now_ms: u64) -> Option<(CheckId, u64)> {
        let (due, check) = *self.turns.first().filter(|(due, _)| *due <= now_ms)?;
        self.turns.pop_first();
        self.due.remove(&check);
        Some((check, due))
    }

    pub(super) fn len(&self) -> usize {
        self.turns.len()
    }
}

/// The next due time of a check that was due at `due_ms` and whose probe ended at `now_ms`.
///
/// A check keeps its phase, so that checks stay spread over the interval. Of the due times that passed
/// meanwhile only the last one counts.
pub(super) fn next_turn(due_ms: u64, interval_ms: u64, now_ms: u64) -> u64 {
    let interval_ms = interval_ms.max(1);
    let intervals = now_ms.saturating_sub(due_ms) / interval_ms;
    due_ms.saturating_add(interval_ms.saturating_mul(intervals.max(1)))
}

#[cfg(test)]
mod tests;
