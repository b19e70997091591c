//! Messages of a queue that wait for delivery, by priority and position.

use std::{collections::BTreeMap, sync::Arc};

use crate::broker::{memory::Charge, message::Message, pieces::Ring};

/// The memory of an entry: its ring or map is seldom full.
const ENTRY: usize = size_of::<Entry>() * 3 / 2;

/// Never expires.
pub const NEVER: u64 = u64::MAX;

/// A message in a queue, or delivered from it.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The published message.
    pub message: Arc<Message>,
    /// Its place in the queue; a requeue restores it.
    pub position: u64,
    /// When it expires, in ms of the broker's clock.
    pub expires_at: u64,
    /// How often it was requeued.
    pub returns: u32,
    /// Whether it was given to a consumer before.
    pub redelivered: bool,
    /// Whether a consumer held it when the daemon ended, which `returns` counts and the log does not yet.
    pub resumed: bool,
}

/// Messages of a queue that are in the log only.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ColdRun {
    /// No position of theirs is below this one.
    pub first: u64,
    /// None is above this one.
    pub last: u64,
    /// How many they are.
    pub len: usize,
    /// The length of their bodies together.
    pub body_bytes: usize,
}

/// Waiting messages: those never delivered in a ring, requeued ones in a map by place. Of a queue without priorities,
/// some behind the first of the ring may be in the log only.
#[derive(Debug)]
pub struct Ready {
    levels: Vec<Level>,
    /// Behind all of the ring.
    cold: Option<ColdRun>,
    /// Behind those in the log.
    late: Ring<Entry>,
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
            cold: None,
            late: Ring::default(),
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

