//! The identities of a daemon: recognised by tokens and tickets, made and removed at run time.

mod giving;
mod load;
mod outside;

use std::{
    collections::HashMap,
    fmt,
    net::IpAddr,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use arc_swap::{ArcSwap, ArcSwapOption};
use futures_util::future::{BoxFuture, ready};
use parking_lot::Mutex;
use tokio::sync::Notify;

pub use self::load::{FirstToken, is_open};
use self::{giving::may_revoke, load::ADMIN};
use super::{
    Config, LoginRefused, Principal, RuleSet, TokenDigest, TokenRecord, TokenRefused, TokenSecret,
    TokenSource,
    certificates::CertificateTable,
    failures::LoginFailures,
    is_name,
    jwt::{JwtFault, JwtIdentities},
    principal::IdentityState,
    table::{SecretEntry, TokenEntry, TokenTable},
    tickets::{TICKET_LASTS, Tickets},
};
use crate::model::Timestamp;

/// Keeps tokens that are made at run time, by name.
pub trait TokenRows: fmt::Debug + Send + Sync {
    /// Sets or removes a row; it survives the end of the process once it is done.
    ///
    /// # Errors
    /// Says why nothing was changed.
    fn store(&self, name: &str, row: Option<Vec<u8>>) -> BoxFuture<'static, Result<(), String>>;

    /// Whether another run finds them.
    fn survive(&self) -> bool;
}

/// Keeps nothing.
#[derive(Clone, Copy, Debug)]
pub struct NoTokenRows;

impl TokenRows for NoTokenRows {
    fn store(&self, _: &str, _: Option<Vec<u8>>) -> BoxFuture<'static, Result<(), String>> {
        Box::pin(ready(Ok(())))
    }

    fn survive(&self) -> bool {
        false
    }
}

/// What a new token is to be.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NewToken {
    /// Its name.
    pub name: Box<str>,
    /// The names of its policies.
    pub policies: Box<[Box<str>]>,
    /// When it ends.
    pub expires: Option<Timestamp>,
}

/// A token as it is shown.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TokenInfo {
    /// Its name.
    pub name: Box<str>,
    /// The names of its policies.
    pub policies: Box<[Box<str>]>,
    /// Where it comes from.
    pub source: TokenSource,
    /// When it was made; of one in the configuration, when the daemon started.
    pub created: Timestamp,
    /// When it ends.
    pub expires: Option<Timestamp>,
    /// When it was last used.
    pub used: Option<Timestamp>,
    /// How many secrets are valid: two during a rotation.
    pub secrets: usize,
}

/// A cheap handle to all identities.
#[derive(Clone, Debug)]
pub struct Identities(Arc<IdentitiesState>);

#[derive(Debug)]
struct IdentitiesState {
    is_on: bool,
    config: Config,
    table: ArcSwap<TokenTable>,
    /// The users of the broker.
    users: HashMap<String, Arc<IdentityState>>,
    certificates: ArcSwap<CertificateTable>,
    jwt: ArcSwapOption<JwtIdentities>,
    /// Notified when the keys of the identity provider should be read again.
    jwks_wanted: Notify,
    /// Held while the tokens are changed.
    changing: tokio::sync::Mutex<()>,
    rows: Arc<dyn TokenRows>,
    tickets: Mutex<Tickets>,
    failures: LoginFailures,
}

impl Default for Identities {
    /// None: there is no authentication.
    fn default() -> Self {
        Self::new(
            false,
            Config::default(),
            TokenTable::default(),
            Arc::new(NoTokenRows),
        )
    }
}

