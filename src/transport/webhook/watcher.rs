//! One webhook: its filter, its receiver and its state.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::lag::Lags;
use crate::{
    model::{Cursor, Timestamp},
    transport::{Circuit, Filter, Record, Subscriber},
};

/// The state of a webhook.
#[derive(Clone, Debug)]
pub struct WatcherInfo {
    /// Its identity.
    pub id: Uuid,
    /// The events that it receives.
    pub filter: Filter,
    /// The URL of the receiver.
    pub callback_url: Box<str>,
    /// Whether deliveries are signed.
    pub signed: bool,
    /// Since when.
    pub created_at: Timestamp,
    /// The last change it has taken, or that was not for it.
    pub cursor: Cursor,
    /// The number of changes that it has not received yet.
    pub lag: u64,
    /// The state of its circuit breaker.
    pub circuit: Circuit,
    /// Attempts that failed since the last success.
    pub failures: u32,
    /// Statistics of its deliveries.
    pub record: Record,
}

impl WatcherInfo {
    /// Its state: `active`, `retrying` after a failure, `open` or `half_open` after many.
    pub fn state(&self) -> &'static str {
        match self.circuit {
            Circuit::Closed if self.failures > 0 => "retrying",
            Circuit::Closed => "active",
            circuit => circuit.as_str(),
        }
    }
}

#[derive(Debug)]
pub(super) struct Watcher {
    pub(super) id: Uuid,
    pub(super) filter: Filter,
    pub(super) callback_url: Box<str>,
    pub(super) signed: bool,
    pub(super) created_at: Timestamp,
    pub(super) subscriber: Arc<Mutex<Subscriber>>,
    /// Cancelled when it is removed.
    pub(super) end: CancellationToken,
}

impl Watcher {
    pub(super) fn info<'a>(&'a self, lags: &mut Lags<'a>) -> WatcherInfo {
        let now = Instant::now();
        // A copy, so that the lock is held briefly.
        let subscriber = self.subscriber.lock().clone();
        let cursor = subscriber.cursor();
        WatcherInfo {
            id: self.id,
            filter: self.filter.clone(),
            callback_url: self.callback_url.clone(),
            signed: self.signed,
            created_at: self.created_at,
            cursor,
            lag: self.lag(cursor, lags),
            circuit: subscriber.circuit(now),
            failures: subscriber.failures(),
            record: subscriber.record,
        }
    }

    /// The number of changes that it has not received yet.
    pub(super) fn lag<'a>(&'a self, cursor: Cursor, lags: &mut Lags<'a>) -> u64 {
        lags.after(cursor, self.filter.service.as_ref())
    }

    pub(super) fn is_open(&self) -> bool {
        self.subscriber.lock().circuit(Instant::now()) != Circuit::Closed
    }
}
