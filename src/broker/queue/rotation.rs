//! Whose turn it is: consumers by priority, in turn among equals, those without credit set aside.

use std::collections::VecDeque;

use crate::broker::channel::ConsumerId;

/// The consumers of a queue.
#[derive(Debug)]
pub struct Rotation {
    /// All of them, in the order they came.
    all: Vec<(i32, ConsumerId)>,
    /// Those who may get the next message, the highest priority first.
    able: Vec<(i32, VecDeque<ConsumerId>)>,
    single_active: bool,
    active: Option<ConsumerId>,
    exclusive: bool,
}

impl Rotation {
    /// Nobody; `single_active`: only one of them at a time.
    pub fn new(single_active: bool) -> Self {
        Self {
            all: Vec::new(),
            able: Vec::new(),
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

    /// Whether one of them insists on being alone.
    pub fn is_exclusive(&self) -> bool {
        self.exclusive
    }

    /// All consumers in the order they came.
    pub fn iter(&self) -> impl Iterator<Item = ConsumerId> {
        self.all.iter().map(|(_, id)| *id)
    }

    /// Whether a consumer is one that gets messages: with a single active consumer, that one.
    pub fn is_active(&self, id: ConsumerId) -> bool {
        !self.single_active || self.active == Some(id)
    }

    /// Adds a consumer; whether it may take part at once.
    pub fn add(&mut self, id: ConsumerId, priority: i32, exclusive: bool) {
        self.all.push((priority, id));
        self.exclusive |= exclusive;
        if self.single_active {
            if self.active.is_some() {
                return;
            }
            self.active = Some(id);
        }
        self.enable(id, priority);
    }

    /// Removes a consumer; the one that takes its place, if it was the single active one.
    pub fn remove(&mut self, id: ConsumerId) -> Option<ConsumerId> {
        self.all.retain(|(_, other)| *other != id);
        for (_, ring) in &mut self.able {
            ring.retain(|other| *other != id);
        }
        self.able.retain(|(_, ring)| !ring.is_empty());
        self.exclusive = false;
        if self.active != Some(id) {
            return None;
        }
        self.active = None;
        let highest = self.all.iter().map(|(priority, _)| *priority).max()?;
        let next = self
            .all
            .iter()
            .find(|(priority, _)| *priority == highest)
            .copied();
        self.active = next.map(|(_, id)| id);
        if let Some((priority, id)) = next {
            self.enable(id, priority);
        }
        self.active
    }

    /// Forgets everyone.
    pub fn clear(&mut self) {
        *self = Self::new(self.single_active);
    }

    /// Whose turn it is.
    #[inline]
    pub fn front(&self) -> Option<ConsumerId> {
        self.able
            .first()
            .and_then(|(_, ring)| ring.front().copied())
    }

    /// The consumer whose turn it was got a message: next one.
    #[inline]
    pub fn turn(&mut self) {
        if let Some((_, ring)) = self.able.first_mut()
            && ring.len() > 1
        {
            ring.rotate_left(1);
        }
    }

    /// The consumer whose turn it is cannot take anything: set aside until [`Self::enable`].
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