impl Identities {
    fn new(is_on: bool, config: Config, table: TokenTable, rows: Arc<dyn TokenRows>) -> Self {
        let users = config.users.iter().map(|(name, policies)| {
            let rules = policies.iter().filter_map(|policy| config.rules(policy));
            let rules = RuleSet::new(rules.flatten());
            let policies = policies.iter().map(|policy| policy.as_str().into());
            let identity = IdentityState::new(&format!("amqp:{name}"), policies.collect(), rules);
            (name.clone(), identity)
        });
        let certificates = CertificateTable::new(
            &config.certificates,
            &config,
            &table,
            &CertificateTable::default(),
        );
        let jwt = JwtIdentities::new(&config.jwt, &config, None);
        Self(Arc::new(IdentitiesState {
            is_on,
            certificates: ArcSwap::from_pointee(certificates),
            jwt: ArcSwapOption::from_pointee(jwt),
            jwks_wanted: Notify::new(),
            users: users.collect(),
            failures: LoginFailures::new(&config),
            config,
            table: ArcSwap::from_pointee(table),
            changing: tokio::sync::Mutex::default(),
            rows,
            tickets: Mutex::default(),
        }))
    }

    /// Whether callers must prove who they are.
    pub fn is_on(&self) -> bool {
        self.0.is_on
    }

    /// Whether tokens that are made at run time survive a restart.
    pub fn are_kept(&self) -> bool {
        self.0.rows.survive()
    }

    /// Recognises a token. A right one is recognised however many wrong ones came from the same address, since others
    /// may send those.
    ///
    /// # Errors
    /// It is not valid. The failure counts for the address, which may have had too many.
    pub fn recognise(
        &self,
        token: &str,
        peer: IpAddr,
        now: Timestamp,
    ) -> Result<Principal, LoginRefused> {
        self.find_token(token, now)
            .map_err(|refused| match refused {
                // The provider may have signed it, with a key that is still to be read.
                LoginRefused::Jwt(JwtFault::UnknownKey) => refused,
                _ => self.failed(peer, refused),
            })
    }

    /// Recognises a token without counting a wrong one.
    pub fn known(&self, token: &str, now: Timestamp) -> Option<Principal> {
        self.find_token(token, now).ok()
    }

    fn find_token(&self, token: &str, now: Timestamp) -> Result<Principal, LoginRefused> {
        let digest = TokenDigest::of(token);
        let table = self.0.table.load();
        match table.find(digest, now) {
            Some(found) => {
                found.used_ms.store(now.0, Ordering::Relaxed);
                Ok(found.secret.principal.clone())
            }
            None => self.find_jwt(token, digest, now),
        }
    }

    /// Recognises a ticket, which cannot be used again.
    ///
    /// # Errors
    /// It is not valid. The failure counts for the address, which may have had too many.
    pub fn recognise_ticket(
        &self,
        ticket: &str,
        peer: IpAddr,
        now: Timestamp,
    ) -> Result<Principal, LoginRefused> {
        let taken = self.0.tickets.lock().take(ticket, now);
        taken.ok_or_else(|| self.failed(peer, LoginRefused::Wrong))
    }

    fn failed(&self, peer: IpAddr, refused: LoginRefused) -> LoginRefused {
        match self.0.failures.wait(peer) {
            Some(wait) => LoginRefused::TooMany { wait },
            None => {
                self.0.failures.add(peer);
                refused
            }
        }
    }

    /// A ticket for an identity, and how long it may be used.
    ///
    /// # Errors
    /// The machine gives no random bytes.
    pub fn ticket(
        &self,
        principal: &Principal,
        now: Timestamp,
    ) -> Result<(TokenSecret, Duration), TokenRefused> {
        let issued = self.0.tickets.lock().issue(principal, now);
        let ticket = issued.map_err(TokenRefused::NoRandom)?;
        Ok((ticket, TICKET_LASTS))
    }

    /// The identity of this name, until it is removed. `made` is when its token was made at run time, none for one of
    /// the configuration: another token of the same name is another identity.
    pub fn lasting(&self, name: &str, made: Option<Timestamp>) -> Option<Principal> {
        let table = self.0.table.load();
        let principal = match table.tokens.get(name) {
            Some(token) => token.identity.principal(),
            None => self.0.certificates.load().lasting(name)?,
        };
        (principal.made() == made).then_some(principal)
    }

