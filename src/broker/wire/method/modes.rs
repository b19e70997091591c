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
        /// A number that nobody looks at.
        ticket: u16,
    } []
}

class! { 85
    /// Client to server: confirm what I publish.
    10 ConfirmSelect "confirm.select" [] {
        /// No answer wanted.
        nowait: bool,
    } []
    /// Server to client: so be it.
    11 ConfirmSelectOk "confirm.select-ok" [] {} []
}

class! { 90
    /// Client to server: hold back what I publish and acknowledge until I commit.
    10 TxSelect "tx.select" [] {} []
    /// Server to client: so be it.
    11 TxSelectOk "tx.select-ok" [] {} []
    /// Client to server: now.
    20 TxCommit "tx.commit" [] {} []
    /// Server to client: done.
    21 TxCommitOk "tx.commit-ok" [] {} []
    /// Client to server: never mind.
    30 TxRollback "tx.rollback" [] {} []
    /// Server to client: forgotten.
    31 TxRollbackOk "tx.rollback-ok" [] {} []
}
