//! Messages that leave memory when much is held: they are in the log, and are read back before they are delivered.

use super::Vhost;
use crate::broker::{config::bytes, message_log::LogPosition, queue::QueueId};

/// So many queues are looked at in a turn.
const QUEUES_MAX: usize = 64;
/// So many messages of a queue leave memory in a turn.
const MESSAGES_MAX: usize = 1024;
/// Steps that it costs to look at a queue.
const QUEUE_STEPS: usize = 2;
/// The bytes that each queue may keep in memory, at least and at most, however many queues there are.
const SHARE_MIN: usize = 4 * 1024;
const SHARE_MAX: usize = 1024 * 1024;

/// A queue whose messages are to leave memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spilling {
    queue: QueueId,
    mark: Option<SpillMark>,
}

/// All messages of a queue below a position are in the log when this is durable.
#[derive(Clone, Copy, Debug)]
struct SpillMark {
    durable: LogPosition,
    below: u64,
}

impl Vhost {
    fn queue_memory(&self) -> usize {
        bytes(self.limits.queue_memory.get())
    }

    /// The first messages of each queue that stay in memory, in bytes.
    pub(super) fn queue_share(&self) -> usize {
        let share = self.queue_memory() / 8 / self.queues.len().max(1);
        share.clamp(SHARE_MIN, SHARE_MAX)
    }

    /// Has messages of a queue leave memory if too much is held.
    pub(super) fn begin_spill(&mut self, id: QueueId) {
        if self.memory.used() <= self.queue_memory() {
            return;
        }
        let Some(queue) = self.queues.get_mut(id) else {
            return;
        };
        if !queue.is_spilling && queue.may_spill() {
            queue.is_spilling = true;
            self.records.spilling.push_back(Spilling {
                queue: id,
                mark: None,
            });
        }
    }

    /// Moves messages that are durable out of memory; whether there is more to move now.
    pub(super) fn spill(&mut self) -> bool {
        let mut more = false;
        for _ in 0..self.records.spilling.len().min(QUEUES_MAX) {
            if self.budget.is_spent() {
                return true;
            }
            let Some(next) = self.records.spilling.pop_front() else {
                break;
            };
            self.budget.spend(QUEUE_STEPS);
            let (moved, next) = self.spill_queue(next);
            more |= moved == MESSAGES_MAX;
            self.records.spilling.extend(next);
        }
        more
    }

    /// How many messages of a queue were moved, and the queue if more are to be.
    fn spill_queue(&mut self, spilling: Spilling) -> (usize, Option<Spilling>) {
        let is_enough = self.memory.used() <= self.queue_memory();
        let (share, durable) = (self.queue_share(), self.records.durable());
        let mark = self.spill_mark(spilling.queue);
        let Some(queue) = self.queues.get_mut(spilling.queue) else {
            return (0, None);
        };
        if is_enough {
            queue.is_spilling = false;
            return (0, None);
        }
        let reached = spilling.mark.or(mark);
        let spilling = Spilling {
            mark: reached,
            ..spilling
        };
        let Some(reached) = reached.filter(|mark| mark.durable <= durable) else {
            return (0, Some(spilling));
        };
        let moved = queue.ready.cool(share, reached.below, MESSAGES_MAX);
        self.budget.spend(moved);
        if moved == MESSAGES_MAX {
            return (moved, Some(spilling));
        }
        queue.is_spilling = queue.ready.has_late();
        let next = queue.is_spilling.then_some(Spilling { mark, ..spilling });
        (moved, next)
    }

    /// Where a queue is now. None while messages are in queues that the log does not know.
    fn spill_mark(&self, id: QueueId) -> Option<SpillMark> {
        let (queue, log) = (self.queues.get(id)?, self.records.log.as_ref()?);
        let below = queue.peek_position();
        let durable = self.records.newest;
        (!log.has_open_groups()).then_some(SpillMark { durable, below })
    }
}