    /// The identity of a user of the broker, named `amqp:USER`: one that may do nothing where `security.users` has no
    /// such user. None without authentication.
    pub fn broker_user(&self, name: Option<&str>) -> Option<Principal> {
        if !self.is_on() {
            return None;
        }
        let known = name.and_then(|name| self.0.users.get(name));
        let principal = known.map(|identity| identity.principal());
        Some(
            principal.unwrap_or_else(|| {
                Principal::nobody(&format!("amqp:{}", name.unwrap_or_default()))
            }),
        )
    }

    /// The identity of a door whose clients cannot prove who they are, with these policies. None without
    /// authentication.
    pub fn of_door(&self, name: &str, policies: &[String]) -> Option<Principal> {
        if !self.is_on() {
            return None;
        }
        let rules = policies.iter().filter_map(|name| self.0.config.rules(name));
        let rules = RuleSet::new(rules.flatten());
        let policies = policies.iter().map(|policy| policy.as_str().into());
        let identity = IdentityState::new(name, policies.collect(), rules);
        Some(identity.principal())
    }

    /// Every token, by name.
    pub fn list(&self, now: Timestamp) -> Vec<TokenInfo> {
        let table = self.0.table.load();
        let tokens = table.tokens.iter();
        tokens.map(|(name, entry)| info(name, entry, now)).collect()
    }

    /// One token.
    pub fn find(&self, name: &str, now: Timestamp) -> Option<TokenInfo> {
        let table = self.0.table.load();
        Some(info(name, table.tokens.get(name)?, now))
    }

    /// Makes a token; its secret is not kept.
    ///
    /// # Errors
    /// Says why there is none.
    pub async fn create(
        &self,
        by: &Principal,
        wanted: NewToken,
        now: Timestamp,
    ) -> Result<(TokenInfo, TokenSecret), TokenRefused> {
        if !self.is_on() {
            return Err(TokenRefused::Off);
        }
        let name = wanted.name;
        if !is_name(&name) {
            return Err(TokenRefused::Name);
        }
        if *name == *ADMIN {
            return Err(TokenRefused::Reserved);
        }
        self.may_give(by, &wanted.policies, wanted.expires)?;
        let _changing = self.0.changing.lock().await;
        let table = self.0.table.load_full();
        let max = self.0.config.tokens_max.get();
        match table.tokens.get(&name) {
            Some(known) if known.source == TokenSource::RunTime && !known.is_valid(now) => {
                known.identity.end();
            }
            Some(_) => return Err(TokenRefused::Exists(name)),
            None if self.0.certificates.load().has(&name) => {
                return Err(TokenRefused::Configured(name));
            }
            None if table.tokens.len() >= max => return Err(TokenRefused::Full(max)),
            None => (),
        }
        let secret = TokenSecret::random().map_err(TokenRefused::NoRandom)?;
        let record = TokenRecord {
            name: name.clone(),
            policies: wanted.policies,
            created: now,
            expires: wanted.expires,
            used: None,
            secrets: vec![(TokenDigest::of(secret.expose()), None)],
        };
        let identity = self.identity(&record)?;
        let entry = TokenEntry::new(&record, identity, TokenSource::RunTime);
        let shown = info(&name, &entry, now);
        self.put(&name, Some(entry)).await?;
        Ok((shown, secret))
    }

    /// Gives a token another secret; the newest that it has stays valid for `overlap`, an older one ends at once.
    ///
    /// # Errors
    /// Says why it stays as it is.
    pub async fn rotate(
        &self,
        by: &Principal,
        name: &str,
        overlap: Duration,
        now: Timestamp,
    ) -> Result<(TokenInfo, TokenSecret), TokenRefused> {
        let _changing = self.0.changing.lock().await;
        let mut entry = self.made_at_run_time(name)?;
        self.may_give(by, entry.identity.policies(), entry.expires)?;
        if !entry.is_valid(now) {
            return Err(TokenRefused::Expired(name.into()));
        }
        let secret = TokenSecret::random().map_err(TokenRefused::NoRandom)?;
        let overlap = i64::try_from(overlap.as_millis()).unwrap_or(i64::MAX);
        let until = Timestamp(now.0.saturating_add(overlap));
        let digest = TokenDigest::of(secret.expose());
        let new = Arc::new(SecretEntry::new(digest, None, &entry.identity));
        let mut old = std::mem::replace(&mut entry.secrets, vec![new]).into_iter();
        let before = old.next().filter(|one| one.is_valid(now));
        entry
            .secrets
            .extend(before.map(|one| Arc::new(one.ending(until))));
        let shown = info(name, &entry, now);
        self.put(name, Some(entry)).await?;
        old.for_each(|dropped| dropped.principal.end());
        self.end_expired(now);
        Ok((shown, secret))
    }

