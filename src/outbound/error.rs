//! Why an outbound request failed, in words for the people who read check results.

use std::{io, net::SocketAddr};

use super::networks::DeniedAddress;
use crate::tls::TlsError;

/// The step of a request at which its deadline passed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RequestStep {
    /// A free place to look the name up (`outbound.resolving_max`).
    Place,
    /// The name to be resolved.
    Resolving,
    /// The connection, its TLS handshake included.
    Connecting,
    /// The head of the response.
    Answer,
    /// The rest of the response body.
    Body,
}

impl RequestStep {
    fn as_str(self) -> &'static str {
        match self {
            Self::Place => "no free place to look up the host name (outbound.resolving_max)",
            Self::Resolving => "no answer from DNS for the host name",
            Self::Connecting => "no connection",
            Self::Answer => "connected, but no response",
            Self::Body => "the response did not end",
        }
    }
}

/// Why a request failed. Display is one line and says what it concerns.
#[derive(Debug, thiserror::Error)]
pub enum OutboundError {
    /// The URL, method or a header can't be sent.
    #[error("\"{what}\" can't be requested: {why}")]
    Invalid {
        /// The offending text.
        what: Box<str>,
        /// The fault.
        why: Box<str>,
    },
    /// A name without an address.
    #[error("no address for the host name \"{host}\": {why}")]
    Unresolved {
        /// The name.
        host: Box<str>,
        /// The resolver's error.
        why: Box<str>,
    },
    /// Every address of the name is forbidden.
    #[error("not allowed to connect to \"{host}\": {denied}")]
    Denied {
        /// The name or address asked for.
        host: Box<str>,
        /// The address and the rule.
        denied: DeniedAddress,
    },
    /// No connection.
    #[error("{} {at}", connect_failure(source))]
    Connect {
        /// The address.
        at: SocketAddr,
        /// The system's error.
        source: io::Error,
    },
    /// The TLS handshake failed, the certificate for instance.
    #[error("the TLS handshake with \"{host}\" failed: {source}")]
    Tls {
        /// The name that the certificate must have.
        host: Box<str>,
        /// The fault.
        source: io::Error,
    },
    /// The deadline passed.
    #[error("{} within the timeout", .0.as_str())]
    Deadline(RequestStep),
    /// The connection broke before the response was complete.
    #[error("the connection closed before the response was complete: {0}")]
    Broken(Box<str>),
    /// The answer is not valid in the protocol, or its head is too large.
    #[error("the response is not valid: {0}")]
    Garbage(Box<str>),
    /// A gRPC call that did not end well.
    #[error("gRPC status {code}: {message}")]
    Grpc {
        /// The canonical code.
        code: u32,
        /// The server's error.
        message: Box<str>,
    },
    /// A file of `outbound.tls` can't be used.
    #[error(transparent)]
    Files(#[from] TlsError),
}

/// The meaning of a failed connect, without the system's error number if the words are known.
fn connect_failure(error: &io::Error) -> String {
    let known = match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused (nothing listens) at",
        io::ErrorKind::ConnectionReset => "connection reset by",
        io::ErrorKind::HostUnreachable => "no route to host",
        io::ErrorKind::NetworkUnreachable => "network unreachable:",
        io::ErrorKind::AddrNotAvailable => "no free local port to connect to",
        _ => return format!("{error}, connecting to"),
    };
    known.to_owned()
}

impl OutboundError {
    /// True when this machine ran out of something, so that the failure says nothing about the peer.
    pub fn is_local(&self) -> bool {
        if matches!(self, Self::Deadline(RequestStep::Place)) {
            return true;
        }
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

    /// True when the configuration forbids the address.
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
