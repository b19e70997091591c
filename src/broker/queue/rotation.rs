//! The order of a queue's consumers: by priority, round-robin among equals, without those that have no credit.

use std::{cmp::Reverse, collections::BTreeMap};

use crate::broker::{
    channel::ConsumerId,
    slab::{Id, Slab},
};

/// A consumer's place among all those of a queue: by priority, then in the order they came.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Place {
    priority: Reverse<i32>,
    number: u64,
}

/// The consumers of a queue. No operation takes long, however many there are.
#[derive(Debug)]
pub struct Rotation {
    /// All of them, the highest priority first.
    all: BTreeMap<Place, Member>,
    /// Those that may get the next message: a circle for each priority, the highest first. The value is the one in the
    /// circle whose turn is next.
    circles: BTreeMap<Reverse<i32>, Id<RotationLink>>,
    links: Slab<RotationLink>,
    next_number: u64,
    single_active: bool,
    active: Option<ConsumerId>,
    exclusive: bool,
}

/// A consumer, and its link if it may get the next message.
#[derive(Debug)]
struct Member {
    id: ConsumerId,
    link: Option<Id<RotationLink>>,
}

/// A consumer between two others of a circle.
#[derive(Debug)]
struct RotationLink {
    id: ConsumerId,
    place: Place,
    before: Id<Self>,
    after: Id<Self>,
}

impl Rotation {
    /// The memory of a consumer in these tables.
    pub const ENTRY: usize = size_of::<(Place, Member)>() * 3 / 2 + Slab::<RotationLink>::ENTRY;

    /// No consumers; `single_active`: only one of them at a time.
    pub fn new(single_active: bool) -> Self {
        Self {
            all: BTreeMap::new(),
            circles: BTreeMap::new(),
            links: Slab::default(),
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
        self.all.into_values().map(|member| member.id)
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
        self.all.insert(place, Member { id, link: None });
        self.exclusive |= exclusive;
        if !self.single_active || self.active.is_none() {
            self.active = self.single_active.then_some(id);
            self.enable(place);
        }
        place
    }

    /// Removes a consumer; the one that takes its place, if it was the single active one.
    pub fn remove(&mut self, place: Place) -> Option<ConsumerId> {
        let Member { id, link } = self.all.remove(&place)?;
        self.exclusive = false;
        if let Some(link) = link {
            self.unlink(link);
        }
        if self.all.is_empty() {
            self.links = Slab::default();
        }
        if self.active != Some(id) {
            return None;
        }
        let next = self.all.first_key_value();
        let next = next.map(|(place, member)| (*place, member.id));
        self.active = next.map(|(_, id)| id);
        if let Some((place, _)) = next {
            self.enable(place);
        }
        self.active
    }

    /// The next consumer.
    #[inline]
    pub fn front(&self) -> Option<ConsumerId> {
        let (_, link) = self.circles.first_key_value()?;
        self.links.get(*link).map(|link| link.id)
    }

    /// Moves on to the next consumer after a delivery.
    #[inline]
    pub fn turn(&mut self) {
        if let Some(mut circle) = self.circles.first_entry()
            && let Some(link) = self.links.get(*circle.get())
        {
            *circle.get_mut() = link.after;
        }
    }

    /// Sets the next consumer aside until [`Self::enable`].
    pub fn park_front(&mut self) {
        let Some((_, &link)) = self.circles.first_key_value() else {
            return;
        };
        if let Some(place) = self.unlink(link)
            && let Some(member) = self.all.get_mut(&place)
        {
            member.link = None;
        }
    }

    /// A consumer can take messages (again): it is the last one of its priority.
    pub fn enable(&mut self, place: Place) {
        let Some(member) = self
            .all
            .get_mut(&place)
            .filter(|member| member.link.is_none())
        else {
            return;
        };
        let nowhere = Id::from_u64(u64::MAX);
        let link = self.links.insert(RotationLink {
            id: member.id,
            place,
            before: nowhere,
            after: nowhere,
        });
        member.link = Some(link);
        let after = *self.circles.entry(place.priority).or_insert(link);
        let before = match self.links.get(after) {
            Some(next) if after != link => next.before,
            _ => link,
        };
        self.join(before, link);
        self.join(link, after);
    }

    fn join(&mut self, before: Id<RotationLink>, after: Id<RotationLink>) {
        if let Some(link) = self.links.get_mut(before) {
            link.after = after;
        }
        if let Some(link) = self.links.get_mut(after) {
            link.before = before;
        }
    }

    /// Takes a link out of its circle: the place of its consumer.
    fn unlink(&mut self, id: Id<RotationLink>) -> Option<Place> {
        let link = self.links.remove(id)?;
        if link.after == id {
            self.circles.remove(&link.place.priority);
            return Some(link.place);
        }
        self.join(link.before, link.after);
        if let Some(next) = self.circles.get_mut(&link.place.priority)
            && *next == id
        {
            *next = link.after;
        }
        Some(link.place)
    }
}

#[cfg(test)]
mod tests;
