use super::*;
use crate::kv::{KvLimits, draft::testing};

fn session() -> KvSession {
    KvSession {
        id: Uuid::from_u128(7),
        draft: SessionDraft {
            name: "lock of é".into(),
            node: "node-1".into(),
            checks: vec![
                CheckedBy::Node("serfHealth".into()),
                CheckedBy::Service("service:web".into()),
            ],
            lock_delay: Duration::from_secs(15),
            behavior: SessionBehavior::Delete,
            ttl: Some(Duration::from_secs(30)),
            owner: Some("web".into()),
        },
        index: 1 << 40,
    }
}

#[test]
fn a_session_is_read_as_it_was_written() {
    let mut written = session();
    let read = |one: &KvSession| read_session(one.id.as_bytes(), &encode_session(one));
    assert_eq!(read(&written).as_ref(), Some(&written));
    written.draft.owner = None;
    written.draft.ttl = None;
    written.draft.checks.clear();
    written.draft.behavior = SessionBehavior::Release;
    assert_eq!(read(&written).as_ref(), Some(&written));
}

#[test]
fn a_row_that_is_cut_or_of_another_version_is_refused() {
    let key = Uuid::from_u128(7);
    let row = encode_session(&session());
    for len in 0..row.len() {
        let cut = read_session(key.as_bytes(), &row[..len]);
        // Without its last field it is that of a session without an owner.
        let whole = row.len() - "web".len() - 4;
        assert_eq!(cut.is_some(), len == whole, "{len} of {} bytes", row.len());
    }
    let other = [&[VERSION + 1], &row[1..]].concat();
    assert_eq!(read_session(key.as_bytes(), &other), None);
    assert_eq!(read_session(b"short", &row), None);
    assert_eq!(read_entry(b"k", &Bytes::from_static(&[VERSION])), None);
    let table = |wanted| {
        move |table| {
            Ok(if table == wanted {
                vec![(Bytes::from_static(b"k"), Bytes::from_static(b"?"))]
            } else {
                Vec::new()
            })
        }
    };
    for wanted in [ENTRIES, SESSIONS, DELAYS, INDEX] {
        let read: Result<_, UnreadableRow> = StoredKv::read(table(wanted));
        assert_eq!(read.unwrap_err().table, wanted);
    }
}

#[test]
fn a_lock_of_a_session_that_is_not_stored_is_released() {
    let stored = StoredKv {
        index: 9,
        entries: vec![KvEntry {
            key: "k".into(),
            value: Bytes::from_static(b"v"),
            flags: 3,
            session: Some(Uuid::from_u128(1)),
            lock_index: 1,
            create_index: 4,
            modify_index: 5,
        }],
        ..StoredKv::default()
    };
    let state = stored.state(&testing::LIMITS, Now::default());
    let entry = state.get(&"k".into()).found.unwrap();
    assert_eq!((entry.session, entry.flags, state.bytes()), (None, 3, 2));
    // Everything that is not there has the index of the last change of the earlier run.
    assert_eq!(state.get(&"other".into()).index, 9);
    let none = StoredKv::default().state(&KvLimits { ..testing::LIMITS }, Now::default());
    assert_eq!(none.index(), 1);
}
