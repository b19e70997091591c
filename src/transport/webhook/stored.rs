//! The webhooks, and their rows: one with what the caller asked for, its secret too, and one with the cursor.

use std::{collections::BTreeMap, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::FutureExt;
use parking_lot::Mutex;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::watcher::Watcher;
use crate::{
    api::StoredWatcher,
    registry::{Lost, UnreadableRow},
    transport::{
        StoredRows,
        rows::{RowChange, StoredCursor, TransportRows},
    },
};

pub(in crate::transport) const WEBHOOKS: &str = "transport.webhooks";
pub(in crate::transport) const CURSORS: &str = "transport.webhook_cursors";
/// A cursor that moves is stored so often. After a crash, deliveries of that time are repeated.
const STORE_EVERY: Duration = Duration::from_secs(1);

/// A webhook of an earlier run.
#[derive(Debug)]
pub(in crate::transport) struct RestoredWebhook {
    pub(super) id: Uuid,
    pub(super) watcher: StoredWatcher,
    pub(super) cursor: StoredCursor,
}

impl RestoredWebhook {
    /// Reads both tables. A webhook without a cursor, which only a repair leaves behind, begins with a snapshot.
    pub(in crate::transport) fn read_all(
        webhooks: &StoredRows,
        cursors: &StoredRows,
    ) -> Result<Vec<Self>, UnreadableRow> {
        let cursors: BTreeMap<_, _> = cursors.iter().cloned().collect();
        let read = |(key, row): &(bytes::Bytes, bytes::Bytes)| {
            let unreadable = |table| move || UnreadableRow { table };
            let cursor = match cursors.get(key) {
                Some(row) => StoredCursor::read(row).ok_or_else(unreadable(CURSORS))?,
                None => StoredCursor::lost(),
            };
            Ok(Self {
                id: Uuid::from_slice(key).map_err(|_| UnreadableRow { table: WEBHOOKS })?,
                watcher: StoredWatcher::read(row).ok_or_else(unreadable(WEBHOOKS))?,
                cursor,
            })
        };
        webhooks.iter().map(read).collect()
    }
}

/// The webhooks, and their rows.
#[derive(Debug)]
pub(super) struct WatcherTable {
    rows: Arc<dyn TransportRows>,
    watchers: Mutex<BTreeMap<Uuid, Arc<Watcher>>>,
    /// Held while rows are removed or cursors stored, so that no cursor is stored for a removed webhook.
    storing: tokio::sync::Mutex<()>,
}

impl WatcherTable {
    pub(super) fn new(rows: Arc<dyn TransportRows>) -> Self {
        Self {
            rows,
            watchers: Mutex::default(),
            storing: tokio::sync::Mutex::default(),
        }
    }

    pub(super) fn all(&self) -> Vec<Arc<Watcher>> {
        self.watchers.lock().values().cloned().collect()
    }

    pub(super) fn find(&self, id: Uuid) -> Option<Arc<Watcher>> {
        self.watchers.lock().get(&id).cloned()
    }

    /// Stores a webhook, and then shows it.
    pub(super) async fn add(
        &self,
        watcher: &Arc<Watcher>,
        stored: &StoredWatcher,
    ) -> Result<(), Lost> {
        let cursor = *watcher.stored.lock();
        let changes = vec![
            set(WEBHOOKS, watcher.id, stored.encode()),
            set(CURSORS, watcher.id, cursor.encode()),
        ];
        self.rows.commit(changes).await?;
        self.insert(watcher);
        Ok(())
    }

    /// Shows a webhook that is stored already.
    pub(super) fn insert(&self, watcher: &Arc<Watcher>) {
        let watcher = Arc::clone(watcher);
        self.watchers.lock().insert(watcher.id, watcher);
    }

    /// Removes a webhook; none when there is no such webhook.
    pub(super) async fn remove(&self, id: Uuid) -> Result<Option<Arc<Watcher>>, Lost> {
        let _storing = self.storing.lock().await;
        if self.find(id).is_none() {
            return Ok(None);
        }
        let gone = |table| RowChange {
            table,
            key: id.as_bytes().into(),
            value: None,
        };
        let changes = vec![gone(WEBHOOKS), gone(CURSORS)];
        self.rows.commit(changes).await?;
        Ok(self.watchers.lock().remove(&id))
    }

    /// Removes a webhook whose receiver ended its deliveries, also if its rows cannot be removed or a panic interrupts
    /// that: then the receiver is asked again after a restart.
    pub(super) async fn end(&self, id: Uuid) {
        let removed = AssertUnwindSafe(self.remove(id)).catch_unwind().await;
        if !matches!(removed, Ok(Ok(_))) {
            self.watchers.lock().remove(&id);
        }
    }

    /// Stores cursors that moved, until `stop`.
    pub(super) async fn keep_cursors(&self, stop: &CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(STORE_EVERY) => self.store_cursors().await,
            }
        }
    }

    /// Stores the cursors that moved.
    pub(super) async fn store_cursors(&self) {
        let _storing = self.storing.lock().await;
        let mut moved = Vec::new();
        for watcher in self.all() {
            let cursor = StoredCursor::of(&watcher.subscriber.lock());
            if *watcher.stored.lock() != cursor {
                moved.push((watcher, cursor));
            }
        }
        if moved.is_empty() {
            return;
        }
        let changes = moved.iter();
        let changes = changes.map(|(watcher, cursor)| set(CURSORS, watcher.id, cursor.encode()));
        // A full disk is reported by the store, and the next time may succeed.
        if self.rows.commit(changes.collect()).await.is_ok() {
            for (watcher, cursor) in moved {
                *watcher.stored.lock() = cursor;
            }
        }
    }
}

fn set(table: &'static str, id: Uuid, value: Vec<u8>) -> RowChange {
    RowChange {
        table,
        key: id.as_bytes().into(),
        value: Some(value),
    }
}
