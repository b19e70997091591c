//! JSON Web Tokens of an identity provider (RFC 7519): verified with its public keys, and their claims as identities.
//!
//! Knows the keys that it is given, and fetches nothing.

mod config;
mod keys;
mod sessions;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, Validation, decode, decode_header, errors::ErrorKind};
use parking_lot::Mutex;
use serde_json::{Map, Value};

pub use self::{
    config::{JwksPlace, JwksSource, JwtConfig},
    keys::JwksError,
};
use self::{keys::KeySet, sessions::Sessions};
use super::{Config, PolicyRule, Principal, RuleSet, TokenDigest, principal::IdentityState};
use crate::model::Timestamp;

/// The longest JWT, in bytes.
const BYTES_MAX: usize = 16 * 1024;
/// More keys are not tried for one JWT.
const TRIED_MAX: usize = 4;
/// The longest name in a claim, in bytes.
const NAME_BYTES_MAX: usize = 256;
/// More values of the claim with policies are not read.
const VALUES_MAX: usize = 1000;

/// Why a JWT is not accepted.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum JwtFault {
    /// It can't be read.
    #[error("the JWT can't be read, or its algorithm is unknown")]
    Unreadable,
    /// Its algorithm is not accepted.
    #[error("the algorithm of the JWT is not one of security.jwt.algorithms")]
    Algorithm,
    /// The key that it names is not known.
    #[error("no key of the identity provider is known with the kid of the JWT")]
    UnknownKey,
    /// No key has signed it.
    #[error("the signature of the JWT is wrong")]
    Signature,
    /// It comes from another provider.
    #[error("the claim iss of the JWT is not security.jwt.issuer")]
    Issuer,
    /// It is for others.
    #[error("the claim aud of the JWT has none of security.jwt.audience")]
    Audience,
    /// Its time is over, or it names no end.
    #[error("the JWT is expired, or has no claim exp")]
    Expired,
    /// Its time is still to come.
    #[error("the JWT is not valid yet (claim nbf)")]
    TooEarly,
    /// It has no subject.
    #[error("the JWT has no usable name in the claim security.jwt.name_claim")]
    Name,
}

/// The identities of a provider.
#[derive(Debug)]
pub(super) struct JwtIdentities {
    config: JwtConfig,
    accepted: Vec<Algorithm>,
    /// The rules of each policy that a claim can give.
    rules: BTreeMap<String, Vec<PolicyRule>>,
    keys: ArcSwap<KeySet>,
    sessions: Mutex<Sessions>,
}

/// Whether a token has the form of a JWT: three parts in base64url, of which the first is a JSON object.
pub(super) fn has_form(token: &str) -> bool {
    let of_base64url = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let mut parts = token.split('.');
    let all = [parts.next(), parts.next(), parts.next()];
    let is_whole = parts.next().is_none() && all.iter().all(Option::is_some);
    // `{"` in base64url.
    is_whole && token.starts_with("eyJ") && token.bytes().all(|b| b == b'.' || of_base64url(b))
}

impl JwtIdentities {
    /// None when JWTs are not accepted. The policies are those of `effective`. Keys are taken over from `before` if
    /// they come from the same place.
    pub(super) fn new(
        config: &JwtConfig,
        effective: &Config,
        before: Option<&Self>,
    ) -> Option<Self> {
        if !config.is_on() {
            return None;
        }
        let named = config.policies.values().flatten();
        let rules = named.filter_map(|name| Some((name.clone(), effective.rules(name)?)));
        let accepted = config.accepted();
        let before = before.filter(|before| {
            before.config.source().place == config.source().place && before.accepted == accepted
        });
        let keys = before.map_or_else(Arc::default, |before| before.keys.load_full());
        Some(Self {
            accepted,
            rules: rules.collect(),
            keys: ArcSwap::from(keys),
            sessions: Mutex::new(Sessions::new(config.sessions_max.get())),
            config: config.clone(),
        })
    }

    pub(super) fn is_of(&self, config: &JwtConfig) -> bool {
        self.config == *config
    }

    pub(super) fn source(&self) -> JwksSource {
        self.config.source()
    }

    /// Takes other keys into use: how many there are. What was recognised by a key that is gone ends.
    pub(super) fn set_keys(&self, text: &[u8]) -> Result<usize, JwksError> {
        let keys = Arc::new(KeySet::read(text, &self.accepted)?);
        self.keys.store(Arc::clone(&keys));
        let is_known = |digest: &[u8; 32]| keys.has(digest);
        self.sessions.lock().end_without_key(is_known);
        Ok(keys.keys.len())
    }

    /// Recognises a JWT.
    pub(super) fn recognise(
        &self,
        token: &str,
        digest: TokenDigest,
        now: Timestamp,
    ) -> Result<Principal, JwtFault> {
        let known = self.sessions.lock().find(digest, now);
        if let Some(known) = known {
            return Ok(known);
        }
        let (claims, key) = self.verified(token)?;
        let until = self.judged(&claims, now)?;
        let identity = self.identity(&claims, until)?;
        let mut sessions = self.sessions.lock();
        let principal = sessions.add(digest, identity, (until, key), now);
        // The key may have been removed in the meantime.
        if !self.keys.load().has(&key) {
            sessions.end_without_key(|digest| *digest != key);
        }
        Ok(principal)
    }

