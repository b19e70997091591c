//! The thread that makes commits durable a short time after they were made.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use parking_lot::{Condvar, Mutex};

use super::{Store, StoreError};

/// Wakes the thread.
#[derive(Debug, Default)]
pub(super) struct Syncer {
    /// A commit came since the thread looked.
    is_wanted: AtomicBool,
    is_stopped: Mutex<bool>,
    woken: Condvar,
}

impl Syncer {
    /// There is a commit to make durable.
    pub(super) fn wake(&self) {
        if !self.is_wanted.swap(true, Ordering::AcqRel) {
            let _stopped = self.is_stopped.lock();
            self.woken.notify_one();
        }
    }

    pub(super) fn stop(&self) {
        *self.is_stopped.lock() = true;
        self.woken.notify_one();
    }

    /// Waits for a commit, and then for the interval, in which others join it. False at the end.
    fn wait(&self, interval: Duration) -> bool {
        let mut is_stopped = self.is_stopped.lock();
        while !*is_stopped && !self.is_wanted.load(Ordering::Acquire) {
            self.woken.wait(&mut is_stopped);
        }
        if !*is_stopped {
            self.woken.wait_for(&mut is_stopped, interval);
        }
        self.is_wanted.store(false, Ordering::Release);
        !*is_stopped
    }
}

/// Starts the thread. It ends with the store.
pub(super) fn start(store: &Store, interval: Duration) -> Result<(), StoreError> {
    let syncer = Arc::clone(&store.inner.syncer);
    let inner = Arc::downgrade(&store.inner);
    let run = move || {
        while syncer.wait(interval) {
            let Some(inner) = inner.upgrade() else {
                return;
            };
            // Callers that wait for a commit get the failure.
            let _ = Store { inner }.sync();
        }
    };
    let thread = thread::Builder::new().name("store-sync".into());
    let thread = thread.stack_size(256 << 10).spawn(run);
    thread.map(drop).map_err(|error| StoreError::Unusable {
        path: store.inner.path.clone(),
        source: Arc::new(error),
    })
}
