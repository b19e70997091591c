//! Slots with typed, generational keys: a key of something that is gone never finds its successor.

use std::{fmt, hash, marker::PhantomData};

use super::pieces::List;

/// A key into a [`Slab`] of `T`.
pub struct Id<T> {
    index: u32,
    generation: u32,
    of: PhantomData<fn() -> T>,
}

impl<T> Clone for Id<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Id<T> {}

impl<T> PartialEq for Id<T> {
    fn eq(&self, other: &Self) -> bool {
        self.index == other.index && self.generation == other.generation
    }
}

impl<T> Eq for Id<T> {}

impl<T> PartialOrd for Id<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Id<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.index, self.generation).cmp(&(other.index, other.generation))
    }
}

impl<T> hash::Hash for Id<T> {
    fn hash<H: hash::Hasher>(&self, state: &mut H) {
        state.write_u64(self.as_u64());
    }
}

impl<T> fmt::Debug for Id<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.index, self.generation)
    }
}

impl<T> Id<T> {
    /// The key as one number, to be written into a name.
    pub fn as_u64(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }

    /// The place in the slab.
    pub fn place(self) -> usize {
        self.index as usize
    }

    /// The key that [`Self::as_u64`] gave; it may find nothing.
    pub fn from_u64(number: u64) -> Self {
        let [a, b, c, d, e, f, g, h] = number.to_be_bytes();
        Self {
            index: u32::from_be_bytes([e, f, g, h]),
            generation: u32::from_be_bytes([a, b, c, d]),
            of: PhantomData,
        }
    }
}

/// Values at stable places.
#[derive(Debug)]
pub struct Slab<T> {
    slots: List<Slot<T>>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    value: Option<T>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self {
            slots: List::default(),
            free: Vec::new(),
        }
    }
}

impl<T> Slab<T> {
    /// The memory of a value: a slab is seldom full.
    pub const ENTRY: usize = (size_of::<Slot<T>>() + size_of::<u32>()) * 5 / 4;

    /// How many values there are.
    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Places a value.
    pub fn insert(&mut self, value: T) -> Id<T> {
        if let Some(index) = self.free.pop()
            && let Some(slot) = self.slots.get_mut(index as usize)
        {
            slot.value = Some(value);
            return Id {
                index,
                generation: slot.generation,
                of: PhantomData,
            };
        }
        let index = u32::try_from(self.slots.len()).expect("every slab is bounded far below 2^32");
        self.slots.push(Slot {
            generation: 0,
            value: Some(value),
        });
        Id {
            index,
            generation: 0,
            of: PhantomData,
        }
    }

    /// Removes a value. Its key is invalid from then on.
    pub fn remove(&mut self, id: Id<T>) -> Option<T> {
        let slot = self.slots.get_mut(id.index as usize)?;
        if slot.generation != id.generation {
            return None;
        }
        let value = slot.value.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(id.index);
        Some(value)
    }

    /// The value of a key.
    #[inline]
    pub fn get(&self, id: Id<T>) -> Option<&T> {
        let slot = self.slots.get(id.index as usize)?;
        if slot.generation != id.generation {
            return None;
        }
        slot.value.as_ref()
    }

    /// The value of a key, mutable.
    #[inline]
    pub fn get_mut(&mut self, id: Id<T>) -> Option<&mut T> {
        let slot = self.slots.get_mut(id.index as usize)?;
        if slot.generation != id.generation {
            return None;
        }
        slot.value.as_mut()
    }

    /// All values with their keys.
    pub fn iter(&self) -> impl Iterator<Item = (Id<T>, &T)> {
        self.iter_from(0)
    }

    /// The values with their keys from this place on.
    pub fn iter_from(&self, place: usize) -> impl Iterator<Item = (Id<T>, &T)> {
        let first = u32::try_from(place).unwrap_or(u32::MAX);
        (first..)
            .zip(self.slots.iter_from(place))
            .filter_map(|(index, slot)| {
                let id = Id {
                    index,
                    generation: slot.generation,
                    of: PhantomData,
                };
                slot.value.as_ref().map(|value| (id, value))
            })
    }
}

#[cfg(test)]
mod tests;
