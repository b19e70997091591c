//! What the broker owes: since when something was sent that it has not answered.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::time::Instant;

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
