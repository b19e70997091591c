//! Requests to the writer.

use std::sync::Arc;

use uuid::Uuid;

use super::{KvFound, KvOperation, KvSession, SessionDraft, TransactionFault};

/// What the writer decides.
#[derive(Debug)]
pub(super) enum KvCommand {
    /// All operations take effect, or none.
    Transaction(Vec<KvOperation>),
    /// A new session with this id.
    CreateSession(Uuid, SessionDraft),
    /// Ends a session.
    EndSession(Uuid, SessionOwner),
    /// Renews the time of a session.
    RenewSession(Uuid, SessionOwner),
}

/// What the writer answers.
#[derive(Debug)]
pub(super) enum KvAnswer {
    /// What the operations found, or why each that failed did.
    Transaction(Result<Vec<KvFound>, Vec<(usize, TransactionFault)>>),
    /// The session; none when there is none.
    Session(Option<Arc<KvSession>>),
}

/// On whose behalf a session is changed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum SessionOwner {
    /// Of anyone that may change every session.
    Any,
    /// Of an identity, which may change its own sessions and those without an owner.
    Of(Arc<str>),
}

impl SessionOwner {
    /// Whether it may change a session.
    pub(super) fn may_change(&self, session: &KvSession) -> bool {
        match (self, &session.draft.owner) {
            (Self::Any, _) | (_, None) => true,
            (Self::Of(name), Some(owner)) => name == owner,
        }
    }
}
