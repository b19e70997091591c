//! The index of the last change of things that are gone or that have no entry of their own.

use imbl::{OrdMap, OrdSet};

/// The index of the last change per name, for at most `max` names. What was dropped or never changed has the index
/// `floor`, which never goes back.
#[derive(Clone, Debug)]
pub(super) struct Marks<K: Ord> {
    last: OrdMap<K, u64>,
    oldest: OrdSet<(u64, K)>,
    floor: u64,
    max: usize,
}

impl<K: Clone + Ord> Marks<K> {
    /// No marks; everything has the index `floor`.
    pub(super) fn new(floor: u64, max: usize) -> Self {
        Self {
            last: OrdMap::new(),
            oldest: OrdSet::new(),
            floor,
            max,
        }
    }

    /// Something changed at this index, which is the newest.
    pub(super) fn set(&mut self, name: K, index: u64) {
        self.clear(&name);
        self.oldest.insert((index, name.clone()));
        self.last.insert(name, index);
        while self.last.len() > self.max {
            let Some((index, name)) = self.oldest.remove_min() else {
                return;
            };
            self.last.remove(&name);
            self.floor = self.floor.max(index);
        }
    }

    /// Something has an entry again.
    pub(super) fn clear(&mut self, name: &K) {
        if let Some(index) = self.last.remove(name) {
            self.oldest.remove(&(index, name.clone()));
        }
    }

    /// The index of a name.
    pub(super) fn of(&self, name: &K) -> u64 {
        self.last.get(name).copied().unwrap_or(self.floor)
    }

    /// The index of names that have no mark.
    pub(super) fn floor(&self) -> u64 {
        self.floor
    }

    /// The marks.
    pub(super) fn table(&self) -> &OrdMap<K, u64> {
        &self.last
    }
}
