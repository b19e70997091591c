//! Timers: messages expire, unused queues are deleted.

use super::{BrokerTime, Vhost, deferred::NOBODY};
use crate::broker::{
    message::DeathReason,
    queue::{QueueId, ready::NEVER},
};

/// Steps that it costs to check a queue whose timer has expired.
const TIMER_STEPS: usize = 4;

impl Vhost {
    /// Does what is due, as far as the budget allows; whether there is more to do now.
    pub fn tick(&mut self, now: BrokerTime) -> bool {
        let mut more = self.expire_unacked(now);
        loop {
            if self.must_pause() {
                more = true;
                break;
            }
            match self.timers.first() {
                Some((at, _)) if *at <= now.ms => {}
                _ => break,
            }
            let Some((at, id)) = self.timers.pop_first() else {
                break;
            };
            self.budget.spend(TIMER_STEPS);
            let Some(queue) = self.queues.get_mut(id) else {
                continue;
            };
            if queue.timer_at == at {
                queue.timer_at = NEVER;
            }
            if queue.is_outlived(now.ms) {
                self.remove_queue(id, NOBODY, now);
                continue;
            }
            self.expire(id, now);
            self.arm(id);
        }
        self.pump(now) || more
    }

    /// Drops messages at the head of a queue that have expired or were delivered too often by earlier runs, as far as the budget allows.
    pub(super) fn expire(&mut self, id: QueueId, now: BrokerTime) {
        while !self.must_pause() {
            let Some(queue) = self.queues.get_mut(id).filter(|queue| queue.expiring) else {
                return;
            };
            let Some(entry) = queue.ready.pop_expired(now.ms) else {
                if queue.ready.is_blocked() {
                    self.request_load(id);
                }
                return;
            };
            let reason = match queue.gives_up_on(&entry) {
                true => DeathReason::DeliveryLimit,
                false => DeathReason::Expired,
            };
            self.die_entry(id, &entry, reason, now);
        }
    }

    /// Schedules the next check of a queue.
    pub(super) fn arm(&mut self, id: QueueId) {
        let Some(queue) = self.queues.get_mut(id) else {
            return;
        };
        let deadline = queue.deadline();
        if deadline < queue.timer_at {
            self.timers.remove(&(queue.timer_at, id));
            queue.timer_at = deadline;
            self.timers.insert((deadline, id));
        }
    }
}
