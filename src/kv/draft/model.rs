//! The draft against a model that is too simple to be wrong, and the rows against the state that they come from.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{
    testing::{LIMITS, at, draft, one},
    *,
};
use crate::{
    kv::{StoredKv, rows::rows_of},
    model::Timestamp,
    registry::{Now, UnreadableRow},
};

#[derive(Clone, Debug)]
enum ModelStep {
    Do(&'static str, KvVerb),
    Create(u8, SessionBehavior),
    End(u8),
    Wait(u64),
}

const KEYS: [&str; 5] = ["a", "a/1", "a/2", "b", "b/1"];

fn step() -> impl Strategy<Value = ModelStep> {
    let key = prop::sample::select(&KEYS[..]);
    let text = prop::sample::select(&["", "x", "yy", "0123456789abcdefg"][..]);
    let text = text.prop_map(|text| Bytes::from_static(text.as_bytes()));
    let id = (1_u8..5).prop_map(|id| Uuid::from_u128(id.into()));
    let index = 0_u64..30;
    let verb = prop_oneof![
        (text.clone(), 0_u64..2).prop_map(|(text, flags)| KvVerb::Set(text, flags)),
        (text.clone(), index.clone()).prop_map(|(text, index)| KvVerb::Cas(text, 0, index)),
        (text.clone(), id.clone()).prop_map(|(text, id)| KvVerb::Lock(text, 0, id)),
        (text, id).prop_map(|(text, id)| KvVerb::Unlock(text, 0, id)),
        Just(KvVerb::Delete),
        Just(KvVerb::DeleteTree),
        index.prop_map(KvVerb::DeleteCas),
    ];
    let behavior = prop_oneof![
        Just(SessionBehavior::Release),
        Just(SessionBehavior::Delete)
    ];
    prop_oneof![
        8 => (key, verb).prop_map(|(key, verb)| ModelStep::Do(key, verb)),
        2 => (1_u8..5, behavior).prop_map(|(id, behavior)| ModelStep::Create(id, behavior)),
        1 => (1_u8..5).prop_map(ModelStep::End),
        1 => (0_u64..20_000).prop_map(ModelStep::Wait),
    ]
}

#[derive(Clone, Debug, Default)]
struct ModelEntry {
    value: Bytes,
    flags: u64,
    session: Option<Uuid>,
    create: u64,
    modify: u64,
    locked: u64,
}

/// Plain maps and no shortcuts.
#[derive(Debug, Default)]
struct Model {
    index: u64,
    entries: BTreeMap<String, ModelEntry>,
    sessions: BTreeMap<Uuid, SessionBehavior>,
    delays: BTreeMap<String, u64>,
    now: u64,
}

impl Model {
    fn write(&mut self, key: &str, value: &Bytes, flags: u64, session: Option<Uuid>) -> bool {
        let known = self.entries.get(key).cloned();
        let mut entry = known.clone().unwrap_or_default();
        if session.is_some() && entry.session.is_none() {
            entry.locked += 1;
        }
        entry.value = value.clone();
        entry.flags = flags;
        entry.session = session;
        self.store(key, entry, known)
    }

    fn store(&mut self, key: &str, entry: ModelEntry, known: Option<ModelEntry>) -> bool {
        let same = known.as_ref().is_some_and(|known| {
            (&known.value, known.flags, known.session) == (&entry.value, entry.flags, entry.session)
        });
        if same {
            return true;
        }
        if entry.value.len() > LIMITS.value_max {
            return false;
        }
        self.index += 1;
        let create = known.map_or(self.index, |known| known.create);
        let modify = self.index;
        let entry = ModelEntry {
            create,
            modify,
            ..entry
        };
        self.entries.insert(key.to_owned(), entry);
        true
    }

    fn remove(&mut self, wanted: impl Fn(&str) -> bool) {
        let before = self.entries.len();
        self.entries.retain(|key, _| !wanted(key));
        self.index += u64::from(self.entries.len() < before);
    }

    fn run(&mut self, key: &str, verb: &KvVerb) -> bool {
        let known = self.entries.get(key).cloned();
        let held = known.as_ref().and_then(|entry| entry.session);
        match verb {
            KvVerb::Set(value, flags) => self.write(key, value, *flags, held),
            KvVerb::Cas(value, flags, index) => {
                let matches = known.map_or(0, |known| known.modify) == *index;
                matches && self.write(key, value, *flags, held)
            }
            KvVerb::Lock(value, flags, id) => {
                let delayed = self.delays.get(key).is_some_and(|until| *until > self.now);
                let free = held.is_none_or(|holder| holder == *id);
                self.sessions.contains_key(id)
                    && !delayed
                    && free
                    && self.write(key, value, *flags, Some(*id))
            }
            KvVerb::Unlock(value, flags, id) => {
                held == Some(*id) && self.write(key, value, *flags, None)
            }
            KvVerb::Delete => {
                self.remove(|one| one == key);
                true
            }
            KvVerb::DeleteTree => {
                self.remove(|one| one.starts_with(key));
                true
            }
            KvVerb::DeleteCas(index) => {
                let may = known.is_none_or(|known| known.modify == *index);
                if may {
                    self.remove(|one| one == key);
                }
                may
            }
            _ => unreachable!("only writes are generated"),
        }
    }

