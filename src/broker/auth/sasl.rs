//! The responses of SASL mechanisms, parsed. Pure.

use std::fmt;

use bytes::Bytes;
use serde::Deserialize;

use crate::broker::wire::{Table, ValueRef};

/// The challenge of RABBIT-CR-DEMO.
pub const CHALLENGE: &[u8] = b"Please tell me your password";
/// How the answer to that begins; the password follows.
const ANSWER: &[u8] = b"My password is ";

/// A way to log in.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(try_from = "String")]
pub enum Mechanism {
    /// Name and password, separated by zeros.
    Plain,
    /// Name and password in a field table.
    AmqPlain,
    /// The certificate of the TLS connection.
    External,
    /// The name, and the password when it is asked for: RabbitMQ's demonstration of a challenge.
    CrDemo,
}

impl Mechanism {
    /// All there are, in the order they are offered in.
    pub const ALL: [Self; 4] = [Self::External, Self::Plain, Self::AmqPlain, Self::CrDemo];

    /// Those of a list that `connection.start` offers, to a client with a certificate or without.
    #[must_use]
    pub fn offered(list: &[Self], with_certificate: bool) -> String {
        let offered =
            |one: &Self| list.contains(one) && (with_certificate || *one != Self::External);
        names(Self::ALL.into_iter().filter(offered), " ")
    }

    /// The names of all mechanisms.
    #[must_use]
    pub fn choices() -> String {
        names(Self::ALL, ", ")
    }

    /// The mechanism of this name.
    #[must_use]
    pub fn named(name: &[u8]) -> Option<Self> {
        let called = |one: &Self| one.name().as_bytes() == name;
        Self::ALL.into_iter().find(called)
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::AmqPlain => "AMQPLAIN",
            Self::External => "EXTERNAL",
            Self::CrDemo => "RABBIT-CR-DEMO",
        }
    }
}

impl TryFrom<String> for Mechanism {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        let unknown = || format!("\"{name}\" is not one of {}", Self::choices());
        Self::named(name.as_bytes()).ok_or_else(unknown)
    }
}

fn names(mechanisms: impl IntoIterator<Item = Mechanism>, separator: &str) -> String {
    let names: Vec<_> = mechanisms.into_iter().map(Mechanism::name).collect();
    names.join(separator)
}

/// A name and a password as a client sent them.
#[derive(Clone, Eq, PartialEq)]
pub struct Credentials {
    /// The user's name.
    pub user: String,
    /// The password.
    pub password: Bytes,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

/// A response that its mechanism does not allow: 502.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SaslError {
    /// It does not have the mechanism's form.
    #[error("response to {} is malformed", .0.name())]
    Malformed(Mechanism),
    /// PLAIN with an authorization identity.
    #[error("response to PLAIN names an authorization identity, which must be empty")]
    AuthorizationIdentity,
    /// EXTERNAL without a client certificate.
    #[error("EXTERNAL needs a TLS connection with a client certificate")]
    NoCertificate,
}

/// The content of a mechanism's first response.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Opening {
    /// Name and password.
    Credentials(Credentials),
    /// The name; [`CHALLENGE`] asks for the password.
    User(String),
}

/// Reads the first response.
///
/// # Errors
/// When it does not have the mechanism's form. EXTERNAL carries neither name nor password; its user
/// comes from the certificate.
pub fn opening(mechanism: Mechanism, response: &Bytes) -> Result<Opening, SaslError> {
    match mechanism {
        Mechanism::Plain => plain(response).map(Opening::Credentials),
        Mechanism::AmqPlain => amqplain(response)
            .map(Opening::Credentials)
            .ok_or(SaslError::Malformed(mechanism)),
        Mechanism::External => Err(SaslError::NoCertificate),
        Mechanism::CrDemo => match String::from_utf8(response.to_vec()) {
            Ok(user) => Ok(Opening::User(user)),
            Err(_) => Err(SaslError::Malformed(mechanism)),
        },
    }
}

/// Reads the answer to [`CHALLENGE`] from `user`.
///
/// # Errors
/// It contains no password.
pub fn answer(user: String, response: &[u8]) -> Result<Credentials, SaslError> {
    let Some(password) = response.strip_prefix(ANSWER) else {
        return Err(SaslError::Malformed(Mechanism::CrDemo));
    };
    Ok(Credentials {
        user,
        password: Bytes::copy_from_slice(password),
    })
}

fn plain(response: &Bytes) -> Result<Credentials, SaslError> {
    const MALFORMED: SaslError = SaslError::Malformed(Mechanism::Plain);
    let mut parts = response.split(|byte| *byte == 0);
    let (Some(identity), Some(user), Some(password), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(MALFORMED);
    };
    if !identity.is_empty() {
        return Err(SaslError::AuthorizationIdentity);
    }
    let user = String::from_utf8(user.to_vec()).map_err(|_| MALFORMED)?;
    Ok(Credentials {
        user,
        password: Bytes::copy_from_slice(password),
    })
}

/// The response is a field table's content, without its length.
fn amqplain(response: &Bytes) -> Option<Credentials> {
    let table = Table::decode(response.clone()).ok()?;
    let text = |name| table.field(name).and_then(ValueRef::as_str_bytes);
    let user = String::from_utf8(text(b"LOGIN")?.to_vec()).ok()?;
    Some(Credentials {
        user,
        password: Bytes::copy_from_slice(text(b"PASSWORD")?),
    })
}

#[cfg(test)]
mod tests;
