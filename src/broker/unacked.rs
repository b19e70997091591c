//! Unacknowledged deliveries of a channel, found by delivery tag. No operation takes long, however many there are.

use std::collections::{BTreeMap, VecDeque, btree_map::Entry};

use super::memory::Charge;

/// Tags of a block.
const BLOCK: u64 = 64;

/// A block that holds no more is dissolved, unless it is the first or the last.
const FEW: usize = 8;

/// Deliveries by tag. They are in blocks of tags in a row. What few an old block still holds while others are settled
/// moves to a map, so that places of settled deliveries never cost more than a few times what is held.
#[derive(Debug)]
pub struct Unacked<T> {
    last: Block<T>,
    /// The blocks before the last one, by number. None of them is empty.
    blocks: BTreeMap<u64, Block<T>>,
    /// Deliveries of dissolved blocks, by tag.
    few: BTreeMap<u64, T>,
    len: usize,
    /// Places in `blocks`.
    places: usize,
    /// Counts the places; each message counts for itself.
    charge: Charge,
}

/// Deliveries whose tags have the same number when they are divided by [`BLOCK`].
#[derive(Debug)]
struct Block<T> {
    number: u64,
    /// The tag of the first place, which is taken.
    first: u64,
    held: VecDeque<Option<T>>,
    len: usize,
}

impl<T> Block<T> {
    const fn new(number: u64) -> Self {
        Self {
            number,
            first: 0,
            held: VecDeque::new(),
            len: 0,
        }
    }

    /// Adds a delivery of this block; tags only ever grow.
    fn push(&mut self, tag: u64, held: T) {
        if self.held.is_empty() {
            self.first = tag;
        }
        for _ in self.first + self.held.len() as u64..tag {
            self.held.push_back(None);
        }
        self.held.push_back(Some(held));
        self.len += 1;
    }

    fn get_mut(&mut self, tag: u64) -> Option<&mut T> {
        let index = usize::try_from(tag.checked_sub(self.first)?).ok()?;
        self.held.get_mut(index)?.as_mut()
    }

    fn take(&mut self, tag: u64) -> Option<T> {
        let index = usize::try_from(tag.checked_sub(self.first)?).ok()?;
        let held = self.held.get_mut(index)?.take()?;
        self.len -= 1;
        while let Some(None) = self.held.front() {
            self.held.pop_front();
            self.first += 1;
        }
        Some(held)
    }

    /// The first tag from this one on.
    fn next_from(&self, tag: u64) -> Option<u64> {
        let skipped = usize::try_from(tag.saturating_sub(self.first)).unwrap_or(usize::MAX);
        let mut places = (self.first..).zip(&self.held).skip(skipped);
        places.find_map(|(tag, held)| held.is_some().then_some(tag))
    }

    fn into_held(self) -> impl Iterator<Item = (u64, T)> {
        let places = (self.first..).zip(self.held);
        places.filter_map(|(tag, held)| Some((tag, held?)))
    }
}

impl<T> Default for Unacked<T> {
    fn default() -> Self {
        Self::counted(Charge::default())
    }
}

impl<T> Unacked<T> {
    /// The memory of a delivery in the map: its nodes are seldom full.
    const ENTRY: usize = size_of::<(u64, T)>() * 3 / 2;

    /// Nothing, counted with this charge from now on.
    pub fn counted(charge: Charge) -> Self {
        Self {
            last: Block::new(0),
            blocks: BTreeMap::new(),
            few: BTreeMap::new(),
            len: 0,
            places: 0,
            charge,
        }
    }

    /// Counts what is allocated. An empty block keeps a few places, which do not count.
    fn recount(&mut self) {
        if self.len == 0 {
            if self.last.held.capacity() > FEW {
                self.last.held = VecDeque::new();
            }
            self.charge.follow(0);
            return;
        }
        let places = self.places + self.last.held.capacity();
        let bytes = places * size_of::<Option<T>>() + self.few.len() * Self::ENTRY;
        self.charge.follow(bytes);
    }

    /// How many deliveries are held.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Holds a delivery; tags only ever grow.
    pub fn insert(&mut self, tag: u64, held: T) {
        let number = tag / BLOCK;
        if number != self.last.number {
            self.begin_block(number);
        }
        self.last.push(tag, held);
        self.len += 1;
        self.recount();
    }

    fn begin_block(&mut self, number: u64) {
        if self.last.len == 0 {
            self.last.number = number;
            return;
        }
        let block = std::mem::replace(&mut self.last, Block::new(number));
        let (number, len) = (block.number, block.len);
        self.places += block.held.capacity();
        self.blocks.insert(number, block);
        if len <= FEW {
            self.dissolve(number);
        }
    }

    /// Dissolves a block that holds few, unless it is the first: that one is likely to be settled next.
    fn dissolve(&mut self, number: u64) {
        let first = self.blocks.first_key_value().map(|(first, _)| *first);
        if let Entry::Occupied(block) = self.blocks.entry(number)
            && (block.get().len == 0 || first != Some(number))
        {
            let block = block.remove();
            self.places -= block.held.capacity();
            self.few.extend(block.into_held());
        }
    }

    /// Looks at a delivery.
    pub fn get_mut(&mut self, tag: u64) -> Option<&mut T> {
        let number = tag / BLOCK;
        if number == self.last.number {
            return self.last.get_mut(tag);
        }
        match self.blocks.get_mut(&number) {
            Some(block) => block.get_mut(tag),
            None => self.few.get_mut(&tag),
        }
    }

    /// Settles one delivery.
    pub fn take(&mut self, tag: u64) -> Option<T> {
        let number = tag / BLOCK;
        let held = if number == self.last.number {
            self.last.take(tag)?
        } else if let Some(block) = self.blocks.get_mut(&number) {
            let held = block.take(tag)?;
            if block.len <= FEW {
                self.dissolve(number);
            }
            held
        } else {
            self.few.remove(&tag)?
        };
        self.len -= 1;
        self.recount();
        Some(held)
    }

    /// Settles the oldest delivery if its tag is not above `limit`.
    pub fn take_first(&mut self, limit: u64) -> Option<(u64, T)> {
        let tag = self.next_tag(0).filter(|tag| *tag <= limit)?;
        Some((tag, self.take(tag)?))
    }

    /// The oldest held delivery whose tag is at least `tag`.
    pub fn next_from(&mut self, tag: u64) -> Option<(u64, &mut T)> {
        let tag = self.next_tag(tag)?;
        Some((tag, self.get_mut(tag)?))
    }

    fn next_tag(&self, from: u64) -> Option<u64> {
        // The second block has one if the first has none.
        let mut blocks = self.blocks.range(from / BLOCK..);
        let in_blocks = blocks
            .find_map(|(_, block)| block.next_from(from))
            .or_else(|| self.last.next_from(from));
        let among_few = self.few.range(from..).next().map(|(tag, _)| *tag);
        in_blocks.into_iter().chain(among_few).min()
    }
}

#[cfg(test)]
mod tests;
