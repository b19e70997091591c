//! Numbers of many queues at once, without what else there is to say of each.

use super::{Vhost, VhostCounters};
use crate::broker::queue::{QueueCounters, QueueId};

/// How much a queue holds.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct QueueSize {
    /// Its vhost.
    pub vhost: String,
    /// Its name.
    pub name: String,
    /// How many messages wait.
    pub ready: usize,
    /// How many messages consumers hold.
    pub unacked: usize,
    /// How many consumers it has.
    pub consumers: usize,
}

/// The counters of a vhost and of its queues at one moment.
#[derive(Clone, Debug, Default)]
pub struct VhostSample {
    /// The vhost's own.
    pub counters: VhostCounters,
    /// Those of every queue in which anything happened, by their ids in ascending order.
    pub queues: Vec<(QueueId, QueueCounters)>,
}

impl Vhost {
    /// The counters as they are now.
    pub fn sample(&self) -> VhostSample {
        let queues = self.queues.iter().map(|(id, queue)| (id, queue.counters));
        VhostSample {
            counters: self.counters,
            queues: queues
                .filter(|(_, counters)| counters.published + counters.delivered > 0)
                .collect(),
        }
    }

    /// The queues that hold most, at most so many.
    pub fn largest(&self, max: usize, into: &mut Vec<QueueSize>) {
        if max == 0 {
            return;
        }
        let mut order: Vec<_> = self
            .queues
            .iter()
            .map(|(id, queue)| (queue.ready.len() + queue.unacked, id))
            .collect();
        if order.len() > max {
            order.select_nth_unstable_by(max - 1, |a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
            order.truncate(max);
        }
        let queues = order.iter().filter_map(|(_, id)| self.queues.get(*id));
        into.extend(queues.map(|queue| QueueSize {
            vhost: self.name.clone(),
            name: queue.name.to_string(),
            ready: queue.ready.len(),
            unacked: queue.unacked,
            consumers: queue.rotation.len(),
        }));
    }
}
