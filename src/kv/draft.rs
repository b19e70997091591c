//! The rules: what each request changes. They work on a copy of the state, which is shown after its rows were committed.

use std::{collections::BTreeSet, sync::Arc};

use bytes::Bytes;
use uuid::Uuid;

use super::{
    KvEntry, KvFound, KvLimits, KvOperation, KvRefusal, KvSession, KvState, KvUnmet, KvVerb,
    SessionBehavior, SessionDraft, SessionOwner, TransactionFault, check_key,
};

/// A transaction may find so many entries with any limit of keys: one for each of its operations.
const FOUND_MIN: usize = 1024;

/// What changed: the rows to write, and the readers to wake.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct KvChanges {
    pub(super) keys: BTreeSet<Arc<str>>,
    pub(super) sessions: BTreeSet<Uuid>,
    pub(super) nodes: BTreeSet<Arc<str>>,
    pub(super) delays: BTreeSet<Arc<str>>,
}

impl KvChanges {
    fn extend(&mut self, more: Self) {
        self.keys.extend(more.keys);
        self.sessions.extend(more.sessions);
        self.nodes.extend(more.nodes);
        self.delays.extend(more.delays);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.sessions.is_empty() && self.delays.is_empty()
    }
}

/// A state that is not shown yet, and how it differs from the one that is.
#[derive(Clone, Debug)]
pub(super) struct KvDraft {
    pub(super) state: KvState,
    pub(super) changes: KvChanges,
    limits: KvLimits,
    now_ms: u64,
}

type DraftResult = Result<Vec<KvFound>, TransactionFault>;

impl KvDraft {
    /// Begins with a state, at a moment on the monotonic clock. Lock delays that are over are removed.
    pub(super) fn new(state: KvState, limits: KvLimits, now_ms: u64) -> Self {
        let mut draft = Self {
            state,
            changes: KvChanges::default(),
            limits,
            now_ms,
        };
        draft.drop_delays();
        draft
    }

    /// Decides on a transaction: every operation, or none with all faults by the number of their operation.
    pub(super) fn transact(
        &mut self,
        operations: &[KvOperation],
    ) -> Result<Vec<KvFound>, Vec<(usize, TransactionFault)>> {
        let (state, changes) = (self.state.clone(), std::mem::take(&mut self.changes));
        let (mut found, mut faults) = (Vec::new(), Vec::new());
        let mut found_bytes = 0;
        let index = self.state.index + 1;
        for (number, operation) in operations.iter().enumerate() {
            let done = self.operate(operation, index).and_then(|more| {
                found_bytes += more.iter().map(KvFound::bytes).sum::<usize>();
                self.may_show(found.len() + more.len(), found_bytes)?;
                Ok(more)
            });
            match done {
                Ok(more) => found.extend(more),
                Err(fault @ TransactionFault::Refused(KvRefusal::ReadsTooMuch { .. })) => {
                    faults.push((number, fault));
                    break;
                }
                Err(fault) => faults.push((number, fault)),
            }
        }
        let own = std::mem::replace(&mut self.changes, changes);
        if faults.is_empty() {
            self.changes.extend(own);
            return Ok(found);
        }
        self.state = state;
        Err(faults)
    }

    /// Each operation may find everything that is kept, all together not more than that.
    fn may_show(&self, n_found: usize, bytes: usize) -> Result<(), KvRefusal> {
        let KvLimits {
            bytes_max,
            keys_max,
            ..
        } = self.limits;
        match bytes > bytes_max || n_found > keys_max.max(FOUND_MIN) {
            true => Err(KvRefusal::ReadsTooMuch {
                bytes: bytes_max,
                keys: keys_max,
            }),
            false => Ok(()),
        }
    }

