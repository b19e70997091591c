//! Unacknowledged deliveries of a channel, found by delivery tag in constant time.

use std::collections::BTreeMap;

use super::{memory::Charge, pieces::Ring};

/// A ring that is mostly holes is folded into the map beyond this length.
const RING_FOLD: usize = 1024;

/// Places that one more delivery folds.
const FOLD_MAX: usize = 8;

/// Deliveries by tag, in a ring. Old ones move to a map, so that gaps in the ring stay cheap.
#[derive(Debug)]
pub struct Unacked<T> {
    first: u64,
    ring: Ring<Option<T>>,
    ring_live: usize,
    old: BTreeMap<u64, T>,
    /// Counts the places; each message counts for itself.
    charge: Charge,
}

impl<T> Default for Unacked<T> {
    fn default() -> Self {
        Self {
            first: 0,
            ring: Ring::default(),
            ring_live: 0,
            old: BTreeMap::new(),
            charge: Charge::default(),
        }
    }
}

impl<T> Unacked<T> {
    /// The memory of a delivery: its ring or map is seldom full.
    const ENTRY: usize = size_of::<T>() * 3 / 2;

    /// Nothing, counted with this charge from now on.
    pub fn counted(charge: Charge) -> Self {
        Self {
            charge,
            ..Self::default()
        }
    }

    fn recount(&mut self) {
        self.charge.follow(self.len() * Self::ENTRY);
    }

    /// How many deliveries are held.
    pub fn len(&self) -> usize {
        self.ring_live + self.old.len()
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Holds a delivery; tags only ever grow.
    pub fn insert(&mut self, tag: u64, held: T) {
        if self.ring_live == 0 {
            self.ring.clear();
            self.first = tag;
        }
        let gap = tag.saturating_sub(self.first + self.ring.len() as u64);
        // A gap is as long as deliveries came that need no acknowledgement: to fill it costs no more than those.
        if gap > (RING_FOLD as u64).max(self.ring.len() as u64) {
            self.fold_all();
            self.first = tag;
        } else {
            for _ in 0..gap {
                self.ring.push_back(None);
            }
        }
        self.ring.push_back(Some(held));
        self.ring_live += 1;
        self.fold_holes();
        self.recount();
    }

    /// Looks at a delivery.
    pub fn get_mut(&mut self, tag: u64) -> Option<&mut T> {
        match self.slot(tag) {
            Some(index) => self.ring.get_mut(index)?.as_mut(),
            None => self.old.get_mut(&tag),
        }
    }

    /// Settles one delivery.
    pub fn take(&mut self, tag: u64) -> Option<T> {
        let held = match self.slot(tag) {
            None => self.old.remove(&tag)?,
            Some(index) => {
                let held = self.ring.get_mut(index)?.take()?;
                self.ring_live -= 1;
                if index == 0 {
                    self.trim();
                }
                held
            }
        };
        self.recount();
        Some(held)
    }

    /// Settles the oldest delivery if its tag is not above `limit`.
    pub fn take_first(&mut self, limit: u64) -> Option<(u64, T)> {
        let first = match self.old.first_entry() {
            Some(entry) => (*entry.key() <= limit).then(|| entry.remove_entry())?,
            None => {
                self.trim();
                let tag = self.first;
                if self.ring.is_empty() || tag > limit {
                    return None;
                }
                let held = self.ring.pop_front().flatten()?;
                self.first += 1;
                self.ring_live -= 1;
                (tag, held)
            }
        };
        self.recount();
        Some(first)
    }

    /// The oldest held delivery whose tag is at least `tag`.
    pub fn next_from(&mut self, tag: u64) -> Option<(u64, &mut T)> {
        // All that are in the map are older than those in the ring.
        if let Some((tag, held)) = self.old.range_mut(tag..).next() {
            return Some((*tag, held));
        }
        let skipped = usize::try_from(tag.saturating_sub(self.first)).unwrap_or(usize::MAX);
        let skipped = skipped.min(self.ring.len());
        (self.first + skipped as u64..)
            .zip(self.ring.iter_mut_from(skipped))
            .find_map(|(tag, held)| held.as_mut().map(|held| (tag, held)))
    }

    fn slot(&self, tag: u64) -> Option<usize> {
        let offset = usize::try_from(tag.checked_sub(self.first)?).ok()?;
        (offset < self.ring.len()).then_some(offset)
    }

    fn trim(&mut self) {
        while let Some(None) = self.ring.front() {
            self.ring.pop_front();
            self.first += 1;
        }
    }

    fn fold_holes(&mut self) {
        // A few at a time: more than are added.
        for _ in 0..FOLD_MAX {
            if self.ring.len() <= RING_FOLD || self.ring_live * 8 >= self.ring.len() {
                return;
            }
            self.fold_front();
        }
    }

    fn fold_all(&mut self) {
        while !self.ring.is_empty() {
            self.fold_front();
        }
    }

    fn fold_front(&mut self) {
        if let Some(Some(held)) = self.ring.pop_front() {
            self.old.insert(self.first, held);
            self.ring_live -= 1;
        }
        self.first += 1;
    }
}

#[cfg(test)]
mod tests;
