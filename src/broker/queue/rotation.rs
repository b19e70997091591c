//! The order of a queue's consumers: by priority, round-robin among equals, without those that have no credit.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashSet, VecDeque},
};

use crate::broker::channel::ConsumerId;

/// How many more may have gone than are there before the rings are swept.
const GONE_MIN: usize = 16;

/// A consumer's place among all those of a queue: by priority, then in the order they came.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Place {
    priority: Reverse<i32>,
    number: u64,
}

/// The consumers of a queue.
#[derive(Debug)]
pub struct Rotation {
    /// All of them, the highest priority first.
    all: BTreeMap<Place, ConsumerId>,
    /// Those who may get the next message, the highest priority first. One that has gone finds no
    /// consumer when its turn comes.
    able: Vec<(i32, VecDeque<ConsumerId>)>,
    /// How many of those who are able may have gone.
    gone: usize,
    next_number: u64,
    single_active: bool,
    active: Option<ConsumerId>,
    exclusive: bool,
}

impl Rotation {
    /// No consumers; `single_active`: only one of them at a time.
    pub fn new(single_active: bool) -> Self {
        Self {
            all: BTreeMap::new(),
            able: Vec::new(),
            gone: 0,
            next_number: 0,
            single_active,
            active: None,
            exclusive: false,
        }
    }

    /// How many consumers there are.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Whether one of them is exclusive.
    pub fn is_exclusive(&self) -> bool {
        self.exclusive
    }

    /// All consumers, the highest priority first.
    pub fn into_consumers(self) -> impl Iterator<Item = ConsumerId> + Send {
        self.all.into_values()
    }

    /// Whether a consumer is one that gets messages: with a single active consumer, that one.
    pub fn is_active(&self, id: ConsumerId) -> bool {
        !self.single_active || self.active == Some(id)
    }

    /// Adds a consumer: its place, to remove it by.
    pub fn add(&mut self, id: ConsumerId, priority: i32, exclusive: bool) -> Place {
        let place = Place {
            priority: Reverse(priority),
            number: self.next_number,
        };
        self.next_number += 1;
        self.all.insert(place, id);
        self.exclusive |= exclusive;
        if !self.single_active || self.active.is_none() {
            self.active = self.single_active.then_some(id);
            self.enable(id, priority);
        }
        place
    }

    /// Removes a consumer; the one that takes its place, if it was the single active one.
    pub fn remove(&mut self, place: Place) -> Option<ConsumerId> {
        let id = self.all.remove(&place)?;
        self.exclusive = false;
        self.gone += 1;
        if self.gone > self.all.len() + GONE_MIN {
            self.sweep();
        }
        if self.active != Some(id) {
            return None;
        }
        let next = self.all.first_key_value().map(|(place, id)| (*place, *id));
        self.active = next.map(|(_, id)| id);
        if let Some((place, id)) = next {
            self.enable(id, place.priority.0);
        }
        self.active
    }

    /// Removes consumers that are gone from the rings. The amortized cost of each is constant.
    fn sweep(&mut self) {
        let here: HashSet<_> = self.all.values().collect();
        for (_, ring) in &mut self.able {
            ring.retain(|id| here.contains(id));
            ring.shrink_to(2 * ring.len());
        }
        self.able.retain(|(_, ring)| !ring.is_empty());
        self.gone = 0;
    }

    /// The next consumer.
    #[inline]
    pub fn front(&self) -> Option<ConsumerId> {
        self.able
            .first()
            .and_then(|(_, ring)| ring.front().copied())
    }

    /// Moves on to the next consumer after a delivery.
    #[inline]
    pub fn turn(&mut self) {
        if let Some((_, ring)) = self.able.first_mut()
            && ring.len() > 1
        {
            ring.rotate_left(1);
        }
    }

    /// Sets the next consumer aside until [`Self::enable`].
    pub fn park_front(&mut self) -> Option<ConsumerId> {
        let (_, ring) = self.able.first_mut()?;
        let id = ring.pop_front();
        if ring.is_empty() {
            self.able.remove(0);
        }
        id
    }

    /// A consumer can take messages (again).
    pub fn enable(&mut self, id: ConsumerId, priority: i32) {
        match self.able.binary_search_by(|(other, _)| priority.cmp(other)) {
            Ok(index) => self.able[index].1.push_back(id),
            Err(index) => self.able.insert(index, (priority, VecDeque::from([id]))),
        }
    }
}

#[cfg(test)]
mod tests;
