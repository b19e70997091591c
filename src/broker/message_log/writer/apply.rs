//! The changes of each operation.

use super::{LogWriter, WriteFault, batch::Undo};
use crate::broker::message_log::{
    QueueNumber,
    index::TakenMessage,
    pending::{GroupContent, LogOperation, QueueChange},
    record::{Fact, Spread, join},
};

/// How many messages a change settles at most before the rest waits for the next batch.
const SETTLED_AT_ONCE: usize = 4096;

impl LogWriter {
    /// Moves operations into the batch until it is full.
    pub(super) fn fill_batch(&mut self) -> Result<(), WriteFault> {
        let full = self.chunk_bytes();
        while self.batch.len() < full && self.batch.undo.len() < SETTLED_AT_ONCE {
            let Some((position, operation)) = self.todo.pop_front() else {
                return Ok(());
            };
            let rest = match &operation {
                LogOperation::Message(new) => self.put_new(new, false).map(|()| None)?,
                LogOperation::Group(group) => self.put_group(group).map(|()| None)?,
                LogOperation::Change(change) => self.put_change(change),
            };
            match rest {
                Some(rest) => self.todo.push_front((position, LogOperation::Change(rest))),
                None => self.batch.bytes += operation.bytes(),
            }
            // Undone and done again as a whole, it does the same.
            self.batch.done.push((position, operation));
        }
        Ok(())
    }

    /// Frames that are recovered together: the last one has the facts.
    fn put_group(&mut self, group: &GroupContent) -> Result<(), WriteFault> {
        if group.changes.iter().any(QueueChange::is_requeue) {
            self.deliver_all();
        }
        if !self.batch.facts.is_empty() {
            self.batch.frame_facts();
        }
        for message in &group.messages {
            self.put_new(message, true)?;
        }
        for change in &group.changes {
            let mut rest = Some(change.clone());
            while let Some(change) = rest {
                rest = self.resolve(&change).1;
            }
        }
        self.batch.frame_facts();
        Ok(())
    }

    /// Applies a change outside of a group; returns the part that does not fit into the batch.
    fn put_change(&mut self, change: &QueueChange) -> Option<QueueChange> {
        if let QueueChange::Delivered { .. } = change {
            self.batch.delivered.push(change.clone());
            return None;
        }
        if change.is_requeue() {
            self.deliver_all();
        }
        let (count, rest) = self.resolve(change);
        if rest.is_none() {
            self.park(change, count);
        }
        rest
    }

    /// Keeps a change of messages that an open group may bring.
    fn park(&mut self, change: &QueueChange, found: usize) {
        if self.groups.open > 0 && (found == 0 || !change.is_of_one()) {
            self.parked.push(change.clone());
        }
    }

    /// Notes the delivered messages that are still there.
    pub(super) fn deliver_all(&mut self) {
        for change in std::mem::take(&mut self.batch.delivered) {
            let (count, _) = self.resolve(&change);
            self.park(&change, count);
        }
    }

    /// Changes the index and gathers the facts. Returns the number of messages that it found, and the work
    /// that is left.
    fn resolve(&mut self, change: &QueueChange) -> (usize, Option<QueueChange>) {
        match *change {
            QueueChange::Settled { queue, first, last } => self.settle(queue, first, last),
            QueueChange::Deleted { queue } => {
                let (count, rest) = self.settle(queue, 0, u64::MAX);
                if rest.is_none() {
                    self.shared.index.lock().forget(queue);
                }
                (count, rest.map(|_| change.clone()))
            }
            QueueChange::Delivered { queue, first, last } => {
                (self.deliver(queue, first, last), None)
            }
            QueueChange::Requeued {
                queue,
                from,
                position,
                returns,
            } => (self.requeue(queue, from, position, returns), None),
        }
    }

