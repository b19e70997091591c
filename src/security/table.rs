//! The tokens, found by name and by digest. Replaced as a whole by each change.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use super::{Principal, SecurityError, TokenDigest, TokenRecord, principal::IdentityState};
use crate::model::Timestamp;

/// Where a token comes from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TokenSource {
    /// `security.tokens`, `security.admin_token_file` or MUSTERD_ADMIN_TOKEN.
    Configuration,
    /// The file that a first start wrote.
    FirstStart,
    /// It was made at run time.
    RunTime,
}

impl TokenSource {
    /// The word for it in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Configuration => "configuration",
            Self::FirstStart => "first_start",
            Self::RunTime => "run_time",
        }
    }
}

/// One token.
#[derive(Clone, Debug)]
pub(super) struct TokenEntry {
    pub(super) identity: Arc<IdentityState>,
    pub(super) source: TokenSource,
    pub(super) created: Timestamp,
    pub(super) expires: Option<Timestamp>,
    /// Milliseconds since 1970; the least number when it was never used.
    pub(super) used_ms: Arc<AtomicI64>,
    pub(super) secrets: Vec<Arc<SecretEntry>>,
}

/// One secret of a token.
#[derive(Debug)]
pub(super) struct SecretEntry {
    pub(super) digest: TokenDigest,
    pub(super) until: Option<Timestamp>,
    pub(super) principal: Principal,
}

/// Never used.
const NEVER: i64 = i64::MIN;

impl TokenEntry {
    /// A token as it is configured or stored.
    pub(super) fn new(
        record: &TokenRecord,
        identity: Arc<IdentityState>,
        source: TokenSource,
    ) -> Self {
        let secrets = record.secrets.iter();
        let secrets =
            secrets.map(|(digest, until)| Arc::new(SecretEntry::new(*digest, *until, &identity)));
        Self {
            secrets: secrets.collect(),
            source,
            created: record.created,
            expires: record.expires,
            used_ms: Arc::new(AtomicI64::new(record.used.map_or(NEVER, |at| at.0))),
            identity,
        }
    }

    pub(super) fn used(&self) -> Option<Timestamp> {
        let used = self.used_ms.load(Ordering::Relaxed);
        (used != NEVER).then_some(Timestamp(used))
    }

    pub(super) fn is_valid(&self, now: Timestamp) -> bool {
        self.expires.is_none_or(|end| now < end)
    }

    pub(super) fn record(&self, name: &str) -> TokenRecord {
        let secrets = self.secrets.iter();
        TokenRecord {
            name: name.into(),
            policies: self.identity.policies().into(),
            created: self.created,
            expires: self.expires,
            used: self.used(),
            secrets: secrets.map(|one| (one.digest, one.until)).collect(),
        }
    }
}

impl SecretEntry {
    pub(super) fn new(
        digest: TokenDigest,
        until: Option<Timestamp>,
        identity: &Arc<IdentityState>,
    ) -> Self {
        Self {
            digest,
            until,
            principal: identity.principal(),
        }
    }

    /// The same with an earlier end.
    pub(super) fn ending(&self, until: Timestamp) -> Self {
        Self {
            digest: self.digest,
            until: Some(self.until.map_or(until, |end| end.min(until))),
            principal: self.principal.clone(),
        }
    }

    pub(super) fn is_valid(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|end| now < end)
    }
}

/// The tokens.
#[derive(Clone, Debug, Default)]
pub(super) struct TokenTable {
    pub(super) tokens: BTreeMap<Box<str>, TokenEntry>,
    /// By the beginning of the digest.
    by_digest: HashMap<u64, Vec<FoundSecret>>,
}

/// A secret with what of its token a login needs.
#[derive(Clone, Debug)]
pub(super) struct FoundSecret {
    pub(super) secret: Arc<SecretEntry>,
    pub(super) expires: Option<Timestamp>,
    pub(super) used_ms: Arc<AtomicI64>,
}

impl TokenTable {
    /// A table of these tokens.
    pub(super) fn new(tokens: BTreeMap<Box<str>, TokenEntry>) -> Self {
        let mut by_digest: HashMap<_, Vec<_>> = HashMap::new();
        for entry in tokens.values() {
            for secret in &entry.secrets {
                let found = FoundSecret {
                    secret: Arc::clone(secret),
                    expires: entry.expires,
                    used_ms: Arc::clone(&entry.used_ms),
                };
                by_digest
                    .entry(secret.digest.slot())
                    .or_default()
                    .push(found);
            }
        }
        Self { tokens, by_digest }
    }

    /// The valid secret with this digest.
    pub(super) fn find(&self, digest: TokenDigest, now: Timestamp) -> Option<&FoundSecret> {
        let candidates = self.by_digest.get(&digest.slot())?;
        let found = candidates.iter().find(|one| one.secret.digest == digest)?;
        let is_valid = found.secret.is_valid(now) && found.expires.is_none_or(|end| now < end);
        is_valid.then_some(found)
    }

    /// The same with a token in place of one with the same name, or without it.
    pub(super) fn changed(&self, name: &str, entry: Option<TokenEntry>) -> Self {
        let mut tokens = self.tokens.clone();
        match entry {
            Some(entry) => tokens.insert(name.into(), entry),
            None => tokens.remove(name),
        };
        Self::new(tokens)
    }

    /// Two tokens with one secret could not be told apart.
    pub(super) fn check(&self) -> Result<(), SecurityError> {
        let mut owners: HashMap<String, &str> = HashMap::new();
        for (name, entry) in &self.tokens {
            for secret in &entry.secrets {
                if let Some(other) = owners.insert(secret.digest.to_hex(), name) {
                    return Err(SecurityError::SameSecret(other.into(), name.clone()));
                }
            }
        }
        Ok(())
    }
}