    /// Its memory while it is empty, beyond the value itself.
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
        match self.cold.is_none() && self.late.is_empty() {
            true => self.levels[level].fresh.push_back(entry),
            false => self.late.push_back(entry),
        }
    }

    /// Whether messages may be in the log only.
    pub fn may_be_cold(&self) -> bool {
        self.levels.len() == 1
    }

    /// The messages that are in the log only.
    pub fn cold(&self) -> Option<ColdRun> {
        self.cold
    }

    /// Adds messages that are in the log only, behind all others.
    pub fn add_cold(&mut self, run: ColdRun) {
        self.len += run.len;
        self.body_bytes += run.body_bytes;
        self.cold = (run.len > 0).then_some(run);
    }

    /// Takes in messages that were read from the log, in order, all up to the position `last`.
    pub fn warm(&mut self, entries: impl Iterator<Item = Entry>, last: u64) {
        for entry in entries {
            let Some(cold) = self
                .cold
                .as_mut()
                .filter(|cold| entry.position <= cold.last)
            else {
                break;
            };
            if entry.position < cold.first || cold.len == 0 {
                continue;
            }
            cold.len -= 1;
            cold.body_bytes = cold.body_bytes.saturating_sub(entry.message.body.len());
            cold.first = entry.position + 1;
            self.levels[0].fresh.push_back(entry);
        }
        if let Some(cold) = &mut self.cold {
            cold.first = cold.first.max(last.saturating_add(1));
            if cold.len == 0 || cold.first > cold.last {
                self.forget_cold();
            }
        }
        self.charge.follow(self.hot() * ENTRY);
        self.follow_cold();
    }

    /// Moves messages out of memory that are in the log: at most `max`, with positions below `below`. The
    /// first ones, about `keep` bytes, stay in memory. Returns their number.
    pub fn cool(&mut self, keep: usize, below: u64, max: usize) -> usize {
        if self.cold.is_none() && self.late.is_empty() {
            self.split(keep);
        }
        let mut count = 0;
        while count < max
            && let Some(next) = self.late.front()
            && next.position < below
            && next.message.persistent
            && let Some(entry) = self.late.pop_front()
        {
            count += 1;
            let cold = self.cold.get_or_insert(ColdRun {
                first: entry.position,
                last: entry.position,
                len: 0,
                body_bytes: 0,
            });
            cold.last = entry.position;
            cold.len += 1;
            cold.body_bytes += entry.message.body.len();
        }
        self.charge.follow(self.hot() * ENTRY);
        count
    }

    /// Keeps the first messages in the ring; the others follow it.
    fn split(&mut self, keep: usize) {
        let fresh = &mut self.levels[0].fresh;
        let mut all = std::mem::take(fresh);
        let mut kept = 0;
        while kept < keep
            && let Some(entry) = all.pop_front()
        {
            kept += entry.message.bytes() + entry.message.body.len();
            fresh.push_back(entry);
        }
        self.late = all;
    }

    /// Whether messages behind the first ones are in memory.
    pub fn has_late(&self) -> bool {
        !self.late.is_empty()
    }

    /// No message is in the log only any more.
    fn forget_cold(&mut self) {
        if let Some(cold) = self.cold.take() {
            self.len -= cold.len;
            self.body_bytes = self.body_bytes.saturating_sub(cold.body_bytes);
        }
    }

    /// Messages behind those in the log follow the ring when there are none between them.
    fn follow_cold(&mut self) {
        let fresh = &mut self.levels[0].fresh;
        if self.cold.is_none() && fresh.is_empty() && !self.late.is_empty() {
            *fresh = std::mem::take(&mut self.late);
        }
    }

    /// How many messages are in memory.
    pub fn hot(&self) -> usize {
        self.len - self.cold.map_or(0, |cold| cold.len)
    }

    /// How many messages are in memory, without those behind the ones in the log.
    pub fn ahead(&self) -> usize {
        self.hot() - self.late.len()
    }

    /// Whether the message that leaves next has to be read from the log.
    pub fn is_blocked(&self) -> bool {
        self.cold.is_some() && self.head().is_none()
    }

    /// Puts a message back in its place.
    pub fn put_back(&mut self, entry: Entry) {
        let level = self.count_in(&entry);
        self.levels[level].returned.insert(entry.position, entry);
    }

    /// The message that leaves next.
    pub fn head(&self) -> Option<&Entry> {
        let head = self.levels[..=self.top]
            .iter()
            .rev()
            .find_map(Level::head)?;
        match self.cold {
            Some(cold) if head.position >= cold.first => None,
            _ => Some(head),
        }
    }

    /// Takes the message that leaves next: to a consumer, or because the queue is full.
    pub fn pop(&mut self) -> Option<Entry> {
        if self.is_blocked() {
            return None;
        }
        while self.top > 0 && self.levels[self.top].head().is_none() {
            self.top -= 1;
        }
        let entry = self.levels[self.top].pop()?;
        self.count_out(&entry);
        if !self.late.is_empty() {
            self.follow_cold();
        }
        Some(entry)
    }

    /// Takes an expired message from the head of a priority.
    pub fn pop_expired(&mut self, now: u64) -> Option<Entry> {
        if self.is_blocked() {
            return None;
        }
        let entry = self.levels[..=self.top]
            .iter_mut()
            .rev()
            .find_map(|level| {
                let due = level.head().is_some_and(|head| head.expires_at <= now);
                due.then(|| level.pop()).flatten()
            })?;
        self.count_out(&entry);
        if !self.late.is_empty() {
            self.follow_cold();
        }
        Some(entry)
    }

    /// When the next of the heads expires.
    pub fn next_expiry(&self) -> u64 {
        if self.is_blocked() {
            return NEVER;
        }
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

    /// All that are in memory, in no order.
    pub fn into_entries(self) -> impl Iterator<Item = Entry> + Send {
        let levels = self.levels.into_iter();
        let in_levels =
            levels.flat_map(|level| level.fresh.into_iter().chain(level.returned.into_values()));
        in_levels.chain(self.late)
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
        self.charge.follow(self.hot() * ENTRY);
        self.body_bytes += entry.message.body.len();
        let level = usize::from(entry.message.priority).min(self.levels.len() - 1);
        self.top = self.top.max(level);
        level
    }

    fn count_out(&mut self, entry: &Entry) {
        self.len -= 1;
        self.charge.follow(self.hot() * ENTRY);
        self.body_bytes -= entry.message.body.len();
    }
}

#[cfg(test)]
mod tests;
