//! Who was recognised, with what it may do.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio_util::sync::CancellationToken;

use super::{
    TokenRecord,
    policy::{Protected, Right, RuleSet},
};
use crate::model::Timestamp;

/// An identity that was recognised: a cheap handle.
#[derive(Clone, Debug)]
pub struct Principal {
    identity: Arc<IdentityState>,
    /// Cancelled when what it was recognised by is no longer valid.
    ended: CancellationToken,
}

/// What all handles of one identity share.
#[derive(Debug)]
pub(super) struct IdentityState {
    name: Arc<str>,
    policies: Box<[Box<str>]>,
    rules: RuleSet,
    /// When its token was made; none when that was not at run time.
    made: Option<Timestamp>,
    /// When its token ends.
    expires: Option<Timestamp>,
    is_gone: AtomicBool,
    ended: CancellationToken,
}

impl IdentityState {
    /// An identity without a token, which lasts.
    pub(super) fn new(name: &str, policies: Box<[Box<str>]>, rules: RuleSet) -> Arc<Self> {
        Arc::new(Self::lasting(name, policies, rules))
    }

    /// The identity of a token; `made` is when it was made at run time.
    pub(super) fn of_token(
        record: &TokenRecord,
        made: Option<Timestamp>,
        rules: RuleSet,
    ) -> Arc<Self> {
        Arc::new(Self {
            made,
            expires: record.expires,
            ..Self::lasting(&record.name, record.policies.clone(), rules)
        })
    }

    /// An identity that ends at a time.
    pub(super) fn until(
        name: &str,
        policies: Box<[Box<str>]>,
        rules: RuleSet,
        expires: Timestamp,
    ) -> Arc<Self> {
        Arc::new(Self {
            expires: Some(expires),
            ..Self::lasting(name, policies, rules)
        })
    }

    fn lasting(name: &str, policies: Box<[Box<str>]>, rules: RuleSet) -> Self {
        Self {
            name: name.into(),
            policies,
            rules,
            made: None,
            expires: None,
            is_gone: AtomicBool::new(false),
            ended: CancellationToken::new(),
        }
    }

    pub(super) fn policies(&self) -> &[Box<str>] {
        &self.policies
    }

    /// Ends every handle: from now on the identity may do nothing.
    pub(super) fn end(&self) {
        self.is_gone.store(true, Ordering::Release);
        self.ended.cancel();
    }

    /// A handle that ends with the identity.
    pub(super) fn principal(self: &Arc<Self>) -> Principal {
        Principal {
            identity: Arc::clone(self),
            ended: self.ended.child_token(),
        }
    }
}

impl Principal {
    /// An identity that may do nothing.
    pub fn nobody(name: &str) -> Self {
        IdentityState::new(name, Box::default(), RuleSet::default()).principal()
    }

    /// An identity with these rules, for tests of other rooms.
    #[cfg(test)]
    pub(crate) fn with(name: &str, rules: RuleSet) -> Self {
        IdentityState::new(name, Box::default(), rules).principal()
    }

    /// Its name, which is that of its token.
    pub fn name(&self) -> &Arc<str> {
        &self.identity.name
    }

    /// The names of its policies.
    pub fn policies(&self) -> &[Box<str>] {
        &self.identity.policies
    }

    /// When its token was made at run time; none for other identities. With the name it tells apart two tokens that
    /// had the same name.
    pub fn made(&self) -> Option<Timestamp> {
        self.identity.made
    }

    /// When its token ends.
    pub fn expires(&self) -> Option<Timestamp> {
        self.identity.expires
    }

    /// Whether it has the built-in policy `admin`.
    pub fn is_admin(&self) -> bool {
        self.policies().iter().any(|name| **name == *"admin")
    }

    fn is_gone(&self) -> bool {
        self.identity.is_gone.load(Ordering::Acquire)
    }

    /// Whether it has a right on what has this name.
    pub fn allows(&self, resource: Protected, name: &str, right: Right) -> bool {
        !self.is_gone() && self.identity.rules.allows(resource, name, right)
    }

    /// Whether it sees everything of a kind.
    pub fn sees_all(&self, resource: Protected) -> bool {
        self.allows_all(resource, Right::Read)
    }

    /// Whether it has a right on everything of a kind.
    pub fn allows_all(&self, resource: Protected, right: Right) -> bool {
        !self.is_gone() && self.identity.rules.allows_all(resource, right)
    }

    /// Whether it has a right on everything of a kind whose name begins with a prefix.
    pub fn allows_under(&self, resource: Protected, prefix: &str, right: Right) -> bool {
        !self.is_gone() && self.identity.rules.allows_under(resource, prefix, right)
    }

    /// Whether there can be a name on which it has a right.
    pub fn allows_some(&self, resource: Protected, right: Right) -> bool {
        !self.is_gone() && self.identity.rules.allows_some(resource, right)
    }

    /// Returns when what it was recognised by is no longer valid. Cancel safe.
    pub async fn ended(&self) {
        self.ended.cancelled().await;
    }

    /// Ends this handle and its copies.
    pub(super) fn end(&self) {
        self.ended.cancel();
    }

    /// The same identity, until it is removed.
    #[must_use]
    pub fn lasting(&self) -> Self {
        self.identity.principal()
    }
}

impl PartialEq for Principal {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.identity, &other.identity)
    }
}

impl Eq for Principal {}
