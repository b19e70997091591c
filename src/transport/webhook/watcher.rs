//! One webhook: its filter, its receiver and its state.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::lag::Lags;
use crate::{
    api::{StoredWatcher, WatcherAnswer},
    catalog::Sight,
    model::{Cursor, Timestamp},
    transport::{Circuit, Filter, Subscriber, rows::StoredCursor},
};

#[derive(Debug)]
pub(super) struct Watcher {
    pub(super) id: Uuid,
    pub(super) filter: Filter,
    pub(super) callback_url: Box<str>,
    pub(super) signed: bool,
    /// The identity that added it.
    pub(super) owner: Option<Box<str>>,
    pub(super) owner_made: Option<Timestamp>,
    pub(super) created_at: Timestamp,
    pub(super) subscriber: Arc<Mutex<Subscriber>>,
    /// The cursor in its row.
    pub(super) stored: Mutex<StoredCursor>,
    /// Cancelled when it is removed.
    pub(super) end: CancellationToken,
}

impl Watcher {
    pub(super) fn new(
        id: Uuid,
        stored: &StoredWatcher,
        subscriber: Subscriber,
        sight: Sight,
    ) -> Self {
        let draft = &stored.draft;
        Self {
            id,
            filter: Filter {
                service: draft.service_name.clone(),
                kinds: draft.events.clone(),
                without_canary: !draft.canary,
                sight,
            },
            callback_url: draft.callback_url.clone(),
            signed: draft.secret.is_some(),
            owner: stored.owner.clone(),
            owner_made: stored.owner_made,
            created_at: stored.created_at,
            stored: Mutex::new(StoredCursor::of(&subscriber)),
            subscriber: Arc::new(Mutex::new(subscriber)),
            end: CancellationToken::new(),
        }
    }

    /// Its URL without the query, which may hold secrets.
    pub(super) fn shown_url(&self) -> &str {
        let url = &*self.callback_url;
        url.split_once('?').map_or(url, |(shown, _)| shown)
    }

    pub(super) fn report<'a>(&'a self, lags: &mut Lags<'a>) -> WatcherAnswer {
        // A copy, so that the lock is held briefly.
        let subscriber = self.subscriber.lock().clone();
        let cursor = subscriber.cursor();
        let record = subscriber.record.clone();
        WatcherAnswer {
            id: self.id.to_string(),
            service_name: self.filter.service.clone(),
            callback_url: self.callback_url.clone(),
            events: self.filter.kinds.clone(),
            signed: self.signed,
            owner: self.owner.clone(),
            owner_made: self.owner_made,
            canary: !self.filter.without_canary,
            created_at: self.created_at,
            cursor,
            lag: self.lag(cursor, lags),
            state: match subscriber.circuit(Instant::now()) {
                Circuit::Closed if subscriber.failures() > 0 => "retrying",
                Circuit::Closed => "active",
                circuit => circuit.as_str(),
            },
            delivered: record.delivered,
            failed: record.failed,
            last_error: record.last_error.map(|error| error.to_string()),
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