    fn operate(&mut self, operation: &KvOperation, index: u64) -> DraftResult {
        let key = &operation.key;
        if !operation.verb.is_tree() {
            check_key(key)?;
        }
        let known = self.state.entries.get(key).cloned();
        let missing = || KvUnmet::Missing(Arc::clone(key));
        match &operation.verb {
            KvVerb::Set(value, flags) => self.set(key, value, *flags, known, index),
            KvVerb::Cas(value, flags, wanted) => {
                let current = known.as_ref().map_or(0, |entry| entry.modify_index);
                match current == *wanted {
                    true => self.set(key, value, *flags, known, index),
                    false => Err(KvUnmet::StaleSet(Arc::clone(key)).into()),
                }
            }
            KvVerb::Lock(value, flags, session) => {
                self.lock(key, value, *flags, *session, known, index)
            }
            KvVerb::Unlock(value, flags, session) => {
                let held = known.filter(|entry| entry.session == Some(*session));
                let known = held.ok_or_else(|| KvUnmet::NotHeld(Arc::clone(key)))?;
                let entry = KvEntry {
                    value: value.clone(),
                    flags: *flags,
                    session: None,
                    ..KvEntry::clone(&known)
                };
                self.put(entry, Some(&known), index)
            }
            KvVerb::Get => Ok(vec![read(known.ok_or_else(missing)?)]),
            KvVerb::GetOrEmpty => {
                let empty = || Arc::new(new_entry(key, Bytes::new(), 0));
                Ok(vec![read(known.unwrap_or_else(empty))])
            }
            KvVerb::GetTree => Ok(self.state.under(key).cloned().map(read).collect()),
            KvVerb::CheckIndex(wanted) => check_index(known.ok_or_else(missing)?, *wanted),
            KvVerb::CheckSession(wanted) => check_session(known.ok_or_else(missing)?, *wanted),
            KvVerb::CheckNotExists => match known {
                None => Ok(Vec::new()),
                Some(_) => Err(KvUnmet::Exists(Arc::clone(key)).into()),
            },
            KvVerb::Delete => {
                self.delete(key, index);
                Ok(Vec::new())
            }
            KvVerb::DeleteCas(wanted) => {
                // A key that is gone already is no fault.
                if known.is_some_and(|entry| entry.modify_index != *wanted) {
                    return Err(KvUnmet::StaleDelete(Arc::clone(key)).into());
                }
                self.delete(key, index);
                Ok(Vec::new())
            }
            KvVerb::DeleteTree => {
                let keys: Vec<_> = self.state.under(key).map(|one| one.key.clone()).collect();
                for key in &keys {
                    self.delete(key, index);
                }
                Ok(Vec::new())
            }
        }
    }

    fn set(
        &mut self,
        key: &Arc<str>,
        value: &Bytes,
        flags: u64,
        known: Option<Arc<KvEntry>>,
        index: u64,
    ) -> DraftResult {
        let entry = match &known {
            Some(known) => KvEntry {
                value: value.clone(),
                flags,
                ..KvEntry::clone(known)
            },
            None => new_entry(key, value.clone(), flags),
        };
        self.put(entry, known.as_ref(), index)
    }

    fn lock(
        &mut self,
        key: &Arc<str>,
        value: &Bytes,
        flags: u64,
        session: Uuid,
        known: Option<Arc<KvEntry>>,
        index: u64,
    ) -> DraftResult {
        if !self.state.sessions.contains_key(&session) {
            return Err(KvRefusal::InvalidSession(session).into());
        }
        if self.state.delays.contains_key(key) {
            return Err(KvUnmet::Delayed(Arc::clone(key)).into());
        }
        let mut entry = match &known {
            Some(known) => KvEntry::clone(known),
            None => new_entry(key, Bytes::new(), 0),
        };
        match entry.session {
            Some(holder) if holder != session => {
                return Err(KvUnmet::Held(Arc::clone(key)).into());
            }
            Some(_) => (),
            None => entry.lock_index += 1,
        }
        entry.session = Some(session);
        entry.value = value.clone();
        entry.flags = flags;
        self.put(entry, known.as_ref(), index)
    }

