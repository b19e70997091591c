//! The cursors of the channels that are published, and their rows.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::{
    model::{Channel, Cursor},
    registry::{Registry, UnreadableRow},
    transport::{
        Policy, RowChange, Start, StoredRows, Subscriber, TransportRows, rows::StoredCursor,
    },
};

pub(in crate::transport) const CURSORS: &str = "transport.channels";
/// A cursor that moves is stored so often. After a crash, events of that time are published again.
const STORE_EVERY: Duration = Duration::from_secs(1);

/// The cursors of an earlier run.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::transport) struct StoredCursors {
    events: Option<StoredCursor>,
    health: Option<StoredCursor>,
}

impl StoredCursors {
    pub(in crate::transport) fn read(rows: &StoredRows) -> Result<Self, UnreadableRow> {
        let read = |channel: Channel| {
            let row = rows.iter().find(|(key, _)| **key == *key_of(channel));
            let cursor = row.map(|(_, row)| StoredCursor::read(row));
            let cursor = cursor.map(|cursor| cursor.ok_or(UnreadableRow { table: CURSORS }));
            cursor.transpose()
        };
        Ok(Self {
            events: read(Channel::Events)?,
            health: read(Channel::Health)?,
        })
    }
}

fn key_of(channel: Channel) -> &'static [u8] {
    channel.as_str().as_bytes()
}

/// The cursor of one channel.
#[derive(Debug)]
pub(super) struct ChannelCursor {
    channel: Channel,
    pub(super) subscriber: Arc<Mutex<Subscriber>>,
    /// Whether an earlier run published, so that subscribers know what existed then.
    pub(super) is_restored: bool,
    /// None before its first row.
    stored: Mutex<Option<StoredCursor>>,
}

impl ChannelCursor {
    fn new(
        channel: Channel,
        stored: Option<StoredCursor>,
        registry: &Registry,
        policy: Policy,
    ) -> Self {
        let subscriber = match stored {
            Some(stored) => stored.subscriber(registry, policy),
            None => Start::Newest.subscriber(registry, policy),
        };
        Self {
            channel,
            is_restored: stored.is_some(),
            stored: Mutex::new(stored),
            subscriber: Arc::new(Mutex::new(subscriber)),
        }
    }

    /// Where it is now.
    pub(super) fn get(&self) -> Cursor {
        self.subscriber.lock().cursor()
    }
}

/// The cursors of both channels.
#[derive(Debug)]
pub(super) struct ChannelCursors {
    pub(super) events: ChannelCursor,
    pub(super) health: ChannelCursor,
    rows: Arc<dyn TransportRows>,
}

impl ChannelCursors {
    /// They continue where they were, or begin with the next change.
    pub(super) fn new(
        stored: StoredCursors,
        rows: Arc<dyn TransportRows>,
        registry: &Registry,
        policy: Policy,
    ) -> Self {
        Self {
            events: ChannelCursor::new(Channel::Events, stored.events, registry, policy),
            health: ChannelCursor::new(Channel::Health, stored.health, registry, policy),
            rows,
        }
    }

    /// Whether another run continues with them.
    pub(super) fn are_kept(&self) -> bool {
        self.rows.are_kept()
    }

    /// Stores cursors that moved, until `stop`.
    pub(super) async fn keep(&self, stop: &CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(STORE_EVERY) => self.store().await,
            }
        }
    }

    /// Stores the cursors that moved.
    pub(super) async fn store(&self) {
        let mut moved = Vec::new();
        for cursor in [&self.events, &self.health] {
            let now = StoredCursor::of(&cursor.subscriber.lock());
            if *cursor.stored.lock() != Some(now) {
                moved.push((cursor, now));
            }
        }
        if moved.is_empty() {
            return;
        }
        let row = |(cursor, now): &(&ChannelCursor, StoredCursor)| RowChange {
            table: CURSORS,
            key: key_of(cursor.channel).into(),
            value: Some(now.encode()),
        };
        // A full disk is reported by the store, and the next time may succeed.
        if self
            .rows
            .commit(moved.iter().map(row).collect())
            .await
            .is_ok()
        {
            for (cursor, now) in moved {
                *cursor.stored.lock() = Some(now);
            }
        }
    }
}
