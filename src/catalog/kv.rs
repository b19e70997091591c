//! Keys, sessions and user events, the same for each door: every read and write is judged here, with its caller.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::watch;
use uuid::Uuid;

use super::{Caller, Catalog, missing};
use crate::{
    kv::{
        KvEntry, KvFollowing, KvFound, KvLimits, KvOperation, KvRead, KvRefusal, KvSession,
        KvStore, KvTopic, KvVerb, SessionDraft, SessionOwner, TransactionFault, UserEvent,
        UserEventDraft,
    },
    registry::Refusal,
    security::{Principal, Protected, Right},
};

/// A cheap handle for doors.
#[derive(Clone, Debug)]
pub struct KvCatalog {
    catalog: Catalog,
    kv: KvStore,
}

/// What the operations of a transaction found; or each fault, with the number of its operation.
pub type TransactionAnswer = Result<Vec<KvFound>, Vec<(usize, TransactionFault)>>;

impl KvCatalog {
    /// The keys of one daemon, with the rights of its catalog.
    pub fn new(catalog: Catalog, kv: KvStore) -> Self {
        Self { catalog, kv }
    }

    /// The limits.
    pub fn limits(&self) -> &KvLimits {
        self.kv.limits()
    }

    /// The newest index.
    pub fn newest(&self) -> u64 {
        self.kv.state().index()
    }

    /// Follows what is read from now on. It says that something changed, and not what.
    pub fn follow(&self, topic: KvTopic) -> KvFollowing {
        self.kv.follow(topic)
    }

    /// A key.
    ///
    /// # Errors
    /// The caller may not read it.
    pub fn get(
        &self,
        caller: &Caller,
        key: &Arc<str>,
    ) -> Result<KvRead<Option<Arc<KvEntry>>>, KvRefusal> {
        self.require(caller, key, Right::Read)?;
        Ok(self.kv.state().get(key))
    }

    /// The entries under a prefix that the caller may read.
    pub fn list(&self, caller: &Caller, prefix: &str) -> KvRead<Vec<Arc<KvEntry>>> {
        self.kv.state().list(prefix, self.sees(caller))
    }

    /// The keys under a prefix that the caller may read, up to a separator.
    pub fn key_names(
        &self,
        caller: &Caller,
        prefix: &str,
        separator: &str,
    ) -> KvRead<Vec<Arc<str>>> {
        let state = self.kv.state();
        state.key_names(prefix, separator, self.sees(caller))
    }

    /// All operations take effect, or none. An operation that the caller may not do is a fault of the transaction;
    /// trees that are read show what the caller may read.
    ///
    /// # Errors
    /// The change could not be stored, or the daemon is stopping.
    pub async fn transact(
        &self,
        caller: &Caller,
        operations: Vec<KvOperation>,
    ) -> Result<TransactionAnswer, KvRefusal> {
        let judged = operations.iter().map(|one| self.judge(caller, one));
        let faults = judged.enumerate().filter_map(|(number, judged)| {
            let refusal = judged.err()?;
            Some((number, TransactionFault::Refused(refusal)))
        });
        let faults: Vec<_> = faults.collect();
        if !faults.is_empty() {
            return Ok(Err(faults));
        }
        let answer = self.kv.transact(operations).await?;
        let sees = self.sees(caller);
        let seen = |mut found: Vec<KvFound>| {
            found.retain(|one| sees(&one.entry.key));
            found
        };
        Ok(answer.map(seen))
    }

    /// The one point that every operation on keys passes.
    fn judge(&self, caller: &Caller, operation: &KvOperation) -> Result<(), KvRefusal> {
        let key = &*operation.key;
        match &operation.verb {
            // What is read is filtered.
            KvVerb::GetTree => Ok(()),
            KvVerb::DeleteTree => match self.catalog.restricted(caller) {
                Some(principal) if !principal.allows_under(Protected::Kv, key, Right::Write) => {
                    let prefix = format!("{key}*");
                    Err(forbidden(principal, &prefix, Right::Write))
                }
                _ => Ok(()),
            },
            verb if verb.writes() => self.require(caller, key, Right::Write),
            _ => self.require(caller, key, Right::Read),
        }
    }

    /// Creates a session, which belongs to its caller.
    ///
    /// # Errors
    /// The caller may write no key, or the request is refused.
    pub async fn create_session(
        &self,
        caller: &Caller,
        draft: SessionDraft,
    ) -> Result<Uuid, KvRefusal> {
        self.require_some(caller, Right::Write)?;
        let principal = self.catalog.restricted(caller);
        let owner = principal.map(|principal| Arc::clone(principal.name()));
        self.kv
            .create_session(SessionDraft { owner, ..draft })
            .await
    }

