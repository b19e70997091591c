//! Classes 30, 85 and 90: `access` of old clients, and a channel's two modes, `confirm` and `tx`.

use super::spec::class;
use crate::broker::wire::ShortStr;

class! { 30
    /// Client to server: a right that has no meaning any more; old clients ask for it.
    10 AccessRequest "access.request" [] {
        /// For what.
        realm: ShortStr,
        /// Alone.
        exclusive: bool,
        /// To check.
        passive: bool,
        /// To declare.
        active: bool,
        /// To publish.
        write: bool,
        /// To consume.
        read: bool,
    } []
    /// Server to client: granted.
    11 AccessRequestOk "access.request-ok" [] {
        /// A number without meaning.
        ticket: u16,
    } []
}

class! { 85
    /// Client to server: turns publisher confirms on.
    10 ConfirmSelect "confirm.select" [] {
        /// Whether the answer is omitted.
        nowait: bool,
    } []
    /// Server to client: accepted.
    11 ConfirmSelectOk "confirm.select-ok" [] {} []
}

class! { 90
    /// Client to server: publishes and acknowledgements wait for a commit from now on.
    10 TxSelect "tx.select" [] {} []
    /// Server to client: accepted.
    11 TxSelectOk "tx.select-ok" [] {} []
    /// Client to server: commits.
    20 TxCommit "tx.commit" [] {} []
    /// Server to client: committed.
    21 TxCommitOk "tx.commit-ok" [] {} []
    /// Client to server: rolls back.
    30 TxRollback "tx.rollback" [] {} []
    /// Server to client: rolled back.
    31 TxRollbackOk "tx.rollback-ok" [] {} []
}
