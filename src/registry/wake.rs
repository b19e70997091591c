//! When those who follow all changes are woken: at once, or after the answer that a change belongs to.

use std::{cell::RefCell, sync::Arc};

use super::Registry;
use crate::model::Revision;

thread_local! {
    /// Whose followers this thread has still to wake; none while it wakes at once.
    static OWED: RefCell<Option<Vec<Registry>>> = const { RefCell::new(None) };
}

/// Works, and wakes those who follow all changes of a registry only afterwards: to wake another thread takes
/// longer than a registration. What is followed is there before, for those who look.
///
/// For work that never waits, such as one poll of a connection, which writes its answer too.
pub fn waking_afterwards<T>(work: impl FnOnce() -> T) -> T {
    let outermost = OWED.with_borrow_mut(|owed| {
        let outermost = owed.is_none();
        owed.get_or_insert_default();
        outermost
    });
    // Also when the work panics.
    let _waking = outermost.then(|| Waking);
    work()
}

impl Registry {
    /// Wakes those who follow all changes, or leaves it for the end of the thread's work.
    pub(super) fn wake_or_owe(&self) {
        let is_owed = OWED.with_borrow_mut(|owed| {
            let Some(owed) = owed else {
                return false;
            };
            if !owed.iter().any(|one| Arc::ptr_eq(&one.inner, &self.inner)) {
                owed.push(self.clone());
            }
            true
        });
        if !is_owed {
            self.wake();
        }
    }

    fn wake(&self) {
        let newest = self.newest();
        // Another thread may have told of more.
        let tell = |told: &mut Revision| *told = newest.max(*told);
        self.inner.newest.send_modify(tell);
    }
}

struct Waking;

impl Drop for Waking {
    fn drop(&mut self) {
        let owed = OWED.take().unwrap_or_default();
        for registry in owed {
            registry.wake();
        }
    }
}

#[cfg(test)]
mod tests;