    /// Ends a session; none when there is no such session.
    ///
    /// # Errors
    /// It belongs to another identity, or the request is refused.
    pub async fn end_session(
        &self,
        caller: &Caller,
        id: Uuid,
    ) -> Result<Option<Arc<KvSession>>, KvRefusal> {
        self.require_some(caller, Right::Write)?;
        self.kv.end_session(id, self.owner(caller)).await
    }

    /// Begins the time to live of a session again; none when there is no such session.
    ///
    /// # Errors
    /// It belongs to another identity, or the request is refused.
    pub async fn renew_session(
        &self,
        caller: &Caller,
        id: Uuid,
    ) -> Result<Option<Arc<KvSession>>, KvRefusal> {
        self.require_some(caller, Right::Write)?;
        self.kv.renew_session(id, self.owner(caller)).await
    }

    /// A session.
    ///
    /// # Errors
    /// The caller may read no key.
    pub fn session(
        &self,
        caller: &Caller,
        id: Uuid,
    ) -> Result<KvRead<Option<Arc<KvSession>>>, KvRefusal> {
        self.require_some(caller, Right::Read)?;
        Ok(self.kv.state().session(id))
    }

    /// The sessions of a node, or all.
    ///
    /// # Errors
    /// The caller may read no key.
    pub fn sessions(
        &self,
        caller: &Caller,
        node: Option<&Arc<str>>,
    ) -> Result<KvRead<Vec<Arc<KvSession>>>, KvRefusal> {
        self.require_some(caller, Right::Read)?;
        let state = self.kv.state();
        Ok(match node {
            Some(node) => state.sessions_of(node),
            None => state.sessions(),
        })
    }

    /// Fires a user event. `encode` writes the message for the topic exchange.
    ///
    /// # Errors
    /// The caller may not write its name, or a field is not right.
    pub fn fire(
        &self,
        caller: &Caller,
        draft: UserEventDraft,
        encode: impl FnOnce(&UserEvent) -> Bytes,
    ) -> Result<Arc<UserEvent>, KvRefusal> {
        self.require(caller, &event_key(&draft.name), Right::Write)?;
        self.kv.user_events().fire(draft, encode)
    }

    /// The user events that are kept and that the caller may read, of one name or of all, oldest first.
    pub fn user_events(&self, caller: &Caller, name: Option<&str>) -> Vec<Arc<UserEvent>> {
        let sees = self.sees(caller);
        self.kv.user_events().list(|event| {
            name.is_none_or(|name| *event.draft.name == *name)
                && sees(&event_key(&event.draft.name))
        })
    }

    /// Wakes at every user event.
    pub fn follow_user_events(&self) -> watch::Receiver<u64> {
        self.kv.user_events().follow()
    }

    fn sees<'a>(&'a self, caller: &'a Caller) -> impl Fn(&str) -> bool + use<'a> {
        let principal = self.catalog.restricted(caller);
        move |key| principal.is_none_or(|one| one.allows(Protected::Kv, key, Right::Read))
    }

    fn require(&self, caller: &Caller, key: &str, right: Right) -> Result<(), KvRefusal> {
        match self.catalog.restricted(caller) {
            Some(principal) if !principal.allows(Protected::Kv, key, right) => {
                Err(forbidden(principal, key, right))
            }
            _ => Ok(()),
        }
    }

    fn require_some(&self, caller: &Caller, right: Right) -> Result<(), KvRefusal> {
        match self.catalog.restricted(caller) {
            Some(principal) if !principal.allows_some(Protected::Kv, right) => {
                Err(forbidden(principal, "", right))
            }
            _ => Ok(()),
        }
    }

    /// The sessions that a caller may change: with `write_any` on every key, those of others too.
    fn owner(&self, caller: &Caller) -> SessionOwner {
        match self.catalog.restricted(caller) {
            Some(one) if !one.allows_under(Protected::Kv, "", Right::WriteAny) => {
                SessionOwner::Of(Arc::clone(one.name()))
            }
            _ => SessionOwner::Any,
        }
    }
}

/// The name by which rules of resource `kv` are about user events.
fn event_key(name: &str) -> String {
    format!("user.event.{name}")
}

fn forbidden(principal: &Principal, key: &str, right: Right) -> KvRefusal {
    match missing(principal, Protected::Kv, key, right) {
        Refusal::Forbidden(why) => KvRefusal::Forbidden(why),
        refusal => KvRefusal::Forbidden(refusal.to_string().into()),
    }
}

#[cfg(test)]
mod tests;
