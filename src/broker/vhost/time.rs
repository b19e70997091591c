//! What happens by itself: messages expire, unused queues go.

use super::{Now, Vhost};
use crate::broker::{
    message::DeathReason,
    queue::{QueueId, ready::NEVER},
};

/// How many queues are looked at, and how many messages expire in one, before others have the vhost.
const TURN_MAX: usize = 512;

impl Vhost {
    /// Does what is due; whether there is more to do now.
    pub fn tick(&mut self, now: Now) -> bool {
        let overdue = self.strike(now);
        for _ in 0..TURN_MAX {
            match self.timers.first() {
                Some((at, _)) if *at <= now.ms => {}
                _ => return self.pump(now) || overdue,
            }
            let Some((at, id)) = self.timers.pop_first() else {
                break;
            };
            let Some(queue) = self.queues.get_mut(id) else {
                continue;
            };
            if queue.timer_at == at {
                queue.timer_at = NEVER;
            }
            if queue.is_outlived(now.ms) {
                self.remove_queue(id);
                continue;
            }
            self.expire(id, now);
            self.arm(id);
        }
        self.pump(now);
        true
    }

    /// Lets the messages at the head of a queue die whose time is over.
    pub(super) fn expire(&mut self, id: QueueId, now: Now) {
        for _ in 0..TURN_MAX {
            let Some(queue) = self.queues.get_mut(id).filter(|queue| queue.expiring) else {
                return;
            };
            let Some(entry) = queue.ready.pop_expired(now.ms) else {
                return;
            };
            self.die_entry(id, &entry, DeathReason::Expired, now);
        }
    }

    /// Has a queue looked at when it next wants to be.
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
