//! What the broker owes: since when something was sent that it has not answered.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::time::{Instant, sleep};

use super::Link;

const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Since when something was sent that the broker has not answered.
#[derive(Debug, Default)]
pub(super) struct OwedSince(pub(super) Mutex<Option<Instant>>);

/// One sender's account of what the broker owes it.
#[derive(Clone, Debug)]
pub struct Owed(pub(super) Arc<OwedSince>);

impl Owed {
    /// Something is about to be sent.
    pub fn sent(&self) {
        self.0.0.lock().get_or_insert_with(Instant::now);
    }

    /// The broker answered, whatever it said.
    pub fn answered(&self) {
        *self.0.0.lock() = None;
    }
}

impl Link {
    /// Waits until the broker has answered all that was sent. Whoever calls sets the limit.
    pub(super) async fn until_answered(&self) {
        let owes = || {
            let owed = self.shared.owed.lock();
            owed.iter().any(|one| one.0.lock().is_some())
        };
        while owes() {
            sleep(LOOK_EVERY).await;
        }
    }
}
