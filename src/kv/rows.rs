//! Rows that survive a restart. The composition root says where they are kept.

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::future::{BoxFuture, ready};
use uuid::Uuid;

use super::{
    CheckedBy, KvEntry, KvLimits, KvSession, KvState, SessionBehavior, SessionDraft,
    draft::KvChanges,
};
use crate::{
    model::Timestamp,
    registry::{Lost, Now, UnreadableRow},
};

/// Keys and their values.
const ENTRIES: &str = "kv.entries";
/// Sessions by id.
const SESSIONS: &str = "kv.sessions";
/// Lock delays by key.
const DELAYS: &str = "kv.delays";
/// The index of the last change, in one row.
const INDEX: &str = "kv.index";
const INDEX_KEY: &[u8] = b"index";
/// The first byte of a row of this version.
const VERSION: u8 = 1;

/// A row that is set or removed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KvRow {
    /// Its table.
    pub table: &'static str,
    /// Its key.
    pub key: Bytes,
    /// Its new value, in pieces that follow each other; none removes it.
    pub value: Option<(Vec<u8>, Bytes)>,
}

/// Keeps rows. A commit takes effect as a whole or not at all.
pub trait KvRows: fmt::Debug + Send + Sync {
    /// Commits changes; they survive the end of the process once it is done.
    ///
    /// # Errors
    /// Nothing was changed.
    fn commit(&self, rows: Vec<KvRow>) -> BoxFuture<'static, Result<(), Lost>>;
}

/// Keeps nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoKvRows;

impl KvRows for NoKvRows {
    fn commit(&self, _: Vec<KvRow>) -> BoxFuture<'static, Result<(), Lost>> {
        Box::pin(ready(Ok(())))
    }
}

/// The rows of what changed.
pub(super) fn rows_of(state: &KvState, changes: &KvChanges, now: Now) -> Vec<KvRow> {
    let row = |table, key: &[u8], value| KvRow {
        table,
        key: Bytes::copy_from_slice(key),
        value,
    };
    let entries = changes.keys.iter().map(|key| {
        let entry = state.entries.get(key);
        let value = entry.map(|entry| (encode_entry(entry), entry.value.clone()));
        row(ENTRIES, key.as_bytes(), value)
    });
    let sessions = changes.sessions.iter().map(|id| {
        let session = state.sessions.get(id);
        let value = session.map(|session| (encode_session(session), Bytes::new()));
        row(SESSIONS, id.as_bytes(), value)
    });
    let delays = changes.delays.iter().map(|key| {
        let until = state.delays.get(key).map(|until_ms| {
            let until = now.wall.0.saturating_add_unsigned(*until_ms);
            let until = until.saturating_sub_unsigned(now.mono_ms);
            (until.to_be_bytes().to_vec(), Bytes::new())
        });
        row(DELAYS, key.as_bytes(), until)
    });
    let index = (state.index.to_be_bytes().to_vec(), Bytes::new());
    let index = [row(INDEX, INDEX_KEY, Some(index))];
    entries.chain(sessions).chain(delays).chain(index).collect()
}

/// What an earlier run has stored.
#[derive(Debug, Default)]
pub struct StoredKv {
    index: u64,
    entries: Vec<KvEntry>,
    sessions: Vec<KvSession>,
    delays: Vec<(Arc<str>, Timestamp)>,
}

