//! Numbers of many queues at once, without what else there is to say of each.

use super::{Vhost, VhostCounters};
use crate::broker::queue::{QueueCounters, QueueId};

/// Steps that it costs to write down the size of a queue.
const SIZE_STEPS: usize = 4;

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

/// The largest queues of a broker, found in parts.
#[derive(Debug)]
pub struct Largest {
    max: usize,
    /// So many and the same again at most, before the smaller ones are left out.
    found: Vec<QueueSize>,
    /// No queue up to this size can be among them any more.
    floor: Option<usize>,
}

impl Largest {
    /// At most so many.
    pub fn new(max: usize) -> Self {
        Self {
            max,
            found: Vec::new(),
            floor: None,
        }
    }

    /// Whether a queue of this size may be among them.
    fn may_have(&self, size: usize) -> bool {
        self.max > 0 && self.floor.is_none_or(|floor| size > floor)
    }

    fn add(&mut self, size: QueueSize) {
        self.found.push(size);
        if self.found.len() >= 2 * self.max {
            self.cut();
        }
    }

    fn cut(&mut self) {
        self.found
            .sort_by_key(|size| std::cmp::Reverse(size.total()));
        self.found.truncate(self.max);
        if self.found.len() == self.max {
            self.floor = self.found.last().map(QueueSize::total);
        }
    }

    /// The largest first.
    #[must_use]
    pub fn into_sizes(mut self) -> Vec<QueueSize> {
        self.cut();
        self.found
    }
}

impl QueueSize {
    fn total(&self) -> usize {
        self.ready + self.unacked
    }
}

impl Vhost {
    /// A part of the counters as they are now: where the next part begins, if this was not the last.
    pub fn sample(&mut self, from: usize, into: &mut VhostSample) -> Option<usize> {
        into.counters = self.counters;
        for (id, queue) in self.queues.iter_from(from) {
            if self.budget.is_spent() {
                return Some(id.place());
            }
            self.budget.spend(1);
            if queue.counters.published + queue.counters.delivered > 0 {
                into.queues.push((id, queue.counters));
            }
        }
        None
    }

    /// A part of the queues that hold most: where the next part begins, if this was not the last.
    pub fn largest(&mut self, from: usize, into: &mut Largest) -> Option<usize> {
        for (id, queue) in self.queues.iter_from(from) {
            if self.budget.is_spent() {
                return Some(id.place());
            }
            self.budget.spend(1);
            if into.may_have(queue.ready.len() + queue.unacked) {
                self.budget.spend(SIZE_STEPS);
                into.add(QueueSize {
                    vhost: self.name.clone(),
                    name: queue.name.to_string(),
                    ready: queue.ready.len(),
                    unacked: queue.unacked,
                    consumers: queue.rotation.len(),
                });
            }
        }
        None
    }
}
