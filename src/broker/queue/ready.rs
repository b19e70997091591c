//! Messages of a queue that wait for delivery, by priority and position.

use std::{collections::BTreeMap, sync::Arc};

use crate::broker::{memory::Charge, message::Message, pieces::Ring};

/// What an entry costs: its ring or map is seldom full.
const ENTRY: usize = size_of::<Entry>() * 3 / 2;

/// Never expires.
pub const NEVER: u64 = u64::MAX;

/// A message in a queue, or delivered from it.
#[derive(Clone, Debug)]
pub struct Entry {
    /// What was published.
    pub message: Arc<Message>,
    /// Its place in the queue; a requeue restores it.
    pub position: u64,
    /// When it expires, in ms of the broker's clock.
    pub expires_at: u64,
    /// How often it was requeued.
    pub returns: u32,
    /// Whether it was given to a consumer before.
    pub redelivered: bool,
}

/// Waiting messages: those never delivered in a ring, requeued ones in a map by place.
#[derive(Debug)]
pub struct Ready {
    levels: Vec<Level>,
    len: usize,
    body_bytes: usize,
    /// No level above this one holds anything.
    top: usize,
    /// Counts the entries; each message counts for itself.
    charge: Charge,
}

#[derive(Debug, Default)]
struct Level {
    fresh: Ring<Entry>,
    returned: BTreeMap<u64, Entry>,
}

impl Level {
    fn head(&self) -> Option<&Entry> {
        match (self.returned.first_key_value(), self.fresh.front()) {
            (Some((position, _)), Some(fresh)) if fresh.position < *position => Some(fresh),
            (Some((_, returned)), _) => Some(returned),
            (None, fresh) => fresh,
        }
    }

    fn pop(&mut self) -> Option<Entry> {
        if self.returned.is_empty() {
            return self.fresh.pop_front();
        }
        let first = self.returned.first_entry()?;
        if let Some(fresh) = self.fresh.front()
            && fresh.position < *first.key()
        {
            return self.fresh.pop_front();
        }
        Some(first.remove())
    }
}

impl Ready {
    /// Room for priorities up to `top_priority`.
    pub fn new(top_priority: u8) -> Self {
        let mut levels = Vec::new();
        levels.resize_with(usize::from(top_priority) + 1, Level::default);
        Self {
            levels,
            len: 0,
            body_bytes: 0,
            top: 0,
            charge: Charge::default(),
        }
    }

    /// Counts its entries with this charge from now on.
    #[must_use]
    pub fn counted(self, charge: Charge) -> Self {
        Self { charge, ..self }
    }

    /// What it costs while it is empty, beyond the value itself.
    pub fn empty_bytes(&self) -> usize {
        self.levels.capacity() * size_of::<Level>()
    }

    /// How many messages wait.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The length of their bodies together.
    pub fn body_bytes(&self) -> usize {
        self.body_bytes
    }

    /// Appends a new message; its position is above every other.
    pub fn push(&mut self, entry: Entry) {
        let level = self.count_in(&entry);
        self.levels[level].fresh.push_back(entry);
    }

    /// Puts a message back in its place.
    pub fn put_back(&mut self, entry: Entry) {
        let level = self.count_in(&entry);
        self.levels[level].returned.insert(entry.position, entry);
    }

    /// The message that leaves next.
    pub fn head(&self) -> Option<&Entry> {
        self.levels[..=self.top].iter().rev().find_map(Level::head)
    }

    /// Takes the message that leaves next: to a consumer, or because the queue is full.
    pub fn pop(&mut self) -> Option<Entry> {
        while self.top > 0 && self.levels[self.top].head().is_none() {
            self.top -= 1;
        }
        let entry = self.levels[self.top].pop()?;
        self.count_out(&entry);
        Some(entry)
    }

    /// Takes an expired message from the head of a priority.
    pub fn pop_expired(&mut self, now: u64) -> Option<Entry> {
        let entry = self.levels[..=self.top]
            .iter_mut()
            .rev()
            .find_map(|level| {
                let due = level.head().is_some_and(|head| head.expires_at <= now);
                due.then(|| level.pop()).flatten()
            })?;
        self.count_out(&entry);
        Some(entry)
    }

    /// When the next of the heads expires.
    pub fn next_expiry(&self) -> u64 {
        let heads = self.levels[..=self.top].iter().filter_map(Level::head);
        heads.map(|head| head.expires_at).min().unwrap_or(NEVER)
    }

    /// Takes everything.
    pub fn take(&mut self) -> Self {
        let top_priority = u8::try_from(self.levels.len() - 1).unwrap_or(u8::MAX);
        let charge = std::mem::take(&mut self.charge);
        let all = std::mem::replace(self, Self::new(top_priority).counted(charge));
        self.charge.set(0);
        all
    }

    /// All of them, in no order.
    pub fn into_entries(self) -> impl Iterator<Item = Entry> + Send {
        let levels = self.levels.into_iter();
        levels.flat_map(|level| level.fresh.into_iter().chain(level.returned.into_values()))
    }

    /// The first messages in the order in which they would leave, for a look.
    pub fn peek(&self, count: usize) -> impl Iterator<Item = &Entry> {
        let levels = self.levels.iter().rev();
        levels
            .flat_map(move |level| {
                let mut entries: Vec<&Entry> = level.returned.values().take(count).collect();
                entries.extend(level.fresh.iter().take(count));
                entries.sort_unstable_by_key(|entry| entry.position);
                entries
            })
            .take(count)
    }

    fn count_in(&mut self, entry: &Entry) -> usize {
        self.len += 1;
        self.charge.follow(self.len * ENTRY);
        self.body_bytes += entry.message.body.len();
        let level = usize::from(entry.message.priority).min(self.levels.len() - 1);
        self.top = self.top.max(level);
        level
    }

    fn count_out(&mut self, entry: &Entry) {
        self.len -= 1;
        self.charge.follow(self.len * ENTRY);
        self.body_bytes -= entry.message.body.len();
    }
}
