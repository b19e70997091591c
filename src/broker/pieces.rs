//! Collections in pieces: they grow and shrink without moving all that they hold, so that no single operation takes
//! long however large they are.

use std::{
    borrow::Borrow,
    collections::{HashMap, VecDeque, hash_map},
    hash::{BuildHasher, Hash, RandomState},
    ops,
};

/// Items of a piece.
const PIECE: usize = 1024;
/// A map of more entries is split.
const SPLIT_MIN: usize = 8 * 1024;
/// The parts into which it is split.
const PARTS: usize = 64;
/// A smaller map keeps its room when entries are removed.
const SHRUNK_MIN: usize = 64;

/// A queue of items with an index.
#[derive(Debug)]
pub struct Ring<T> {
    /// All but the first and the last are full. The first one is kept when it is empty.
    pieces: VecDeque<VecDeque<T>>,
    len: usize,
}

impl<T> Default for Ring<T> {
    fn default() -> Self {
        Self {
            pieces: VecDeque::new(),
            len: 0,
        }
    }
}

impl<T> Ring<T> {
    /// How many items there are.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The first item.
    #[inline]
    pub fn front(&self) -> Option<&T> {
        self.pieces.front()?.front()
    }

    /// Appends an item.
    #[inline]
    pub fn push_back(&mut self, item: T) {
        self.len += 1;
        match self.pieces.back_mut() {
            Some(piece) if piece.len() < PIECE => piece.push_back(item),
            _ => self.push_piece(item),
        }
    }

    #[cold]
    fn push_piece(&mut self, item: T) {
        let room = if self.pieces.is_empty() { 0 } else { PIECE };
        let mut piece = VecDeque::with_capacity(room);
        piece.push_back(item);
        self.pieces.push_back(piece);
    }

    /// Removes the first item.
    #[inline]
    pub fn pop_front(&mut self) -> Option<T> {
        let is_last = self.pieces.len() == 1;
        let piece = self.pieces.front_mut()?;
        let item = piece.pop_front()?;
        self.len -= 1;
        if piece.is_empty() && !is_last {
            self.pieces.pop_front();
        } else if piece.capacity() > 256 && piece.len() < piece.capacity() / 8 {
            // After a backlog, but not at every dip.
            piece.shrink_to(piece.capacity() / 4);
        }
        Some(item)
    }

    /// The item of this index.
    #[inline]
    pub fn get_mut(&mut self, index: usize) -> Option<&mut T> {
        let (piece, index) = self.place(index);
        self.pieces.get_mut(piece)?.get_mut(index)
    }

    fn place(&self, index: usize) -> (usize, usize) {
        let first = self.pieces.front().map_or(0, VecDeque::len);
        match index.checked_sub(first) {
            None => (0, index),
            Some(behind) => (1 + behind / PIECE, behind % PIECE),
        }
    }

    /// The items.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.pieces.iter().flatten()
    }

    /// The items from this index on.
    pub fn iter_mut_from(&mut self, index: usize) -> impl Iterator<Item = &mut T> {
        let (piece, index) = self.place(index);
        let piece = piece.min(self.pieces.len());
        let mut pieces = self.pieces.range_mut(piece..);
        let first = pieces.next();
        let first = first.map(|first| first.range_mut(index.min(first.len())..));
        first.into_iter().flatten().chain(pieces.flatten())
    }

    /// Removes all items.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

impl<T> IntoIterator for Ring<T> {
    type Item = T;
    type IntoIter = std::iter::Flatten<std::collections::vec_deque::IntoIter<VecDeque<T>>>;

    fn into_iter(self) -> Self::IntoIter {
        self.pieces.into_iter().flatten()
    }
}

/// A list of items with an index.
#[derive(Debug)]
pub struct List<T>(Vec<Vec<T>>);

impl<T> Default for List<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> List<T> {
    /// How many items there are.
    pub fn len(&self) -> usize {
        let last = self.0.last().map_or(0, Vec::len);
        self.0.len().saturating_sub(1) * PIECE + last
    }

    /// Whether there is no item.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Appends an item.
    pub fn push(&mut self, item: T) {
        match self.0.last_mut() {
            Some(piece) if piece.len() < PIECE => piece.push(item),
            _ => {
                let room = if self.0.is_empty() { 1 } else { PIECE };
                let mut piece = Vec::with_capacity(room);
                piece.push(item);
                self.0.push(piece);
            }
        }
    }

    /// Removes the last item.
    pub fn pop(&mut self) -> Option<T> {
        let last = self.0.last_mut()?;
        let item = last.pop();
        if last.is_empty() {
            self.0.pop();
        }
        item
    }