    /// Removes a token: its streams end, and it is not recognised any more.
    ///
    /// # Errors
    /// Says why it stays.
    pub async fn revoke(&self, by: &Principal, name: &str) -> Result<(), TokenRefused> {
        let _changing = self.0.changing.lock().await;
        let entry = self.made_at_run_time(name)?;
        may_revoke(by, entry.identity.policies())?;
        self.put(name, None).await?;
        entry.identity.end();
        Ok(())
    }

    fn made_at_run_time(&self, name: &str) -> Result<TokenEntry, TokenRefused> {
        let table = self.0.table.load();
        let entry = table.tokens.get(name).ok_or(TokenRefused::Unknown)?;
        if entry.source != TokenSource::RunTime {
            return Err(TokenRefused::Configured(name.into()));
        }
        Ok(entry.clone())
    }

    fn identity(&self, record: &TokenRecord) -> Result<Arc<IdentityState>, TokenRefused> {
        let mut rules = Vec::new();
        for policy in &record.policies {
            let known = self.0.config.rules(policy);
            rules.extend(known.ok_or_else(|| TokenRefused::UnknownPolicy(policy.clone()))?);
        }
        let rules = RuleSet::new(rules);
        Ok(IdentityState::of_token(record, Some(record.created), rules))
    }

    /// Stores a token, or its removal, and shows it.
    async fn put(&self, name: &str, entry: Option<TokenEntry>) -> Result<(), TokenRefused> {
        let row = entry.as_ref().map(|entry| entry.record(name).encode());
        let stored = self.0.rows.store(name, row).await;
        stored.map_err(TokenRefused::NotStored)?;
        let table = self.0.table.load().changed(name, entry);
        self.0.table.store(Arc::new(table));
        Ok(())
    }

    /// Ends what was recognised by a secret or a token whose time is over, and drops tickets that are too old. To be
    /// called several times in a second.
    pub fn end_expired(&self, now: Timestamp) {
        let table = self.0.table.load();
        for entry in table.tokens.values() {
            let is_valid = entry.is_valid(now);
            if !is_valid {
                entry.identity.end();
            }
            for secret in &entry.secrets {
                if !is_valid || !secret.is_valid(now) {
                    secret.principal.end();
                }
            }
        }
        if let Some(jwt) = &*self.0.jwt.load() {
            jwt.end_expired(now);
        }
        self.0.tickets.lock().drop_ended(now);
    }

    /// Stores when tokens were last used.
    pub async fn store_used(&self) {
        if !self.are_kept() {
            return;
        }
        let _changing = self.0.changing.lock().await;
        let table = self.0.table.load_full();
        for (name, entry) in &table.tokens {
            if entry.source == TokenSource::RunTime && entry.used().is_some() {
                let row = entry.record(name).encode();
                // The next time may succeed; the store reports what is wrong with it.
                let _ = self.0.rows.store(name, Some(row)).await;
            }
        }
    }
}

fn info(name: &str, entry: &TokenEntry, now: Timestamp) -> TokenInfo {
    let valid = entry.secrets.iter().filter(|one| one.is_valid(now));
    TokenInfo {
        name: name.into(),
        policies: entry.identity.policies().into(),
        source: entry.source,
        created: entry.created,
        expires: entry.expires,
        used: entry.used(),
        secrets: if entry.is_valid(now) {
            valid.count()
        } else {
            0
        },
    }
}

#[cfg(test)]
mod tests;
