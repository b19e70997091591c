use super::{
    testing::{LIMITS, at, draft, one, session, set},
    *,
};
use crate::kv::state::KvRead;

fn value(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn entry(draft: &KvDraft, key: &str) -> Option<Arc<KvEntry>> {
    draft.state.get(&key.into()).found
}

#[track_caller]
fn indexes(draft: &KvDraft, key: &str, expected: (u64, u64, u64)) {
    let entry = entry(draft, key).expect("the key is there");
    let found = (entry.create_index, entry.modify_index, entry.lock_index);
    assert_eq!(found, expected, "create, modify, lock of {key}");
}

#[test]
fn indexes_count_changes() {
    let mut draft = draft();
    set(&mut draft, "a", "1");
    set(&mut draft, "b", "1");
    set(&mut draft, "a", "2");
    set(&mut draft, "a", "2");
    indexes(&draft, "a", (2, 4, 0));
    indexes(&draft, "b", (3, 3, 0));
    // Other flags are a change.
    one(&mut draft, "a", KvVerb::Set(value("2"), 7)).unwrap();
    indexes(&draft, "a", (2, 5, 0));
    one(&mut draft, "a", KvVerb::Delete).unwrap();
    set(&mut draft, "a", "2");
    indexes(&draft, "a", (7, 7, 0));
    assert_eq!(draft.state.bytes(), 4);
}

#[test]
fn a_cas_compares_the_index_of_the_last_change() {
    let mut draft = draft();
    let stale = |key: &str| Err(KvUnmet::StaleSet(key.into()).into());
    let mut cas = |text, index| one(&mut draft, "a", KvVerb::Cas(value(text), 0, index));
    assert_eq!(cas("1", 5), stale("a"), "it does not exist");
    assert!(cas("1", 0).is_ok());
    assert_eq!(cas("2", 0), stale("a"), "it exists");
    assert!(cas("2", 2).is_ok());
    assert_eq!(cas("3", 2), stale("a"));
    let mut delete = |index| one(&mut draft, "a", KvVerb::DeleteCas(index));
    assert_eq!(delete(2), Err(KvUnmet::StaleDelete("a".into()).into()));
    assert!(delete(3).is_ok());
    assert!(delete(3).is_ok(), "it is gone already");
    assert_eq!(entry(&draft, "a"), None);
}

#[test]
fn a_lock_belongs_to_one_session() {
    let mut draft = draft();
    let first = session(&mut draft, 1, SessionBehavior::Release);
    let second = session(&mut draft, 2, SessionBehavior::Release);
    let unknown = Uuid::from_u128(9);
    let lock = |draft: &mut KvDraft, text, id| one(draft, "k", KvVerb::Lock(value(text), 0, id));
    let unlock =
        |draft: &mut KvDraft, text, id| one(draft, "k", KvVerb::Unlock(value(text), 0, id));
    assert_eq!(
        lock(&mut draft, "1", unknown),
        Err(KvRefusal::InvalidSession(unknown).into())
    );
    assert!(lock(&mut draft, "1", first).is_ok());
    indexes(&draft, "k", (4, 4, 1));
    assert_eq!(
        lock(&mut draft, "2", second),
        Err(KvUnmet::Held("k".into()).into())
    );
    // Its holder may lock it again, with another value; a plain write keeps the lock.
    assert!(lock(&mut draft, "3", first).is_ok());
    indexes(&draft, "k", (4, 5, 1));
    set(&mut draft, "k", "4");
    indexes(&draft, "k", (4, 6, 1));
    assert_eq!(entry(&draft, "k").unwrap().session, Some(first));
    assert_eq!(
        unlock(&mut draft, "5", second),
        Err(KvUnmet::NotHeld("k".into()).into())
    );
    assert!(unlock(&mut draft, "5", first).is_ok());
    assert_eq!(entry(&draft, "k").unwrap().session, None);
    assert!(unlock(&mut draft, "5", first).is_err());
    // No delay after a release.
    assert!(lock(&mut draft, "6", second).is_ok());
    indexes(&draft, "k", (4, 8, 2));
}

#[test]
fn a_session_that_ends_releases_its_keys_after_a_delay() {
    let mut draft = draft();
    let first = session(&mut draft, 1, SessionBehavior::Release);
    let second = session(&mut draft, 2, SessionBehavior::Delete);
    for (key, id) in [("a", first), ("b", first), ("c", second)] {
        one(&mut draft, key, KvVerb::Lock(value("v"), 0, id)).unwrap();
    }
    let mut draft = at(draft, 1_000);
    let ended = draft.end_session(first, &SessionOwner::Any).unwrap();
    assert_eq!(ended.map(|session| session.id), Some(first));
    assert_eq!(draft.end_session(first, &SessionOwner::Any), Ok(None));
    draft.end_session(second, &SessionOwner::Any).unwrap();
    assert_eq!(entry(&draft, "a").unwrap().session, None);
    indexes(&draft, "b", (5, 7, 1));
    assert_eq!(entry(&draft, "c"), None);
    let third = session(&mut draft, 3, SessionBehavior::Release);
    let lock = |draft: &mut KvDraft, key| one(draft, key, KvVerb::Lock(value("w"), 0, third));
    for key in ["a", "c"] {
        let delayed = Err(KvUnmet::Delayed(key.into()).into());
        assert_eq!(lock(&mut draft, key), delayed);
    }
    let mut draft = at(draft, 15_999);
    assert!(lock(&mut draft, "a").is_err());
    let mut draft = at(draft, 16_000);
    assert!(lock(&mut draft, "a").is_ok());
    assert!(lock(&mut draft, "c").is_ok());
    assert!(draft.state.delays.is_empty() && draft.state.delay_ends.is_empty());
}

#[test]
fn a_session_is_changed_by_its_owner() {
    let mut draft = draft();
    let id = Uuid::from_u128(1);
    let owned = SessionDraft {
        owner: Some("web".into()),
        ..SessionDraft::default()
    };
    draft.create_session(id, owned).unwrap();
    let other = SessionOwner::Of("db".into());
    let refused = draft.end_session(id, &other).unwrap_err();
    assert_eq!(refused.status(), 403);
    assert!(draft.may_change(id, &other).is_err());
    let unowned = session(&mut draft, 2, SessionBehavior::Release);
    assert!(draft.end_session(unowned, &other).is_ok());
    let owner = SessionOwner::Of("web".into());
    assert!(draft.end_session(id, &owner).unwrap().is_some());
}

#[test]
fn sessions_have_an_index_each_and_together() {
    let mut draft = draft();
    let unknown = Uuid::from_u128(8);
    let missing = draft.state.session(unknown).index;
    let first = session(&mut draft, 1, SessionBehavior::Release);
    let all = draft.state.sessions().index;
    session(&mut draft, 2, SessionBehavior::Release);
    set(&mut draft, "a", "1");
    assert_eq!(draft.state.session(first).index, 2);
    assert_eq!(draft.state.sessions().index, all + 1);
    assert_eq!(draft.state.session(unknown).index, missing);
    assert_eq!(draft.state.sessions_of(&"n".into()).index, all + 1);
    assert_eq!(draft.state.sessions_of(&"m".into()).index, missing);
    draft.end_session(first, &SessionOwner::Any).unwrap();
    let KvRead { index, found } = draft.state.session(first);
    assert_eq!((index, found), (5, None));
    assert_eq!(draft.state.sessions().index, 5);
    assert_eq!(draft.state.sessions_of(&"n".into()).found.len(), 1);
}

#[test]
fn limits_name_the_key() {
    let full = || {
        let mut draft = draft();
        for number in 0..LIMITS.keys_max {
            set(&mut draft, &format!("k{number}"), "0123456789");
        }
        draft
    };
    let check = |key: &str, text: &str, status: u16, limit: &str| {
        let mut draft = full();
        let before = draft.state.index();
        let fault = one(&mut draft, key, KvVerb::Set(value(text), 0)).unwrap_err();
        let TransactionFault::Refused(refusal) = fault else {
            panic!("{fault:?}");
        };
        let text = refusal.to_string();
        assert_eq!(refusal.status(), status, "{text}");
        assert!(text.contains(limit), "{text}");
        assert!(key.is_empty() || text.contains(key), "{text}");
        assert_eq!(draft.state.index(), before);
        assert!(draft.state.bytes() <= LIMITS.bytes_max);
    };
    check("k0", "01234567890123456", 413, "consul.kv_value_max");
    check("other", "", 507, "consul.kv_keys_max");
    check("k1", "0123456789012345", 507, "consul.kv_bytes_max");
    check("", "", 400, "Missing key");
    let long = "x".repeat(crate::kv::KEY_BYTES_MAX + 1);
    let fault = one(&mut full(), &long, KvVerb::Get).unwrap_err();
    assert!(fault.to_string().contains("1025 bytes"), "{fault}");
    // What is there may still be changed and deleted.
    let mut draft = full();
    set(&mut draft, "k0", "small");
    one(&mut draft, "", KvVerb::DeleteTree).unwrap();
    assert_eq!((draft.state.keys(), draft.state.bytes()), (0, 0));
    for number in 0..LIMITS.sessions_max {
        session(&mut draft, number as u128, SessionBehavior::Release);
    }
    let refused = draft.create_session(Uuid::from_u128(99), SessionDraft::default());
    assert_eq!(refused.unwrap_err().status(), 507);
}

#[test]
fn a_transaction_reads_at_most_what_may_be_kept() {
    let mut draft = draft();
    for number in 0..LIMITS.keys_max {
        set(&mut draft, &format!("k{number}"), "0123456789");
    }
    let tree = || KvOperation {
        key: "".into(),
        verb: KvVerb::GetTree,
    };
    let write = KvOperation {
        key: "k0".into(),
        verb: KvVerb::Set(value("1"), 0),
    };
    let found = draft.transact(&[tree()]).unwrap();
    assert_eq!(found.len(), LIMITS.keys_max, "all of it once");
    let before = (draft.state.index(), draft.changes.clone());
    let faults = draft.transact(&[write, tree(), tree(), tree()]);
    let faults = faults.unwrap_err();
    assert_eq!((faults.len(), faults[0].0), (1, 2), "{faults:?}");
    let TransactionFault::Refused(refusal) = &faults[0].1 else {
        panic!("{faults:?}");
    };
    assert_eq!(refusal.status(), 413);
    assert!(refusal.to_string().contains("consul.kv_bytes_max"));
    assert_eq!((draft.state.index(), draft.changes.clone()), before);
}

#[test]
fn a_transaction_is_whole_or_nothing() {
    let mut draft = draft();
    set(&mut draft, "a", "1");
    let before = draft.clone();
    let operation = |key: &str, verb| KvOperation {
        key: key.into(),
        verb,
    };
    let faults = draft.transact(&[
        operation("b", KvVerb::Set(value("2"), 0)),
        operation("a", KvVerb::CheckIndex(9)),
        operation("a", KvVerb::Delete),
        operation("c", KvVerb::Get),
    ]);
    let faults = faults.unwrap_err();
    let numbers: Vec<_> = faults.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, [1, 3]);
    assert_eq!(
        faults[0].1.to_string(),
        "failed index check for key \"a\", current modify index 2 != 9"
    );
    assert_eq!(draft.changes, before.changes);
    assert_eq!(draft.state.index(), before.state.index());
    assert_eq!(entry(&draft, "b"), None);
    // Later operations see the changes of earlier ones, all with one index.
    let found = draft.transact(&[
        operation("b", KvVerb::Set(value("2"), 0)),
        operation("c", KvVerb::CheckNotExists),
        operation("c", KvVerb::Cas(value("3"), 0, 0)),
        operation("", KvVerb::GetTree),
        operation("d", KvVerb::GetOrEmpty),
        operation("c", KvVerb::CheckSession(None)),
        operation("a", KvVerb::DeleteCas(2)),
    ]);
    let found = found.unwrap();
    let shown = found.iter().map(|one| {
        let entry = &one.entry;
        (&*entry.key, entry.modify_index, one.with_value)
    });
    assert_eq!(
        shown.collect::<Vec<_>>(),
        [
            ("b", 3, false),
            ("c", 3, false),
            ("a", 2, true),
            ("b", 3, true),
            ("c", 3, true),
            ("d", 0, true),
            ("c", 3, false),
        ]
    );
    assert_eq!(entry(&draft, "a"), None);
}