    /// Removes the item of this index; the last one takes its place.
    pub fn swap_remove(&mut self, index: usize) -> Option<T> {
        if index >= self.len() {
            return None;
        }
        let last = self.pop()?;
        match self.get_mut(index) {
            Some(item) => Some(std::mem::replace(item, last)),
            None => Some(last),
        }
    }

    /// The item of this index.
    #[inline]
    pub fn get(&self, index: usize) -> Option<&T> {
        self.0.get(index / PIECE)?.get(index % PIECE)
    }

    /// The item of this index.
    #[inline]
    pub fn get_mut(&mut self, index: usize) -> Option<&mut T> {
        self.0.get_mut(index / PIECE)?.get_mut(index % PIECE)
    }

    /// The items from this index on.
    pub fn iter_from(&self, index: usize) -> impl Iterator<Item = &T> {
        let pieces = self.0.get(index / PIECE..).unwrap_or_default();
        let skipped = index % PIECE;
        pieces.iter().enumerate().flat_map(move |(number, piece)| {
            let skipped = if number == 0 { skipped } else { 0 };
            piece.get(skipped..).unwrap_or_default()
        })
    }
}

impl<T> ops::Index<usize> for List<T> {
    type Output = T;

    fn index(&self, index: usize) -> &T {
        &self.0[index / PIECE][index % PIECE]
    }
}

impl<T> ops::IndexMut<usize> for List<T> {
    fn index_mut(&mut self, index: usize) -> &mut T {
        &mut self.0[index / PIECE][index % PIECE]
    }
}

impl<T> IntoIterator for List<T> {
    type Item = T;
    type IntoIter = std::iter::Flatten<std::vec::IntoIter<Vec<T>>>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter().flatten()
    }
}

/// A map that is split into parts once it is large.
#[derive(Debug)]
pub struct SplitMap<K, V> {
    /// None while the map is empty, one while it is small.
    parts: Vec<HashMap<K, V>>,
    hasher: Option<Box<RandomState>>,
}

impl<K, V> Default for SplitMap<K, V> {
    fn default() -> Self {
        Self {
            parts: Vec::new(),
            hasher: None,
        }
    }
}

impl<K: Eq + Hash, V> SplitMap<K, V> {
    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.parts.iter().all(HashMap::is_empty)
    }

    #[inline]
    fn part<Q: Hash + ?Sized>(&self, key: &Q) -> usize {
        match &self.hasher {
            None => 0,
            Some(hasher) => {
                let part = hasher.hash_one(key) % PARTS as u64;
                usize::try_from(part).unwrap_or(0)
            }
        }
    }

    /// The value of a key.
    #[inline]
    pub fn get<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.parts.get(self.part(key))?.get(key)
    }

    /// The value of a key.
    pub fn get_mut<Q: Eq + Hash + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        let part = self.part(key);
        self.parts.get_mut(part)?.get_mut(key)
    }

    /// Whether there is such a key.
    pub fn contains_key<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.get(key).is_some()
    }

    /// The entry of a key, which may be vacant.
    pub fn entry(&mut self, key: K) -> hash_map::Entry<'_, K, V> {
        if self.parts.is_empty() {
            self.parts = vec![HashMap::new()];
        }
        if self.hasher.is_none() && self.parts[0].len() >= SPLIT_MIN {
            self.split();
        }
        let part = self.part(&key);
        self.parts[part].entry(key)
    }

    fn split(&mut self) {
        self.hasher = Some(Box::default());
        let mut parts = Vec::new();
        parts.resize_with(PARTS, HashMap::new);
        let entries = std::mem::replace(&mut self.parts, parts);
        for (key, value) in entries.into_iter().flatten() {
            let part = self.part(&key);
            self.parts[part].insert(key, value);
        }
    }

    /// Sets the value of a key.
    pub fn insert(&mut self, key: K, value: V) {
        match self.entry(key) {
            hash_map::Entry::Occupied(mut entry) => drop(entry.insert(value)),
            hash_map::Entry::Vacant(entry) => {
                entry.insert(value);
            }
        }
    }

    /// Removes a key.
    pub fn remove<Q: Eq + Hash + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let part = self.part(key);
        let entries = self.parts.get_mut(part)?;
        let value = entries.remove(key)?;
        if entries.is_empty() {
            *entries = HashMap::new();
            if self.is_empty() {
                *self = Self::default();
            }
        } else if entries.capacity() > SHRUNK_MIN && entries.len() < entries.capacity() / 8 {
            entries.shrink_to(2 * entries.len());
        }
        Some(value)
    }
}

impl<K, V> IntoIterator for SplitMap<K, V> {
    type Item = (K, V);
    type IntoIter = std::iter::Flatten<std::vec::IntoIter<HashMap<K, V>>>;

    fn into_iter(self) -> Self::IntoIter {
        self.parts.into_iter().flatten()
    }
}

#[cfg(test)]
mod tests;
