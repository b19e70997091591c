//! Destinations bound under one key: a list, with an index once it is long, so that removal takes constant time.

use std::hash::Hash;

use crate::broker::pieces::SplitMap;

/// Shorter lists are searched faster without an index.
const INDEXED_MIN: usize = 32;

/// Values, each as often as it was added.
#[derive(Debug)]
pub struct Targets<V> {
    all: Vec<V>,
    /// The index of each. Empty while the list is short: it may then have duplicates.
    places: SplitMap<V, Place>,
}

#[derive(Debug)]
struct Place {
    index: usize,
    /// How often it was added.
    count: usize,
}

impl<V> Default for Targets<V> {
    fn default() -> Self {
        Self {
            all: Vec::new(),
            places: SplitMap::default(),
        }
    }
}

impl<V> Targets<V> {
    /// All of them. One that was added more than once may occur more than once.
    #[inline]
    pub fn as_slice(&self) -> &[V] {
        &self.all
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Takes the index apart, one entry at each step of the iterator.
    pub fn into_pieces(self) -> impl Iterator<Item = ()> {
        self.places.into_iter().map(drop)
    }
}

impl<V: Copy + Eq + Hash> Targets<V> {
    /// Adds a value.
    pub fn add(&mut self, value: V) {
        if self.places.is_empty() {
            if self.all.len() < INDEXED_MIN {
                self.all.push(value);
                return;
            }
            for earlier in std::mem::take(&mut self.all) {
                self.add_indexed(earlier);
            }
        }
        self.add_indexed(value);
    }

    fn add_indexed(&mut self, value: V) {
        let index = self.all.len();
        let place = self.places.entry(value);
        let place = place.or_insert(Place { index, count: 0 });
        place.count += 1;
        if place.count == 1 {
            self.all.push(value);
        }
    }

    /// Takes away a value that was added, once.
    pub fn remove(&mut self, value: V) {
        if self.places.is_empty() {
            if let Some(index) = self.all.iter().position(|other| *other == value) {
                self.all.remove(index);
            }
            return;
        }
        let Some(place) = self.places.get_mut(&value) else {
            return;
        };
        place.count -= 1;
        if place.count > 0 {
            return;
        }
        let index = place.index;
        self.places.remove(&value);
        self.all.swap_remove(index);
        match self.all.get(index) {
            Some(moved) => {
                if let Some(place) = self.places.get_mut(moved) {
                    place.index = index;
                }
            }
            None if self.all.is_empty() => *self = Self::default(),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests;