    /// Stores an entry; one that is equal to the known one changes nothing.
    fn put(&mut self, mut entry: KvEntry, known: Option<&Arc<KvEntry>>, index: u64) -> DraftResult {
        if let Some(known) = known.filter(|known| ***known == entry) {
            return Ok(vec![without_value(Arc::clone(known))]);
        }
        self.check_room(&entry, known)?;
        entry.modify_index = index;
        if known.is_none() {
            entry.create_index = index;
        }
        self.state.deleted.clear(&entry.key);
        let entry = Arc::new(entry);
        self.replace(&entry.key, Some(&entry));
        self.state.index = index;
        Ok(vec![without_value(entry)])
    }

    fn check_room(&self, entry: &KvEntry, known: Option<&Arc<KvEntry>>) -> Result<(), KvRefusal> {
        let KvLimits {
            value_max,
            keys_max,
            bytes_max,
            ..
        } = self.limits;
        let key = || Arc::clone(&entry.key);
        if entry.value.len() > value_max {
            return Err(KvRefusal::ValueTooLarge {
                key: key(),
                bytes: entry.value.len(),
                max: value_max,
            });
        }
        if known.is_none() && self.state.entries.len() >= keys_max {
            let max = keys_max;
            return Err(KvRefusal::KeysFull { key: key(), max });
        }
        let before = known.map_or(0, |known| known.size());
        let grows = entry.size() > before;
        if grows && self.state.bytes - before + entry.size() > bytes_max {
            let max = bytes_max;
            return Err(KvRefusal::BytesFull { key: key(), max });
        }
        Ok(())
    }

    fn delete(&mut self, key: &Arc<str>, index: u64) {
        if self.state.entries.contains_key(key) {
            self.replace(key, None);
            self.state.deleted.set(Arc::clone(key), index);
            self.state.index = index;
        }
    }

    /// Puts an entry in the place of another, or removes that, with everything that is counted.
    fn replace(&mut self, key: &Arc<str>, entry: Option<&Arc<KvEntry>>) {
        let state = &mut self.state;
        let before = match entry {
            Some(entry) => state.entries.insert(Arc::clone(key), Arc::clone(entry)),
            None => state.entries.remove(key),
        };
        if let Some(before) = before {
            state.bytes -= before.size();
            if let Some(session) = before.session {
                state.held.remove(&(session, Arc::clone(key)));
            }
        }
        if let Some(entry) = entry {
            state.bytes += entry.size();
            if let Some(session) = entry.session {
                state.held.insert((session, Arc::clone(key)));
            }
        }
        self.changes.keys.insert(Arc::clone(key));
    }

    /// Creates a session.
    pub(super) fn create_session(
        &mut self,
        id: Uuid,
        draft: SessionDraft,
    ) -> Result<Arc<KvSession>, KvRefusal> {
        let max = self.limits.sessions_max;
        if self.state.sessions.len() >= max {
            return Err(KvRefusal::SessionsFull { max });
        }
        let index = self.state.index + 1;
        let session = Arc::new(KvSession { id, draft, index });
        self.state.sessions.insert(id, Arc::clone(&session));
        self.session_changed(&session, index);
        Ok(session)
    }

    /// Ends a session: its keys are unlocked or deleted, and cannot be locked for a while. None when there is no such
    /// session.
    pub(super) fn end_session(
        &mut self,
        id: Uuid,
        by: &SessionOwner,
    ) -> Result<Option<Arc<KvSession>>, KvRefusal> {
        let Some(session) = self.may_change(id, by)? else {
            return Ok(None);
        };
        let index = self.state.index + 1;
        let first = (id, Arc::from(""));
        let held = self.state.held.range(first..).take_while(|one| one.0 == id);
        let held: Vec<_> = held.map(|(_, key)| Arc::clone(key)).collect();
        for key in &held {
            match session.draft.behavior {
                SessionBehavior::Delete => self.delete(key, index),
                SessionBehavior::Release => self.unlock(key, index),
            }
            self.delay(key, session.lock_delay_ms());
        }
        self.state.sessions.remove(&id);
        self.state.ended.set(id, index);
        self.session_changed(&session, index);
        Ok(Some(session))
    }

