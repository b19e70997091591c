//! Since when the broker has left something unconfirmed.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::time::{Instant, sleep};

use super::Link;

const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Since when one sender waits for a confirm; none while it waits for none. Clones are the same one.
#[derive(Clone, Debug, Default)]
pub(crate) struct UnconfirmedSince(pub(super) Arc<Mutex<Option<Instant>>>);

impl UnconfirmedSince {
    /// Something is about to be sent.
    pub(crate) fn sent(&self) {
        self.0.lock().get_or_insert_with(Instant::now);
    }

    /// The broker confirmed a part. It is never none in between: the connection could be closed at that moment, and
    /// the rest would be sent twice.
    pub(crate) fn confirmed_some(&self) {
        *self.0.lock() = Some(Instant::now());
    }

    /// The broker answered everything, whatever it said.
    pub(crate) fn answered(&self) {
        *self.0.lock() = None;
    }

    /// Since when.
    pub(in crate::transport::amqp) fn since(&self) -> Option<Instant> {
        *self.0.lock()
    }
}

impl Link {
    /// Waits until the broker has confirmed everything that was sent. The caller sets the limit.
    pub(super) async fn until_confirmed(&self) {
        let waits = || {
            let all = self.shared.unconfirmed.lock();
            all.iter().any(|one| one.since().is_some())
        };
        while waits() {
            sleep(LOOK_EVERY).await;
        }
    }
}
