//! Passwords: argon2 hashes, and fast digests that replace them once a password was right.

use argon2::{
    Argon2, PasswordHash, PasswordHasher, PasswordVerifier,
    password_hash::{self, SaltString},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest as _, Sha256, Sha512};
use subtle::ConstantTimeEq;

/// RabbitMQ's hashes begin with so many bytes of salt.
const SALT_BYTES: usize = 4;

/// A password or a hash that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// The hash in the configuration cannot be read.
    #[error("not an argon2 hash ($argon2id$…): {0}")]
    Unreadable(password_hash::Error),
    /// A hash of another kind.
    #[error("a hash of kind '{0}', where an argon2 hash is needed ($argon2id$…)")]
    OtherKind(String),
    /// A hash of RabbitMQ that cannot be read.
    #[error("not a hash of {0}: the salt of 4 bytes and the digest, in base64")]
    NotSalted(&'static str),
    /// Another way of hashing.
    #[error("hashing algorithm '{0}' is not known: argon2, {sha256} and {sha512} are",
        sha256 = HashAlgorithm::RabbitSha256.name(), sha512 = HashAlgorithm::RabbitSha512.name())]
    OtherAlgorithm(String),
    /// It could not be computed.
    #[error("the password could not be hashed: {0}")]
    Failed(password_hash::Error),
    /// There is no password.
    #[error("the password is empty")]
    Empty,
    /// The machine gave no random bytes.
    #[error("no random bytes: {0}")]
    NoRandom(getrandom::Error),
}

/// Hashes a password in the form that `password_hash` in the configuration accepts: `$argon2id$v=19$…`.
///
/// # Errors
/// The password is empty, or the machine gives no random bytes for the salt.
pub fn hash_password(password: &[u8]) -> Result<String, PasswordError> {
    if password.is_empty() {
        return Err(PasswordError::Empty);
    }
    let salt = random::<16>()?;
    let salt = SaltString::encode_b64(&salt).map_err(PasswordError::Failed)?;
    let hash = Argon2::default()
        .hash_password(password, &salt)
        .map_err(PasswordError::Failed)?;
    Ok(hash.to_string())
}

/// How a password is hashed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum HashAlgorithm {
    /// With argon2, as a PHC string.
    Argon2,
    /// As RabbitMQ does: base64 of a salt and SHA-256 of salt and password.
    RabbitSha256,
    /// The same with SHA-512.
    RabbitSha512,
}

impl HashAlgorithm {
    /// The name by which RabbitMQ knows it; "argon2" for the one that it does not know.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Argon2 => "argon2",
            Self::RabbitSha256 => "rabbit_password_hashing_sha256",
            Self::RabbitSha512 => "rabbit_password_hashing_sha512",
        }
    }

    /// The one of this name.
    ///
    /// # Errors
    /// There is none.
    pub fn named(name: &str) -> Result<Self, PasswordError> {
        [Self::Argon2, Self::RabbitSha256, Self::RabbitSha512]
            .into_iter()
            .find(|one| one.name() == name)
            .ok_or_else(|| PasswordError::OtherAlgorithm(name.chars().take(64).collect()))
    }
}

/// A hash that was parsed and checked.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Hashed {
    Argon2(password_hash::PasswordHashString),
    /// RabbitMQ's. It is quickly computed, and so quickly guessed: for users that move from there.
    Salted {
        algorithm: HashAlgorithm,
        salt: [u8; SALT_BYTES],
        digest: Box<[u8]>,
    },
}

impl Hashed {
    pub(super) fn read(hash: &str, algorithm: HashAlgorithm) -> Result<Self, PasswordError> {
        match algorithm {
            HashAlgorithm::Argon2 => Self::argon2(hash),
            HashAlgorithm::RabbitSha256 => Self::salted(hash, algorithm, 32),
            HashAlgorithm::RabbitSha512 => Self::salted(hash, algorithm, 64),
        }
    }

