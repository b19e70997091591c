//! What readers see: an immutable snapshot that shares its memory with the next one.

use std::{ops::Bound, sync::Arc};

use imbl::{OrdMap, OrdSet};
use uuid::Uuid;

use super::{KvEntry, KvLimits, KvSession, marks::Marks};

/// The index before the first change. An index of 0 would be no index to clients.
const FIRST: u64 = 1;

/// Everything that is kept, at one index.
#[derive(Clone, Debug)]
pub struct KvState {
    pub(super) index: u64,
    pub(super) entries: OrdMap<Arc<str>, Arc<KvEntry>>,
    /// Keys that were deleted.
    pub(super) deleted: Marks<Arc<str>>,
    pub(super) sessions: OrdMap<Uuid, Arc<KvSession>>,
    pub(super) ended: Marks<Uuid>,
    /// The last change of the sessions of each node.
    pub(super) nodes: Marks<Arc<str>>,
    /// The last change of any session.
    pub(super) sessions_index: u64,
    /// The keys that each session has locked.
    pub(super) held: OrdSet<(Uuid, Arc<str>)>,
    /// Keys that cannot be locked before a moment on the monotonic clock, in milliseconds.
    pub(super) delays: OrdMap<Arc<str>, u64>,
    pub(super) delay_ends: OrdSet<(u64, Arc<str>)>,
    pub(super) bytes: usize,
}

/// What was read, and the index of the last change of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KvRead<T> {
    /// Never 0.
    pub index: u64,
    /// What was read.
    pub found: T,
}

impl KvState {
    /// Nothing, as large as the limits allow.
    #[cfg(test)]
    pub(super) fn empty(limits: &KvLimits) -> Self {
        Self::at(FIRST, limits)
    }

    /// Nothing, after the changes up to an index.
    pub(super) fn at(index: u64, limits: &KvLimits) -> Self {
        let index = index.max(FIRST);
        Self {
            index,
            entries: OrdMap::new(),
            deleted: Marks::new(index, limits.keys_max),
            sessions: OrdMap::new(),
            ended: Marks::new(index, limits.sessions_max),
            nodes: Marks::new(index, limits.sessions_max),
            sessions_index: index,
            held: OrdSet::new(),
            delays: OrdMap::new(),
            delay_ends: OrdSet::new(),
            bytes: 0,
        }
    }

    /// The index of the last change.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// How many keys there are.
    pub fn keys(&self) -> usize {
        self.entries.len()
    }

    /// The bytes of all keys and values.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many sessions there are.
    pub fn session_count(&self) -> usize {
        self.sessions.len()
    }

    /// A key.
    pub fn get(&self, key: &Arc<str>) -> KvRead<Option<Arc<KvEntry>>> {
        let found = self.entries.get(key).cloned();
        let index = match &found {
            Some(entry) => entry.modify_index,
            None => self.deleted.of(key),
        };
        KvRead { index, found }
    }

    /// The entries whose keys begin with a prefix, in the order of their keys.
    pub(super) fn under<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a Arc<KvEntry>> {
        let from = (Bound::Included(prefix), Bound::Unbounded);
        let entries = self.entries.range::<_, str>(from);
        entries
            .take_while(move |(key, _)| key.starts_with(prefix))
            .map(|(_, entry)| entry)
    }

    /// The entries under a prefix that `sees` lets through.
    pub fn list(&self, prefix: &str, sees: impl Fn(&str) -> bool) -> KvRead<Vec<Arc<KvEntry>>> {
        let seen = self.under(prefix).filter(|entry| sees(&entry.key));
        let found: Vec<_> = seen.cloned().collect();
        let changed = found.iter().map(|entry| entry.modify_index);
        let index = changed.max().unwrap_or_default();
        let index = index.max(self.deleted_under(prefix, sees));
        KvRead { index, found }
    }

    /// The keys under a prefix that `sees` lets through. With a separator, keys that share the text up to the first
    /// one after the prefix are one. The index does not move when only a value has changed.
    pub fn key_names(
        &self,
        prefix: &str,
        separator: &str,
        sees: impl Fn(&str) -> bool,
    ) -> KvRead<Vec<Arc<str>>> {
        let (mut found, mut index): (Vec<Arc<str>>, u64) = (Vec::new(), 0);
        for entry in self.under(prefix).filter(|entry| sees(&entry.key)) {
            index = index.max(entry.create_index);
            let folder = folder_of(&entry.key, prefix, separator);
            if folder.len() == entry.key.len() {
                found.push(Arc::clone(&entry.key));
            } else if found.last().is_none_or(|last| **last != *folder) {
                found.push(folder.into());
            }
        }
        let index = index.max(self.deleted_under(prefix, sees));
        KvRead { index, found }
    }

    /// The index of the last deletion under a prefix.
    fn deleted_under(&self, prefix: &str, sees: impl Fn(&str) -> bool) -> u64 {
        let from = (Bound::Included(prefix), Bound::Unbounded);
        let deleted = self.deleted.table().range::<_, str>(from);
        let seen = deleted
            .take_while(|(key, _)| key.starts_with(prefix))
            .filter(|(key, _)| sees(key));
        let newest = seen.map(|(_, index)| *index).max().unwrap_or_default();
        newest.max(self.deleted.floor())
    }

    /// A session.
    pub fn session(&self, id: Uuid) -> KvRead<Option<Arc<KvSession>>> {
        let found = self.sessions.get(&id).cloned();
        let index = match &found {
            Some(session) => session.index,
            None => self.ended.of(&id),
        };
        KvRead { index, found }
    }

    /// All sessions.
    pub fn sessions(&self) -> KvRead<Vec<Arc<KvSession>>> {
        KvRead {
            index: self.sessions_index,
            found: self.sessions.values().cloned().collect(),
        }
    }

    /// The sessions of a node.
    pub fn sessions_of(&self, node: &Arc<str>) -> KvRead<Vec<Arc<KvSession>>> {
        let all = self.sessions.values();
        KvRead {
            index: self.nodes.of(node),
            found: all.filter(|one| one.draft.node == *node).cloned().collect(),
        }
    }
}

/// A key up to the end of the first separator after the prefix; the whole key without one.
fn folder_of<'a>(key: &'a str, prefix: &str, separator: &str) -> &'a str {
    if separator.is_empty() {
        return key;
    }
    let Some(at) = key[prefix.len()..].find(separator) else {
        return key;
    };
    &key[..prefix.len() + at + separator.len()]
}

#[cfg(test)]
mod tests;
