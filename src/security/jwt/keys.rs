//! The public keys of an identity provider (JWKS, RFC 7517).

use std::fmt;

use jsonwebtoken::{
    Algorithm, DecodingKey,
    jwk::{AlgorithmParameters, Jwk, PublicKeyUse},
};
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// More keys of a set are not read.
const KEYS_MAX: usize = 100;

/// Why a set of keys can't be used.
#[derive(Debug, thiserror::Error)]
pub enum JwksError {
    /// It is not one.
    #[error("it is not a JSON object with a list \"keys\": {0}")]
    Json(#[from] serde_json::Error),
    /// None of its keys can verify a JWT with the algorithms that are accepted.
    #[error("none of its keys verifies signatures with security.jwt.algorithms")]
    NoKey,
}

/// A set of keys.
#[derive(Debug, Default)]
pub(super) struct KeySet {
    pub(super) keys: Vec<VerificationKey>,
}

/// One key.
pub(super) struct VerificationKey {
    id: Option<String>,
    algorithms: &'static [Algorithm],
    /// The only algorithm that it is for, if it names one.
    only: Option<Algorithm>,
    pub(super) key: DecodingKey,
    /// The same for equal keys.
    pub(super) digest: [u8; 32],
}

impl fmt::Debug for VerificationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerificationKey")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct JwksFile {
    keys: Vec<Value>,
}

impl KeySet {
    /// Reads a set; keys of other kinds are left out.
    pub(super) fn read(text: &[u8], accepted: &[Algorithm]) -> Result<Self, JwksError> {
        let file: JwksFile = serde_json::from_slice(text)?;
        let keys = file.keys.into_iter().take(KEYS_MAX);
        let keys: Vec<_> = keys
            .filter_map(|key| VerificationKey::read(&key))
            .filter(|key| accepted.iter().any(|one| key.is_for(*one)))
            .collect();
        match keys.is_empty() {
            true => Err(JwksError::NoKey),
            false => Ok(Self { keys }),
        }
    }

    /// The keys that may have signed a JWT with this header.
    pub(super) fn candidates(
        &self,
        id: Option<&str>,
        algorithm: Algorithm,
    ) -> impl Iterator<Item = &VerificationKey> {
        self.keys.iter().filter(move |key| {
            let same = match (id, &key.id) {
                (Some(id), Some(own)) => id == own,
                _ => true,
            };
            same && key.is_for(algorithm)
        })
    }

    pub(super) fn has(&self, digest: &[u8; 32]) -> bool {
        self.keys.iter().any(|key| key.digest == *digest)
    }
}

impl VerificationKey {
    /// None for a key that verifies no signature with a public key.
    fn read(value: &Value) -> Option<Self> {
        // The two fields of which the library knows fewer values than there are, read here first.
        let named = match value.get("alg") {
            None => None,
            Some(name) => Some(name.as_str()?.parse::<Algorithm>().ok()?),
        };
        let jwk = Jwk::deserialize(value).ok()?;
        let is_for_signatures = matches!(
            jwk.common.public_key_use,
            None | Some(PublicKeyUse::Signature)
        );
        let algorithms: &'static [Algorithm] = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => &[
                Algorithm::RS256,
                Algorithm::RS384,
                Algorithm::RS512,
                Algorithm::PS256,
                Algorithm::PS384,
                Algorithm::PS512,
            ],
            AlgorithmParameters::EllipticCurve(parameters) => match &parameters.curve {
                jsonwebtoken::jwk::EllipticCurve::P256 => &[Algorithm::ES256],
                jsonwebtoken::jwk::EllipticCurve::P384 => &[Algorithm::ES384],
                _ => return None,
            },
            AlgorithmParameters::OctetKeyPair(_) => &[Algorithm::EdDSA],
            AlgorithmParameters::OctetKey(_) => return None,
        };
        if !is_for_signatures {
            return None;
        }
        let key = DecodingKey::from_jwk(&jwk).ok()?;
        // Objects are sorted by key.
        let digest = Sha256::digest(value.to_string().as_bytes()).into();
        Some(Self {
            id: jwk.common.key_id,
            algorithms,
            only: named,
            key,
            digest,
        })
    }

    fn is_for(&self, algorithm: Algorithm) -> bool {
        self.algorithms.contains(&algorithm) && self.only.is_none_or(|only| only == algorithm)
    }
}
