//! What the login mechanisms send. Pure.

use std::fmt;

use bytes::Bytes;

use crate::broker::wire::{Table, ValueRef};

/// A way to log in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mechanism {
    /// Name and password, separated by zeros.
    Plain,
    /// Name and password in a field table, from before SASL.
    AmqPlain,
    /// The certificate of the TLS connection.
    External,
}

impl Mechanism {
    /// The mechanisms offered in `connection.start`, to clients with a certificate and without.
    #[must_use]
    pub fn offered(with_certificate: bool) -> &'static str {
        match with_certificate {
            true => "EXTERNAL PLAIN AMQPLAIN",
            false => "PLAIN AMQPLAIN",
        }
    }

    /// The mechanism of this name.
    #[must_use]
    pub fn named(name: &[u8]) -> Option<Self> {
        match name {
            b"PLAIN" => Some(Self::Plain),
            b"AMQPLAIN" => Some(Self::AmqPlain),
            b"EXTERNAL" => Some(Self::External),
            _ => None,
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::AmqPlain => "AMQPLAIN",
            Self::External => "EXTERNAL",
        }
    }
}

/// A name and a password, as they were sent.
#[derive(Clone, Eq, PartialEq)]
pub struct Credentials {
    /// Who wants to log in.
    pub user: String,
    /// With what.
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
    /// PLAIN with the name of somebody to act for.
    #[error("response to PLAIN names an authorization identity, which must be empty")]
    AuthorizationIdentity,
    /// There is no name and password in it.
    #[error("EXTERNAL needs a TLS connection with a client certificate")]
    NoCertificate,
}

/// Takes name and password out of a response.
///
/// # Errors
/// When the response does not have the mechanism's form. EXTERNAL carries neither; its user comes
/// from the certificate.
pub fn credentials(mechanism: Mechanism, response: &Bytes) -> Result<Credentials, SaslError> {
    match mechanism {
        Mechanism::Plain => plain(response),
        Mechanism::AmqPlain => amqplain(response).ok_or(SaslError::Malformed(Mechanism::AmqPlain)),
        Mechanism::External => Err(SaslError::NoCertificate),
    }
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
