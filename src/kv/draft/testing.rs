//! Drafts for tests.

use std::time::Duration;

use bytes::Bytes;
use uuid::Uuid;

use super::KvDraft;
use crate::kv::{
    KvFound, KvLimits, KvOperation, KvState, KvVerb, SessionBehavior, SessionDraft,
    TransactionFault,
};

pub(in crate::kv) const LIMITS: KvLimits = KvLimits {
    value_max: 16,
    keys_max: 8,
    bytes_max: 100,
    sessions_max: 4,
};

/// An empty one, at 0 ms.
pub(in crate::kv) fn draft() -> KvDraft {
    KvDraft::new(KvState::empty(&LIMITS), LIMITS, 0)
}

/// The same state at another moment, with no changes yet.
pub(in crate::kv) fn at(draft: KvDraft, now_ms: u64) -> KvDraft {
    KvDraft::new(draft.state, LIMITS, now_ms)
}

#[track_caller]
pub(in crate::kv) fn set(draft: &mut KvDraft, key: &str, value: &str) {
    let set = KvVerb::Set(Bytes::copy_from_slice(value.as_bytes()), 0);
    one(draft, key, set).unwrap();
}

/// A transaction of one operation.
pub(in crate::kv) fn one(
    draft: &mut KvDraft,
    key: &str,
    verb: KvVerb,
) -> Result<Vec<KvFound>, TransactionFault> {
    let operation = KvOperation {
        key: key.into(),
        verb,
    };
    draft
        .transact(&[operation])
        .map_err(|mut faults| faults.remove(0).1)
}

/// A session of node `n`.
#[track_caller]
pub(in crate::kv) fn session(draft: &mut KvDraft, number: u128, behavior: SessionBehavior) -> Uuid {
    let id = Uuid::from_u128(number);
    let session = SessionDraft {
        node: "n".into(),
        lock_delay: Duration::from_secs(15),
        behavior,
        ..SessionDraft::default()
    };
    draft.create_session(id, session).unwrap();
    id
}