impl StoredKv {
    /// Reads all tables; `rows_of` gives the rows of one.
    ///
    /// # Errors
    /// That of `rows_of`, or a row cannot be read.
    pub fn read<E: From<UnreadableRow>>(
        rows_of: impl Fn(&'static str) -> Result<Vec<(Bytes, Bytes)>, E>,
    ) -> Result<Self, E> {
        fn all<T>(
            table: &'static str,
            rows: &[(Bytes, Bytes)],
            read: impl Fn(&[u8], &Bytes) -> Option<T>,
        ) -> Result<Vec<T>, UnreadableRow> {
            let read = |(key, row): &(Bytes, Bytes)| read(key, row).ok_or(UnreadableRow { table });
            rows.iter().map(read).collect()
        }
        let index = all(INDEX, &rows_of(INDEX)?, |_, row| number(row))?;
        let delays = all(DELAYS, &rows_of(DELAYS)?, |key, row| {
            let until = i64::from_be_bytes(row[..].try_into().ok()?);
            Some((text(key)?, Timestamp(until)))
        })?;
        Ok(Self {
            index: index.first().copied().unwrap_or_default(),
            entries: all(ENTRIES, &rows_of(ENTRIES)?, read_entry)?,
            sessions: all(SESSIONS, &rows_of(SESSIONS)?, |key, row| {
                read_session(key, row)
            })?,
            delays,
        })
    }

    /// The state that was stored. Locks of sessions that are not there are released.
    pub(super) fn state(self, limits: &KvLimits, now: Now) -> KvState {
        let changed = self.entries.iter().map(|entry| entry.modify_index);
        let index = changed.max().unwrap_or_default().max(self.index);
        let mut state = KvState::at(index, limits);
        for session in self.sessions {
            state.sessions.insert(session.id, Arc::new(session));
        }
        for mut entry in self.entries {
            entry.session = entry.session.filter(|id| state.sessions.contains_key(id));
            state.bytes += entry.size();
            if let Some(session) = entry.session {
                state.held.insert((session, Arc::clone(&entry.key)));
            }
            state
                .entries
                .insert(Arc::clone(&entry.key), Arc::new(entry));
        }
        for (key, until) in self.delays {
            let left_ms = u64::try_from(until.0.saturating_sub(now.wall.0)).unwrap_or(0);
            // A delay that is over is removed by the first draft. A clock that was set makes none longer.
            let until_ms = now.mono_ms + left_ms.min(60_000);
            state.delay_ends.insert((until_ms, Arc::clone(&key)));
            state.delays.insert(key, until_ms);
        }
        state
    }
}

fn number(row: &[u8]) -> Option<u64> {
    row.try_into().ok().map(u64::from_be_bytes)
}

fn text(bytes: &[u8]) -> Option<Arc<str>> {
    std::str::from_utf8(bytes).ok().map(Into::into)
}

/// Everything of an entry but its key and its value, which follows.
fn encode_entry(entry: &KvEntry) -> Vec<u8> {
    let mut row = vec![VERSION];
    for number in [
        entry.flags,
        entry.lock_index,
        entry.create_index,
        entry.modify_index,
    ] {
        row.extend_from_slice(&number.to_be_bytes());
    }
    row.extend_from_slice(entry.session.unwrap_or_default().as_bytes());
    row
}

fn read_entry(key: &[u8], row: &Bytes) -> Option<KvEntry> {
    let mut fields = RowFields::of(row)?;
    let (flags, lock_index) = (fields.number()?, fields.number()?);
    let (create_index, modify_index) = (fields.number()?, fields.number()?);
    let session = Uuid::from_slice(fields.take(16)?).ok()?;
    Some(KvEntry {
        key: text(key)?,
        // A copy of its own, so that it does not keep the memory of other rows.
        value: Bytes::copy_from_slice(fields.rest),
        flags,
        session: (!session.is_nil()).then_some(session),
        lock_index,
        create_index,
        modify_index,
    })
}

const NODE_CHECK: u8 = 0;
const SERVICE_CHECK: u8 = 1;

fn encode_session(session: &KvSession) -> Vec<u8> {
    fn sized(row: &mut Vec<u8>, text: &str) {
        let len = u32::try_from(text.len()).unwrap_or(u32::MAX);
        row.extend_from_slice(&len.to_be_bytes());
        row.extend_from_slice(text.as_bytes());
    }
    let draft = &session.draft;
    let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let mut row = vec![VERSION, u8::from(draft.behavior == SessionBehavior::Delete)];
    for number in [
        session.index,
        ms(draft.lock_delay),
        ms(draft.ttl.unwrap_or_default()),
        draft.checks.len() as u64,
    ] {
        row.extend_from_slice(&number.to_be_bytes());
    }
    for check in &draft.checks {
        row.push(match check {
            CheckedBy::Node(_) => NODE_CHECK,
            CheckedBy::Service(_) => SERVICE_CHECK,
        });
        sized(&mut row, check.id());
    }
    for text in [&draft.name, &draft.node] {
        sized(&mut row, text);
    }
    if let Some(owner) = &draft.owner {
        sized(&mut row, owner);
    }
    row
}

fn read_session(key: &[u8], row: &[u8]) -> Option<KvSession> {
    let mut fields = RowFields::of(row)?;
    let behavior = match fields.take(1)? {
        [0] => SessionBehavior::Release,
        [1] => SessionBehavior::Delete,
        _ => return None,
    };
    let index = fields.number()?;
    let lock_delay = Duration::from_millis(fields.number()?);
    let ttl = Duration::from_millis(fields.number()?);
    let mut checks = Vec::new();
    for _ in 0..fields.number()? {
        let kind = fields.take(1)?[0];
        let id = fields.text()?;
        checks.push(match kind {
            NODE_CHECK => CheckedBy::Node(id),
            SERVICE_CHECK => CheckedBy::Service(id),
            _ => return None,
        });
    }
    let (name, node) = (fields.text()?, fields.text()?);
    let owner = match fields.rest.is_empty() {
        true => None,
        false => Some(fields.text()?),
    };
    let draft = SessionDraft {
        name,
        node,
        checks,
        lock_delay,
        behavior,
        ttl: (!ttl.is_zero()).then_some(ttl),
        owner,
    };
    let id = Uuid::from_slice(key).ok()?;
    fields
        .rest
        .is_empty()
        .then_some(KvSession { id, draft, index })
}

/// The fields of a row that are not read yet.
struct RowFields<'a> {
    rest: &'a [u8],
}

impl<'a> RowFields<'a> {
    /// None when it is of another version.
    fn of(row: &'a [u8]) -> Option<Self> {
        let rest = row.strip_prefix(&[VERSION])?;
        Some(Self { rest })
    }

    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<u64> {
        number(self.take(8)?)
    }

    fn text(&mut self) -> Option<Arc<str>> {
        let len = u32::from_be_bytes(self.take(4)?.try_into().ok()?);
        text(self.take(usize::try_from(len).ok()?)?)
    }
}

#[cfg(test)]
mod tests;
