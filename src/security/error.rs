//! Why a login, a change of the tokens or a start is refused.

use std::{io, path::PathBuf, time::Duration};

use super::{InvalidTokenRow, JwksError, JwtFault};
use crate::model::Timestamp;

/// A token that is not accepted.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum LoginRefused {
    /// Unknown, expired or revoked.
    #[error("the token is unknown, expired or revoked")]
    Wrong,
    /// A JWT that is not accepted.
    #[error(transparent)]
    Jwt(JwtFault),
    /// The address had too many failures.
    #[error("too many wrong tokens came from this address")]
    TooMany {
        /// How long it must wait.
        wait: Duration,
    },
}

/// A change of the tokens that is refused. Nothing has changed then.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TokenRefused {
    /// There is no authentication.
    #[error(
        "authentication is off: start with security.auth = \"on\", with MUSTERD_ADMIN_TOKEN, or with a token in \
         security.tokens"
    )]
    Off,
    /// Not a usable name.
    #[error("must be 1 to 64 letters, digits, \"-\", \"_\" or \".\"")]
    Name,
    /// The name of the first admin token.
    #[error(
        "\"admin\" is reserved for the first admin token, MUSTERD_ADMIN_TOKEN and security.admin_token_file: choose \
         another name"
    )]
    Reserved,
    /// There is one already.
    #[error("there is a token \"{0}\" already: rotate it, or delete it first")]
    Exists(Box<str>),
    /// No token has this name.
    #[error("Token not found")]
    Unknown,
    /// It is not one that was made at run time.
    #[error("token \"{0}\" comes from the configuration or a file: change it there and restart")]
    Configured(Box<str>),
    /// It has expired.
    #[error("token \"{0}\" is expired: create it again with another expires_in")]
    Expired(Box<str>),
    /// There is no such policy.
    #[error("there is no policy \"{0}\"")]
    UnknownPolicy(Box<str>),
    /// The caller would give more than it has.
    #[error(
        "policy \"{0}\" is not one of your own: only an identity with policy admin may give others"
    )]
    NotYours(Box<str>),
    /// The caller would give less restriction than it has.
    #[error(
        "your policy \"{0}\" denies something: the token must have it too, unless an identity with policy admin gives it"
    )]
    Sheds(Box<str>),
    /// The token would outlive the caller's.
    #[error("your own token expires at {0}: the other one must expire no later, set expires_in")]
    EndsLater(Timestamp),
    /// `security.tokens_max` is reached.
    #[error("there are too many tokens: security.tokens_max is {0}")]
    Full(usize),
    /// It was not stored.
    #[error("{0}")]
    NotStored(String),
    /// The machine gave no random bytes.
    #[error("no random bytes: {0}")]
    NoRandom(getrandom::Error),
}

/// Why the identities cannot be set up at a start.
#[derive(Debug, thiserror::Error)]
pub enum SecurityError {
    /// A file of the configuration can't be read.
    #[error("{key}: the file {path:?} can't be read")]
    File {
        /// The key that names it.
        key: String,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The keys of the identity provider can't be used.
    #[error("security.jwt.jwks_file: {path:?} can't be used")]
    Jwks {
        /// The file.
        path: PathBuf,
        /// Why.
        source: JwksError,
    },
    /// A secret that is not usable.
    #[error(
        "{0}: a token is 16 to 512 visible ASCII characters without spaces; `openssl rand -hex 32` makes one"
    )]
    Unusable(String),
    /// Two identities have the same secret.
    #[error("tokens \"{0}\" and \"{1}\" have the same secret: give each its own")]
    SameSecret(Box<str>, Box<str>),
    /// The first admin token can't be written.
    #[error("the admin token can't be written to {path:?}")]
    NotWritten {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The first admin token can't be shown, and there is no file with it.
    #[error(
        "the admin token can't be written to standard error: set store.path, where it is kept in a file"
    )]
    NotShown(#[source] io::Error),
    /// A stored token can't be read.
    #[error(transparent)]
    Row(#[from] InvalidTokenRow),
    /// The machine gave no random bytes.
    #[error("no random bytes: {0}")]
    NoRandom(#[from] getrandom::Error),
    /// A door that is open to other machines.
    #[error(
        "{key} {address} is reachable from other machines, and authentication is off. Choose one: configure a token \
         (MUSTERD_ADMIN_TOKEN, security.admin_token_file or security.tokens.NAME; security.auth = \"on\" makes a \
         first one), require client certificates (http.tls.client_auth = \"required\"), listen on loopback ({key} = \"127.0.0.1:{port}\"), or set security.allow_open = true where the \
         network itself keeps strangers out"
    )]
    Open {
        /// The key of the address.
        key: &'static str,
        /// The address.
        address: String,
        /// Its port.
        port: u16,
    },
}

impl SecurityError {
    /// True when another configuration is what helps.
    pub fn is_configuration(&self) -> bool {
        match self {
            Self::File { .. }
            | Self::Jwks { .. }
            | Self::Unusable(_)
            | Self::SameSecret(..)
            | Self::Open { .. } => true,
            Self::NotWritten { .. } | Self::NotShown(_) | Self::Row(_) | Self::NoRandom(_) => false,
        }
    }
}
