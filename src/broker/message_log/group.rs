//! Changes that are recovered as a whole or not at all.

use std::{ops::RangeInclusive, sync::Arc};

use super::{
    QueueNumber, QueuePlace,
    pending::{GroupContent, QueueChange, records},
    shared::Shared,
};
use crate::broker::message::Message;

/// Changes that are recovered as a whole or not at all: a transaction, a dead letter, a publish that takes
/// several turns. Meanwhile the log remembers settlements of messages that it does not know yet.
#[derive(Debug)]
pub struct MessageGroup {
    pub(super) shared: Arc<Shared>,
    pub(super) content: GroupContent,
}

impl MessageGroup {
    pub(super) fn new(shared: &Arc<Shared>) -> Self {
        shared.pending.lock().open_groups += 1;
        Self {
            shared: Arc::clone(shared),
            content: GroupContent::default(),
        }
    }

    /// Appends a message with the places it was routed to, at least one.
    pub fn append(&mut self, message: &Arc<Message>, places: &[QueuePlace]) {
        self.content.messages.extend(records(message, places));
    }

    /// A message has left a queue for good.
    pub fn settle(&mut self, queue: QueueNumber, position: u64) {
        self.settle_all(queue, position..=position);
    }

    /// All messages of a queue with these positions have left it for good.
    pub fn settle_all(&mut self, queue: QueueNumber, positions: RangeInclusive<u64>) {
        self.change(QueueChange::settled(queue, positions));
    }

    /// A message was requeued at a position, the same or another, for the `returns`-th time.
    pub fn requeue(&mut self, queue: QueueNumber, from: u64, position: u64, returns: u32) {
        self.change(QueueChange::Requeued {
            queue,
            from,
            position,
            returns,
        });
    }

    /// Whether nothing has been gathered.
    pub fn is_empty(&self) -> bool {
        self.content.messages.is_empty() && self.content.changes.is_empty()
    }

    fn change(&mut self, change: QueueChange) {
        let changes = &mut self.content.changes;
        if !changes.last_mut().is_some_and(|last| last.extend(&change)) {
            changes.push(change);
        }
    }
}

impl Drop for MessageGroup {
    fn drop(&mut self) {
        let mut pending = self.shared.pending.lock();
        pending.open_groups -= 1;
        pending.closed_groups += 1;
    }
}