    fn end(&mut self, id: Uuid) {
        let Some(behavior) = self.sessions.remove(&id) else {
            return;
        };
        self.index += 1;
        let mut entries = std::mem::take(&mut self.entries);
        entries.retain(|key, entry| {
            if entry.session != Some(id) {
                return true;
            }
            self.delays.insert(key.clone(), self.now + 15_000);
            entry.session = None;
            entry.modify = self.index;
            behavior == SessionBehavior::Release
        });
        self.entries = entries;
    }
}

/// What is stored after these rows.
fn replay(tables: &BTreeMap<(&'static str, Bytes), Bytes>, now: Now) -> KvState {
    let rows_of = |wanted: &'static str| {
        let rows = tables.iter().filter(|((table, _), _)| *table == wanted);
        let rows = rows.map(|((_, key), value)| (key.clone(), value.clone()));
        Ok::<_, UnreadableRow>(rows.collect())
    };
    StoredKv::read(rows_of).unwrap().state(&LIMITS, now)
}

proptest! {
    #[test]
    fn it_does_what_the_model_does(steps in prop::collection::vec(step(), 1..60)) {
        let mut real = draft();
        let mut model = Model { index: 1, ..Model::default() };
        let mut tables: BTreeMap<(&'static str, Bytes), Bytes> = BTreeMap::new();
        for step in steps {
            let indexes = KEYS.map(|key| real.state.list(key, |_| true).index);
            match &step {
                ModelStep::Do(key, verb) => {
                    let done = one(&mut real, key, verb.clone()).is_ok();
                    prop_assert_eq!(done, model.run(key, verb), "{:?}", step);
                }
                ModelStep::Create(id, behavior) => {
                    let id = Uuid::from_u128((*id).into());
                    if model.sessions.insert(id, *behavior).is_none() {
                        testing::session(&mut real, id.as_u128(), *behavior);
                        model.index += 1;
                    } else {
                        model.sessions.insert(id, real.state.sessions[&id].draft.behavior);
                    }
                }
                ModelStep::End(id) => {
                    let id = Uuid::from_u128((*id).into());
                    real.end_session(id, &SessionOwner::Any).unwrap();
                    model.end(id);
                }
                ModelStep::Wait(ms) => model.now += ms,
            }
            let now = Now { mono_ms: model.now, wall: Timestamp(model.now as i64) };
            for row in rows_of(&real.state, &real.changes, now) {
                match row.value {
                    Some((head, rest)) => {
                        tables.insert((row.table, row.key), [&head, &rest[..]].concat().into())
                    }
                    None => tables.remove(&(row.table, row.key)),
                };
            }
            prop_assert_eq!(real.state.index(), model.index);
            let shown = real.state.entries.values().map(|entry| (entry.key.to_string(), ModelEntry {
                value: entry.value.clone(),
                flags: entry.flags,
                session: entry.session,
                create: entry.create_index,
                modify: entry.modify_index,
                locked: entry.lock_index,
            }));
            let shown: BTreeMap<_, _> = shown.collect();
            prop_assert_eq!(format!("{shown:?}"), format!("{:?}", model.entries));
            prop_assert_eq!(real.state.bytes(), shown_bytes(&real.state));
            // An index never goes back, and moves with each change below it.
            for (key, before) in KEYS.into_iter().zip(indexes) {
                let after = real.state.list(key, |_| true).index;
                let changed = real.changes.keys.iter().any(|one| one.starts_with(key));
                prop_assert_eq!(after > before, changed, "{} after {:?}", key, step);
                prop_assert!(after >= before);
            }
            // What is stored is what is there.
            let restored = replay(&tables, now);
            prop_assert_eq!(restored.index(), real.state.index());
            prop_assert_eq!(&restored.entries, &real.state.entries);
            prop_assert_eq!(&restored.sessions, &real.state.sessions);
            prop_assert_eq!(&restored.held, &real.state.held);
            prop_assert_eq!(restored.bytes(), real.state.bytes());
            real = at(real, model.now);
            let left = |state: KvState| at(KvDraft::new(state, LIMITS, model.now), model.now).state;
            prop_assert_eq!(left(restored).delays, real.state.delays.clone());
        }
    }
}

fn shown_bytes(state: &KvState) -> usize {
    state.entries.values().map(|entry| entry.size()).sum()
}
