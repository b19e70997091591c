//! How the health of an instance is found out.

use std::{ops::RangeInclusive, time::Duration};

/// One check of an instance. Its name is unique within the instance.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Check {
    /// What reports and logs call it.
    pub name: Box<str>,
    /// What is done.
    pub kind: CheckKind,
    /// Time between two probes; for a TTL check the longest silence.
    pub interval: Duration,
    /// How long one probe may take.
    pub timeout: Duration,
    /// Successes in a row that make it healthy.
    pub healthy_after: u32,
    /// Failures in a row that make it unhealthy.
    pub unhealthy_after: u32,
}

/// The kinds of checks.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum CheckKind {
    /// An HTTP or HTTPS request.
    Http(Box<HttpCheck>),
    /// A TCP connection to `host:port`.
    Tcp {
        /// Name or address, without brackets.
        host: Box<str>,
        /// 1-65535.
        port: u16,
    },
    /// A call of `grpc.health.v1.Health/Check`.
    Grpc {
        /// Name or address, without brackets.
        host: Box<str>,
        /// 1-65535.
        port: u16,
        /// The service asked for; empty asks for the server as a whole.
        service: Box<str>,
        /// Over TLS.
        tls: bool,
        /// Accept any certificate.
        tls_skip_verify: bool,
    },
    /// A heartbeat within every interval.
    Ttl,
}

impl CheckKind {
    /// The contract's word for the kind.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Http(_) => "http",
            Self::Tcp { .. } => "tcp",
            Self::Grpc { .. } => "grpc",
            Self::Ttl => "ttl",
        }
    }
}

/// How one probe ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CheckOutcome {
    /// As the check wants it.
    Passed,
    /// In another way.
    Failed,
    /// Not at all, until its time was over.
    TimedOut,
    /// Before it began: the configuration forbids to reach the address.
    Denied,
    /// Before it began: whoever probes ran out of something. Says nothing of the instance.
    Skipped,
}

impl CheckOutcome {
    /// Every outcome.
    pub const ALL: [Self; 5] = [
        Self::Passed,
        Self::Failed,
        Self::TimedOut,
        Self::Denied,
        Self::Skipped,
    ];

    /// The word for it in reports and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::TimedOut => "timed_out",
            Self::Denied => "denied",
            Self::Skipped => "skipped",
        }
    }

    /// The outcome a word stands for.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|outcome| outcome.as_str() == text)
    }
}

/// An HTTP or HTTPS request and what counts as a pass. Redirects are not followed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HttpCheck {
    /// Absolute, `http` or `https`, with a host.
    pub url: Box<str>,
    /// `GET`, `HEAD`, …
    pub method: Box<str>,
    /// Names and values sent with it.
    pub headers: Box<[(Box<str>, Box<str>)]>,
    /// Codes that pass.
    pub expected: Box<[CodeRange]>,
    /// Accept any certificate.
    pub tls_skip_verify: bool,
}

/// HTTP status codes from a first to a last one.
pub type CodeRange = RangeInclusive<u16>;

/// The result of one probe.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Probed {
    /// How it ended.
    pub outcome: CheckOutcome,
    /// How long it took.
    pub latency: Duration,
    /// What the service answered, or why it did not, in one line.
    pub text: Box<str>,
}