    pub(super) fn end_expired(&self, now: Timestamp) {
        self.sessions.lock().end_expired(now);
    }

    pub(super) fn end_all(&self) {
        self.sessions.lock().end_without_key(|_| false);
    }

    /// The claims, with the digest of the key that has signed them.
    fn verified(&self, token: &str) -> Result<(Map<String, Value>, [u8; 32]), JwtFault> {
        if token.len() > BYTES_MAX || has_critical(token) {
            return Err(JwtFault::Unreadable);
        }
        let header = decode_header(token).map_err(|_| JwtFault::Unreadable)?;
        if !self.accepted.contains(&header.alg) {
            return Err(JwtFault::Algorithm);
        }
        let mut validation = Validation::new(header.alg);
        validation.required_spec_claims.clear();
        // These are judged here, by the daemon's clock.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation.validate_aud = false;
        let keys = self.keys.load();
        let mut tried = 0;
        for key in keys
            .candidates(header.kid.as_deref(), header.alg)
            .take(TRIED_MAX)
        {
            tried += 1;
            match decode::<Map<String, Value>>(token, &key.key, &validation) {
                Ok(decoded) => return Ok((decoded.claims, key.digest)),
                Err(error) => match error.kind() {
                    ErrorKind::Json(_) | ErrorKind::Base64(_) | ErrorKind::Utf8(_) => {
                        return Err(JwtFault::Unreadable);
                    }
                    _ => (),
                },
            }
        }
        match tried {
            0 => Err(JwtFault::UnknownKey),
            _ => Err(JwtFault::Signature),
        }
    }

    /// Judges the registered claims (RFC 7519, section 4.1): when the JWT ends.
    fn judged(&self, claims: &Map<String, Value>, now: Timestamp) -> Result<Timestamp, JwtFault> {
        let config = &self.config;
        if claims.get("iss").and_then(Value::as_str) != Some(&config.issuer) {
            return Err(JwtFault::Issuer);
        }
        let is_ours = |value: &Value| {
            let value = value.as_str();
            value.is_some_and(|value| config.audience.iter().any(|own| own == value))
        };
        let is_for_us = match claims.get("aud") {
            Some(Value::Array(all)) => all.iter().any(is_ours),
            Some(one) => is_ours(one),
            None => false,
        };
        if !is_for_us {
            return Err(JwtFault::Audience);
        }
        let leeway = i64::try_from(config.leeway.as_millis()).unwrap_or(i64::MAX);
        let end = claims.get("exp").and_then(time).ok_or(JwtFault::Expired)?;
        let until = Timestamp(end.saturating_add(leeway));
        if now >= until {
            return Err(JwtFault::Expired);
        }
        if let Some(begin) = claims.get("nbf") {
            let begin = time(begin).ok_or(JwtFault::TooEarly)?;
            if now.0 < begin.saturating_sub(leeway) {
                return Err(JwtFault::TooEarly);
            }
        }
        Ok(until)
    }

    fn identity(
        &self,
        claims: &Map<String, Value>,
        until: Timestamp,
    ) -> Result<Arc<IdentityState>, JwtFault> {
        let name = claim(claims, &self.config.name_claim).and_then(Value::as_str);
        let is_usable = |name: &&str| {
            let length = 1..=NAME_BYTES_MAX;
            length.contains(&name.len()) && !name.chars().any(char::is_control)
        };
        let name = name.filter(is_usable).ok_or(JwtFault::Name)?;
        let mut policies = BTreeSet::new();
        for value in values(claim(claims, &self.config.policies_claim)) {
            policies.extend(self.config.policies.get(value).into_iter().flatten());
        }
        let rules = policies.iter().filter_map(|policy| self.rules.get(*policy));
        let rules = RuleSet::new(rules.flatten().cloned());
        let policies = policies.iter().map(|policy| policy.as_str().into());
        let name = format!("jwt:{name}");
        Ok(IdentityState::until(
            &name,
            policies.collect(),
            rules,
            until,
        ))
    }
}

/// Whether the header names extensions that must be understood (`crit`, RFC 7515, section 4.1.11): none is.
fn has_critical(token: &str) -> bool {
    let header = token.split('.').next().unwrap_or_default();
    let Ok(header) = URL_SAFE_NO_PAD.decode(header) else {
        return false;
    };
    let header: Result<Map<String, Value>, _> = serde_json::from_slice(&header);
    header.is_ok_and(|header| header.contains_key("crit"))
}

/// A NumericDate as milliseconds.
fn time(value: &Value) -> Option<i64> {
    let seconds = Duration::try_from_secs_f64(value.as_f64()?).ok()?;
    Some(i64::try_from(seconds.as_millis()).unwrap_or(i64::MAX))
}

/// A claim by its name, or by a path with dots.
fn claim<'a>(claims: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    if let Some(found) = claims.get(path) {
        return Some(found);
    }
    let (first, rest) = path.split_once('.')?;
    claim(claims.get(first)?.as_object()?, rest)
}

/// The texts of a list, or the words of a text.
fn values(claim: Option<&Value>) -> Vec<&str> {
    let all: Vec<_> = match claim {
        Some(Value::Array(all)) => all.iter().filter_map(Value::as_str).collect(),
        Some(Value::String(text)) => text.split_whitespace().collect(),
        _ => Vec::new(),
    };
    all.into_iter().take(VALUES_MAX).collect()
}

#[cfg(test)]
mod tests;
