//! Wakes the followers of all changes: at once, or after the answer that a change belongs to.

use std::{cell::RefCell, sync::Arc};

use super::Registry;
use crate::model::Revision;

thread_local! {
    /// Registries whose wake-ups this thread has deferred; none while it wakes at once.
    static DEFERRED: RefCell<Option<Vec<Registry>>> = const { RefCell::new(None) };
}

/// Runs `work`, then wakes followers of all changes: waking a thread takes longer than a registration. The
/// change itself is visible before that.
///
/// For work that never waits, such as one poll of a connection, which writes its answer too.
pub fn waking_afterwards<T>(work: impl FnOnce() -> T) -> T {
    let outermost = DEFERRED.with_borrow_mut(|deferred| {
        let outermost = deferred.is_none();
        deferred.get_or_insert_default();
        outermost
    });
    // Also when the work panics.
    let _waking = outermost.then(|| Waking);
    work()
}

impl Registry {
    /// Wakes the followers of all changes, or defers that to the end of the thread's work.
    pub(super) fn wake_or_defer(&self) {
        let is_deferred = DEFERRED.with_borrow_mut(|deferred| {
            let Some(deferred) = deferred else {
                return false;
            };
            if !deferred
                .iter()
                .any(|one| Arc::ptr_eq(&one.inner, &self.inner))
            {
                deferred.push(self.clone());
            }
            true
        });
        if !is_deferred {
            self.wake();
        }
    }

    fn wake(&self) {
        let newest = self.newest();
        // Another thread may have sent a newer revision.
        let raise = |sent: &mut Revision| *sent = newest.max(*sent);
        self.inner.newest.send_modify(raise);
        self.inner.table.stamps.wake();
    }
}

struct Waking;

impl Drop for Waking {
    fn drop(&mut self) {
        let deferred = DEFERRED.take().unwrap_or_default();
        for registry in deferred {
            registry.wake();
        }
    }
}

#[cfg(test)]
mod tests;