    fn unlock(&mut self, key: &Arc<str>, index: u64) {
        if let Some(known) = self.state.entries.get(key).cloned() {
            let entry = Arc::new(KvEntry {
                session: None,
                modify_index: index,
                ..KvEntry::clone(&known)
            });
            self.replace(key, Some(&entry));
        }
    }

    fn session_changed(&mut self, session: &KvSession, index: u64) {
        let node = &session.draft.node;
        self.state.index = index;
        self.state.sessions_index = index;
        self.state.nodes.set(Arc::clone(node), index);
        self.changes.nodes.insert(Arc::clone(node));
        self.changes.sessions.insert(session.id);
    }

    /// A session that may be changed; none when there is none.
    ///
    /// # Errors
    /// It belongs to another identity.
    pub(super) fn may_change(
        &self,
        id: Uuid,
        by: &SessionOwner,
    ) -> Result<Option<Arc<KvSession>>, KvRefusal> {
        let session = self.state.sessions.get(&id);
        match session {
            Some(session) if !by.may_change(session) => {
                let owner = session.draft.owner.as_deref().unwrap_or_default();
                Err(KvRefusal::Forbidden(
                    format!("the session \"{id}\" was created by \"{owner}\"").into(),
                ))
            }
            session => Ok(session.cloned()),
        }
    }

    /// A key cannot be locked for so long.
    fn delay(&mut self, key: &Arc<str>, delay_ms: u64) {
        if delay_ms == 0 {
            return;
        }
        let until = self.now_ms + delay_ms;
        self.remove_delay(key);
        self.state.delays.insert(Arc::clone(key), until);
        self.state.delay_ends.insert((until, Arc::clone(key)));
        self.changes.delays.insert(Arc::clone(key));
        // Deleted keys count for nothing else, so their delays have a limit too.
        while self.state.delays.len() > self.limits.keys_max {
            let Some((_, first)) = self.state.delay_ends.get_min().cloned() else {
                return;
            };
            self.remove_delay(&first);
        }
    }

    fn remove_delay(&mut self, key: &Arc<str>) {
        if let Some(until) = self.state.delays.remove(key) {
            self.state.delay_ends.remove(&(until, Arc::clone(key)));
            self.changes.delays.insert(Arc::clone(key));
        }
    }

    fn drop_delays(&mut self) {
        while let Some((until, key)) = self.state.delay_ends.get_min().cloned() {
            if until > self.now_ms {
                return;
            }
            self.remove_delay(&key);
        }
    }
}

fn new_entry(key: &Arc<str>, value: Bytes, flags: u64) -> KvEntry {
    KvEntry {
        key: Arc::clone(key),
        value,
        flags,
        session: None,
        lock_index: 0,
        create_index: 0,
        modify_index: 0,
    }
}

fn check_index(entry: Arc<KvEntry>, wanted: u64) -> DraftResult {
    let current = entry.modify_index;
    if current == wanted {
        return Ok(vec![without_value(entry)]);
    }
    let key = Arc::clone(&entry.key);
    Err(KvUnmet::Index {
        key,
        current,
        wanted,
    }
    .into())
}

fn check_session(entry: Arc<KvEntry>, wanted: Option<Uuid>) -> DraftResult {
    if entry.session == wanted {
        return Ok(vec![without_value(entry)]);
    }
    let text = |id: Option<Uuid>| id.map(|id| id.to_string()).unwrap_or_default();
    Err(KvUnmet::Session {
        key: Arc::clone(&entry.key),
        current: text(entry.session),
        wanted: text(wanted),
    }
    .into())
}

fn read(entry: Arc<KvEntry>) -> KvFound {
    KvFound {
        entry,
        with_value: true,
    }
}

fn without_value(entry: Arc<KvEntry>) -> KvFound {
    KvFound {
        entry,
        with_value: false,
    }
}

#[cfg(test)]
mod model;
#[cfg(test)]
pub(in crate::kv) mod testing;
#[cfg(test)]
mod tests;