    fn settle(
        &mut self,
        queue: QueueNumber,
        first: u64,
        last: u64,
    ) -> (usize, Option<QueueChange>) {
        let mut index = self.shared.index.lock();
        let all = match first == last {
            true => index.take(queue, first).into_iter().collect(),
            false => index.take_range(queue, first..=last, SETTLED_AT_ONCE),
        };
        drop(index);
        let count = all.len();
        let next = match all.last() {
            Some(taken) if count == SETTLED_AT_ONCE => taken.position.checked_add(1),
            _ => None,
        };
        all.into_iter().for_each(|taken| self.settled(taken));
        let rest = next.filter(|next| *next <= last);
        let rest = rest.map(|first| QueueChange::Settled { queue, first, last });
        (count, rest)
    }

    fn settled(&mut self, message: TakenMessage) {
        let TakenMessage { queue, taken, .. } = message;
        let spread = Spread::one(queue, taken.slot.segment(), taken.origin);
        join(&mut self.batch.facts, Fact::Settled(spread));
        self.batch.undo.push(Undo::Taken(message));
    }

    fn deliver(&mut self, queue: QueueNumber, first: u64, last: u64) -> usize {
        let mut index = self.shared.index.lock();
        let all = index.deliver(queue, first..=last);
        for position in &all {
            let Some(known) = index.queue(queue).and_then(|places| places.look(*position)) else {
                continue;
            };
            let spread = Spread::one(queue, known.slot.segment(), known.origin);
            join(&mut self.batch.facts, Fact::Delivered(spread));
            self.batch.undo.push(Undo::Delivered {
                queue,
                position: *position,
            });
        }
        all.len()
    }

    fn requeue(&mut self, queue: QueueNumber, from: u64, position: u64, returns: u32) -> usize {
        let before = self
            .shared
            .index
            .lock()
            .requeue(queue, from, position, returns);
        let Some(before) = before else {
            return 0;
        };
        self.batch.facts.push(Fact::Requeued {
            queue,
            segment: before.slot.segment(),
            origin: before.origin,
            position,
            returns,
        });
        self.batch.undo.push(Undo::Requeued {
            queue,
            positions: (from, position),
            before,
        });
        1
    }

    /// Writes the settlements of written messages, although earlier operations still wait for space. The
    /// operations stay where they are; done again, they find nothing.
    pub(super) fn settle_while_full(&mut self) -> Result<(), WriteFault> {
        match self.with_reserve(Self::settle_all_while_full) {
            Err(WriteFault::Full) => Ok(()),
            other => other,
        }
    }

    fn settle_all_while_full(&mut self) -> Result<(), WriteFault> {
        while self.searched < self.todo.len() {
            self.begin_batch()?;
            let mut searched = self.searched;
            let full = self.chunk_bytes();
            while self.batch.len() < full
                && self.batch.undo.len() < SETTLED_AT_ONCE
                && let Some((_, operation)) = self.todo.get(searched)
            {
                let change = match operation {
                    LogOperation::Change(change) => Some(change.clone()),
                    _ => None,
                };
                let rest = change.and_then(|change| self.resolve(&change).1);
                if rest.is_none() {
                    searched += 1;
                }
            }
            self.write_batch()?;
            self.searched = searched;
        }
        Ok(())
    }

    /// Does it, if need be with the space that is reserved for it.
    pub(super) fn with_reserve(
        &mut self,
        write: fn(&mut Self) -> Result<(), WriteFault>,
    ) -> Result<(), WriteFault> {
        match write(self) {
            Err(WriteFault::Full) if self.reserve.release(&*self.shared.disk)? => {
                self.note_full();
                write(self)
            }
            other => other,
        }
    }
}

impl QueueChange {
    /// Whether it ends the deliveries before it: they are noted first.
    fn is_requeue(&self) -> bool {
        matches!(self, Self::Requeued { .. })
    }

    /// Whether it is about one message.
    fn is_of_one(&self) -> bool {
        match self {
            Self::Settled { first, last, .. } | Self::Delivered { first, last, .. } => {
                first == last
            }
            Self::Requeued { .. } => true,
            Self::Deleted { .. } => false,
        }
    }
}
