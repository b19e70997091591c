//! Why a request towards somebody else's address failed.

use std::{io, net::SocketAddr};

use super::networks::Denied;

/// What a request was waiting for when its deadline passed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Step {
    /// The name to be resolved.
    Resolving,
    /// The connection, its TLS handshake included.
    Connecting,
    /// The head of the answer.
    Answer,
    /// The rest of the answer's body.
    Body,
}

impl Step {
    fn as_str(self) -> &'static str {
        match self {
            Self::Resolving => "no address for the name",
            Self::Connecting => "no connection",
            Self::Answer => "no answer",
            Self::Body => "no end of the answer",
        }
    }
}

/// Why a request failed. Display is one line and says whom it concerns.
#[derive(Debug, thiserror::Error)]
pub enum OutboundError {
    /// The URL, method or a header can't be sent.
    #[error("\"{what}\" can't be requested: {why}")]
    Invalid {
        /// The offending text.
        what: Box<str>,
        /// What is wrong with it.
        why: Box<str>,
    },
    /// A name without an address.
    #[error("\"{host}\" can't be resolved: {why}")]
    Unresolved {
        /// The name.
        host: Box<str>,
        /// What the resolver said.
        why: Box<str>,
    },
    /// Every address of the name is one that must not be reached.
    #[error("\"{host}\" must not be reached: {denied}")]
    Denied {
        /// The name or address asked for.
        host: Box<str>,
        /// The address and the rule.
        denied: Denied,
    },
    /// No connection.
    #[error("no connection to {at}: {source}")]
    Connect {
        /// The address.
        at: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The TLS handshake failed, the certificate for instance.
    #[error("no TLS with \"{host}\": {source}")]
    Tls {
        /// Who should have proved to be itself.
        host: Box<str>,
        /// What was wrong.
        source: io::Error,
    },
    /// The deadline passed.
    #[error("{} within the deadline", .0.as_str())]
    Deadline(Step),
    /// The connection broke before the answer was complete.
    #[error("the connection broke before the answer was complete: {0}")]
    Broken(Box<str>),
    /// What came back is no answer of the protocol, or its head is too large.
    #[error("the answer is not valid: {0}")]
    Garbage(Box<str>),
    /// A gRPC call that did not end well.
    #[error("gRPC status {code}: {message}")]
    Grpc {
        /// The canonical code.
        code: u32,
        /// What the server said.
        message: Box<str>,
    },
    /// `outbound.ca_file` can't be used.
    #[error("outbound.ca_file \"{path}\" can't be used: {why}")]
    CaFile {
        /// The file.
        path: Box<str>,
        /// What is wrong with it.
        why: Box<str>,
    },
}

impl OutboundError {
    /// True when this machine ran out of something, so that the failure says nothing of the peer.
    pub fn is_local(&self) -> bool {
        let (Self::Connect { source, .. } | Self::Tls { source, .. }) = self else {
            return false;
        };
        // EMFILE, ENFILE, ENOMEM, ENOBUFS; and no free local port.
        matches!(source.raw_os_error(), Some(24 | 23 | 12 | 105))
            || source.kind() == io::ErrorKind::AddrNotAvailable
    }

    /// True when the deadline passed.
    pub fn is_deadline(&self) -> bool {
        matches!(self, Self::Deadline(_))
    }

    /// True when the configuration forbids to reach the address.
    pub fn is_denied(&self) -> bool {
        matches!(self, Self::Denied { .. })
    }
}

/// The innermost cause of an error, which says what happened, in one line.
pub(super) fn cause(error: &dyn std::error::Error) -> Box<str> {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(inner) = next {
        let more = inner.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        next = inner.source();
    }
    text.into()
}