    fn salted(
        hash: &str,
        algorithm: HashAlgorithm,
        digest_bytes: usize,
    ) -> Result<Self, PasswordError> {
        let bytes = STANDARD.decode(hash.trim()).ok();
        let bytes = bytes.filter(|bytes| bytes.len() == SALT_BYTES + digest_bytes);
        let split = bytes.as_deref().and_then(<[u8]>::split_first_chunk);
        let (salt, digest) = split.ok_or_else(|| PasswordError::NotSalted(algorithm.name()))?;
        Ok(Self::Salted {
            algorithm,
            salt: *salt,
            digest: digest.into(),
        })
    }

    fn argon2(phc: &str) -> Result<Self, PasswordError> {
        let hash = PasswordHash::new(phc).map_err(PasswordError::Unreadable)?;
        argon2::Algorithm::try_from(hash.algorithm)
            .map_err(|_| PasswordError::OtherKind(hash.algorithm.to_string()))?;
        argon2::Params::try_from(&hash).map_err(PasswordError::Unreadable)?;
        if hash.salt.is_none() || hash.hash.is_none() {
            return Err(PasswordError::Unreadable(
                password_hash::Error::PhcStringField,
            ));
        }
        Ok(Self::Argon2(hash.serialize()))
    }

    /// How it was made.
    pub(super) fn algorithm(&self) -> HashAlgorithm {
        match self {
            Self::Argon2(_) => HashAlgorithm::Argon2,
            Self::Salted { algorithm, .. } => *algorithm,
        }
    }

    /// How long it takes to compute, compared with others: memory in KiB times passes.
    pub(super) fn cost(&self) -> u64 {
        let Self::Argon2(phc) = self else {
            return 0;
        };
        argon2::Params::try_from(&phc.password_hash()).map_or(0, |params| {
            u64::from(params.m_cost()) * u64::from(params.t_cost())
        })
    }

    /// Whether it is the hash of this password. With argon2 it takes tens of milliseconds of CPU, and as much memory as
    /// the hash demands.
    pub(super) fn verify(&self, password: &[u8]) -> bool {
        match self {
            Self::Argon2(phc) => Argon2::default()
                .verify_password(password, &phc.password_hash())
                .is_ok(),
            Self::Salted {
                algorithm: HashAlgorithm::RabbitSha512,
                salt,
                digest,
            } => {
                let own = Sha512::new().chain_update(salt).chain_update(password);
                own.finalize().as_slice().ct_eq(digest).into()
            }
            Self::Salted { salt, digest, .. } => {
                let own = Sha256::new().chain_update(salt).chain_update(password);
                own.finalize().as_slice().ct_eq(digest).into()
            }
        }
    }
}

/// A digest that only this process can compute or check.
pub(super) type Digest = [u8; 32];

/// The key of such digests: another one at each start.
pub(super) struct DigestKey(Hmac<Sha256>);

impl DigestKey {
    pub(super) fn new() -> Result<Self, PasswordError> {
        let key = random::<32>()?;
        Ok(Self(<Hmac<Sha256> as KeyInit>::new(&key_block(key))))
    }

    /// The digest of a user's password.
    pub(super) fn digest(&self, user: &str, password: &[u8]) -> Digest {
        self.mac(user, password).finalize().into_bytes().into()
    }

    /// Whether it is the digest of this password, in constant time.
    pub(super) fn matches(&self, digest: &Digest, user: &str, password: &[u8]) -> bool {
        self.mac(user, password).verify_slice(digest).is_ok()
    }

    fn mac(&self, user: &str, password: &[u8]) -> Hmac<Sha256> {
        let mut mac = self.0.clone();
        // The length separates name and password.
        mac.update(&(user.len() as u64).to_be_bytes());
        mac.update(user.as_bytes());
        mac.update(password);
        mac
    }
}

impl std::fmt::Debug for DigestKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DigestKey(…)")
    }
}

/// A key as long as a block of the hash.
fn key_block(key: [u8; 32]) -> hmac::digest::Key<Hmac<Sha256>> {
    let mut block = hmac::digest::Key::<Hmac<Sha256>>::default();
    block[..key.len()].copy_from_slice(&key);
    block
}

fn random<const N: usize>() -> Result<[u8; N], PasswordError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(PasswordError::NoRandom)?;
    Ok(bytes)
}

#[cfg(test)]
pub(super) mod tests;
