//! JWTs that were verified, until they end: the next request with one costs no signature, and its streams end with it.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use crate::{
    model::Timestamp,
    security::{Principal, TokenDigest, principal::IdentityState},
};

/// A JWT that was verified.
#[derive(Debug)]
struct JwtSession {
    digest: TokenDigest,
    identity: Arc<IdentityState>,
    principal: Principal,
    until: Timestamp,
    /// The digest of the key that has signed it.
    key: [u8; 32],
}

/// They are limited in number: for one more, the one that would end first is ended.
#[derive(Debug)]
pub(super) struct Sessions {
    max: usize,
    by_slot: HashMap<u64, JwtSession>,
    by_end: BTreeSet<(Timestamp, u64)>,
}

impl Sessions {
    pub(super) fn new(max: usize) -> Self {
        Self {
            max,
            by_slot: HashMap::new(),
            by_end: BTreeSet::new(),
        }
    }

    pub(super) fn find(&self, digest: TokenDigest, now: Timestamp) -> Option<Principal> {
        let session = self.by_slot.get(&digest.slot())?;
        let is_valid = session.digest == digest && now < session.until;
        is_valid.then(|| session.principal.clone())
    }

    /// Adds one, unless another request with the same JWT was faster.
    pub(super) fn add(
        &mut self,
        digest: TokenDigest,
        identity: Arc<IdentityState>,
        (until, key): (Timestamp, [u8; 32]),
        now: Timestamp,
    ) -> Principal {
        if let Some(known) = self.find(digest, now) {
            return known;
        }
        self.end(digest.slot());
        if self.by_slot.len() >= self.max
            && let Some((_, slot)) = self.by_end.first().copied()
        {
            self.end(slot);
        }
        let principal = identity.principal();
        let session = JwtSession {
            digest,
            identity,
            principal: principal.clone(),
            until,
            key,
        };
        self.by_end.insert((until, digest.slot()));
        self.by_slot.insert(digest.slot(), session);
        principal
    }

    fn end(&mut self, slot: u64) {
        if let Some(session) = self.by_slot.remove(&slot) {
            self.by_end.remove(&(session.until, slot));
            session.identity.end();
        }
    }

    /// Ends those whose time is over.
    pub(super) fn end_expired(&mut self, now: Timestamp) {
        while let Some((until, slot)) = self.by_end.first().copied()
            && until <= now
        {
            self.end(slot);
        }
    }

    /// Ends those whose key is not in a set any more.
    pub(super) fn end_without_key(&mut self, is_known: impl Fn(&[u8; 32]) -> bool) {
        let gone = self.by_slot.iter();
        let gone = gone.filter(|(_, session)| !is_known(&session.key));
        let gone: Vec<_> = gone.map(|(slot, _)| *slot).collect();
        for slot in gone {
            self.end(slot);
        }
    }
}
