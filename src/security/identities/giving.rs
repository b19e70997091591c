//! What an identity may give to others: nothing that it does not have itself.

use super::Identities;
use crate::{
    model::Timestamp,
    security::{Principal, TokenRefused},
};

impl Identities {
    /// Judges whether an identity may have the secret of a token with these policies and this end. Without `admin` it
    /// gives some of its own policies, among them each that denies something, and a token that ends no later than
    /// its own.
    pub(super) fn may_give(
        &self,
        by: &Principal,
        policies: &[Box<str>],
        expires: Option<Timestamp>,
    ) -> Result<(), TokenRefused> {
        if by.is_admin() {
            return Ok(());
        }
        may_revoke(by, policies)?;
        let mut denying = by.policies().iter().filter(|policy| self.denies(policy));
        if let Some(shed) = denying.find(|policy| !policies.contains(policy)) {
            return Err(TokenRefused::Sheds(shed.clone()));
        }
        match by.expires() {
            Some(end) if expires.is_none_or(|expires| expires > end) => {
                Err(TokenRefused::EndsLater(end))
            }
            _ => Ok(()),
        }
    }

    fn denies(&self, policy: &str) -> bool {
        let rules = self.0.config.rules(policy).unwrap_or_default();
        rules.iter().any(|rule| rule.right.is_none())
    }
}

/// An identity takes away what it could give, with or without denials.
pub(super) fn may_revoke(by: &Principal, policies: &[Box<str>]) -> Result<(), TokenRefused> {
    let mut others = policies.iter().filter(|one| !by.policies().contains(one));
    match others.next() {
        Some(other) if !by.is_admin() => Err(TokenRefused::NotYours(other.clone())),
        _ => Ok(()),
    }
}
